"""Predictions at every threshold: precision-recall and accuracy curves, and how probabilities agree with labels.

The ROC curve is in `metrics.count_by_rank`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact.functions import mean
from one_neuron.metrics import count_by_rank, wilson_interval

Array = NDArray[np.float64]


def precision_recall_curve(Y: NDArray[Any], scores: Array) -> tuple[Array, Array]:
    """Return precision and recall if the pictures with the k highest scores are predicted as label 1.

    As steps, each at the precision of its right end, the curve has `metrics.average_precision` as its area.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    scores : ndarray of shape (m,), float64
        Higher means more probably label 1; may be infinite.

    Returns
    -------
    precision, recall : ndarray of shape (k,), float64, values in [0, 1]
        In the order of falling scores, one for each different score; recall is 0 if no picture has label 1.
    """
    true_positives, false_positives = (counts[1:] for counts in count_by_rank(Y, scores))
    return true_positives / (true_positives + false_positives), true_positives / max(1, int(true_positives[-1]))


def accuracy_by_threshold(Y: NDArray[Any], A: Array, thresholds: Array) -> Array:
    """Return the accuracy at each threshold.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    A : ndarray of shape (m,), float64
        Probability of label 1.
    thresholds : ndarray of shape (k,), float64
        A probability above it means label 1.

    Returns
    -------
    ndarray of shape (k,), float64, values in [0, 1]
    """
    positive, negative = np.sort(A[Y == 1]), np.sort(A[Y == 0])
    missed = np.searchsorted(positive, thresholds, side="right")
    rejected = np.searchsorted(negative, thresholds, side="right")
    accuracies: Array = (len(positive) - missed + rejected) / len(Y)
    return accuracies


@dataclass(frozen=True)
class CalibrationBin:
    """The pictures whose probability lies in one interval.

    Parameters
    ----------
    m : int
        Their number, at least 1.
    probability : float
        The mean of their probabilities of label 1.
    share, low, high : float
        The share of them that has label 1, and its 95 % interval.
    """

    m: int
    probability: float
    share: float
    low: float
    high: float


def calibrate(Y: NDArray[Any], A: Array, *, bins: int = 10) -> list[CalibrationBin]:
    """Compare the probabilities with the shares of label 1, in intervals of equal width; empty ones are left out.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    A : ndarray of shape (m,), float64, values in [0, 1]
        Probability of label 1.
    bins : int
        Number of intervals. All but the first exclude their lower end.
    """
    found = []
    places = np.searchsorted(np.arange(1, bins) / bins, A, side="left")
    for place in np.unique(places):
        inside = places == place
        m, positives = int(np.count_nonzero(inside)), int(np.count_nonzero(Y[inside]))
        found.append(CalibrationBin(m, mean(A[inside]), positives / m, *wilson_interval(positives, m)))
    return found
