"""Rows of pixels that are not in memory, such as those of a prepared set larger than memory.

They are indexed like an ndarray of shape (m, n_x), and read in blocks where they are used.
"""

from collections.abc import Callable
from typing import Any, NoReturn, Union

import numpy as np
from numpy.typing import NDArray

Pixels = Union[NDArray[np.uint8], "RowsOnDisk"]


class RowsOnDisk:
    """Pixels X of shape (m, n_x), uint8, that stay on disk; indexing reads them into new arrays.

    Parameters
    ----------
    shape : (int, int)
        (m, n_x).

    Notes
    -----
    A subclass implements `_read_rows`. Several threads may read at once.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.size = self.nbytes = shape[0] * shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse to become one array: NumPy would silently read everything into memory."""
        raise TypeError(f"{self!r}: its {self.nbytes} bytes stay on disk; take blocks X[i:j]")

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or sent to another process: an open file would be closed twice."""
        raise TypeError(f"{self!r} reads open files and can be neither copied nor pickled")

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
        """
        m, n_x = self.shape
        if isinstance(key, slice):
            start, stop = _bounds(key, m)
            block = np.empty((stop - start, n_x), dtype=np.uint8)
            self._read_rows(start, block)
            return block
        if isinstance(key, tuple):
            if len(key) != 2 or not all(isinstance(part, slice) for part in key):
                raise TypeError(f"X[{key!r}] is not supported; of columns, take X[:, a:b]")
            (start, stop), (left, right) = _bounds(key[0], m), _bounds(key[1], n_x)
            block = np.empty((stop - start, right - left), dtype=np.uint8)
            self._read_columns(start, left, block)
            return block
        rows = _row_numbers(key, m)
        block = np.empty((*rows.shape, n_x), dtype=np.uint8)
        flat = block.reshape(-1, n_x)
        for i, row in enumerate(rows.ravel().tolist()):
            self._read_rows(row, flat[i : i + 1])
        return block

    def read_into(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` with the rows from `start` on.

        Parameters
        ----------
        start : int
            The first row, at least 0.
        out : ndarray of shape (k, n_x), uint8, C-contiguous and writable
            Receives the rows start to start + k - 1.

        Raises
        ------
        IndexError
            If there are fewer rows.
        ValueError
            If `out` does not fit, or after the file was closed.
        DataError
            If the file was changed.
        EnvironmentProblem, OSError
            If the disk cannot be read.
        """
        m, n_x = self.shape
        fits = out.dtype == np.uint8 and out.ndim == 2 and out.shape[1] == n_x
        if not (fits and out.flags.c_contiguous and out.flags.writeable):
            raise ValueError(
                f"out has shape {out.shape} and type {out.dtype}; expected (k, {n_x}) uint8, C-contiguous and writable"
            )
        if not 0 <= start <= start + len(out) <= m:
            raise IndexError(f"rows {start} to {start + len(out)} are asked for; there are {m}")
        self._read_rows(start, out)

    def take(self, indices: Any) -> "ChosenRows":
        """Return some of the rows, in any order, without reading them.

        Parameters
        ----------
        indices : array_like of int
            Rows of this X.
        """
        return ChosenRows(self, _row_numbers(indices, len(self)))

    def locate(self, rows: slice, url: str | None = None) -> "Callable[[], RowsOnDisk] | None":
        """Return a function that opens some rows in another process, which may run on another machine.

        Parameters
        ----------
        rows : slice
            Of step 1, within the rows that exist.
        url : str, optional
            A copy of the file, from which that machine downloads the rows. By default it opens the file itself.

        Returns
        -------
        callable or None
            It can be pickled, and returns the rows as a `RowsOnDisk` of its own. None where no other process can read
            the rows; the caller then sends them.
        """
        del rows, url
        return None

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill `out`, of shape (k, n_x), with the rows from `start` on; all of them exist."""
        raise NotImplementedError

    def _read_columns(self, start: int, left: int, out: NDArray[np.uint8]) -> None:
        """Fill `out`, of shape (k, c), with the columns from `left` on of the rows from `start` on."""
        row = np.empty((1, self.shape[1]), dtype=np.uint8)
        for i in range(len(out)):
            self._read_rows(start + i, row)
            out[i] = row[0, left : left + out.shape[1]]


class ChosenRows(RowsOnDisk):
    """A selection of rows that stay on disk.

    Parameters
    ----------
    source : RowsOnDisk
    rows : ndarray of shape (m,), int
        Their numbers in `source`.
    """

    def __init__(self, source: RowsOnDisk, rows: NDArray[np.intp]) -> None:
        super().__init__((len(rows), source.shape[1]))
        self._source, self._rows = source, rows

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        for i, row in enumerate(self._rows[start : start + len(out)].tolist()):
            self._source.read_into(row, out[i : i + 1])


def _bounds(key: slice, length: int) -> tuple[int, int]:
    """Return the first index and the end of a slice of step 1."""
    start, stop, step = key.indices(length)
    if step != 1:
        raise TypeError(f"a slice of step {step} is not supported; take X[i:j] or X[[i, k, ...]]")
    return start, max(start, stop)


def _row_numbers(key: Any, m: int) -> NDArray[np.intp]:
    """Return the rows that an index or an array of indices selects, counted from 0."""
    rows = np.asarray(key)
    if isinstance(key, list) and not key:
        rows = rows.astype(np.intp)  # NumPy accepts [] as indices
    if rows.dtype.kind not in "iu" or rows.ndim > 1:
        raise TypeError(f"rows cannot be chosen by {key!r}; take X[i], X[i:j] or X[[i, k, ...]]")
    wrong = rows[(rows < -m) | (rows >= m)]
    if wrong.size:
        raise IndexError(f"row {wrong.flat[0]} does not exist; there are {m}")
    rows = rows.astype(np.intp)  # m need not fit into the type of the key
    return np.where(rows < 0, rows + m, rows)
