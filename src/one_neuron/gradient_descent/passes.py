"""Passes over the rows of X: all that an iteration of the form "blocks" needs of the pixels.

`Passes` is the interface. Engines differ in where they add up: `LocalPasses` does it on the threads of this process,
those in `engines` on other processes, machines or devices. For one neuron the sums are exact whole numbers, so the bits
of z, dw and db are the same for every engine, any number of parts and any order. For many they are float64.
"""

import math
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import products
from one_neuron.exact.compiled import COUNT_BITS, Integers, add_gradient, compute_z, split_counts
from one_neuron.gradient_descent import many_rows
from one_neuron.gradient_descent.many_rows import ManyWanted
from one_neuron.neuron import Array, Parameters
from one_neuron.rows import RowsOnDisk
from one_neuron.system.machine import count_cores

_SPANS = 8  # parts of the rows in float64; their sums are added up in their order, whatever the number of threads
_BLOCK_BYTES = 9 * 2**19  # a few blocks fit into the last cache, and above 4 MB NumPy asks for large pages


@dataclass(frozen=True)
class Wanted:
    """What one pass computes.

    Parameters
    ----------
    parameters : Parameters
        w and b in z = X w + b.
    divisor : float, optional
        dz = z / divisor, which is in [-1, 1]. By default dz = sigmoid(z) - Y.
    z : bool
        Whether z is returned.
    gradient : bool
        Whether the sums over dz are computed; otherwise they are 0.
    """

    parameters: Parameters
    divisor: float | None = None
    z: bool = False
    gradient: bool = True


@dataclass(frozen=True)
class Sums:
    """What one pass returns: exact sums of whole numbers, to which those of other rows can be added.

    Parameters
    ----------
    z : ndarray of shape (m,), float64, or None
        z = X w + b, if it was wanted.
    dw : ndarray of shape (n_x,), int64
        X^T c for the pixels X, where c is dz in units of 2**-COUNT_BITS, rounded.
    db : int
        sum(c).
    """

    z: Array | None
    dw: Integers
    db: int


class Passes(ABC):
    """Passes over labelled rows, inside a `with` block."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Free what the passes hold."""

    @abstractmethod
    def add_up(self, wanted: Wanted) -> Sums:
        """Do one pass over all rows."""

    @abstractmethod
    def add_up_many(self, wanted: ManyWanted, folds: NDArray[Any] | None) -> tuple[Array, Array]:
        """Do one pass over all rows for c configurations, in float64.

        Parameters
        ----------
        wanted : ManyWanted
        folds : ndarray of shape (m,), int, or None
            The fold of each row; None if nothing is left out.

        Returns
        -------
        gradients : ndarray of shape (c, n_x + 1)
            The sums of dz x, and of dz in the last column, over the rows that a configuration trains on.
        scores : ndarray of shape (c, 4)
            See `many_rows.score`.
        """

    def run(self, parameters: Parameters, *, z: bool, gradient: bool = True) -> tuple[Array | None, Array, float]:
        """Return z = X w + b if it is wanted, X^T dz and sum(dz), where dz = sigmoid(z) - Y."""
        return self._run(Wanted(parameters, z=z, gradient=gradient))

    def times_covariance(self, v: Array) -> Array:
        """Return (X, 1)^T (X, 1) v, a column of ones beside X: its eigenvalues are those of X X^T + 1."""
        # |z| is at most |x| |v|, and |x|**2 at most n_x + 1.
        largest = math.sqrt(float(len(v)) * math.fsum((v * v).tolist()))
        _, dw, db = self._run(Wanted(Parameters(w=v[:-1], b=float(v[-1])), divisor=largest))
        return np.append(dw, db) * largest

    def _run(self, wanted: Wanted) -> tuple[Array | None, Array, float]:
        """Do one pass; return z, and the sums in units of 1."""
        sums, unit = self.add_up(wanted), 2.0**-COUNT_BITS
        return sums.z, np.asarray(sums.dw * (unit / products.PIXEL_MAX), np.float64), sums.db * unit


class _Workspace:
    """The arrays of one thread."""

    def __init__(self, rows: int, n_x: int, *, on_disk: bool) -> None:
        self.pixels = np.empty((rows if on_disk else 0, n_x), np.uint8)
        self.z, self.dw, self.db = np.empty(rows), np.empty(n_x, np.int64), 0


class LocalPasses(Passes):
    """Passes on the threads of this process, in blocks of rows that stay in the cache.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, or a `RowsOnDisk`
    Y : ndarray of shape (m,), values in {0, 1}
    cores : int, optional
        Number of threads; by default, as many as this process may use cores.
    """

    def __init__(self, X: Any, Y: NDArray[Any], *, cores: int | None = None) -> None:
        self._X, self._Y = X, np.asarray(Y, np.uint8)
        m, n_x = X.shape
        self._rows = max(1, min(m, _BLOCK_BYTES // n_x))
        self._starts = range(0, m, self._rows)
        on_disk = isinstance(X, RowsOnDisk)
        cores = cores or count_cores()
        number = min(len(self._starts), cores)  # one reads while another computes
        # One for each thread. A list, because its `pop` and `append` are atomic.
        self._spare = [_Workspace(self._rows, n_x, on_disk=on_disk) for _ in range(number)]
        self._pool, self._ended = ThreadPoolExecutor(cores), False

    def __exit__(self, *_: object) -> None:
        self._ended = True  # threads may be busy after Ctrl-C
        self._pool.shutdown(cancel_futures=True)

    def add_up(self, wanted: Wanted) -> Sums:
        """Do one pass over all rows."""
        m, _ = self._X.shape
        w_counts, w_unit = products.to_fixed_point(wanted.parameters.w, bits=COUNT_BITS)
        linear = (*split_counts(w_counts), w_unit / products.PIXEL_MAX, wanted.parameters.b)  # z as a function of X
        all_z = np.empty(m) if wanted.z else None

        def do_block(start: int) -> None:
            rows = slice(start, min(start + self._rows, m))
            space = self._spare.pop()
            try:
                pixels = self._read(rows, space)
                z = space.z[: len(pixels)] if all_z is None else all_z[rows]
                if wanted.gradient:
                    space.db += add_gradient(pixels, self._Y[rows], *linear, wanted.divisor or 0.0, z, space.dw)
                else:
                    compute_z(pixels, *linear, z)
            finally:
                self._spare.append(space)

        for space in self._spare:
            space.dw[:] = space.db = 0
        for _ in self._pool.map(do_block, self._starts):
            pass
        return Sums(all_z, np.sum([space.dw for space in self._spare], axis=0), sum(space.db for space in self._spare))

    def add_up_many(self, wanted: ManyWanted, folds: NDArray[Any] | None) -> tuple[Array, Array]:
        """Do one pass over all rows for many configurations."""
        m, n_x = self._X.shape

        def do_span(rows: slice) -> Array:
            return many_rows.add_up(self._X, self._Y, folds, wanted, rows, lambda: self._ended)

        spans = [slice(m * i // _SPANS, m * (i + 1) // _SPANS) for i in range(_SPANS)]
        totals: Any = sum(self._pool.map(do_span, spans))
        totals[:, :n_x] /= products.PIXEL_MAX
        return totals[:, : n_x + 1], totals[:, n_x + 1 :]

    def _read(self, rows: slice, space: _Workspace) -> NDArray[np.uint8]:
        """Return the rows, read into the workspace if they are on disk."""
        if not isinstance(self._X, RowsOnDisk):
            return np.ascontiguousarray(self._X[rows])
        pixels = space.pixels[: rows.stop - rows.start]
        self._X.read_into(rows.start, pixels)
        return pixels
