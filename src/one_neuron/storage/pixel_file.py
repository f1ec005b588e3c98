"""Prepared sets larger than memory: pixels that stay in their file, and the blocks in which all pixels are read."""

import hashlib
import os
import platform
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.rows import Pixels, RowsOnDisk
from one_neuron.storage.remote_file import RemoteFile
from one_neuron.system.machine import read_megabytes
from one_neuron.system.memory import memory_left

MEMORY_VARIABLE = "ONE_NEURON_MEMORY_MB"
_MOST_BYTES = 2**30  # of one read: macOS refuses 2 GiB and more, Linux reads up to 2 GiB of what it is asked for
BLOCK_BYTES = 4 * 2**20  # of pixels read at a time: a few blocks stay in the processor's cache


def memory_bound() -> int:
    """Return how many bytes the pixels of a prepared set may take in memory; larger ones stay on disk.

    The environment variable ONE_NEURON_MEMORY_MB sets it in megabytes of 2**20 bytes; unset or empty, it is 500. Where
    little memory is left, the bound is a quarter of that: `evaluate` holds two sets. It is not a parameter: results are
    the same with any bound.

    Raises
    ------
    SettingsError
        If the variable is not a whole number of at least 64.
    """
    return min(read_megabytes(MEMORY_VARIABLE, default=500, least=64), max(BLOCK_BYTES, memory_left() // 4))


class PixelFile(RowsOnDisk):
    """Pixels X of shape (m, n_x), uint8, that stay in their file.

    Several threads may read at once, and other threads run while one reads.

    Parameters
    ----------
    path : Path
        The file. It is held open, so the pixels stay the same when `path` is replaced by another file.
    offset : int
        Where the pixels begin in the file; they lie there row after row.
    shape : (int, int)
        (m, n_x), both at least 1.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, *, offset: int, shape: tuple[int, int]) -> None:
        super().__init__(shape)
        self.path = path
        self._offset = offset
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._closer = weakref.finalize(self, os.close, self._descriptor)
        if hasattr(os, "posix_fadvise"):  # the system reads ahead
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def __repr__(self) -> str:
        return f"PixelFile('{self.path}', shape={self.shape})"

    def close(self) -> None:
        """Close the file; nothing can be read afterwards. The file is also closed when the object is deleted."""
        self._closer()

    def locate(self, rows: slice, url: str | None = None) -> "Callable[[], PixelFile]":
        """Return a function that opens some rows in another process: by the file's absolute path, or from its copy.

        The function raises a DataError if it finds another file there. A file counts as the same if its size and all
        bytes before the pixels are: in a prepared set these hold the SHA-256 of pixels and labels.
        """
        start, stop, _ = rows.indices(self.shape[0])
        return partial(
            partial(_download, url) if url else _open_again,
            self.path.absolute(),
            offset=self._offset,
            shape=(stop - start, self.shape[1]),
            start=start,
            identity=_identify(self._descriptor, self._offset),
        )

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        self._read(out.reshape(-1), start * self.shape[1])

    def _read_columns(self, start: int, left: int, out: NDArray[np.uint8]) -> None:
        for i in range(len(out)):
            self._read(out[i], (start + i) * self.shape[1] + left)

    def _read(self, out: NDArray[np.uint8], position: int) -> None:
        """Fill the flat buffer `out` with the pixels from `position` on."""
        if not self._closer.alive:  # the system may have given the number to another file
            raise ValueError(f"'{self.path}' is closed")
        done = 0
        while done < len(out):  # the system may read less than it is asked for
            part = out[done : done + _MOST_BYTES]
            try:
                # At an explicit position, so that threads do not move each other's; Python lets other threads run.
                count = os.preadv(self._descriptor, [part.data], self._offset + position + done)
            except OSError as error:
                error.filename = str(self.path)
                raise
            if count == 0:
                raise DataError(f"'{self.path}' was cut off while it was being read; run `dvc repro` to make it again")
            done += count


def _open_again(path: Path, *, offset: int, shape: tuple[int, int], start: int, identity: str) -> PixelFile:
    """Return the rows from `start` on of a file whose identity is known."""
    try:
        pixels = PixelFile(path, offset=offset + start * shape[1], shape=shape)
    except OSError as error:
        raise DataError(
            f"'{path}' cannot be opened on {platform.node()} ({error.strerror}); all workers need the file at this path"
        ) from error
    if _identify(pixels._descriptor, offset) != identity:
        raise DataError(f"'{path}' is another file on {platform.node()}; all workers need the same file at this path")
    return pixels


def _download(url: str, path: Path, *, offset: int, shape: tuple[int, int], start: int, identity: str) -> PixelFile:
    """Return the rows from `start` on of a copy of a file, downloaded into a temporary file that is already deleted."""
    copy, n_x = RemoteFile(url), shape[1]
    if _hash_head(copy.size, copy.read(0, offset)) != identity:
        raise DataError(f"'{url}' is not a copy of '{path}'; upload that file to it")
    try:
        with tempfile.NamedTemporaryFile(prefix="one-neuron-rows-") as rows:
            for part in copy.read(offset + start * n_x, offset + (start + shape[0]) * n_x):
                rows.write(part)
            rows.flush()
            return PixelFile(Path(rows.name), offset=0, shape=shape)
    except OSError as error:
        raise EnvironmentProblem(
            f"{shape[0] * n_x / 2**20:,.0f} MB of rows of '{url}' cannot be written to '{tempfile.gettempdir()}' on "
            f"{platform.node()} ({error.strerror or error}); free some space, or set TMPDIR for Ray's workers"
        ) from error


def _identify(descriptor: int, offset: int) -> str:
    """Return the `_hash_head` of an open file."""
    starts = range(0, offset, BLOCK_BYTES)
    parts = (os.pread(descriptor, min(BLOCK_BYTES, offset - start), start) for start in starts)
    return _hash_head(os.fstat(descriptor).st_size, parts)


def _hash_head(size: int, parts: Iterable[bytes]) -> str:
    """Return the SHA-256 of a file's size and of what lies before its pixels, which comes in parts."""
    digest = hashlib.sha256(str(size).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def row_blocks(X: Pixels) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of X in blocks of some megabytes; the next block is read while the caller works on this one.

    Parameters
    ----------
    X : ndarray or RowsOnDisk of shape (m, n_x), uint8
        m and n_x are at least 1.

    Yields
    ------
    ndarray of shape (k, n_x), uint8, C-contiguous
        Together all rows, in their order. Not to be written to.

    Raises
    ------
    DataError
        If reading X returns a block of the wrong shape.
    """
    m, n_x = X.shape
    rows = max(1, BLOCK_BYTES // n_x)

    def read(start: int) -> NDArray[np.uint8]:
        stop = min(start + rows, m)
        block = np.ascontiguousarray(X[start:stop])
        if block.dtype != np.uint8 or block.shape != (stop - start, n_x):
            raise DataError(
                f"X[{start}:{stop}] has shape {block.shape} and type {block.dtype}; "
                f"expected ({stop - start}, {n_x}) uint8"
            )
        return block

    with ThreadPoolExecutor(max_workers=1) as reader:
        ahead = reader.submit(read, 0)
        for start in range(rows, m, rows):
            block = ahead.result()
            ahead = reader.submit(read, start)
            yield block
        yield ahead.result()
