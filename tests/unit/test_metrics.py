"""The metrics against scikit-learn and against counts made by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from one_neuron.metrics import Confusion, baseline_accuracy, count_confusion, roc_auc

pairs_of_labels = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40)
# Few different scores, so that there are many ties.
scored_labels = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40).filter(
    lambda rows: len({label for label, _ in rows}) == 2
)


def test_confusion_by_hand() -> None:
    """Four cases, each another number of times."""
    Y = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=np.uint8)
    predicted = np.array([0, 1, 1, 1, 0, 0, 1, 1, 1, 1], dtype=np.uint8)
    confusion = count_confusion(Y, predicted)
    assert confusion == Confusion(true_negatives=1, false_positives=3, false_negatives=2, true_positives=4)
    assert confusion.accuracy == 5 / 10
    assert confusion.precision == 4 / 7
    assert confusion.recall == 4 / 6
    assert confusion.f1 == 8 / 13


@given(pairs_of_labels)
@settings(deadline=None, max_examples=40)
def test_confusion_against_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """The four counts and the four ratios; 0 where a ratio has no denominator."""
    Y, predicted = np.array(rows, dtype=np.uint8).T
    confusion = count_confusion(Y, predicted)
    counts = (
        confusion.true_negatives,
        confusion.false_positives,
        confusion.false_negatives,
        confusion.true_positives,
    )
    assert counts == tuple(sklearn_metrics.confusion_matrix(Y, predicted, labels=[0, 1]).ravel().tolist())
    assert confusion.accuracy == pytest.approx(sklearn_metrics.accuracy_score(Y, predicted), rel=1e-15)
    assert confusion.precision == pytest.approx(
        sklearn_metrics.precision_score(Y, predicted, zero_division=0), rel=1e-15
    )
    assert confusion.recall == pytest.approx(sklearn_metrics.recall_score(Y, predicted, zero_division=0), rel=1e-15)
    assert confusion.f1 == pytest.approx(sklearn_metrics.f1_score(Y, predicted, zero_division=0), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
def test_labels_of_any_type_are_counted(dtype: type) -> None:
    """`A > threshold` is an array of truth values."""
    confusion = count_confusion(np.array([0, 1, 1]).astype(dtype), np.array([0, 0, 1]).astype(dtype))
    assert confusion == Confusion(true_negatives=1, false_positives=0, false_negatives=1, true_positives=1)


def test_counts_are_plain_integers() -> None:
    """JSON knows no NumPy integers."""
    confusion = count_confusion(np.array([0, 1], dtype=np.uint8), np.array([1, 1], dtype=np.uint8))
    assert type(confusion.true_positives) is int
    assert type(confusion.accuracy) is float


@pytest.mark.parametrize(
    ("Y", "share"), [([1, 1, 0], 2 / 3), ([0, 0, 0, 1], 0.75), ([0, 1], 0.5), ([1], 1.0), ([0, 0], 1.0)]
)
def test_baseline_is_the_share_of_the_larger_class(Y: list[int], share: float) -> None:
    """Always the majority."""
    assert baseline_accuracy(np.array(Y, dtype=np.uint8)) == share


@pytest.mark.parametrize(
    ("Y", "scores", "area"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([0, 1], [0.9, 0.1], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),
        ([0, 0, 1], [-1e300, 1e300, 1e300], 0.75),
    ],
)
def test_roc_auc_by_hand(Y: list[int], scores: list[float], area: float) -> None:
    """The share of pairs ranked right, ties counting half."""
    assert roc_auc(np.array(Y, dtype=np.uint8), np.array(scores)) == area


@given(scored_labels)
@settings(deadline=None, max_examples=40)
def test_roc_auc_against_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """With many ties."""
    labels, scores = zip(*rows, strict=True)
    Y, z = np.array(labels, dtype=np.uint8), np.array(scores, dtype=np.float64)
    assert roc_auc(Y, z) == pytest.approx(sklearn_metrics.roc_auc_score(Y, z), abs=1e-14)


def test_roc_auc_leaves_its_arguments_alone() -> None:
    """The scores are sorted in a copy."""
    scores = np.array([3.0, 1.0, 2.0])
    roc_auc(np.array([0, 0, 1]), scores)
    assert scores.tolist() == [3.0, 1.0, 2.0]
