"""Rows of decoded pictures on disk, found by the content of the picture file: a picture is decoded only once.

After a kill, only the pictures that were being decoded have to be decoded again. `cache_limit` bounds the disk space.
"""

import fcntl
import os
import secrets
import threading
import weakref
import zlib
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem, one_line
from one_neuron.rows import RowsOnDisk

KEY_BYTES = 32  # SHA-256
LOCK_FILE = "in-use"  # in a folder of rows; its modification time is the time of the last use
_CRC_BYTES = 4
_PREFIX_BYTES = 8  # of a key: enough to find its record, which holds the whole key
_MAX_RECENT = 2**16  # keys kept in a dict before they are merged into the sorted array
# A place is one int: the lowest 40 bits are the record's number in its segment, the bits above them are the number of
# the segment.
_RECORD_BITS = 40

Places = NDArray[np.int64]

_OPEN: "weakref.WeakSet[RowCache]" = weakref.WeakSet()


class RowCache:
    """Rows of n_x pixel values, each under the SHA-256 of the picture file that it was decoded from.

    Each process writes its own *segment*: `*.rows` holds records of equal length (key, row, CRC-32 of both), `*.keys`
    the first eight bytes of each key, written after the record. Writers never block each other, a kill loses at most
    the record being written, and opening a million records reads 8 MB. Each record is checked whenever it is read.
    Several threads may use the object at once.

    Parameters
    ----------
    folder : Path
        Holds the rows of one `Preprocessing`; created if it is missing.
    n_x : int
        Pixel values of a row.

    Raises
    ------
    EnvironmentProblem
        If the folder cannot be created or read.
    """

    def __init__(self, folder: Path, n_x: int) -> None:
        self.folder, self.n_x = folder, n_x
        self._length = KEY_BYTES + n_x + _CRC_BYTES
        self._segments: list[tuple[Path, int]] = []
        self._sorted: tuple[NDArray[np.uint64], Places] = (np.empty(0, np.uint64), np.empty(0, np.int64))
        self._recent: dict[int, int] = {}
        self._adding = threading.Lock()
        self._own: tuple[int, int] | None = None  # the number of this process's segment, and its file of keys
        self._records = 0  # in that segment
        self._files = ExitStack()
        self._closer = weakref.finalize(self, self._files.close)
        try:
            self._lock = self._share_folder()
            self._open_segments()
        except OSError as error:
            _refuse(folder, "be used", error)
        _OPEN.add(self)

    def close(self) -> None:
        """Close all files; nothing can be read afterwards. They are also closed when the object is deleted."""
        self._closer()

    def release(self) -> None:
        """Allow `trim_rows` of any process to remove these rows."""
        if self._closer.alive:
            with suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def find(self, key: bytes) -> int | None:
        """Return the place of the row of a picture, or None if it is missing or damaged.

        Parameters
        ----------
        key : bytes
            SHA-256 of the picture file, 32 bytes.
        """
        prefix = int.from_bytes(key[:_PREFIX_BYTES], "little")
        # Search `_recent` first: `append` puts keys into `_sorted` before it empties `_recent`.
        recent = self._recent.get(prefix)
        prefixes, places = self._sorted
        first, end = (prefixes.searchsorted(np.uint64(prefix), side) for side in ("left", "right"))
        candidates = places[first:end].tolist() if recent is None else [recent, *places[first:end].tolist()]
        return next((place for place in candidates if self._is_sound(place, key)), None)

    def append(self, key: bytes, row: NDArray[np.uint8]) -> int:
        """Add a row; return its place.

        Parameters
        ----------
        key : bytes
            SHA-256 of the picture file, 32 bytes.
        row : ndarray of shape (n_x,), uint8
            The decoded picture.

        Raises
        ------
        EnvironmentProblem
            If it cannot be written.
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
            place = number << _RECORD_BITS | self._records
            self._records += 1
            self._recent[int.from_bytes(key[:_PREFIX_BYTES], "little")] = place
            if len(self._recent) >= _MAX_RECENT:
                places = np.fromiter(self._recent.values(), np.int64, len(self._recent))
                self._sort_in(np.fromiter(self._recent, np.uint64, len(self._recent)), places)
                self._recent = {}  # a new dict: another thread may be searching the old one
        return place

    def read_into(self, places: Places, out: NDArray[np.uint8]) -> None:
        """Fill `out`, (k, n_x), with the rows at k places, which `find` and `append` returned.

        Raises
        ------
        DataError
            If a record is no longer what was written.
        EnvironmentProblem
            If the disk cannot be read.
        """
        for row, place in zip(out, places.tolist(), strict=True):
            path, _ = self._segments[place >> _RECORD_BITS]
            try:
                key = self._read_record(place, row)
            except OSError as error:
                _refuse(path, "be read", error)
            if key is None:
                raise DataError(f"'{path}' was changed while it was in use; run the same command again")

    def _is_sound(self, place: int, key: bytes) -> bool:
        """Return whether a record is undamaged and belongs to the key."""
        try:
            return self._read_record(place, np.empty(self.n_x, np.uint8)) == key
        except OSError:  # a bad sector; the picture is decoded again
            return False

    def _read_record(self, place: int, row: NDArray[np.uint8]) -> bytes | None:
        """Read the row of a record into `row`; return its key, or None if the record is damaged."""
        if not self._closer.alive:  # the system may have given the numbers to other files
            raise ValueError(f"the rows in '{self.folder}' are closed")
        _, descriptor = self._segments[place >> _RECORD_BITS]
        key, crc = bytearray(KEY_BYTES), bytearray(_CRC_BYTES)
        count = os.preadv(descriptor, [key, row.data, crc], (place & ((1 << _RECORD_BITS) - 1)) * self._length)
        sound = count == self._length and zlib.crc32(row.data, zlib.crc32(key)) == int.from_bytes(crc, "little")
        return bytes(key) if sound else None

    def _share_folder(self) -> int:
        """Create the folder and lock it against `trim_rows` of other processes; return the lock."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._keep_open(self.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
            with suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_SH)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), (self.folder / LOCK_FILE).stat()):
                    os.utime(lock)
                    return lock
            # The folder was removed before this process held the lock.

    def _open_segments(self) -> None:
        """Read the keys of all segments."""
        for path in sorted(self.folder.glob("*.rows")):
            with suppress(FileNotFoundError):
                prefixes = np.fromfile(path.with_suffix(".keys"), dtype="<u8")
                number = self._add_segment(path, os.O_RDWR)
                # `find` checks whether the records exist.
                self._sort_in(prefixes, np.arange(len(prefixes), dtype=np.int64) | (number << _RECORD_BITS))

    def _sort_in(self, prefixes: NDArray[np.uint64], places: Places) -> None:
        """Merge keys into the sorted array, where each takes 16 bytes."""
        prefixes, places = np.concatenate([self._sorted[0], prefixes]), np.concatenate([self._sorted[1], places])
        order = np.argsort(prefixes, kind="stable")
        self._sorted = prefixes[order], places[order]

    def _take_segment(self) -> tuple[int, int]:
        """Continue a segment that no process writes to, or begin one; return its number and its file of keys.

        A record that a kill left incomplete at the end is overwritten.
        """
        for number in range(len(self._segments)):
            if lock_exclusively(self._segments[number][1]):
                break
        else:
            number = self._add_segment(self.folder / f"{secrets.token_hex(8)}.rows", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            lock_exclusively(self._segments[number][1])
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
        """Open a file until the object is closed; the open descriptor stays readable even if the file is removed."""
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
        self._files.callback(os.close, descriptor)
        return descriptor


class CachedRows(RowsOnDisk):
    """Pixels X of shape (m, n_x), uint8, that stay in a `RowCache`.

    Parameters
    ----------
    cache : RowCache
    places : ndarray of shape (m,), int64
        Where each row lies, from `RowCache.find` and `RowCache.append`.
    """

    def __init__(self, cache: RowCache, places: Places) -> None:
        super().__init__((len(places), cache.n_x))
        self._cache, self._places = cache, places

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        self._cache.read_into(self._places[start : start + len(out)], out)


def release_all() -> None:
    """Release the rows of all caches of this process."""
    for cache in list(_OPEN):
        cache.release()


def lock_exclusively(descriptor: int) -> bool:
    """Try to lock a file; return whether it succeeded. The system unlocks it when the process ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(descriptor: int, data: bytes, position: int) -> None:
    """Write all of the data; a disk that becomes full may accept only a part at first."""
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, memoryview(data)[done:], position + done)


def _refuse(path: Path, what: str, error: OSError) -> NoReturn:
    """Raise the error of a file that cannot be used."""
    reason = error.strerror or one_line(error)
    remedy = "free some space or correct the permissions, then run the same command again: decoded pictures are kept"
    raise EnvironmentProblem(f"'{path}' cannot {what} ({reason}); {remedy}") from error
