"""Prepared sets larger than memory: pixels that stay on disk, and names in one compact array."""

import operator
import os
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, SettingsError

MEMORY_VARIABLE = "ONE_NEURON_MEMORY_MB"
DEFAULT_MEMORY_MB = 500
MIN_MEMORY_MB = 64
BLOCK_BYTES = 4 * 2**20  # of pixels taken at a time: a few of them stay in the processor's cache
NAMES_AT_A_TIME = 4096


def memory_bound() -> int:
    """Return how many bytes the pixels of a prepared set may take in memory; beyond that they stay on disk.

    The environment variable ONE_NEURON_MEMORY_MB says it, in megabytes of 2**20 bytes; unset or empty, it is 500. It is
    no parameter: results are the same with any bound.

    Raises
    ------
    SettingsError
        If the variable is not a whole number of at least 64.
    """
    text = os.environ.get(MEMORY_VARIABLE, "").strip() or str(DEFAULT_MEMORY_MB)
    # More digits than these are more memory than there is.
    megabytes = int(text[:18]) if text.isascii() and text.isdigit() else 0
    if megabytes < MIN_MEMORY_MB:
        raise SettingsError(
            f"{MEMORY_VARIABLE} = {text!r}; expected a whole number of at least {MIN_MEMORY_MB} (megabytes)"
        )
    return megabytes * 2**20


class Pixels(Protocol):
    """What all pixels of a prepared set offer: an ndarray, a `PixelFile`, or anything else that gives its rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, n_x)."""

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Raw pixels, uint8."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return at least X[i:j], the rows i to j - 1, as an ndarray of shape (j - i, n_x), uint8."""


