"""Many picture files become rows of pixels, on all cores; pictures that were decoded before come from the cache."""

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

from one_neuron.errors import DataError, EnvironmentProblem, one_line, quote_path
from one_neuron.layout import hash_code
from one_neuron.pictures import limits, reader
from one_neuron.pictures.cache_limit import cache_bound, rows_folder
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.refusals import REMEDY_REPLACE
from one_neuron.pictures.row_cache import KEY_BYTES, CachedRows, RowCache
from one_neuron.system.machine import count_cores
from one_neuron.system.memory import memory_left
from one_neuron.system.progress import pictures_bar

_POLL_SECONDS = 0.2  # how often the main thread updates the progress bar
_BLOCK_BYTES = 2**18  # read at a time for a SHA-256
_WHOLE_BYTES = 2**22  # files up to this size are read into memory
_SMALL_BYTES = 2**18  # up to this size, a SHA-256 takes no longer than the rest of a search in the cache
_BATCH = 16  # after as many cached pictures in a row, only one thread at a time searches, for as many more
_NOT_DECODED = -1


@dataclass(frozen=True)
class Decoded:
    """The rows of many picture files.

    Parameters
    ----------
    digests : ndarray of shape (number of paths, 32), uint8
        SHA-256 of the content of each file; zeros where the file could not be read to its end.
    kept : ndarray of shape (m,), int
        Indices of the paths that were decoded, in order.
    X : CachedRows of shape (m, n_x), uint8
        Their pixels, which stay on disk.
    skipped : sequence of (int, str)
        Index of each path that was not decoded, in order, and the reason.
    """

    digests: NDArray[np.uint8]
    kept: NDArray[np.intp]
    X: CachedRows
    skipped: Sequence[tuple[int, str]] = ()


def decode_pictures(
    names: Sequence[Path | str],
    preprocessing: Preprocessing,
    *,
    folder: Path = Path(),
    on_error: str = "stop",
    max_skipped: int = 0,
) -> Decoded:
    """Decode picture files on all cores, each content once, and keep the rows on disk for the next run.

    The result depends neither on the number of threads nor on the cache. Ctrl-C or a kill at any moment keeps the rows
    decoded so far. Call `cache_limit.trim_rows` when the files made from the rows are written.

    Parameters
    ----------
    names : sequence of Path or str
        The files, relative to `folder` or absolute; texts take less memory than a million Paths.
    preprocessing : Preprocessing
        Size of the results, and how they are made.
    folder : Path
        By default the current folder.
    on_error : {"stop", "skip"}
        Whether an unreadable picture is an error or is skipped.
    max_skipped : int
        With "skip", the most pictures that may be skipped.

    Raises
    ------
    DataError
        If a picture cannot be read and `on_error` is "stop", or if more than `max_skipped` cannot; the message names
        the first of them in the order of `names`.
    EnvironmentProblem
        If the disk is full or cannot be written.
    SettingsError
        As in `cache_limit.cache_bound`.
    """
    cache_bound()  # check the variable now, and not after an hour of decoding
    cache = RowCache(rows_folder() / _name_rows(preprocessing), preprocessing.n_x)
    work = _Work(names, folder, cache, preprocessing, allowed=max_skipped if on_error == "skip" else 0)
    _run_on_all_cores(work)
    skipped = sorted(work.errors.items())
    if len(skipped) > work.allowed:
        index, reason = skipped[0]
        picture = f"{quote_path(folder / names[index])} {reason}"
        if on_error == "stop":
            raise DataError(picture)
        raise DataError(
            f"more than {max_skipped:,} of {len(names):,} pictures cannot be read, the first: {picture}; "
            "replace them, or raise data.max_skipped"
        )
    kept = np.flatnonzero(work.places != _NOT_DECODED)
    return Decoded(work.digests, kept, CachedRows(cache, work.places[kept]), skipped)


