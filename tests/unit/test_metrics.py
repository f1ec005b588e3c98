"""The metrics against scikit-learn and against counts made by hand."""

import json
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from one_neuron.metrics import (
    Confusion,
    average_precision,
    baseline_accuracy,
    count_by_rank,
    count_confusion,
    evaluate,
    roc_auc,
    wilson_interval,
)

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


@pytest.mark.parametrize(("Y", "scores"), [([1, 1], [0.1, 0.2]), ([0], [0.3])])
def test_roc_auc_of_one_class_is_nan(Y: list[int], scores: list[float]) -> None:
    """There is no pair to rank."""
    assert math.isnan(roc_auc(np.array(Y, dtype=np.uint8), np.array(scores)))


@pytest.mark.parametrize(
    ("correct", "m", "low", "high"),
    [
        # z**2 / (m + z**2) at the ends; the others from a paper on the interval: Newcombe (1998), Statistics in
        # Medicine 17, table I, rounded to four digits.
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_by_published_values(correct: int, m: int, low: float, high: float) -> None:
    """The examples of a paper that compares intervals."""
    assert wilson_interval(correct, m) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10**6).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))))
@settings(deadline=None, max_examples=60)
def test_wilson_interval_against_other_precision(counts: tuple[int, int]) -> None:
    """With 50 digits, from the equation that defines it: the shares p with (k / m - p)**2 = z**2 p (1 - p) / m."""
    correct, m = counts
    low, high = wilson_interval(correct, m)
    assert 0 <= low <= correct / m <= high <= 1
    with mpmath.workdps(50):
        square = 2 * mpmath.erfinv(mpmath.mpf("0.95")) ** 2
        share = mpmath.mpf(correct) / m
        middle, spread = share + square / (2 * m), mpmath.sqrt(square * (share * (1 - share) + square / (4 * m)) / m)
        expected = [float((middle + sign * spread) / (1 + square / m)) for sign in (-1, 1)]
        for root in expected:  # each of them solves the equation
            assert mpmath.almosteq((share - root) ** 2, square * root * (1 - root) / m, abs_eps=1e-15)
    assert [low, high] == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_count_by_rank_by_hand() -> None:
    """Scores 3, 2, 2, 1: the two equal ones are one step."""
    true_positives, false_positives = count_by_rank(np.array([0, 1, 1, 0], np.uint8), np.array([2.0, 2.0, 3.0, 1.0]))
    assert true_positives.tolist() == [0, 1, 2, 2]
    assert false_positives.tolist() == [0, 0, 1, 2]


@given(scored_labels)
@settings(deadline=None, max_examples=40)
def test_the_roc_curve_against_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """The same points, and by the trapezoidal rule with whole numbers the same area as `roc_auc`, to the last bit."""
    labels, scores = zip(*rows, strict=True)
    Y, z = np.array(labels, dtype=np.uint8), np.array(scores, dtype=np.float64)
    true_positives, false_positives = count_by_rank(Y, z)
    fpr, tpr, _ = sklearn_metrics.roc_curve(Y, z, drop_intermediate=False)
    assert false_positives / false_positives[-1] == pytest.approx(fpr, abs=1e-15)
    assert true_positives / true_positives[-1] == pytest.approx(tpr, abs=1e-15)
    doubled = int((np.diff(false_positives) * (true_positives[1:] + true_positives[:-1])).sum())
    assert float(Fraction(doubled, 2 * int(true_positives[-1] * false_positives[-1]))) == roc_auc(Y, z)


@pytest.mark.parametrize(
    ("Y", "scores", "area"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([0, 1], [0.9, 0.1], 0.5),
        ([0, 1, 1, 0], [0.5, 0.5, 0.5, 0.5], 0.5),  # all equal: the share of label 1
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 5 / 6),  # 1/2 * 1 + 1/2 * 2/3
        ([1, 0, 1], [-np.inf, 1.0, np.inf], 5 / 6),
        ([1, 1], [0.1, 0.2], 1.0),
        ([0, 0], [0.1, 0.2], 0.0),
        ([1], [0.0], 1.0),
    ],
)
def test_average_precision_by_hand(Y: list[int], scores: list[float], area: float) -> None:
    """The sum of (recall step) x precision, with a class that does not occur as well."""
    assert average_precision(np.array(Y, dtype=np.uint8), np.array(scores)) == pytest.approx(area, rel=1e-15)


@given(scored_labels)
@settings(deadline=None, max_examples=40)
def test_average_precision_against_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """With many ties; and against exact fractions, to the last bits."""
    labels, scores = zip(*rows, strict=True)
    Y, z = np.array(labels, dtype=np.uint8), np.array(scores, dtype=np.float64)
    area = average_precision(Y, z)
    assert area == pytest.approx(sklearn_metrics.average_precision_score(Y, z), abs=1e-14)
    exact = Fraction(0)
    for score in sorted(set(scores)):
        at_least = [label for label, other in rows if other >= score]
        here = sum(label for label, other in rows if other == score)
        exact += Fraction(here * sum(at_least), sum(labels) * len(at_least))
    assert area == pytest.approx(float(exact), rel=1e-15)


@pytest.mark.parametrize(
    ("z", "Y"),
    [([0.0], [1]), ([0.0], [0]), ([2.0, 2.0, 2.0], [0, 1, 1]), ([np.inf, -np.inf], [1, 0]), ([1.0, -1.0], [0, 0])],
)
def test_all_metrics_of_unusual_sets(z: list[float], Y: list[int]) -> None:
    """One picture, equal or infinite z, one class: numbers from 0 to 1 or None, and valid JSON."""
    measures = evaluate(np.array(z), np.array(Y, dtype=np.uint8), threshold=0.5)
    json.dumps(measures, allow_nan=False)
    assert (measures["roc_auc"] is None) == (len(set(Y)) == 1)
    assert 0 <= measures["accuracy_low"] <= measures["accuracy"] <= measures["accuracy_high"] <= 1
    assert 0 <= measures["average_precision"] <= 1


def test_the_metrics_of_one_set() -> None:
    """By hand: of 0.5, 0.88 and 0.27, only 0.88 is above 0.5."""
    measures = evaluate(np.array([0.0, 2.0, -1.0]), np.array([1, 1, 0], dtype=np.uint8), threshold=0.5)
    assert measures["m"] == 3
    assert measures["accuracy"] == 2 / 3
    assert (measures["accuracy_low"], measures["accuracy_high"]) == wilson_interval(2, 3)
    assert (measures["roc_auc"], measures["average_precision"]) == (1.0, 1.0)
