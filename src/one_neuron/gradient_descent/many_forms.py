"""The two forms of `optimize_many`. Each follows the trajectory of `optimize` for many configurations at once.

gram
    With s = 2 y - 1 and w = X^T (s beta), the signed margins u = s z of all configurations are one matrix product,
    U = B Q with Q = s s^T * (X X^T + 1) and one row of B for each configuration. An update is
    B += step / (1 + exp(U)), where step = learning_rate / (number of training rows), and 0 where a row is left out.
blocks
    For many rows, in memory or in a file: an iteration is one pass over them for all configurations (`many_rows`), on
    this machine or by an engine.

The work is divided among threads at places that depend on the shapes alone, so the number of threads does not change a
bit. A different BLAS or CPU may change the last bits; `optimize` gives the same bits everywhere.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import products
from one_neuron.gradient_descent.many_rows import ManyWanted, score, signs, trained_on
from one_neuron.neuron import Array, Parameters

if TYPE_CHECKING:
    from one_neuron.gradient_descent.engines.choice import MakePasses
    from one_neuron.gradient_descent.passes import Passes

_COLUMNS = 128  # configurations in one product: enough for BLAS at its best, few enough for the cache
_THREADS_FROM = 50  # configurations; fewer finish sooner on one thread
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Examples:
    """Pictures with their labels."""

    X: Any
    Y: NDArray[Any]

    @property
    def s(self) -> Array:
        """The labels as s = 2 y - 1."""
        return signs(self.Y)


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
    make_passes: "MakePasses"


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
    logits, mask = job.logits[columns], trained_on(job.folds, job.left_out[columns])
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
        job.sums[:4, k, columns] = score(u, job.train.s, logits, mask)
        if job.test is not None and to_test is not None:
            job.sums[4:, k, columns] = score(beta @ to_test.T, job.test.s, logits, None)[:2]


def _sign(raw: Array, s_rows: Array, s_columns: Array) -> Array:
    """Turn scalar products of pixels into s s^T * (raw / 255**2 + 1), in place."""
    raw /= products.PIXEL_MAX**2
    raw += 1.0
    raw *= s_rows[:, np.newaxis]
    raw *= s_columns
    return raw


def train_by_blocks(job: Job) -> Callable[[int], Parameters]:
    """Train by passes over the rows; return the function that gives w and b of a configuration."""
    from one_neuron.gradient_descent.passes import LocalPasses  # imports numba

    c, test = len(job.steps), job.test
    weights = np.zeros((c, job.train.X.shape[1] + 1))  # w, and b in the last column
    with (
        job.make_passes(job.train.X, job.train.Y) as passes,
        nullcontext() if test is None else LocalPasses(test.X, test.Y) as test_passes,
    ):
        for columns in _split_evenly(c, -(-c // _COLUMNS)):
            _descend_blocks(job, passes, test_passes, weights[columns], columns)
    return lambda column: Parameters(w=weights[column, :-1].copy(), b=float(weights[column, -1]))


def _descend_blocks(job: Job, passes: "Passes", test_passes: "Passes | None", weights: Array, columns: slice) -> None:
    """Train some of the configurations, from w = 0 and b = 0, in place."""
    step, last = job.steps[columns, np.newaxis], job.recorded[-1]
    left_out, logits = job.left_out[columns], job.logits[columns]
    for iteration in range(last + 1):
        recorded = iteration in job.recorded
        wanted = ManyWanted(weights, left_out, logits, scores=recorded, gradient=iteration < last)
        sums, scores = passes.add_up_many(wanted, job.folds)
        if recorded:
            k = job.recorded.index(iteration)
            job.sums[:4, k, columns] = scores.T
            if test_passes is not None:
                wanted = ManyWanted(weights, np.full_like(left_out, -1), logits, scores=True, gradient=False)
                _, scores = test_passes.add_up_many(wanted, None)
                job.sums[4:, k, columns] = scores[:, :2].T
        if iteration < last:
            weights -= step * sums
            job.crew.advance(len(weights))
