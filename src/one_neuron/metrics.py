"""How good the predictions are: ratios of whole numbers, so the bits are the same everywhere."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.neuron import cost, sigmoid


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


def roc_auc(Y: NDArray[Any], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: the share of (positive, negative) pairs in order, ties counting half.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
        Both labels must occur.
    scores : ndarray of shape (m,), float64
        Higher means more probably label 1.

    Returns
    -------
    float in [0, 1]

    References
    ----------
    Fawcett (2006), An introduction to ROC analysis, Pattern Recognition Letters 27, section 7.
    """
    positive, negative = scores[Y == 1], np.sort(scores[Y == 0])
    below = np.searchsorted(negative, positive, side="left").sum()
    at_most = np.searchsorted(negative, positive, side="right").sum()
    return float(int(below + at_most) / (2 * len(positive) * len(negative)))


def evaluate(z: NDArray[np.float64], Y: NDArray[Any], *, threshold: float) -> dict[str, float]:
    """Return all metrics of one set of pictures.

    Parameters
    ----------
    z : ndarray of shape (m,), float64
        From `neuron.compute_z`.
    Y : ndarray of shape (m,), values in {0, 1}
        Both labels must occur.
    threshold : float
        A probability above it means label 1; in (0, 1).

    Returns
    -------
    dict of str to int or float
        m, cost, accuracy, precision, recall, f1, roc_auc and the four counts.
    """
    confusion = count_confusion(Y, sigmoid(z) > threshold)
    return {
        "m": len(Y),
        "cost": cost(z, Y),
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "roc_auc": roc_auc(Y, z),
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
