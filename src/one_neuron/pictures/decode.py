"""Many picture files become rows of pixels, on all cores; what was decoded before is not decoded again."""

import hashlib
import io
import json
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, one_line, quote_path
from one_neuron.layout import hash_code
from one_neuron.pictures import reader
from one_neuron.pictures.cache_limit import cache_bound, rows_folder
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.row_cache import KEY_BYTES, CachedRows, RowCache
from one_neuron.system.machine import count_cores
from one_neuron.system.progress import pictures_bar

_LOOK_SECONDS = 0.2  # how often the thread that waits looks how far the others are
_BLOCK_BYTES = 2**18
_HELD_BYTES = 2**22
_SOON_BYTES = 2**18  # a file whose SHA-256 takes no longer than what else it takes to find its row
_FOUND = 16  # pictures, one after the other: then one thread at a time looks for as many more
_NOT_DECODED = -1


@dataclass(frozen=True)
class Decoded:
    """What became of many picture files.

    Parameters
    ----------
    digests : ndarray of shape (number of paths, 32), uint8
        SHA-256 of the content of each file; zeros where it could not be read to its end.
    kept : ndarray of shape (m,), int
        Which of the paths were decoded, in their order.
    X : CachedRows of shape (m, n_x), uint8
        Their pixels, which stay on disk.
    skipped : sequence of (int, str)
        Which of the paths were not, in their order, and why.
    """

    digests: NDArray[np.uint8]
    kept: NDArray[np.intp]
    X: CachedRows
    skipped: Sequence[tuple[int, str]] = ()


def decode_pictures(
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    *,
    on_error: str = "stop",
    max_skipped: int = 0,
) -> Decoded:
    """Decode picture files on all cores, each content once, keeping the rows on disk for the next time.

    The result depends neither on the number of threads nor on what was decoded before. An end at any moment, by Ctrl-C
    or a kill, leaves what was decoded. When all is done and written, `cache_limit.trim_rows` bounds the cache.

    Parameters
    ----------
    paths : sequence of Path
    preprocessing : Preprocessing
        Size of the results, and how they are made.
    on_error : {"stop", "skip"}
        What happens at a picture that cannot be read.
    max_skipped : int
        How many of them may be skipped.

    Returns
    -------
    Decoded

    Raises
    ------
    DataError
        If a picture cannot be read (the message names the first of them, in the order of `paths`) and `on_error` is
        "stop", or if there are more than `max_skipped`.
    EnvironmentProblem
        If the disk is full or cannot be written.
    SettingsError
        As in `cache_limit.cache_bound`.
    """
    cache_bound()  # a wrong value is not found out after an hour
    cache = RowCache(rows_folder() / _name_rows(preprocessing), preprocessing.n_x)
    work = _Work(paths, cache, preprocessing, allowed=max_skipped if on_error == "skip" else 0)
    _run_on_all_cores(work)
    skipped = sorted(work.refused.items())
    if len(skipped) > work.allowed:
        _refuse(paths, skipped[0], max_skipped=max_skipped if on_error == "skip" else None)
    kept = np.flatnonzero(work.places != _NOT_DECODED)
    return Decoded(work.digests, kept, CachedRows(cache, work.places[kept]), skipped)


