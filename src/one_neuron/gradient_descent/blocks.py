"""Gradient descent by blocks of rows, in whole numbers: the form for any number of pictures, in memory or on disk.

An iteration is one pass over the pixels. The forward step and the gradient of a block of rows are computed while the
block is in the cache, by as many threads as there are cores. w and A - Y are rounded to 30 bits, so the sums are exact,
and neither the blocks nor the threads change a bit. `docs/exact-arithmetic.md` derives it.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import products
from one_neuron.exact.compiled import COUNT_BITS, add_transposed_product, multiply, split_counts
from one_neuron.gradient_descent.recorder import Checkpoint, Recorder, TrainingState
from one_neuron.gradient_descent.snapshots import Snapshots
from one_neuron.gradient_descent.stability import largest_eigenvalue
from one_neuron.neuron import Array, Parameters, initialize_with_zeros, sigmoid
from one_neuron.rows import RowsOnDisk
from one_neuron.system.machine import count_cores

ROWS_LIMIT = 2**25  # rows or columns whose products add up within 64 bits
_BLOCK_BYTES = 9 * 2**19  # a few blocks fit into the last cache, and above 4 MB NumPy asks for large pages


def descend(
    X: Any,
    Y: NDArray[Any],
    learning_rate: float,
    recorder: Recorder,
    snapshots: Snapshots,
    checkpoint: Checkpoint | None,
) -> tuple[dict[int, Parameters], float]:
    """Train; return w and b by their iterations, the trained ones last, and the largest eigenvalue of X X^T + 1.

    X is an ndarray or a `RowsOnDisk`.
    """
    m, n_x = X.shape
    if max(m, n_x) > ROWS_LIMIT:
        raise ValueError(f"X has shape {X.shape}; expected at most {ROWS_LIMIT:,} rows and columns")
    state = checkpoint.load() if checkpoint else None
    parameters, done = initialize_with_zeros(n_x), 0
    if state:
        parameters, done = state.parameters, state.iteration
        recorder.resume(state.iterations, state.costs)
        snapshots.kept = dict(state.snapshots)
    with _Passes(X) as passes:
        for iteration in range(done, recorder.num_iterations + 1):
            last = iteration == recorder.num_iterations
            z, dw, db = passes.run(parameters, None if last else lambda z, rows: sigmoid(z) - Y[rows])
            if recorder.is_due(iteration):
                snapshots.offer(iteration, parameters)
                if recorder.record(iteration, z) or last:
                    break
            recorder.show(iteration)
            parameters = Parameters(
                w=parameters.w - learning_rate * (dw / m), b=parameters.b - learning_rate * (db / m)
            )
            if checkpoint:
                checkpoint.offer(partial(_state, iteration + 1, parameters, recorder, snapshots))
        return snapshots.kept, largest_eigenvalue(passes.times_covariance, n_x + 1)


def _state(iteration: int, parameters: Parameters, recorder: Recorder, snapshots: Snapshots) -> TrainingState:
    """Return all that training needs to resume after these updates."""
    return TrainingState(iteration, parameters, *recorder.recorded(), dict(snapshots.kept))


class _Workspace:
    """The arrays of one thread."""

    def __init__(self, rows: int, n_x: int, *, on_disk: bool) -> None:
        self.pixels = np.empty((rows if on_disk else 0, n_x), np.uint8)
        self.z, self.dw, self.db = np.empty(rows, np.int64), np.empty(n_x, np.int64), 0


class _Passes:
    """Passes over the rows of X, in blocks on threads."""

    def __init__(self, X: Any) -> None:
        self._X = X
        m, n_x = X.shape
        self._rows = max(1, min(m, _BLOCK_BYTES // n_x))
        self._starts = range(0, m, self._rows)
        on_disk = isinstance(X, RowsOnDisk)
        number = min(len(self._starts), count_cores())  # one reads while another computes
        # One for each thread. A list, because its `pop` and `append` are atomic.
        self._spare = [_Workspace(self._rows, n_x, on_disk=on_disk) for _ in range(number)]
        self._pool = ThreadPoolExecutor(number)

    def __enter__(self) -> "_Passes":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, parameters: Parameters, to_dz: Callable[[Array, slice], Array] | None) -> tuple[Array, Array, float]:
        """Return z = X w + b, X^T dz and sum(dz), where dz = to_dz(z, rows) is in [-1, 1], or 0 without `to_dz`."""
        m, _ = self._X.shape
        w_counts, w_unit = products.to_fixed_point(parameters.w, bits=COUNT_BITS)
        digits, scale = split_counts(w_counts), w_unit / products.PIXEL_MAX
        all_z = np.empty(m)

        def do_block(start: int) -> None:
            rows = slice(start, min(start + self._rows, m))
            space = self._spare.pop()
            try:
                pixels = self._read(rows, space)
                z = space.z[: len(pixels)]
                multiply(pixels, *digits, z)
                all_z[rows] = z * scale + parameters.b
                if to_dz is not None:
                    counts = np.rint(np.ldexp(to_dz(all_z[rows], rows), COUNT_BITS))
                    add_transposed_product(pixels, *split_counts(counts), space.dw)
                    space.db += int(counts.sum())
            finally:
                self._spare.append(space)

        for space in self._spare:
            space.dw[:] = space.db = 0
        for _ in self._pool.map(do_block, self._starts):
            pass
        dw, db = np.sum([space.dw for space in self._spare], axis=0), sum(space.db for space in self._spare)
        unit = 2.0**-COUNT_BITS
        return all_z, np.asarray(dw * (unit / products.PIXEL_MAX), np.float64), db * unit

    def times_covariance(self, v: Array) -> Array:
        """Return (X, 1)^T (X, 1) v, a column of ones beside X: its eigenvalues are those of X X^T + 1."""
        # |z| is at most |x| |v|, and |x|**2 at most n_x + 1.
        largest = math.sqrt(float(len(v)) * math.fsum((v * v).tolist()))
        _, dw, db = self.run(Parameters(w=v[:-1], b=float(v[-1])), lambda z, _: z / largest)
        return np.append(dw, db) * largest

    def _read(self, rows: slice, space: _Workspace) -> NDArray[np.uint8]:
        """Return the rows, read into the workspace if they are on disk."""
        if not isinstance(self._X, RowsOnDisk):
            return np.ascontiguousarray(self._X[rows])
        pixels = space.pixels[: rows.stop - rows.start]
        self._X.read_into(rows.start, pixels)
        return pixels
