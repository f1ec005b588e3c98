"""The cost and the accuracy of a neuron at several moments of its training, with the same bits on every machine."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import functions, products
from one_neuron.neuron import Array, Parameters, losses, sigmoid


@dataclass(frozen=True)
class TrainingCurve:
    """How a neuron became better on one set of pictures.

    Parameters
    ----------
    costs : list of float
        The cost with each of the parameters.
    accuracies : list of float
        The share of right predictions with each of them, in [0, 1].
    z : ndarray of shape (m,), float64
        z = X w + b with the last of them, as from `neuron.compute_z`.
    """

    costs: list[float]
    accuracies: list[float]
    z: Array


def measure_curve(
    blocks: Iterable[NDArray[np.uint8]],
    Y: NDArray[Any],
    parameters: Sequence[Parameters],
    *,
    threshold: float,
    threads: int = 1,
) -> TrainingCurve:
    """Return cost and accuracy with each of the parameters, in one pass over the pixels.

    Besides the last z, nothing is held for longer than a few blocks.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (k, n_x), uint8
        The pixels, in blocks of rows, which stay as they are.
    Y : ndarray of shape (m,), values in {0, 1}
    parameters : sequence of Parameters
        At least one, of one training, in order.
    threshold : float
        A probability above it means label 1; in (0, 1).
    threads : int
        The number of blocks that are computed at a time; BLAS should then use one thread. It changes no bit.
    """
    w, b = np.array([each.w for each in parameters]), np.array([[each.b] for each in parameters])
    sums: list[list[float]] = [[] for _ in parameters]
    right, last = np.zeros(len(parameters), np.int64), np.empty(len(Y))

    def measure(pixels: NDArray[np.uint8], rows: slice) -> tuple[Array, NDArray[np.int64]]:
        z = products.pixels_times(pixels, w) + b
        last[rows] = z[-1]
        return losses(z, Y[rows]), ((sigmoid(z) > threshold) == Y[rows]).sum(axis=1)

    def add(found: tuple[Array, NDArray[np.int64]]) -> None:
        for terms, row in zip(sums, found[0].tolist(), strict=True):
            terms[:] = functions.exact_terms([*terms, *row])
        right[:] += found[1]

    waiting: deque[Future[tuple[Array, NDArray[np.int64]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        start = 0
        for pixels in blocks:
            waiting.append(pool.submit(measure, pixels, slice(start, start + len(pixels))))
            start += len(pixels)
            if len(waiting) > threads:
                add(waiting.popleft().result())
        while waiting:
            add(waiting.popleft().result())
    costs = [math.fsum(terms) / len(Y) for terms in sums]
    return TrainingCurve(costs, [count / len(Y) for count in right.tolist()], last)
