"""Rows of decoded pictures on disk, so that a kill costs seconds: what was decoded once is found by its content."""

import fcntl
import os
import secrets
import shutil
import threading
import weakref
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem, SettingsError, one_line
from one_neuron.layout import WORK_FOLDER, find_repository

FOLDER = WORK_FOLDER / "rows"
SIZE_VARIABLE = "ONE_NEURON_CACHE_MB"
DEFAULT_MB = 2000
KEY_BYTES = 32  # SHA-256
_CRC_BYTES = 4
_PREFIX_BYTES = 8  # of a key: enough to find its record, which holds all of it
_MOST_RECENT = 2**16  # keys that are kept in a dict before they are sorted in among the others
_NUMBER_BITS = 40  # a place is the number of a segment, then the number of a record in it
_LOCK = "in-use"

Places = NDArray[np.int64]
Pixels = NDArray[np.uint8]

_OPEN: "weakref.WeakSet[RowCache]" = weakref.WeakSet()


def rows_folder() -> Path:
    """Return where the rows of all settings lie: as `checkpoints`, outside DVC's outputs and its queued copies."""
    return find_repository() / FOLDER


def cache_bound() -> int:
    """Return how many bytes of rows stay after a success.

    The environment variable ONE_NEURON_CACHE_MB says it, in megabytes of 2**20 bytes; unset or empty, it is 2000, and
    0 keeps nothing. It is no parameter: results are the same with any bound.

    Raises
    ------
    SettingsError
        If the variable is not a whole number.
    """
    text = os.environ.get(SIZE_VARIABLE, "").strip() or str(DEFAULT_MB)
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{SIZE_VARIABLE} = {text!r}; expected a whole number of megabytes, 0 to keep nothing")
    return int(text[:18]) * 2**20


def trim_rows() -> None:
    """Let the rows shrink to `cache_bound`: to be called when what was made of them is safely written.

    Rows of the settings that were not asked for the longest go first. Those that another process uses stay. This
    process counts as done with its own; what it still holds open it can read on.

    Raises
    ------
    SettingsError
        As in `cache_bound`.
    """
    bound = cache_bound()
    for cache in list(_OPEN):
        cache.release()
    ages = {}
    for folder in rows_folder().glob("*"):
        with suppress(OSError):  # gone meanwhile
            ages[folder] = (folder / _LOCK).stat().st_mtime_ns
    sizes = {folder: _measure(folder) for folder in ages}
    total = sum(sizes.values())
    for folder in sorted(ages, key=ages.__getitem__):
        if total <= bound:
            return
        if _remove_unused(folder):
            total -= sizes[folder]


