"""How much memory this process may use, and whether a command fits into it; checked before libraries are loaded.

A library that is short of memory does not report it: OpenBLAS prints a line of its own and exits, a shared library
cannot be loaded, LLVM aborts, MLflow shows a traceback, and Linux kills the process.
"""

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.memory_limits import MEGABYTE, UNLIMITED, Limit, find_limits, user_limits

_TIGHT = 8 * 2**30  # bytes of address space: enough for 64 threads of OpenBLAS, the most that NumPy's has
_M_ARENA_MAX = -8  # glibc's mallopt(3)
_ROOT = Path("/")


@dataclass(frozen=True)
class Need:
    """What a command takes at its peak, with the default settings, in megabytes of 2**20 bytes.

    Parameters
    ----------
    address : int
        Address space of its largest process, which `ulimit -v` limits.
    data : int
        Private memory of its largest process that may be written to, used or not, which `ulimit -d` limits.
    resident : int
        Memory in use, of all its processes together, which control groups and the machine limit.
    picture : int
        Bytes more for each picture, without its pixels.
    later : int
        Address space more as soon as it works on many pictures, in megabytes; half of it is used.
    """

    address: int
    data: int
    resident: int
    picture: int = 0
    later: int = 0


def memory_left(root: Path = _ROOT) -> int:
    """Return how many bytes more this process may use, according to the tightest of its limits."""
    return min((limit.left for limit in find_limits(root)), default=UNLIMITED)


def check_start(command: str, root: Path = _ROOT) -> None:
    """Raise EnvironmentProblem if a command that has just been started does not fit into the limits.

    Commands that are not in NEEDS are not checked.
    """
    need = NEEDS.get(command)
    for limit in find_limits(root) if need else ():
        needed = getattr(need, limit.kind) * MEGABYTE
        # A limit of the user is for this process, which has used little so far: the need includes that.
        allowed = limit.total if limit.kind != "resident" else limit.left
        if needed > allowed:
            raise _shortage(f"`{command}`", needed, allowed, limit)


def check_pictures(command: str, m: int, root: Path = _ROOT) -> None:
    """Raise EnvironmentProblem if a command may not use as much more memory as m pictures take in it."""
    need = NEEDS[command]
    used = need.picture * m + need.later // 2 * MEGABYTE
    reserved = need.picture * m + need.later * MEGABYTE
    check_free(used, f"`{command}` with {m:,} pictures", "use fewer pictures", root, address=reserved)


def check_free(needed: int, what: str, remedy: str, root: Path = _ROOT, *, address: int = 0) -> None:
    """Raise EnvironmentProblem if this process may not use as many bytes more.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What takes them, for the message.
    remedy : str
        What takes less memory.
    address : int
        Bytes of address space, if those are more.
    """
    for limit in find_limits(root):
        more = max(needed, address) if limit.kind == "address" else needed
        if more > limit.left:
            raise _shortage(what, more, limit.left, limit, f"{remedy}, or ")


def describe_shortage(root: Path = _ROOT) -> str:
    """Return a message for a command that ran out of memory, which names the tightest limit."""
    limit = min(find_limits(root), key=lambda each: each.left, default=None)
    remedy = "use fewer or smaller pictures (data.num_px)"
    if limit is None:
        return f"out of memory; {remedy}"
    more = limit.remedy.format(megabytes=_megabytes(2 * limit.total), kilobytes=2 * limit.total // 1024)
    return f"out of memory: {limit.name} allows {_megabytes(limit.total):,} MB; {more}, or {remedy}"


def save_address_space(root: Path = _ROOT) -> None:
    """Have OpenBLAS and malloc reserve less for threads, where `ulimit` limits the memory; no result depends on it.

    Each thread of OpenBLAS reserves 40 MB when NumPy is imported, and each thread that allocates 64 MB. Must be called
    before NumPy is imported.
    """
    if not any(limit.total < _TIGHT for limit in user_limits(root)):
        return
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _shortage(what: str, needed: int, allowed: int, limit: Limit, remedy: str = "") -> EnvironmentProblem:
    """Return the error of something that takes more than a limit allows, with both numbers."""
    more = limit.total - allowed + needed
    asked = limit.remedy.format(megabytes=_megabytes(more), kilobytes=_megabytes(more) * 1024)
    return EnvironmentProblem(
        f"{what} needs {_megabytes(needed):,} MB of memory; {limit.name} allows {allowed // MEGABYTE:,} MB: "
        f"{remedy}{asked}"
    )


def _megabytes(count: int) -> int:
    """Return a number of bytes in megabytes, rounded up."""
    return -(-count // MEGABYTE)


# Measured with the default settings on Linux (Python 3.11, x86-64), plus a sixth. Most of it is taken by libraries: of
# address space, NumPy with one thread of OpenBLAS takes 95 MB, MLflow 395 and scikit-learn 490. `repro` is DVC and the
# largest of its stages; `verify` is that and MLflow. Bytes for each picture: the growth from 100,000 to a million.
# `later` is what Numba takes, with LLVM and SciPy, to compile the code that trains many pictures.
NEEDS = {
    "draw": Need(80, 50, 60),
    "prepare": Need(200, 110, 70, 300),
    "train": Need(230, 150, 70, 260, later=380),
    "evaluate": Need(370, 280, 190, 140),
    "track": Need(500, 280, 210),
    "repro": Need(500, 280, 330),
    "sweep": Need(760, 560, 330),
    "predict": Need(200, 110, 50),
    "report": Need(140, 70, 40),
    "report --html": Need(820, 500, 340),
    "settings": Need(140, 70, 40),
    "serve": Need(230, 140, 50),
    **dict.fromkeys(("promote", "register"), Need(470, 260, 200)),
    "verify": Need(570, 330, 570),
    "ui": Need(720, 290, 430),
    "doctor": Need(180, 110, 60),
}
