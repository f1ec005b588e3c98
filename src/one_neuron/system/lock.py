"""A lock on a file, which the system releases when its owner ends, and which names the owner to those that wait."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class LockedFile:
    """A file that this process has locked. Its first line is the PID of the owner."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def is_intact(self) -> bool:
        """Return whether the file is still at its path: if it was removed, another process may have made a new one."""
        return _is_same(self.path, self._descriptor)


@contextmanager
def hold_lock(path: Path, *, on_wait: Callable[[int], None]) -> Iterator[LockedFile]:
    """Hold the lock on a file during a `with` block. The file is never deleted: another process may be locking it.

    Parameters
    ----------
    path : Path
        The file; it and its folder are created if needed.
    on_wait : callable
        Called once if another process holds the lock, with its PID (0 if that is not known). It may raise; otherwise
        the call waits until the lock is free.

    Yields
    ------
    LockedFile
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(path, on_wait)
    try:
        with suppress(OSError):  # on a full disk, the name of the owner is missing
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        yield LockedFile(path, descriptor)
    finally:
        os.close(descriptor)


def _lock(path: Path, on_wait: Callable[[int], None]) -> int:
    """Return an open descriptor of the file that holds its lock."""
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    on_wait(_read_owner(descriptor))
                told = True
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the file was removed while this process waited for it


def _read_owner(descriptor: int) -> int:
    """Return the PID on the first line; 0 if the owner has not written it yet."""
    line = os.pread(descriptor, 20, 0).partition(b"\n")[0]
    return int(line) if line.isdigit() else 0


def _is_same(path: Path, descriptor: int) -> bool:
    """Return whether a path still leads to an open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
