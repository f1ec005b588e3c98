"""Sums over rows for many configurations at once, in float64: what the form "blocks" needs of the pixels for a sweep.

Each block of rows, in memory or in a file, is converted to float64 once and serves all configurations while it is in
the cache. Pixels stand for p / 255, but here they are whole numbers: dividing w and the sums takes fewer operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact.products import PIXEL_MAX
from one_neuron.neuron import Array

_BLOCK_VALUES = 2**19  # float64 numbers of a block of rows, 4 MB: they stay in the cache between their two uses
NUM_SCORES = 4  # see `score`


@dataclass(frozen=True)
class ManyWanted:
    """What one pass computes for c configurations.

    Parameters
    ----------
    weights : ndarray of shape (c, n_x + 1), float64
        w, and b in the last column.
    left_out : ndarray of shape (c,), int64
        The fold whose rows a configuration does not train on, -1 for none.
    logits : ndarray of shape (c,), float64
        A row is labelled 1 if z is above it.
    scores, gradient : bool
        Which sums are computed; the others are 0.
    """

    weights: Array
    left_out: NDArray[np.int64]
    logits: Array
    scores: bool
    gradient: bool


@np.errstate(over="ignore")  # exp(u) = inf makes an update of exactly 0
def add_up(
    X: Any, Y: NDArray[Any], folds: NDArray[Any] | None, wanted: ManyWanted, rows: slice, is_stopped: Callable[[], bool]
) -> Array:
    """Return the sums over some rows of X, of shape (c, n_x + 1 + NUM_SCORES): dz p, dz, and those of `score`.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, or a `rows.RowsOnDisk`
    Y : ndarray of shape (m,), values in {0, 1}
    folds : ndarray of shape (m,), int, or None
        The fold of each row; None if nothing is left out.
    wanted : ManyWanted
    rows : slice
    is_stopped : callable
        After it returns True, the sums are incomplete.
    """
    n_x, c = X.shape[1], len(wanted.weights)
    w, b = np.ascontiguousarray(wanted.weights[:, :-1].T) / PIXEL_MAX, wanted.weights[:, -1:]
    size = max(_BLOCK_VALUES // (n_x + c), 64)
    floats, margins, product = np.empty((size, n_x)), np.empty((size, c)), np.empty((c, n_x))
    totals = np.zeros((c, n_x + 1 + NUM_SCORES))
    for start in range(rows.start, rows.stop, size):
        if is_stopped():
            break
        part = slice(start, min(start + size, rows.stop))
        s, block = signs(Y[part]), floats[: part.stop - start]
        block[...] = X[part]
        # BLAS is fastest when it writes u in this memory order and reads its transpose.
        u = np.matmul(block, w, out=margins[: len(block)]).T
        u += b
        u *= s
        mask = None if folds is None else trained_on(folds[part], wanted.left_out)
        if wanted.scores:
            totals[:, n_x + 1 :] += score(u, s, wanted.logits, mask).T
        if wanted.gradient:
            np.exp(u, out=u)
            u += 1.0
            np.divide(-s, u, out=u)  # -s / (1 + exp(s z)) = a - y
            if mask is not None:
                u *= mask
            totals[:, :n_x] += np.matmul(u, block, out=product)
            totals[:, n_x] += u.sum(axis=1)
    return totals


def signs(Y: NDArray[Any]) -> Array:
    """Return s = 2 y - 1 as float64."""
    return np.where(Y, 1.0, -1.0)


def trained_on(folds: NDArray[Any], left_out: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Return which rows each configuration trains on, of shape (c, m); None if each trains on all."""
    return None if (left_out < 0).all() else np.asarray(folds != left_out[:, np.newaxis])


def score(u: Array, s: Array, logits: Array, mask: NDArray[np.bool_] | None) -> Array:
    """Return the sums of losses and of right answers, for the rows trained on and for the others: of shape (4, c)."""
    losses = np.maximum(-u, 0.0) + np.log1p(np.exp(-np.abs(u)))
    right = (s * u > logits[:, np.newaxis]) == (s > 0)  # sigmoid(z) > threshold, without its rounding
    parts: list[Any] = [True, False] if mask is None else [mask, ~mask]
    return np.stack([values.sum(axis=1, where=part) for part in parts for values in (losses, right)])