class _Work:
    """The files to decode, shared by all threads. At most `allowed` of them may be unreadable."""

    def __init__(
        self,
        names: Sequence[Path | str],
        folder: Path,
        cache: RowCache,
        preprocessing: Preprocessing,
        *,
        allowed: int,
    ) -> None:
        self.names, self.allowed = names, allowed
        self.places = np.full(len(names), _NOT_DECODED, np.int64)
        self.digests = np.zeros((len(names), KEY_BYTES), np.uint8)
        self.errors: dict[int, str] = {}
        self.done = 0
        self._folder, self._cache, self._preprocessing = folder, cache, preprocessing
        self._budget = _PixelBudget(min(limits.MAX_PIXELS, memory_left() // (2 * limits.BYTES_PER_PIXEL)))
        self._lock, self._searching = threading.Lock(), threading.Lock()
        self._cached_in_a_row = 0  # small files; a count lost to another thread does no harm
        self._indices = iter(range(len(names)))  # of the pictures that no thread has begun

    def stop(self) -> None:
        """Begin no more pictures."""
        with self._lock:
            self._indices = iter(())

    def run(self) -> None:
        """Decode one picture after the other, as one of several threads, until none is left.

        Pictures are begun in order, and each one that is begun is finished, so the first unreadable one is always
        found.
        """
        try:
            while self._decode_some():
                pass
        except BaseException:
            self.stop()
            raise

    def _decode_some(self) -> bool:
        """Decode one picture, or look up several in the cache; return whether there may be more."""
        searching = self._cached_in_a_row > _BATCH
        # When every picture is cached, threads mostly wait for each other's locks and take longer than one thread.
        with self._searching if searching else nullcontext():
            for _ in range(_BATCH if searching else 1):
                with self._lock:
                    index = next(self._indices, None)
                if index is None:
                    return False
                try:
                    self._decode(index)
                except DataError as error:
                    self._refuse(index, error)
                with self._lock:
                    self.done += 1
                if not self._cached_in_a_row:
                    break
        return True

    def _decode(self, index: int) -> None:
        """Look up one picture in the cache, or decode it."""
        with reader.open_picture(self._folder / self.names[index]) as stream:
            stamp = _read_stamp(stream)
            # Pillow reads a few kilobytes at a time, which is faster from memory.
            source = io.BytesIO(_read(stream)) if stamp[0] <= _WHOLE_BYTES else stream
            key = _read_digest(source)
            place = self._cache.find(key)
            quick = place is not None and stamp[0] <= _SMALL_BYTES
            self._cached_in_a_row = self._cached_in_a_row + 1 if quick else 0
            if place is None:
                try:
                    pixels = reader.read_picture(source, self._preprocessing, reserve=self._budget.reserve)
                except EnvironmentProblem as error:
                    raise EnvironmentProblem(f"{quote_path(self._folder / self.names[index])}: {error}") from error
                if _read_stamp(stream) != stamp:  # the pixels may not belong to the key
                    raise DataError("was changed while it was being read; wait until it is complete")
                place = self._cache.append(key, pixels.reshape(-1))
        self.digests[index] = np.frombuffer(key, np.uint8)
        self.places[index] = place

    def _refuse(self, index: int, error: DataError) -> None:
        """Record a picture that cannot be read; stop if there are too many."""
        with self._lock:
            self.errors[index] = one_line(error).removeprefix(f"{quote_path(self._folder / self.names[index])} ")
            too_many = len(self.errors) > self.allowed
        if too_many:
            self.stop()


class _PixelBudget:
    """Limits the memory of all threads: their pictures together have at most `pixels` pixels."""

    def __init__(self, pixels: int) -> None:
        self._total = self._free = pixels
        self._turn = threading.Lock()
        self._change = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until that number of pixels is free, and hold them inside a `with` block."""
        pixels = min(pixels, self._total)
        # First come, first served: small pictures must not overtake a large one for ever.
        with self._turn, self._change:
            self._change.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._change:
                self._free += pixels
                self._change.notify()


def _run_on_all_cores(work: _Work) -> None:
    """Run the work in one thread for each core, and show its progress."""
    threads = max(1, min(count_cores(), len(work.names)))
    with ThreadPoolExecutor(threads) as pool, pictures_bar(len(work.names)) as show:
        try:
            futures = [pool.submit(work.run) for _ in range(threads)]
            waiting = set(futures)
            while waiting:
                _, waiting = wait(waiting, _POLL_SECONDS)
                show(work.done)
        finally:
            work.stop()  # before the pool waits for its threads
    for future in futures:
        future.result()


def _name_rows(preprocessing: Preprocessing) -> str:
    """Return the name of a folder of rows: a hash of everything but the picture that a row depends on."""
    code = hash_code("one_neuron/pictures/reader.py", aside=["one_neuron.errors"])
    content = {**asdict(preprocessing), "pillow": metadata.version("pillow"), "code": code}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()[:32]


def _read(stream: BinaryIO, most: int = -1) -> bytes:
    """Return the next bytes of a file, by default all of them."""
    try:
        return stream.read(most)
    except OSError as error:
        reason = error.strerror or one_line(error)
        raise DataError(f"cannot be read ({reason}); {REMEDY_REPLACE}") from error


def _read_digest(stream: BinaryIO) -> bytes:
    """Return the SHA-256 of an open file."""
    digest = hashlib.sha256()
    while block := _read(stream, _BLOCK_BYTES):  # hashlib.file_digest takes 1.5 times as long for small files
        digest.update(block)
    return digest.digest()


def _read_stamp(stream: BinaryIO) -> tuple[int, int]:
    """Return size and modification time, which change when a file is written to."""
    status = os.fstat(stream.fileno())
    return status.st_size, status.st_mtime_ns
