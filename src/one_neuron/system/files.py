"""Write files whole or not at all; JSON and CSV."""

import csv
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from one_neuron.errors import SettingsError, quote_path

_PARTIAL = ".partial-"  # how the names of temporary files begin


def _check_replacement() -> None:
    """Allow each replacement; `checked_replacements` puts another function in the place of this one."""


def find_root() -> Path:
    """Return the current folder; raise SettingsError if it is not the root of the project."""
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise SettingsError(f"{quote_path(root)} is not the root of the project; go there and run it again")
    return root


@contextmanager
def checked_replacements(check: Callable[[], None]) -> Iterator[None]:
    """Have `atomic_write` call a check before each rename during a `with` block; if it raises, the old file stays."""
    global _check_replacement  # noqa: PLW0603
    before, _check_replacement = _check_replacement, check
    try:
        yield
    finally:
        _check_replacement = before


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, and rename it to `path` when the block succeeds.

    The bytes reach the disk (fsync) before the name does (`os.replace`), so a kill or a power cut at any moment leaves
    either the old file or the new one. If the block fails, the temporary file is deleted and `path` stays as it was.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created if needed.

    Yields
    ------
    Path
        An empty file in the same folder, with the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, handle = _make_partial(path)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as stream:
            sync_to_disk(stream.fileno())
        _check_replacement()
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # for a full disk, the system does not name the file
        raise
    finally:
        os.close(handle)
    _sync_folder(path.parent)


def _make_partial(path: Path) -> tuple[Path, int]:
    """Create a temporary file beside `path`; return it with an open descriptor, which holds a lock on it.

    The lock shows `remove_partial_files` that the file is being written. It is a shared one, which leaves HDF5 free to
    lock the file as well.
    """
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL, suffix=path.suffix)
        if _claim(Path(name), handle):
            return Path(name), handle
        os.close(handle)


def make_locked_folder(prefix: str, parent: Path | None = None) -> tuple[Path, int]:
    """Create a temporary folder; return it with an open descriptor, which holds a lock on it.

    Parameters
    ----------
    prefix : str
        How its name begins.
    parent : Path, optional
        Where it is created; by default, in the system's folder of temporary files.
    """
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        handle = os.open(folder, os.O_RDONLY)
        if _claim(folder, handle):
            return folder, handle
        os.close(handle)


def _claim(path: Path, handle: int) -> bool:
    """Lock a new temporary file or folder; return False if `remove_unlocked` was faster."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # it is being removed
        return False
    except OSError:  # a file system without locks
        pass
    return path.exists()


def remove_partial_files(root: Path, folders: Iterable[str | Path]) -> None:
    """Delete temporary files and folders that killed processes left in a folder, and at any depth of some in it.

    Those that a process is writing stay.
    """
    found = [*root.glob(f"{_PARTIAL}*"), *(path for name in folders for path in (root / name).rglob(f"{_PARTIAL}*"))]
    for path in sorted(found):
        owner = path.with_name(path.name.removesuffix("-journal"))  # SQLite writes beside a database that it is making
        if owner != path and owner.exists():
            continue
        remove_unlocked(path)


def remove_unlocked(path: Path) -> None:
    """Delete a file or a folder unless a process has locked it. A link, and what cannot be deleted, stays."""
    with suppress(OSError), _opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file or a folder for reading; yield the descriptor."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, and put it in the place of `path` when the block succeeds.

    If the block fails, the new folder is deleted and `path` stays as it was. A kill leaves the old folder, the new one,
    or none: nothing else ever lies at `path`. The files in the folder are not synced.

    Parameters
    ----------
    path : Path
        The folder to create or replace; its parents are created if needed.

    Yields
    ------
    Path
        An empty folder on the same disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, handle = make_locked_folder(_PARTIAL, path.parent)
    new, old = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        _check_replacement()
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if not path.exists() and old.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def _umask() -> int:
    """Return the umask of the process, which can only be read by setting it. `mkstemp` ignores it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def sync_to_disk(descriptor: int) -> None:
    """Write an open file or folder to the disk. On macOS, fsync alone leaves the bytes in the cache of the disk."""
    command = getattr(fcntl, "F_FULLFSYNC", None)
    if command is not None:
        with suppress(OSError):  # a file system that does not know it
            fcntl.fcntl(descriptor, command)
            return
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Write the names in `folder` to the disk, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync_to_disk(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON. Floats keep their full precision; ValueError if one is not finite."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with one header line and Unix line ends.

    Floats keep their full precision. In a text, bytes that are not UTF-8 are written as backslash escapes.
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
