"""How good the predictions are: ratios of whole numbers and exact sums, so the bits are the same everywhere."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact.functions import exact_sum
from one_neuron.neuron import cost, sigmoid

_NORMAL_97_5 = 1.959963984540054  # below it lie 97.5 % of a standard normal distribution


@dataclass(frozen=True)
class Confusion:
    """The counts of true and predicted labels.

    Parameters
    ----------
    true_positives, false_positives, true_negatives, false_negatives : int
        Counts, at least 0.
    """

    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int

    @property
    def accuracy(self) -> float:
        """Share of correct predictions, in [0, 1]."""
        right, wrong = self.true_positives + self.true_negatives, self.false_positives + self.false_negatives
        return right / (right + wrong)

    @property
    def precision(self) -> float:
        """Share of predicted positives that are true, in [0, 1]; 0 if none was predicted, as in scikit-learn."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """Share of positives that were predicted as such, in [0, 1]; 0 if there are none."""
        return _ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, in [0, 1]."""
        return _ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def count_confusion(Y: NDArray[Any], predicted: NDArray[Any]) -> Confusion:
    """Return how often each of the four cases occurs.

    Parameters
    ----------
    Y, predicted : ndarray of shape (m,), values in {0, 1}
        True and predicted labels.
    """
    wrong = Y != predicted
    return Confusion(*np.bincount(2 * (predicted == 0) + wrong, minlength=4).tolist())


def baseline_accuracy(Y: NDArray[Any]) -> float:
    """Return the accuracy of always predicting the most frequent label, in [0.5, 1].

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    """
    positives = int(np.count_nonzero(Y))
    return max(positives, len(Y) - positives) / len(Y)


def wilson_interval(correct: int, m: int) -> tuple[float, float]:
    r"""Return the 95 % interval of a share, such as an accuracy, that was counted on m independent pictures.

    .. math:: \frac{k + z^2/2 \pm z \sqrt{k (m - k) / m + z^2/4}}{m + z^2}, \quad z = 1.96

    It says how far the count on this number of pictures may be from the share on all pictures of the same kind. On the
    training set it is too optimistic: the neuron has seen those pictures.

    Parameters
    ----------
    correct : int
        k, from 0 to m.
    m : int
        At least 1.

    Returns
    -------
    low, high : float
        In [0, 1]; low <= k / m <= high.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22, pages 209 to 212.
    """
    square = _NORMAL_97_5 * _NORMAL_97_5
    half = _NORMAL_97_5 * math.sqrt(correct * (m - correct) / m + square / 4)
    low = 0.0 if correct == 0 else (correct + square / 2 - half) / (m + square)
    high = 1.0 if correct == m else (correct + square / 2 + half) / (m + square)
    return low, high


def count_by_rank(Y: NDArray[Any], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many pictures of each label have one of the k highest scores, for each k that separates no ties.

    These counts are the ROC curve (false_positives against true_positives) and determine precision and recall.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    scores : ndarray of shape (m,), float64
        Higher means more probably label 1; may be infinite.

    Returns
    -------
    true_positives, false_positives : ndarray of shape (k,), int64
        Both start with 0 and end with the number of pictures of label 1 or 0; k is the number of different scores + 1.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_equals = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true_positives = np.append(0, np.cumsum(Y[order], dtype=np.int64)[last_of_equals])
    return true_positives, np.append(0, last_of_equals + 1) - true_positives


def average_precision(Y: NDArray[Any], scores: NDArray[np.float64]) -> float:
    r"""Return the area under the precision-recall curve, as a sum of steps without interpolation.

    .. math:: \sum_k (R_k - R_{k-1}) P_k

    P and R are precision and recall if the pictures with the k highest scores are predicted as label 1; equal scores
    are one step.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    scores : ndarray of shape (m,), float64
        Higher means more probably label 1; may be infinite.

    Returns
    -------
    float in [0, 1]
        0 if no picture has label 1, as in scikit-learn.
    """
    true_positives, false_positives = count_by_rank(Y, scores)
    if true_positives[-1] == 0:
        return 0.0
    found, predicted = np.diff(true_positives), (true_positives + false_positives)[1:]
    # The products are exact below 2**53, each division and the sum are rounded once.
    return exact_sum(found * true_positives[1:] / predicted) / int(true_positives[-1])


def baseline_warning(accuracy: float, baseline: float) -> str:
    """Return a warning if an accuracy is not above that of always predicting the most frequent label; "" otherwise.

    Parameters
    ----------
    accuracy, baseline : float
        Shares of the same pictures, in [0, 1].

    Examples
    --------
    >>> baseline_warning(0.64, 0.66)
    'NOT BETTER THAN THE BASELINE: accuracy 64.0 %, always the most frequent class 66.0 %'
    >>> baseline_warning(0.7, 0.66)
    ''
    """
    if accuracy > baseline:
        return ""
    shown = f"accuracy {100 * accuracy:.1f} %, always the most frequent class {100 * baseline:.1f} %"
    return f"NOT BETTER THAN THE BASELINE: {shown}"


def roc_auc(Y: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in order, ties counting half.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    scores : ndarray of shape (m,), float64
        Higher means more probably label 1; may be infinite.

    Returns
    -------
    float in [0, 1]
        nan if one of the labels does not occur: there are no pairs.

    References
    ----------
    Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27, section 7.
    """
    positive, negative = scores[Y == 1], np.sort(scores[Y == 0])
    below = np.searchsorted(negative, positive, side="left").sum()
    at_most = np.searchsorted(negative, positive, side="right").sum()
    pairs = len(positive) * len(negative)
    return int(below + at_most) / (2 * pairs) if pairs else math.nan


def evaluate(z: NDArray[np.float64], Y: NDArray[Any], *, threshold: float) -> dict[str, Any]:
    """Return all metrics of one set of pictures.

    Parameters
    ----------
    z : ndarray of shape (m,), float64
        From `neuron.compute_z`.
    Y : ndarray of shape (m,), values in {0, 1}
    threshold : float
        A probability above it means label 1; in (0, 1).

    Returns
    -------
    dict of str to int, float or None
        m, cost, accuracy with its 95 % interval (accuracy_low, accuracy_high), precision, recall, f1, roc_auc (None if
        only one label occurs), average_precision and the four counts.
    """
    confusion, area = count_confusion(Y, sigmoid(z) > threshold), roc_auc(Y, z)
    low, high = wilson_interval(confusion.true_positives + confusion.true_negatives, len(Y))
    return {
        "m": len(Y),
        "cost": cost(z, Y),
        "accuracy": confusion.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "roc_auc": None if math.isnan(area) else area,  # JSON has no nan
        "average_precision": average_precision(Y, z),
        **asdict(confusion),
    }


def find_mistakes(A: NDArray[np.float64], Y: NDArray[Any], *, threshold: float) -> NDArray[np.int64]:
    """Return the indices of the wrong predictions, the most confident ones first.

    Parameters
    ----------
    A : ndarray of shape (m,), float64
        Probability of label 1.
    Y : ndarray of shape (m,), values in {0, 1}
    threshold : float
        A probability above it means label 1; in (0, 1).
    """
    wrong = np.flatnonzero((A > threshold) != Y)
    return wrong[np.argsort(-np.abs(A - Y)[wrong], kind="stable")]


def _ratio(part: int, whole: int) -> float:
    """Return part / whole, or 0 for an empty whole."""
    return part / whole if whole else 0.0
