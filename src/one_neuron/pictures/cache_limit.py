"""The disk space for decoded rows: where they lie, and which ones are removed when they take more than allowed."""

import shutil
from contextlib import suppress
from pathlib import Path

from one_neuron.layout import WORK_FOLDER, find_repository
from one_neuron.pictures.row_cache import LOCK_FILE, lock_exclusively, release_all
from one_neuron.system.machine import read_megabytes

FOLDER = WORK_FOLDER / "rows"


def rows_folder() -> Path:
    """Return the folder of all cached rows; like checkpoints, outside DVC's outputs and its queued copies."""
    return find_repository() / FOLDER


def cache_bound() -> int:
    """Return how many bytes of rows may stay on disk after a success.

    The environment variable ONE_NEURON_CACHE_MB sets it in megabytes of 2**20 bytes; unset or empty, it is 2000, and 0
    keeps nothing. It is not a parameter: results are the same with any bound.

    Raises
    ------
    SettingsError
        If the variable is not a whole number.
    """
    return read_megabytes("ONE_NEURON_CACHE_MB", default=2000)


def trim_rows() -> None:
    """Remove rows until they take at most `cache_bound`; call it when the files made from them are safely written.

    The least recently used `Preprocessing` is removed first. Rows that another process uses stay. Rows of this process
    may be removed; rows that it still holds open stay readable.
    """
    bound = cache_bound()
    release_all()
    ages = {}
    for folder in rows_folder().glob("*"):
        with suppress(OSError):  # removed meanwhile
            ages[folder] = (folder / LOCK_FILE).stat().st_mtime_ns
    sizes = {folder: _count_bytes(folder) for folder in ages}
    total = sum(sizes.values())
    for folder in sorted(ages, key=ages.__getitem__):
        if total <= bound:
            return
        if _remove_unused(folder):
            total -= sizes[folder]


def _count_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    total = 0
    for path in folder.glob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _remove_unused(folder: Path) -> bool:
    """Remove a folder of rows unless another process uses it; return whether it was removed."""
    with suppress(OSError), (folder / LOCK_FILE).open("rb+") as lock:
        if lock_exclusively(lock.fileno()):
            shutil.rmtree(folder, ignore_errors=True)
            return True
    return False
