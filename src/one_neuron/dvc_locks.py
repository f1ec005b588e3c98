"""One command of DVC at a time; DVC's own file of read and write locks, `.dvc/tmp/rwlock`, and its repair after a kill.

DVC keeps an entry for each file that a running command reads or writes, with the PID of the command. It refuses to work
while the PID of an entry exists, and refuses every command if the file is not JSON.
"""

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from one_neuron.errors import EnvironmentProblem
from one_neuron.layout import WORK_FOLDER
from one_neuron.system.files import write_json
from one_neuron.system.lock import hold_lock

LOCK_FILE = WORK_FOLDER / "dvc-command.lock"
_POLL_SECONDS = 0.5
_LOCK = Path(".dvc/tmp/lock")
_COPY = re.compile(r"\.[\w-]{22}\.tmp$")  # how the names of DVC's temporary files end
_RWLOCK = Path(".dvc/tmp/rwlock")
_PATIENCE_SECONDS = 1.0  # DVC writes the file in milliseconds
_CLOCK_SECONDS = 2.0  # the start of a process is known to a hundredth of a second, after steps of the clock to less


@contextmanager
def reserve_dvc(root: Path, *, no_wait: bool = False) -> Iterator[bool]:
    """Keep other commands of this project from using DVC during a `with` block, after waiting for those that do.

    Commands of DVC itself are waited for as well, but can start meanwhile. DVC alone gives up after three seconds.

    Yields
    ------
    bool
        Whether the call had to wait, so that files may have changed meanwhile.

    Raises
    ------
    EnvironmentProblem
        With `no_wait`, if another command is running.
    """
    waited = False

    def wait(*owners: int) -> None:
        nonlocal waited
        waited = True
        named = ", ".join(f"PID {owner}" for owner in sorted(owners) if owner) or "its PID is not known"
        running = f"another command uses DVC in this folder ({named})"
        if no_wait:
            raise EnvironmentProblem(f"{running}; run it again when that one has ended, or without --no-wait")
        print(f"one-neuron: {running}; waiting until it has ended", file=sys.stderr)

    with hold_lock(root / LOCK_FILE, on_wait=wait):
        told = False
        while owners := repair_rwlock(root) | _find_lock_owner(root):
            if not told:
                wait(*owners)
            told = True
            time.sleep(_POLL_SECONDS)
        yield waited


def _find_lock_owner(root: Path) -> set[int]:
    """Return the PID of the command that holds DVC's lock on the whole repository, such as `dvc push`; 0 if unknown."""
    with suppress(FileNotFoundError), (root / _LOCK).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            word = stream.read().strip()
            return {int(word) if word.isdigit() else 0}
    return set()


def remove_copies(root: Path, folders: Iterable[str]) -> None:
    """Delete the files into which DVC was copying when it was killed, in its cache and in some folders at any depth.

    A folder of its run cache that is empty is deleted as well: every later `dvc repro` would fail there.

    No command of DVC may be running: see `reserve_dvc`. A cache outside the project is left alone, because another
    project may be using it.
    """
    for folder in (".dvc/cache", *folders):
        for path in (root / folder).rglob("*.tmp"):
            if _COPY.search(path.name):
                with suppress(OSError):
                    path.unlink()
    for path in (root / ".dvc/cache/runs").glob("*/*"):
        with suppress(OSError):  # it is not empty
            path.rmdir()


def find_dvc_root(folder: Path) -> Path | None:
    """Return the DVC repository that a folder lies in; None if there is none."""
    return next((each for each in (folder, *folder.parents) if (each / ".dvc").is_dir()), None)


def read_owners(root: Path) -> set[int] | None:
    """Return the PIDs in the file; None if it is not readable as DVC writes it, which a kill can leave.

    A command of DVC may be writing the file just now, so a broken one is read again for up to a second.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return set(_owners(json.loads((root / _RWLOCK).read_bytes())))
        except FileNotFoundError:
            return set()
        except (ValueError, TypeError, KeyError, AttributeError):
            if time.monotonic() > deadline:
                return None
        time.sleep(0.02)


def repair_rwlock(root: Path) -> set[int]:
    """Remove what a kill left in the file, and return the PIDs that remain: commands of DVC that are running.

    A file that DVC cannot read is removed. An entry is removed if its process is dead or a zombie, or if the process
    began after the file was last written and is not DVC, because Linux uses a PID again.
    """
    path = root / _RWLOCK
    if not path.is_file():
        return set()
    with _exclusively(path) as allowed:
        if not allowed:
            return read_owners(root) or set()
        try:
            content = json.loads(path.read_bytes())
            owners = set(_owners(content))
            written = path.stat().st_mtime
        except FileNotFoundError:
            return set()
        except (ValueError, TypeError, KeyError, AttributeError):
            path.unlink(missing_ok=True)
            return set()
        running = {number for number in owners if _is_running_dvc(number, written)}
        if running != owners:
            _write(path, content, running)
        return running


def _owners(content: Any) -> Iterator[int]:
    """Yield the PID of each entry; ValueError, TypeError, KeyError or AttributeError if it is not as DVC writes it."""
    for info in content.get("write", {}).values():
        yield _pid(info)
    for infos in content.get("read", {}).values():
        yield from map(_pid, infos)


def _pid(info: Any) -> int:
    """Return the PID of an entry."""
    if type(info["pid"]) is not int or type(info["cmd"]) is not str or len(info) != 2:
        raise ValueError("not an entry of DVC")
    return int(info["pid"])


def _write(path: Path, content: dict[str, Any], running: set[int]) -> None:
    """Write the file with the entries of some processes alone; without any, remove it."""
    if not running:
        path.unlink(missing_ok=True)
        return
    write = {name: info for name, info in content.get("write", {}).items() if info["pid"] in running}
    kept = {name: [info for info in infos if info["pid"] in running] for name, infos in content.get("read", {}).items()}
    write_json(path, {"write": write, "read": {name: infos for name, infos in kept.items() if infos}})


@contextmanager
def _exclusively(path: Path) -> Iterator[bool]:
    """Hold the lock under which DVC writes the file; yield False if DVC holds it for longer than a second."""
    with path.with_name("rwlock.lock").open("a") as guard:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.02)
            else:
                yield True
                return


def _is_running_dvc(number: int, written: float) -> bool:
    """Return whether the process with a PID may be the one that wrote an entry; this process never is."""
    import psutil

    if number == os.getpid():
        return False
    try:
        process = psutil.Process(number)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        names = [Path(argument).name for argument in process.cmdline()]
        return process.create_time() < written + _CLOCK_SECONDS or any("dvc" in name for name in names)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
