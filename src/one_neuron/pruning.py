"""Keep `.one-neuron` from growing: what is deleted there, after how long, and beyond which size.

Decoded rows have their own limit, `pictures.cache_limit`. Runs that wait for their store are never deleted.
"""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from one_neuron.layout import WORK_FOLDER
from one_neuron.pictures.cache_limit import cache_bound

IN_USE = "in-use"  # a process that holds a shared lock on the file of this name keeps its folder from being deleted
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class _Rule:
    """What may lie in `.one-neuron`.

    Parameters
    ----------
    pattern : str
        The files and folders.
    days : float
        They are deleted when they have not been used for longer.
    spared_days : float
        If together they are larger than `cache_bound`, the least recently used are deleted, but none that was used
        within this time.
    """

    pattern: str
    days: float
    spared_days: float


RULES = (
    _Rule("prepared/*", 30, 0),  # prepared sets of sweeps; those that a sweep uses are locked
    _Rule("checkpoints/*", 30, 1),  # the states of trainings that were interrupted
    _Rule("damaged/*", 30, 1),
    _Rule("spool/*.damaged-*", 30, 7),  # runs that were kept for a store and have changed on the disk since
    _Rule("jobs-*", 7, 7),  # of sweeps that were killed
    _Rule("rows-*", 1, 1),
)


@dataclass(frozen=True)
class _Entry:
    """A file or a folder: its size in bytes, and when it was last changed, in seconds since 1970."""

    path: Path
    size: int
    used: float


def prune_work_folder(root: Path) -> None:
    """Delete what is too old or too large in the `.one-neuron` of a repository; print a line for each kind of it.

    What cannot be deleted stays.
    """
    for rule in RULES:
        removed = list(_prune(root, rule))
        if removed:
            size = sum(entry.size for entry in removed) / 2**20
            entries = "1 old entry" if len(removed) == 1 else f"{len(removed):,} old entries"
            folder = WORK_FOLDER / rule.pattern.removesuffix("/*")
            print(f"one-neuron: deleted {entries} of '{folder}' ({size:,.1f} MB)", file=sys.stderr)


def _prune(root: Path, rule: _Rule) -> Iterator[_Entry]:
    """Delete what one rule says, and yield it."""
    entries = sorted(_measure_all(root, rule), key=lambda entry: entry.used)
    total, bound, now = sum(entry.size for entry in entries), cache_bound(), time.time()
    for entry in entries:
        days = (now - entry.used) / _DAY
        if (days > rule.days or (total > bound and days >= rule.spared_days)) and _remove(entry.path):
            total -= entry.size
            yield entry


def _measure_all(root: Path, rule: _Rule) -> Iterator[_Entry]:
    """Yield the entries of a rule."""
    for path in (root / WORK_FOLDER).glob(rule.pattern):
        found = [path, *path.rglob("*")] if path.is_dir() else [path]
        with suppress(OSError):  # deleted meanwhile
            states = [each.lstat() for each in found]
            size = sum(state.st_size for each, state in zip(found, states, strict=True) if not each.is_dir())
            yield _Entry(path, size, max(state.st_mtime for state in states))


def _remove(path: Path) -> bool:
    """Delete a file or a folder, unless it is in use; return whether it was deleted."""
    with suppress(OSError):
        if not path.is_dir():
            path.unlink()
            return True
        with suppress(FileNotFoundError), (path / IN_USE).open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        return True
    return False


def keep_in_use(folder: Path) -> None:
    """Keep a folder from being deleted as long as this process lives, and mark it as just used."""
    descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)  # closed when the process ends
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    os.utime(folder / IN_USE)
