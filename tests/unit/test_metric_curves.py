"""Precision-recall, accuracy and calibration curves against scikit-learn and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from one_neuron.metric_curves import CalibrationBin, accuracy_by_threshold, calibrate, precision_recall_curve
from one_neuron.metrics import average_precision, count_confusion, wilson_interval

# Few different probabilities, so that there are many ties.
rated_labels = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 32)), min_size=1, max_size=60)


@given(rated_labels)
@settings(deadline=None, max_examples=40)
def test_precision_and_recall_against_scikit_learn(rows: list[tuple[int, int]]) -> None:
    """The same points in the other order, without the added point (recall 0, precision 1); as steps, the area."""
    labels, scores = zip((1, 16), *rows, strict=True)  # at least one positive
    Y, A = np.array(labels, dtype=np.uint8), np.array(scores) / 32
    precision, recall = precision_recall_curve(Y, A)
    expected, at, _ = sklearn_metrics.precision_recall_curve(Y, A)
    assert precision == pytest.approx(expected[-2::-1], abs=1e-15)
    assert recall == pytest.approx(at[-2::-1], abs=1e-15)
    assert (np.diff(recall, prepend=0) * precision).sum() == pytest.approx(average_precision(Y, A), abs=1e-14)


def test_precision_and_recall_without_positives() -> None:
    """Both are 0 everywhere."""
    precision, recall = precision_recall_curve(np.array([0, 0]), np.array([0.1, 0.2]))
    assert (precision.tolist(), recall.tolist()) == ([0.0, 0.0], [0.0, 0.0])


@given(rated_labels)
@settings(deadline=None, max_examples=40)
def test_the_accuracy_at_each_threshold_is_that_of_the_confusion_matrix(rows: list[tuple[int, int]]) -> None:
    """At thresholds that are probabilities, between them and beyond them."""
    labels, scores = zip(*rows, strict=True)
    Y, A = np.array(labels, dtype=np.uint8), np.array(scores) / 32
    thresholds = np.arange(-1, 67) / 64
    expected = [count_confusion(Y, A > threshold).accuracy for threshold in thresholds]
    assert accuracy_by_threshold(Y, A, thresholds).tolist() == expected


def test_calibration_by_hand() -> None:
    """0.1 belongs to the first of ten intervals, as in scikit-learn; intervals without pictures are left out."""
    A, Y = np.array([0.0, 0.1, 0.15, 0.95, 1.0, 1.0]), np.array([0, 1, 0, 1, 1, 0])
    assert calibrate(Y, A) == [
        CalibrationBin(2, 0.05, 0.5, *wilson_interval(1, 2)),
        CalibrationBin(1, 0.15, 0.0, *wilson_interval(0, 1)),
        CalibrationBin(3, (0.95 + 1.0 + 1.0) / 3, 2 / 3, *wilson_interval(2, 3)),
    ]


@given(rated_labels, st.sampled_from([2, 4, 8, 16]))
@settings(deadline=None, max_examples=40)
def test_calibration_against_scikit_learn(rows: list[tuple[int, int]], bins: int) -> None:
    """With probabilities on the edges of the intervals; every picture is counted once."""
    labels, scores = zip(*rows, strict=True)
    Y, A = np.array(labels, dtype=np.uint8), np.array(scores) / 32
    found = calibrate(Y, A, bins=bins)
    shares, probabilities = calibration_curve(Y, A, n_bins=bins) if len(set(labels)) == 2 else (None, None)
    if shares is not None:
        assert [one.share for one in found] == pytest.approx(shares, abs=1e-15)
        assert [one.probability for one in found] == pytest.approx(probabilities, abs=1e-15)
    assert sum(one.m for one in found) == len(rows)
    assert all(0 <= one.low <= one.share <= one.high <= 1 for one in found)


def test_one_class_and_one_picture() -> None:
    """All is defined."""
    Y, A = np.array([1]), np.array([0.5])
    assert accuracy_by_threshold(Y, A, np.array([0.0, 0.5, 1.0])).tolist() == [1.0, 0.0, 0.0]
    assert [(one.m, one.share) for one in calibrate(Y, A)] == [(1, 1.0)]