class _Work:
    """Files to decode, shared by the threads that do it.

    Parameters
    ----------
    paths : sequence of Path
    cache : RowCache
    preprocessing : Preprocessing
    allowed : int
        How many pictures may be unreadable.
    """

    def __init__(self, paths: Sequence[Path], cache: RowCache, preprocessing: Preprocessing, *, allowed: int) -> None:
        self.paths, self.allowed = paths, allowed
        self.places = np.full(len(paths), _NOT_DECODED, np.int64)
        self.digests = np.zeros((len(paths), KEY_BYTES), np.uint8)
        self.refused: dict[int, str] = {}
        self.done = 0
        self._cache, self._preprocessing = cache, preprocessing
        self._gate = _Gate(reader.MAX_PIXELS)
        self._lock, self._finding = threading.Lock(), threading.Lock()
        self._found_in_a_row = 0  # small files; a count that is lost to another thread does no harm
        self._next = 0

    def stop(self) -> None:
        """Begin no other picture."""
        with self._lock:
            self._next = len(self.paths)

    def run(self) -> None:
        """Decode one picture after the other, as one of several threads, until none is left.

        They are begun in their order, and what was begun is finished: so the first that cannot be read is always found.
        """
        try:
            while self._go_on():
                pass
        except BaseException:
            self.stop()
            raise

    def _go_on(self) -> bool:
        """Decode one picture, or find some; return whether there may be more."""
        finding = self._found_in_a_row > _FOUND
        # Where all is found, threads would do little more than hand over to each other, and take longer than one.
        with self._finding if finding else nullcontext():
            for _ in range(_FOUND if finding else 1):
                index = self._begin()
                if index is None:
                    return False
                try:
                    self._decode(index)
                except DataError as error:
                    self._refuse(index, error)
                with self._lock:
                    self.done += 1
                if not self._found_in_a_row:
                    break
        return True

    def _begin(self) -> int | None:
        """Return the next picture, None where none is left."""
        with self._lock:
            if self._next >= len(self.paths):
                return None
            self._next += 1
            return self._next - 1

    def _decode(self, index: int) -> None:
        """Find or decode one picture."""
        with reader.open_picture(self.paths[index]) as stream:
            stamp = _read_stamp(stream)
            # Pillow asks for a few kilobytes at a time, which costs more than to hold them all.
            source = io.BytesIO(_read_all(stream)) if stamp[0] <= _HELD_BYTES else stream
            key = _read_digest(source)
            place = self._cache.find(key)
            self._found_in_a_row = self._found_in_a_row + 1 if place is not None and stamp[0] <= _SOON_BYTES else 0
            if place is None:
                pixels = reader.read_picture(source, self._preprocessing, reserve=self._gate.reserve)
                if _read_stamp(stream) != stamp:  # the pixels may not be those of the key
                    raise DataError("was changed while it was being read; wait until it is whole")
                place = self._cache.append(key, pixels.reshape(-1))
        self.digests[index] = np.frombuffer(key, np.uint8)
        self.places[index] = place

    def _refuse(self, index: int, error: DataError) -> None:
        """Note a picture that cannot be read."""
        with self._lock:
            self.refused[index] = one_line(error).removeprefix(f"{quote_path(self.paths[index])} ")
            if len(self.refused) > self.allowed:
                self._next = len(self.paths)


class _Gate:
    """Lets several threads decode at once as long as their pictures have no more pixels together than one may have.

    Parameters
    ----------
    pixels : int
        How many.
    """

    def __init__(self, pixels: int) -> None:
        self._most = self._free = pixels
        self._turn = threading.Lock()
        self._change = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until so many pixels are free, and hold them inside a `with` block."""
        pixels = min(pixels, self._most)
        with self._turn, self._change:  # in turn: small pictures do not pass a large one for ever
            self._change.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._change:
                self._free += pixels
                self._change.notify()


def _run_on_all_cores(work: _Work) -> None:
    """Run the work in as many threads as there are cores, and show how far it is."""
    threads = max(1, min(count_cores(), len(work.paths)))
    with ThreadPoolExecutor(threads) as pool, pictures_bar(len(work.paths)) as show:
        try:
            futures = [pool.submit(work.run) for _ in range(threads)]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, _LOOK_SECONDS)
                show(work.done)
        finally:
            work.stop()  # before the pool waits for its threads
    for future in futures:
        future.result()


def _name_rows(preprocessing: Preprocessing) -> str:
    """Return a name for all that a row follows from besides the content of its file."""
    # After an edit of the code that makes a row, the row would be another one.
    code = hash_code("one_neuron/pictures/reader.py", aside=["one_neuron.errors"])
    content = {**asdict(preprocessing), "pillow": metadata.version("pillow"), "code": code}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()[:32]


def _unreadable(error: OSError) -> str:
    """Say what is wrong with a file whose content the system cannot give."""
    return f"cannot be read ({error.strerror or one_line(error)}); replace or remove it"


def _read_all(stream: BinaryIO) -> bytes:
    """Return the content of a small file."""
    try:
        return stream.read()
    except OSError as error:
        raise DataError(_unreadable(error)) from error


def _read_digest(stream: BinaryIO) -> bytes:
    """Return the SHA-256 of an open file."""
    digest = hashlib.sha256()
    try:
        while block := stream.read(_BLOCK_BYTES):  # hashlib.file_digest takes half as long again for small files
            digest.update(block)
    except OSError as error:
        raise DataError(_unreadable(error)) from error
    return digest.digest()


def _read_stamp(stream: BinaryIO) -> tuple[int, int]:
    """Return what changes when a file is written to."""
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns


def _refuse(paths: Sequence[Path], first: tuple[int, str], *, max_skipped: int | None) -> None:
    """Say which picture is the first that cannot be read."""
    index, reason = first
    picture = f"{quote_path(paths[index])} {reason}"
    if max_skipped is None:
        raise DataError(picture)
    raise DataError(
        f"more than {max_skipped:,} of {len(paths):,} pictures cannot be read, the first: {picture}; "
        "mend them, or raise data.max_skipped"
    )
