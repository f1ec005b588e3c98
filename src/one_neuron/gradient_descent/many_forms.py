"""The two forms of `optimize_many`. Each follows the trajectory of `optimize` for many configurations at once.

gram
    With s = 2 y - 1 and w = X^T (s beta), the signed margins u = s z of all configurations are one matrix product,
    U = B Q with Q = s s^T * (X X^T + 1) and one row of B for each configuration. An update is
    B += step / (1 + exp(U)), where step = learning_rate / (number of training rows), and 0 where a row is left out.
blocks
    For many rows: each block of rows, in memory or in a file, is converted to float64 once per iteration and serves all
    configurations while it is in the cache.

The work is divided among threads at places that depend on the shapes alone, so the number of threads does not change a
bit. A different BLAS or CPU may change the last bits; `optimize` gives the same bits everywhere.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import products
from one_neuron.neuron import Array, Parameters

_COLUMNS = 128  # configurations in one product: enough for BLAS at its best, few enough for the cache
_THREADS_FROM = 50  # configurations; fewer finish sooner on one thread
_SPANS = 8  # parts of the rows; partial sums are added up in their order
_PROGRESS_SECONDS = 0.2
_BLOCK_VALUES = 2**19  # float64 numbers of a block of rows, 4 MB: they stay in the cache between their two uses


@dataclass(frozen=True)
class Examples:
    """Pictures with their labels as s = 2 y - 1."""

    X: Any
    s: Array


class Crew:
    """A pool whose threads all end soon after an error or Ctrl-C, and a count of the updates done.

    Parameters
    ----------
    pool : Executor
    total : int
        Number of updates in all.
    on_progress : callable, optional
        See `many.optimize_many`.
    """

    def __init__(self, pool: Executor, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._pool, self.stopped = pool, False
        self._total, self._done, self._on_progress = total, 0, on_progress
        self._lock, self._next = threading.Lock(), 0.0

    def map(self, function: Callable[[slice], Any], items: list[slice]) -> list[Any]:
        """Return the results in the order of the items."""
        if len(items) == 1:
            return [function(items[0])]
        tasks: list[Future[Any]] = []
        try:
            tasks.extend(self._pool.submit(function, item) for item in items)
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:  # also after Ctrl-C
            self.stopped = not all(task.done() for task in tasks)
        return [task.result() for task in tasks]

    def advance(self, number: int) -> bool:
        """Count `number` more updates as done; return whether to go on."""
        if self._on_progress is not None:
            with self._lock:
                self._done += number
                if time.monotonic() >= self._next or self._done == self._total:
                    self._on_progress(self._done, self._total)
                    self._next = time.monotonic() + _PROGRESS_SECONDS
        return not self.stopped


@dataclass(frozen=True)
class Job:
    """The work to do.

    `sums` takes losses and right answers of the rows trained on, the rows left out, and the test rows.
    """

    train: Examples
    test: Examples | None
    folds: NDArray[np.int64]
    left_out: NDArray[np.int64]
    steps: Array
    logits: Array
    recorded: list[int]
    sums: Array  # of shape (6, k, c)
    crew: Crew

    def trained_on(self, columns: slice, rows: slice) -> NDArray[np.bool_] | None:
        """Return which of these rows each of these configurations trains on; None if each trains on all."""
        left_out = self.left_out[columns, np.newaxis]
        return None if (left_out < 0).all() else np.asarray(self.folds[rows] != left_out)


def _split_evenly(number: int, parts: int) -> list[slice]:
    """Return slices that cut `number` items into `parts` of almost equal size."""
    return [slice(number * i // parts, number * (i + 1) // parts) for i in range(parts)]


def split_columns(c: int) -> list[slice]:
    """Return the blocks of configurations that the gram form gives to its threads; they depend on c alone."""
    return _split_evenly(c, 1 if c < _THREADS_FROM else 2 * -(-c // (2 * _COLUMNS)))


def train_by_gram(job: Job) -> Callable[[int], Parameters]:
    """Train through scalar products; return the function that gives w and b of a configuration."""
    train, test, c = job.train, job.test, len(job.steps)
    Q = _sign(products.gram_matrix(train.X), train.s, train.s)
    to_test = None if test is None else _sign(products.cross_products(test.X, train.X), test.s, train.s)
    beta = np.zeros((c, len(Q)))
    job.crew.map(lambda columns: _descend_gram(job, Q, to_test, beta[columns], columns), split_columns(c))
    beta *= train.s

    def parameters(column: int) -> Parameters:
        w = products.transposed_pixels_times(train.X, *products.to_fixed_point(beta[column]))
        return Parameters(w=w, b=float(beta[column].sum()))

    return parameters


@np.errstate(over="ignore")  # exp(u) = inf makes an update of exactly 0
def _descend_gram(job: Job, Q: Array, to_test: Array | None, beta: Array, columns: slice) -> None:
    """Train some of the configurations, from beta = 0, in place."""
    logits, mask = job.logits[columns], job.trained_on(columns, slice(None))
    u = np.zeros_like(beta)
    step = job.steps[columns, np.newaxis] + u  # of full shape: broadcasting is slower
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
    """Turn scalar products of pixels into s s^T * (raw / 255**2 + 1), in place."""
    raw /= products.PIXEL_MAX**2
    raw += 1.0
    raw *= s_rows[:, np.newaxis]
    raw *= s_columns
    return raw


def _score(u: Array, s: Array, logits: Array, mask: NDArray[np.bool_] | None) -> Array:
    """Return the sums of losses and of right answers, for the rows trained on and for the others: of shape (4, c)."""
    losses = np.maximum(-u, 0.0) + np.log1p(np.exp(-np.abs(u)))
    right = (s * u > logits[:, np.newaxis]) == (s > 0)  # sigmoid(z) > threshold, without its rounding
    parts: list[Any] = [True, False] if mask is None else [mask, ~mask]
    return np.stack([values.sum(axis=1, where=part) for part in parts for values in (losses, right)])


def train_by_blocks(job: Job) -> Callable[[int], Parameters]:
    """Train by passes over the rows; return the function that gives w and b of a configuration."""
    c = len(job.steps)
    weights = np.zeros((c, job.train.X.shape[1] + 1))  # w, and b in the last column
    for columns in _split_evenly(c, -(-c // _COLUMNS)):
        _descend_blocks(job, weights[columns], columns)
    return lambda column: Parameters(w=weights[column, :-1].copy(), b=float(weights[column, -1]))


def _descend_blocks(job: Job, weights: Array, columns: slice) -> None:
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


def _visit(job: Job, columns: slice, weights: Array, examples: Examples, *, scores: bool, gradient: bool) -> Array:
    """Pass once over all rows; return the sums of dz * x, of dz and of `_score`: of shape (c, n_x + 1 + 4)."""
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
            # BLAS is fastest when it writes u in this memory order and reads its transpose.
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

    totals = sum(job.crew.map(add_up, _split_evenly(len(examples.s), _SPANS)))
    totals[:, :n_x] /= products.PIXEL_MAX
    return np.asarray(totals)
