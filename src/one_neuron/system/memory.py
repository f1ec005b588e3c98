"""How much memory this process may use, and whether a command fits into it; checked before libraries are loaded.

A library that is short of memory does not report it: OpenBLAS prints a line of its own and exits, a shared library
cannot be loaded, LLVM aborts, MLflow shows a traceback, and Linux kills the process.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from one_neuron.errors import EnvironmentProblem

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEGABYTE = 2**20
_TIGHT = 8 * 2**30  # bytes of address space: enough for 64 threads of OpenBLAS, the most that NumPy's has
_M_ARENA_MAX = -8  # glibc's mallopt(3)
_UNLIMITED = 2**62  # cgroup v1 has no word for it, and stores the largest multiple of the page size
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
    """

    address: int
    data: int
    resident: int
    picture: int = 0


@dataclass(frozen=True)
class Limit:
    """A limit on the memory of this process.

    Parameters
    ----------
    kind : {"address", "data", "resident"}
        Which memory it counts; see `Need`.
    total, used : int
        Bytes that are allowed, and bytes of them in use.
    name : str
        For messages.
    remedy : str
        With {megabytes} and {kilobytes}, the number to ask for.
    """

    kind: str
    total: int
    used: int
    name: str
    remedy: str

    @property
    def left(self) -> int:
        """Bytes that are allowed and not in use."""
        return max(0, self.total - self.used)


def find_limits(root: Path = _ROOT) -> list[Limit]:
    """Return all limits on the memory of this process: of its user, of its control groups, and of the machine.

    Parameters
    ----------
    root : Path
        The folder with `proc` and `sys`.
    """
    return [*_user_limits(root), *_group_limits(root), *_machine_limits(root)]


def memory_left(root: Path = _ROOT) -> int:
    """Return how many bytes more this process may use, according to the tightest of its limits."""
    return min((limit.left for limit in find_limits(root)), default=_UNLIMITED)


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
    """Raise EnvironmentProblem if a command may not use as many bytes more as m pictures take in it."""
    check_free(NEEDS[command].picture * m, f"`{command}` with {m:,} pictures", "use fewer pictures", root)


def check_free(needed: int, what: str, remedy: str, root: Path = _ROOT) -> None:
    """Raise EnvironmentProblem if this process may not use as many bytes more.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What takes them, for the message.
    remedy : str
        What takes less memory.
    """
    for limit in find_limits(root):
        if needed > limit.left:
            raise _shortage(what, needed, limit.left, limit, f"{remedy}, or ")


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
    if not any(limit.total < _TIGHT for limit in _user_limits(root)):
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


def _user_limits(root: Path) -> Iterator[Limit]:
    """Yield the limits that `ulimit` sets on each process."""
    if resource is None:
        return
    status = _read_fields(root / "proc/self/status")
    for name, kind, option, field in (
        ("RLIMIT_AS", "address", "-v", "VmSize"),
        ("RLIMIT_DATA", "data", "-d", "VmData"),
    ):
        soft, hard = resource.getrlimit(getattr(resource, name))
        if soft == resource.RLIM_INFINITY:
            continue
        if hard == resource.RLIM_INFINITY:
            remedy = f"raise it: ulimit {option} {{kilobytes}}"
        else:
            remedy = f"start it where `ulimit {option}` is at least {{kilobytes}} (kilobytes)"
        yield Limit(kind, soft, status.get(field, 0), f"`ulimit {option}`", remedy)


def _machine_limits(root: Path) -> Iterator[Limit]:
    """Yield the memory of the machine, with its swap space. Memory that Linux can free at once is not in use."""
    fields = _read_fields(root / "proc/meminfo")
    if "MemTotal" in fields and "MemAvailable" in fields:
        total = fields["MemTotal"] + fields.get("SwapTotal", 0)
        left = fields["MemAvailable"] + fields.get("SwapFree", 0)
        yield Limit("resident", total, total - left, "this machine", "end other programs, or use a larger machine")


def _group_limits(root: Path) -> Iterator[Limit]:
    """Yield the limits of the control groups of this process: of its own and of those around it.

    A container sees its own group as the root. In version 1 a file holds the limit, in version 2 `memory.max` is the
    hard limit, and above `memory.high` Linux slows the process down until it hardly runs.
    """
    for version, mount, group in _find_groups(root):
        remedy = "give the container or control group more memory, {megabytes} MB"
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            if version == 1:
                files, usage, idle = ["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_inactive_file"
            else:
                files, usage, idle = ["memory.max", "memory.high"], "memory.current", "inactive_file"
            for file in files:
                total = _read_number(folder / file)
                if total is None or total >= _UNLIMITED:
                    continue
                # Pages of files that were read once are freed when memory is short.
                used = (_read_number(folder / usage) or 0) - _read_fields(folder / "memory.stat", unit=1).get(idle, 0)
                swap = _group_swap(folder, version, total, root)
                name = f"the control group {str(folder)[len(str(mount)) :] or '/'} ({file})"
                yield Limit("resident", total + swap, max(0, used), name, remedy)


def _group_swap(folder: Path, version: int, total: int, root: Path) -> int:
    """Return how many bytes of swap space the processes of a control group may still use."""
    free = _read_fields(root / "proc/meminfo").get("SwapFree", 0)
    if version == 1:
        both = _read_number(folder / "memory.memsw.limit_in_bytes")  # memory and swap space together
        return free if both is None else max(0, min(free, both - total))
    most, used = _read_number(folder / "memory.swap.max"), _read_number(folder / "memory.swap.current") or 0
    return free if most is None else max(0, min(free, most - used))


def _find_groups(root: Path) -> Iterator[tuple[int, Path, Path]]:
    """Yield the version, the mount point and the folder of each control group that may limit this process's memory."""
    own: dict[int, str] = {}
    for line in _read_lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            own[1] = path
        elif number == "0" and not controllers:
            own[2] = path
    for line in _read_lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options, *_) = before.split(), [*after.split(), "", "", ""]
        version = {"cgroup": 1, "cgroup2": 2}.get(kind, 0)
        if version not in own or (version == 1 and "memory" not in options.split(",")):
            continue
        top, mount = fields[3], root / fields[4].lstrip("/")
        # In a container without a namespace of its own, the path begins with the part that is mounted.
        path = own[version]
        inside = path[len(top) :] if top != "/" and f"{path}/".startswith(f"{top}/") else path
        folder = mount / inside.strip("/")
        yield version, mount, folder if ".." not in folder.parts and folder.is_dir() else mount


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file of the system; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _read_number(path: Path) -> int | None:
    """Return the number in a file of a control group; None for "max" and for a file that does not exist."""
    text = "".join(_read_lines(path)).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _read_fields(path: Path, *, unit: int = 1024) -> dict[str, int]:
    """Return the numbers of a file with lines such as `MemTotal: 1024 kB`, in bytes."""
    fields = {}
    for line in _read_lines(path):
        name, *values = line.replace(":", " ").split() or [""]
        if values and values[0].isdigit():
            fields[name] = int(values[0]) * unit
    return fields


# Measured with the default settings on Linux (Python 3.11, x86-64), plus a sixth. Most of it is taken by libraries: of
# address space, NumPy with one thread of OpenBLAS takes 95 MB, MLflow 395 and scikit-learn 490. `repro` is DVC and the
# largest of its stages; `verify` is that and MLflow. Bytes for each picture: the growth from 100,000 to a million.
NEEDS = {
    "draw": Need(80, 50, 60),
    "prepare": Need(200, 110, 70, 300),
    "train": Need(230, 150, 70, 260),
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