class RowCache:
    """Rows of n_x pixel values, each under the SHA-256 of the picture file that it was decoded from.

    A process that adds rows has a *segment* of its own: `*.rows`, records of key, row and CRC-32 of both, all of one
    length, and `*.keys`, the first eight bytes of each key, written after the record. So nobody waits for anybody, a
    kill at any moment costs the record that was being written, and a million records are opened by reading 8 MB.
    What a record holds is checked whenever it is read. Several threads may use the object at once.

    Parameters
    ----------
    folder : Path
        The rows of one way to decode; made where it is missing.
    n_x : int
        Pixel values of a row.

    Raises
    ------
    EnvironmentProblem
        If the folder cannot be made or read.
    """

    def __init__(self, folder: Path, n_x: int) -> None:
        self.folder, self.n_x = folder, n_x
        self._length = KEY_BYTES + n_x + _CRC_BYTES
        self._segments: list[tuple[Path, int]] = []
        self._sorted: tuple[NDArray[np.uint64], Places] = (np.empty(0, np.uint64), np.empty(0, np.int64))
        self._recent: dict[int, int] = {}
        self._adding = threading.Lock()
        self._own: tuple[int, int] | None = None  # number of the segment that is ours, and its file of keys
        self._records = 0  # in that segment
        self._descriptors: list[int] = []
        self._closer = weakref.finalize(self, _close_all, self._descriptors)
        try:
            self._lock = self._share_folder()
            self._open_segments()
        except OSError as error:
            _refuse(folder, "be used", error)
        _OPEN.add(self)

    def close(self) -> None:
        """Close all files; nothing can be read afterwards. Happens by itself when the object goes."""
        self._closer()

    def release(self) -> None:
        """Tell `trim_rows` of any process that these rows may go."""
        if self._closer.alive:
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def find(self, key: bytes) -> int | None:
        """Return the place of the row of a picture, or None where there is none or it is damaged.

        Parameters
        ----------
        key : bytes
            SHA-256 of the picture file, 32 bytes.
        """
        prefix = int.from_bytes(key[:_PREFIX_BYTES], "little")
        recent = self._recent  # before the sorted ones: what leaves here is there already
        if (place := recent.get(prefix)) is not None and self._is_sound(place, key):
            return place
        prefixes, places = self._sorted
        number = int(np.searchsorted(prefixes, np.uint64(prefix)))
        while number < len(prefixes) and int(prefixes[number]) == prefix:
            if self._is_sound(place := int(places[number]), key):
                return place
            number += 1
        return None

    def append(self, key: bytes, row: Pixels) -> int:
        """Add a row; return its place.

        Parameters
        ----------
        key : bytes
            SHA-256 of the picture file, 32 bytes.
        row : ndarray of shape (n_x,), uint8

        Raises
        ------
        EnvironmentProblem
            If it cannot be written; the message names the file.
        """
        if row.shape != (self.n_x,) or row.dtype != np.uint8 or len(key) != KEY_BYTES:
            raise ValueError(f"row has shape {row.shape} and type {row.dtype}; expected ({self.n_x},) uint8")
        content = key + row.tobytes()
        record = content + zlib.crc32(content).to_bytes(_CRC_BYTES, "little")
        path = self.folder
        with self._adding:
            try:
                number, keys = self._own or self._take_segment()
                path, rows = self._segments[number]
                _write(rows, record, self._records * self._length)
                path = path.with_suffix(".keys")
                _write(keys, key[:_PREFIX_BYTES], self._records * _PREFIX_BYTES)
            except OSError as error:
                _refuse(path, "be written", error)
            place = number << _NUMBER_BITS | self._records
            self._records += 1
            self._recent[int.from_bytes(key[:_PREFIX_BYTES], "little")] = place
            if len(self._recent) >= _MOST_RECENT:
                self._sort_in()
        return place

    def read_into(self, places: Places, out: Pixels) -> None:
        """Fill `out` with rows.

        Parameters
        ----------
        places : ndarray of shape (k,), int64
            From `find` and `append`.
        out : ndarray of shape (k, n_x), uint8, C-contiguous

        Raises
        ------
        DataError
            If a record is no longer what was written.
        EnvironmentProblem
            If the disk cannot be read.
        """
        key, crc = bytearray(KEY_BYTES), bytearray(_CRC_BYTES)
        for row, place in zip(out, places.tolist(), strict=True):
            path, descriptor, position = self._locate(place)
            try:
                count = os.preadv(descriptor, [key, row.data, crc], position)
            except OSError as error:
                _refuse(path, "be read", error)
            if count != self._length or zlib.crc32(row.data, zlib.crc32(key)) != int.from_bytes(crc, "little"):
                raise DataError(f"'{path}' was changed while it was in use; run the same command again")

    def _is_sound(self, place: int, key: bytes) -> bool:
        """Tell whether the record is whole and that of the key."""
        _, descriptor, position = self._locate(place)
        try:
            record = os.pread(descriptor, self._length, position)
        except OSError:  # a bad sector: the picture is decoded again
            return False
        whole = len(record) == self._length and record[:KEY_BYTES] == key
        return whole and zlib.crc32(memoryview(record)[:-_CRC_BYTES]) == int.from_bytes(record[-_CRC_BYTES:], "little")

    def _locate(self, place: int) -> tuple[Path, int, int]:
        """Return file, descriptor and position of a record."""
        if not self._closer.alive:  # the system may have given the numbers to other files
            raise ValueError(f"the rows in '{self.folder}' are closed")
        path, descriptor = self._segments[place >> _NUMBER_BITS]
        return path, descriptor, (place & ((1 << _NUMBER_BITS) - 1)) * self._length

    def _share_folder(self) -> int:
        """Make the folder, and keep `trim_rows` of other processes from removing it; return the lock."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._keep_open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), (self.folder / _LOCK).stat()):
                    os.utime(lock)
                    return lock
            # It was removed before the lock was ours.

    def _open_segments(self) -> None:
        """Learn the keys that are there."""
        prefixes, places = [], []
        for path in sorted(self.folder.glob("*.rows")):
            with suppress(FileNotFoundError):
                found = np.fromfile(path.with_suffix(".keys"), dtype="<u8")
                number = self._add_segment(path, os.O_RDWR)
                prefixes.append(found.astype(np.uint64))  # of records that are not there, none will be sound
                places.append(np.arange(len(found), dtype=np.int64) | (number << _NUMBER_BITS))
        if prefixes:
            self._sorted = _sort(np.concatenate(prefixes), np.concatenate(places))

    def _sort_in(self) -> None:
        """Move the recent keys to the sorted ones, where each takes 16 bytes."""
        prefixes, places = self._sorted
        more = np.fromiter(self._recent, np.uint64, len(self._recent))
        where = np.fromiter(self._recent.values(), np.int64, len(self._recent))
        self._sorted = _sort(np.concatenate([prefixes, more]), np.concatenate([places, where]))
        self._recent = {}  # a new one: another thread may be looking into the old one

    def _take_segment(self) -> tuple[int, int]:
        """Go on with a segment that no process writes to, or begin one; return its number and its file of keys.

        What a kill left half-written at the end is written over.
        """
        for number in range(len(self._segments)):
            if _lock_alone(self._segments[number][1]):
                break
        else:
            number = self._add_segment(self.folder / f"{secrets.token_hex(8)}.rows", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            _lock_alone(self._segments[number][1])
        path, rows = self._segments[number]
        keys = self._keep_open(path.with_suffix(".keys"), os.O_RDWR | os.O_CREAT)
        self._records = min(os.fstat(rows).st_size // self._length, os.fstat(keys).st_size // _PREFIX_BYTES)
        self._own = number, keys
        return self._own

    def _add_segment(self, path: Path, flags: int) -> int:
        """Open a file of records; return its number."""
        self._segments.append((path, self._keep_open(path, flags)))
        return len(self._segments) - 1

    def _keep_open(self, path: Path, flags: int) -> int:
        """Open a file until the object goes: it can be read even when it is removed meanwhile."""
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self._descriptors.append(descriptor)
        return descriptor


class CachedRows:
    """Pixels X of shape (m, n_x), uint8, that stay in a `RowCache` and are read where they are asked for.

    Parameters
    ----------
    cache : RowCache
    places : ndarray of shape (m,), int64
        Where each row lies.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, cache: RowCache, places: Places) -> None:
        self._cache, self._places = cache, places
        self.shape = (len(places), cache.n_x)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: Any) -> Pixels:
        """Return rows in a fresh array, as NumPy would: X[i], X[i:j] or X[[i, k, ...]].

        Raises
        ------
        IndexError
            If a row does not exist, or the key is of another kind.
        DataError, EnvironmentProblem
            As in `RowCache.read_into`.
        """
        places = np.asarray(self._places[key])
        rows = np.empty((*places.shape, self.shape[1]), dtype=np.uint8)
        self._cache.read_into(places.reshape(-1), rows.reshape(-1, self.shape[1]))
        return rows

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to become one array: NumPy would read everything into memory without a word."""
        raise TypeError(f"{len(self)} rows stay on disk; take blocks X[i:j]")

    def take(self, indices: Any) -> "CachedRows":
        """Return some of the rows, in any order, without reading them.

        Parameters
        ----------
        indices : array_like of int
            Rows of this X.
        """
        return CachedRows(self._cache, self._places[np.asarray(indices, dtype=np.intp)])


def _sort(prefixes: NDArray[np.uint64], places: Places) -> tuple[NDArray[np.uint64], Places]:
    order = np.argsort(prefixes, kind="stable")
    return prefixes[order], places[order]


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Write all of the data; a disk that gets full takes a part first."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, memoryview(data)[done:], position + done)


def _lock_alone(descriptor: int) -> bool:
    """Lock a file for this object alone, if nobody else has. The system unlocks it when the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _refuse(path: Path, what: str, error: OSError) -> NoReturn:
    """Say which file is in the way."""
    reason = error.strerror or one_line(error)
    remedy = "free some space or mend the permissions, then run the same command again: what was decoded is kept"
    raise EnvironmentProblem(f"'{path}' cannot {what} ({reason}); {remedy}") from error


def _measure(folder: Path) -> int:
    """Return how many bytes the files of a folder have."""
    total = 0
    for path in folder.glob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def _remove_unused(folder: Path) -> bool:
    """Remove a folder of rows unless somebody uses it."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _lock_alone(lock):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
    finally:
        os.close(lock)