class PixelFile:
    """Pixels X of shape (m, n_x), uint8, that stay in their file and are read where they are asked for.

    Indexing gives fresh arrays with the values that an ndarray would give; nothing is kept. Several threads may read at
    once, and other threads run while one reads.

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

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, path: Path, *, offset: int, shape: tuple[int, int]) -> None:
        self.path = path
        self.shape = shape
        self._offset = offset
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._closer = weakref.finalize(self, os.close, self._descriptor)
        if hasattr(os, "posix_fadvise"):  # the system reads ahead
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    @property
    def size(self) -> int:
        """Number of pixel values."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes that all pixels take on disk and would take in memory."""
        return self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"PixelFile('{self.path}', shape={self.shape})"

    def __enter__(self) -> "PixelFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read afterwards. Happens by itself when the object goes."""
        self._closer()

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to become one array: NumPy would read the whole file into memory without a word."""
        raise TypeError(f"the pixels of '{self.path}' stay on disk ({self.nbytes} bytes); take blocks X[i:j]")

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or sent to another process: the number of the open file would be closed twice."""
        raise TypeError(f"the open file '{self.path}' can be neither copied nor pickled")

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """Return pixels as NumPy would: X[i], X[i:j], X[[i, k, ...]], X[:, a:b] or X[i:j, a:b].

        Parameters
        ----------
        key : int, slice, list or ndarray of int, or (slice, slice)
            Slices have step 1. Negative numbers count from the end.

        Returns
        -------
        ndarray, uint8
            Of shape (n_x,), (j - i, n_x), (number of indices, n_x), (m, b - a) or (j - i, b - a).

        Raises
        ------
        IndexError
            If a row does not exist.
        TypeError
            If the key is of another kind.
        DataError, OSError, ValueError
            As in `read_into`.
        """
        m, n_x = self.shape
        if isinstance(key, slice):
            start, stop = _bounds(key, m)
            block = np.empty((stop - start, n_x), dtype=np.uint8)
            self.read_into(start, block)
            return block
        if isinstance(key, tuple):
            if len(key) != 2 or not all(isinstance(part, slice) for part in key):
                raise TypeError(f"X[{key!r}] is not supported; of columns, take X[:, a:b]")
            (start, stop), (left, right) = _bounds(key[0], m), _bounds(key[1], n_x)
            block = np.empty((stop - start, right - left), dtype=np.uint8)
            for i in range(stop - start):
                self._read(block[i], self._offset + (start + i) * n_x + left)
            return block
        rows = _row_numbers(key, m)
        block = np.empty((*rows.shape, n_x), dtype=np.uint8)
        for out, row in zip(block.reshape(-1, n_x), rows.ravel().tolist(), strict=True):
            self._read(out, self._offset + row * n_x)
        return block

    def read_into(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` with the rows from `start` on.

        Parameters
        ----------
        start : int
            The first row, at least 0.
        out : ndarray of shape (k, n_x), uint8, C-contiguous and writable
            Takes the rows start to start + k - 1.

        Raises
        ------
        IndexError
            If there are not that many rows.
        ValueError
            If `out` does not fit, or after `close`.
        DataError
            If the file has become shorter.
        OSError
            If the disk cannot be read.
        """
        m, n_x = self.shape
        flags = out.flags
        if (
            out.dtype != np.uint8
            or out.ndim != 2
            or out.shape[1] != n_x
            or not (flags.c_contiguous and flags.writeable)
        ):
            raise ValueError(
                f"out has shape {out.shape} and type {out.dtype}; expected (k, {n_x}) uint8, C-contiguous and writable"
            )
        if not 0 <= start <= start + len(out) <= m:
            raise IndexError(f"rows {start} to {start + len(out)} are asked for; there are {m}")
        self._read(out.reshape(-1), self._offset + start * n_x)

    def _read(self, out: NDArray[np.uint8], position: int) -> None:
        """Fill the flat buffer `out` with the file's bytes from `position` on."""
        if not self._closer.alive:  # the system may have given the number to another file
            raise ValueError(f"'{self.path}' is closed")
        done = 0
        while done < len(out):  # Linux reads at most 2 GiB at a time, and may read less
            try:
                # At a position of its own, so that threads do not move each other's; Python lets other threads run.
                count = os.preadv(self._descriptor, [out[done:].data], position + done)
            except OSError as error:
                error.filename = str(self.path)
                raise
            if count == 0:
                raise DataError(f"'{self.path}' was cut off while it was being read; run `dvc repro` to make it again")
            done += count


def _bounds(key: slice, length: int) -> tuple[int, int]:
    """Return the first and the last plus one of a slice of step 1."""
    start, stop, step = key.indices(length)
    if step != 1:
        raise TypeError(f"a slice of step {step} is not supported; take X[i:j] or X[[i, k, ...]]")
    return start, max(start, stop)


def _row_numbers(key: Any, m: int) -> NDArray[np.intp]:
    """Return the rows that one index or an array of them means, counted from 0."""
    rows = np.asarray(key)
    if isinstance(key, list) and not key:
        rows = rows.astype(np.intp)  # NumPy takes [] as numbers, too
    if rows.dtype.kind not in "iu" or rows.ndim > 1:
        raise TypeError(f"rows cannot be chosen by {key!r}; take X[i], X[i:j] or X[[i, k, ...]]")
    wrong = rows[(rows < -m) | (rows >= m)]
    if wrong.size:
        raise IndexError(f"row {wrong.flat[0]} does not exist; there are {m}")
    rows = rows.astype(np.intp)  # m need not fit into the type that was given
    return np.where(rows < 0, rows + m, rows)


class StoredNames(Sequence[str]):
    """Names as they are stored, made into text where they are asked for: a tuple of str takes several times the memory.

    Parameters
    ----------
    stored : ndarray of shape (m,), bytes of a fixed length
        The names, each encoded by `os.fsencode`.
    """

    def __init__(self, stored: NDArray[np.bytes_]) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[str, ...]: ...

    def __getitem__(self, key: int | slice) -> str | tuple[str, ...]:
        """Return a name, or a tuple of names for a slice."""
        if isinstance(key, slice):
            return tuple(map(os.fsdecode, self.stored[key].tolist()))
        return os.fsdecode(self.stored[operator.index(key)])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), NAMES_AT_A_TIME):
            yield from self[start : start + NAMES_AT_A_TIME]


def store_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Return names as they are stored: bytes of the length of the longest, padded with zeros.

    Parameters
    ----------
    names : sequence of m str

    Returns
    -------
    ndarray of shape (m,), bytes

    Raises
    ------
    DataError
        If a name ends with a NUL character, which could not be told from the padding.
    """
    if isinstance(names, StoredNames):
        return names.stored
    longest = 0
    for name in names:
        if name.endswith("\0"):
            raise DataError(f"the name {name!r} ends with a NUL character, which cannot be stored")
        longest = max(longest, len(os.fsencode(name)))
    return np.fromiter(map(os.fsencode, names), dtype=f"S{max(longest, 1)}", count=len(names))


def names_as_bytes(names: Sequence[str]) -> Iterator[bytes]:
    """Give all names as bytes to take a SHA-256 of: their lengths (uint64, little-endian), then the names one by one.

    The lengths say where a name ends: "ab", "c" is not "a", "bc".
    """
    stored = store_names(names)
    yield np.strings.str_len(stored).astype("<u8").tobytes()
    for start in range(0, len(stored), NAMES_AT_A_TIME):
        yield b"".join(stored[start : start + NAMES_AT_A_TIME].tolist())


def row_blocks(X: Pixels) -> Iterator[NDArray[np.uint8]]:
    """Give the rows of X in blocks of some megabytes; the next is read while the caller works on this one.

    Parameters
    ----------
    X : Pixels of shape (m, n_x), uint8
        m and n_x are at least 1.

    Yields
    ------
    ndarray of shape (k, n_x), uint8, C-contiguous
        Together all rows, in their order. Not to be written to.

    Raises
    ------
    DataError
        If X gives another block than was asked for.
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
