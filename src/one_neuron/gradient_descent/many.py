"""Many trainings at once, for sweeps and cross-validation: `optimize_many`. Plain float64, all cores.

The configurations share the pictures and differ in their learning rate and in the rows that they leave out. All follow
the trajectory of `gradient_descent.optimize`, in one of two forms.

gram
    With s = 2 y - 1 and w = X^T (s beta), the signed margins u = s z of all configurations are one matrix product,
    U = B Q with Q = s s^T * (X X^T + 1) and one row of B for each configuration. An update is
    B += step / (1 + exp(U)), where step = learning_rate / (number of training rows), and 0 where a row is left out.
blocks
    For many rows: each block of rows, in memory or from a file, is turned into float64 once in an
    iteration and serves all configurations while it is in the cache.

Threads share the work at places that depend on the shapes alone, so their number does not change a bit. Another BLAS or
CPU may change the last ones: what is to be the same everywhere is trained again by `optimize`.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from one_neuron.exact import products
from one_neuron.gradient_descent.optimize import choose_form
from one_neuron.gradient_descent.recorder import has_diverged
from one_neuron.neuron import Array, Parameters
from one_neuron.system.machine import count_cores, one_blas_thread

MOST_PER_FEATURE = 2.0  # rows for each feature: up to there 2 m^2 is less than 4 m n_x
_COLUMNS = 128  # configurations taken at a time: enough for BLAS at its best, few enough for the cache
_THREADS_FROM = 50  # configurations; fewer finish sooner on one thread
_SPANS = 8  # parts of the rows; partial sums are added up in their order
_BLOCK_VALUES = 2**19  # float64 numbers of a block of rows, 4 MB: they stay in the cache between their two uses
_PRODUCT_ROWS = 1024
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class BatchResult:
    """What training many configurations gives. Scores are nan where there is nothing to score.

    Parameters
    ----------
    form : str
        "gram" or "blocks".
    parameters : callable
        parameters(j) gives w and b of configuration j after the last update, in the gram form worked out at each call.
    iterations : ndarray of shape (k,), int64
        The recorded iterations.
    train_costs, train_accuracies, validation_costs, validation_accuracies, test_costs, test_accuracies : ndarray
        Of shape (k, c), float64: on the rows that the configuration trains on, on those that it leaves out, on X_test.
    """

    form: str
    parameters: Callable[[int], Parameters]
    iterations: NDArray[np.int64]
    train_costs: Array
    train_accuracies: Array
    validation_costs: Array
    validation_accuracies: Array
    test_costs: Array
    test_accuracies: Array

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """Which configurations went wrong, of shape (c,); see `recording.has_diverged`."""
        return has_diverged(self.train_costs)


def optimize_many(  # noqa: PLR0913 - one door, and each has a name
    X: Any,
    Y: NDArray[Any],
    *,
    learning_rates: ArrayLike,
    num_iterations: int,
    record_every: int = 100,
    also_at: Iterable[int] = (),
    folds: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    X_test: Any = None,
    Y_test: NDArray[Any] | None = None,
    thresholds: ArrayLike = 0.5,
    on_progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """Train c configurations by batch gradient descent on the cross-entropy cost, each starting at zero.

    Parameters
    ----------
    X : uint8 pixels of shape (m, n_x) that stand for X / 255
        An ndarray or a `pixel_file.PixelFile`.
    Y : ndarray of shape (m,), values in {0, 1}
    learning_rates : array of shape (c,), from 1e-100 to 1e100
    num_iterations : int
        Number of updates, at least 1. A shorter training is read off at the iterations recorded on the way.
    record_every : int
        Scores are kept at 0, record_every, 2 record_every, ... and num_iterations; at least 1.
    also_at : ints, optional
        More iterations at which scores are kept, from 0 to num_iterations.
    folds, held_out : ints of shape (m,) and (c,), optional
        The fold of each row, at least 0, and the one that each configuration leaves out; -1 trains on everything.
    X_test, Y_test : optional
        More pixels and labels, to score; the gram form keeps m_test * m numbers of them in memory.
    thresholds : float or array of shape (c,), in (0, 1)
        A probability above it means label 1.
    on_progress : callable, optional
        on_progress(done, total) counts updates: some times a second at most, from any thread, never twice at once.

    Returns
    -------
    BatchResult

    Raises
    ------
    ValueError
        If a shape, a type, a label or a parameter is not as above, or a configuration has no row to train on.
    """
    recorded = _list_iterations(num_iterations, record_every, list(also_at))
    train = _read_examples(X, Y, "X", "Y")
    test = None if X_test is None and Y_test is None else _read_examples(X_test, Y_test, "X_test", "Y_test")
    if test is not None and test.X.shape[1] != X.shape[1]:
        raise ValueError(f"X_test has shape {X_test.shape}; expected (m_test, {X.shape[1]}) to fit X")
    rates = _read_vector("learning_rates", learning_rates, "f")
    _refuse("learning_rates", rates, ~((rates >= 1e-100) & (rates <= 1e100)), "a number from 1e-100 to 1e100")
    c = len(rates)
    limits = _read_vector("thresholds", np.full(c, thresholds) if np.ndim(thresholds) == 0 else thresholds, "f", c)
    _refuse("thresholds", limits, ~((limits > 0) & (limits < 1)), "a number in (0, 1)")
    folds, left_out, sizes = _read_folds(folds, held_out, len(Y), c)

    logits, sums = np.log(limits) - np.log1p(-limits), np.zeros((6, len(recorded), c))
    form = choose_form(X, most_per_feature=MOST_PER_FEATURE)
    # The threads are ours.
    with one_blas_thread(), ThreadPoolExecutor(count_cores()) as pool:
        crew = _Crew(pool, c * num_iterations, on_progress)
        job = _Job(train, test, folds, left_out, rates / sizes, logits, recorded, sums, crew)
        parameters = _run_gram(job) if form == "gram" else _run_blocks(job)
    counts = np.repeat([sizes, len(Y) - sizes, np.full(c, 0 if test is None else len(test.s))], 2, axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is nothing to score
        scores = sums / counts[:, np.newaxis]
    return BatchResult(form, parameters, np.array(recorded), *scores)


@dataclass(frozen=True)
class _Examples:
    """Pictures with their labels as s = 2 y - 1."""

    X: Any
    s: Array


@dataclass(frozen=True)
class _Job:
    """What is asked for; sums takes losses and right answers of rows trained on, rows left out and test rows."""

    train: _Examples
    test: _Examples | None
    folds: NDArray[np.int64]
    left_out: NDArray[np.int64]
    steps: Array
    logits: Array
    recorded: list[int]
    sums: Array  # of shape (6, k, c)
    crew: "_Crew"

    def trained_on(self, columns: slice, rows: slice) -> NDArray[np.bool_] | None:
        """Say for each of these configurations and rows whether it is trained on; None where all are."""
        left_out = self.left_out[columns, np.newaxis]
        return None if (left_out < 0).all() else np.asarray(self.folds[rows] != left_out)


class _Crew:
    """Threads that share work and end together, and the count of what is done."""

    def __init__(self, pool: Executor, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._pool, self.stopped = pool, False
        self._total, self._done, self._on_progress = total, 0, on_progress
        self._lock, self._next = threading.Lock(), 0.0

    def map(self, function: Callable[[slice], Any], items: list[slice]) -> list[Any]:
        """Return the results in the order of the items. After an error, or Ctrl-C, all threads end soon."""
        if len(items) == 1:
            return [function(items[0])]
        tasks: list[Future[Any]] = []
        try:
            tasks.extend(self._pool.submit(function, item) for item in items)
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:  # Ctrl-C comes through here, too
            self.stopped = not all(task.done() for task in tasks)
        return [task.result() for task in tasks]

    def advance(self, number: int) -> bool:
        """Count so many updates as done; say whether to go on."""
        if self._on_progress is not None:
            with self._lock:
                self._done += number
                if time.monotonic() >= self._next or self._done == self._total:
                    self._on_progress(self._done, self._total)
                    self._next = time.monotonic() + _PROGRESS_SECONDS
        return not self.stopped


def split_columns(c: int) -> list[slice]:
    """Return the blocks of configurations that the gram form hands to its threads: it depends on c alone."""
    return _split(c, 1 if c < _THREADS_FROM else 2 * -(-c // (2 * _COLUMNS)))


def _split(number: int, parts: int) -> list[slice]:
    """Cut so many things into parts of almost equal size."""
    return [slice(number * i // parts, number * (i + 1) // parts) for i in range(parts)]


def _run_gram(job: _Job) -> Callable[[int], Parameters]:
    """Train through scalar products; return what gives w and b."""
    train, test, c = job.train, job.test, len(job.steps)
    Q = _sign(products.gram_matrix(train.X), train.s, train.s)
    to_test = None if test is None else _sign(_cross_products(test.X, train.X), test.s, train.s)
    beta = np.zeros((c, len(Q)))
    job.crew.map(lambda columns: _descend_gram(job, Q, to_test, beta[columns], columns), split_columns(c))
    beta *= train.s
    return lambda column: Parameters(
        w=products.transposed_pixels_times(train.X, products.to_fixed_point(beta[column])), b=float(beta[column].sum())
    )


@np.errstate(over="ignore")  # exp(u) = inf makes an update of exactly 0
def _descend_gram(job: _Job, Q: Array, to_test: Array | None, beta: Array, columns: slice) -> None:
    """Train some of the configurations, from beta = 0, in place."""
    logits, mask = job.logits[columns], job.trained_on(columns, slice(None))
    u = np.zeros_like(beta)
    step = job.steps[columns, np.newaxis] + u  # of full shape: NumPy is slower where it has to repeat a number
    if mask is not None:
        step *= mask
    for k, updates in enumerate(np.diff(job.recorded, prepend=0).tolist()):
        for _ in range(updates):
            np.exp(u, out=u)
            np.add(u, 1.0, out=u)
            np.divide(step, u, out=u)
            np.add(beta, u, out=beta)
            np.matmul(beta, Q, out=u)  # Q is symmetric
            if not job.crew.advance(len(beta)):
                return
        job.sums[:4, k, columns] = _score(u, job.train.s, logits, mask)
        if job.test is not None and to_test is not None:
            job.sums[4:, k, columns] = _score(beta @ to_test.T, job.test.s, logits, None)[:2]


def _sign(raw: Array, s_rows: Array, s_columns: Array) -> Array:
    """Turn the scalar products of raw pixels into s s^T * (raw / 255**2 + 1), in place."""
    raw /= products.PIXEL_MAX**2
    raw += 1.0
    raw *= s_rows[:, np.newaxis]
    raw *= s_columns
    return raw


def _cross_products(X: Any, other: Any) -> Array:
    """Return the scalar products of all rows of X with all rows of `other`: exact whole numbers."""
    (m, n_x), total = X.shape, np.zeros((X.shape[0], other.shape[0]))
    for j in range(0, n_x, products.FLOAT32_TERMS):
        columns = slice(j, j + products.FLOAT32_TERMS)
        right = other[:, columns].astype(np.float32)
        for i in range(0, m, _PRODUCT_ROWS):
            rows = slice(i, min(i + _PRODUCT_ROWS, m))
            total[rows] += X[rows, columns].astype(np.float32) @ right.T
    return total


def _score(u: Array, s: Array, logits: Array, mask: NDArray[np.bool_] | None) -> Array:
    """Sum up losses and right answers, of the rows trained on, then of the others: of shape (4, c)."""
    losses = np.maximum(-u, 0.0) + np.log1p(np.exp(-np.abs(u)))
    right = (s * u > logits[:, np.newaxis]) == (s > 0)  # sigmoid(z) > threshold, without its rounding
    parts: list[Any] = [True, False] if mask is None else [mask, ~mask]
    return np.stack([values.sum(axis=1, where=part) for part in parts for values in (losses, right)])


def _run_blocks(job: _Job) -> Callable[[int], Parameters]:
    """Train by passes over the rows; return what gives w and b."""
    c = len(job.steps)
    weights = np.zeros((c, job.train.X.shape[1] + 1))  # w, and b in the last column
    for columns in _split(c, -(-c // _COLUMNS)):
        _descend_blocks(job, weights[columns], columns)
    return lambda column: Parameters(w=weights[column, :-1].copy(), b=float(weights[column, -1]))


def _descend_blocks(job: _Job, weights: Array, columns: slice) -> None:
    """Train some of the configurations, from w = 0 and b = 0, in place."""
    step, last = job.steps[columns, np.newaxis], job.recorded[-1]
    for iteration in range(last + 1):
        recorded = iteration in job.recorded
        totals = _visit(job, columns, weights, job.train, scores=recorded, gradient=iteration < last)
        if recorded:
            k = job.recorded.index(iteration)
            job.sums[:4, k, columns] = totals[:, -4:].T
            if job.test is not None:
                tested = _visit(job, columns, weights, job.test, scores=True, gradient=False)
                job.sums[4:, k, columns] = tested[:, -4:-2].T
        if iteration < last:
            weights -= step * totals[:, :-4]
            job.crew.advance(len(weights))


def _visit(job: _Job, columns: slice, weights: Array, examples: _Examples, *, scores: bool, gradient: bool) -> Array:
    """Go once over all rows; return the sums of dz * x, of dz and of `_score`: of shape (c, n_x + 1 + 4)."""
    n_x, c = examples.X.shape[1], len(weights)
    w, b = np.ascontiguousarray(weights[:, :-1].T) / products.PIXEL_MAX, weights[:, -1:]
    size = max(_BLOCK_VALUES // (n_x + c), 64)

    @np.errstate(over="ignore")
    def add_up(span: slice) -> Array:
        floats, margins, product = np.empty((size, n_x)), np.empty((size, c)), np.empty((c, n_x))
        totals = np.zeros((c, n_x + 5))
        for start in range(span.start, span.stop, size):
            if job.crew.stopped:
                break
            rows = slice(start, min(start + size, span.stop))
            s, block = examples.s[rows], floats[: rows.stop - start]
            block[...] = examples.X[rows]
            # BLAS is fastest when it writes u this way round and reads it the other way.
            u = np.matmul(block, w, out=margins[: len(block)]).T
            u += b
            u *= s
            mask = job.trained_on(columns, rows) if examples is job.train else None
            if scores:
                totals[:, -4:] += _score(u, s, job.logits[columns], mask).T
            if gradient:
                np.exp(u, out=u)
                u += 1.0
                np.divide(-s, u, out=u)  # -s / (1 + exp(s z)) = a - y
                if mask is not None:
                    u *= mask
                totals[:, :n_x] += np.matmul(u, block, out=product)
                totals[:, n_x] += u.sum(axis=1)
        return totals

    totals = sum(job.crew.map(add_up, _split(len(examples.s), _SPANS)))
    totals[:, :n_x] /= products.PIXEL_MAX
    return np.asarray(totals)


def _list_iterations(num_iterations: int, record_every: int, also_at: list[int]) -> list[int]:
    """Return the iterations whose scores are kept."""
    numbers: dict[str, Any] = {"num_iterations": num_iterations, "record_every": record_every}
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
    also = _read_vector("also_at", also_at or [0], "iu")
    expected = f"a number from 0 to num_iterations, {num_iterations}"
    _refuse("also_at", also, (also < 0) | (also > num_iterations), expected)
    return sorted({*range(0, num_iterations, record_every), *also.tolist(), int(num_iterations)})


def _read_examples(X: Any, Y: Any, name: str, labels: str) -> _Examples:
    """Check pictures and labels."""
    if X is None or Y is None:
        raise ValueError(f"{name if X is None else labels} is missing; expected both {name} and {labels}")
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"{name} has shape {X.shape}; expected (m, n_x) with at least one example and one feature")
    if X.dtype != np.uint8:
        raise ValueError(f"{name} has type {X.dtype}; expected uint8, raw pixels")
    if Y.shape != X.shape[:1]:
        raise ValueError(f"{labels} has shape {Y.shape}; expected ({X.shape[0]},), one label for each row of {name}")
    _refuse(labels, Y, (Y != 0) & (Y != 1), "0 or 1")
    return _Examples(X, np.where(Y, 1.0, -1.0))


def _read_folds(folds: Any, held_out: Any, m: int, c: int) -> tuple[NDArray[np.int64], ...]:
    """Return the fold of each row, what each configuration leaves out, and how many rows it trains on."""
    if (folds is None) != (held_out is None):
        raise ValueError(f"{'folds' if folds is None else 'held_out'} is missing; expected both folds and held_out")
    if folds is None:
        return np.zeros(m, np.int64), np.full(c, -1), np.full(c, m)
    folds, held_out = _read_vector("folds", folds, "iu", m), _read_vector("held_out", held_out, "iu", c)
    _refuse("folds", folds, folds < 0, "at least 0")
    rows = {fold: int(np.count_nonzero(folds == fold)) for fold in set(held_out.tolist())}
    left = m - np.array([rows[fold] for fold in held_out.tolist()])
    _refuse("held_out", held_out, (held_out != -1) & (left == m), "-1 or a fold that some row is in")
    _refuse("held_out", held_out, left == 0, "a fold that leaves a row to train on")
    return folds, held_out, left


def _read_vector(name: str, values: Any, kinds: str, length: int | None = None) -> NDArray[Any]:
    """Return whole numbers ("iu") as int64, or any numbers ("f") as float64."""
    numbers = np.asarray(values)
    if numbers.ndim != 1 or len(numbers) != (length or max(1, len(numbers))):
        raise ValueError(f"{name} has shape {numbers.shape}; expected ({length or 'c'},) with at least one number")
    if numbers.dtype.kind not in kinds + "iu":
        raise ValueError(f"{name} has type {numbers.dtype}; expected {'numbers' if kinds == 'f' else 'whole numbers'}")
    return numbers.astype(np.float64 if kinds == "f" else np.int64)


def _refuse(name: str, values: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> None:
    """Name the first wrong value."""
    for i in np.flatnonzero(wrong)[:1]:
        raise ValueError(f"{name}[{i}] is {values[i]}; expected {expected}")
