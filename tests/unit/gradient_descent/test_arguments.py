"""What callers pass to `optimize`: lists, labels of any type, features of any type, and what is refused."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from one_neuron.gradient_descent.arguments import read_features, read_labels, read_learning_rate, read_tolerance
from one_neuron.gradient_descent.optimize import TrainingResult, optimize

FEATURES = [[0, 3], [1, 2], [2, 0], [3, 1], [1, 1]]
LABELS = [0, 0, 1, 1, 0]


def train(X: Any, Y: Any = LABELS) -> TrainingResult:
    """Train for a few iterations."""
    return optimize(X, Y, learning_rate=0.1, num_iterations=5, record_every=1)


@pytest.fixture
def expected() -> TrainingResult:
    """Return what training on the float64 features gives."""
    return train(np.array(FEATURES, np.float64))


REAL_TYPES = "int8 int16 int32 int64 uint16 uint32 uint64 float16 float32 float64 longdouble >i4 >f8".split()


@pytest.mark.parametrize("dtype", REAL_TYPES)
def test_features_of_any_real_type_are_used_as_they_are(dtype: str, expected: TrainingResult) -> None:
    """The numbers 0 to 3 give the same bits in each type that holds them; none is divided by 255."""
    result = train(np.array(FEATURES, dtype))
    assert result.form == "features"
    assert result.costs.tobytes() == expected.costs.tobytes()
    assert result.parameters.w.tobytes() == expected.parameters.w.tobytes()


@pytest.mark.parametrize(
    "X",
    [FEATURES, tuple(map(tuple, FEATURES)), [np.array(row, np.uint8) for row in FEATURES], pd.DataFrame(FEATURES)],
    ids=["lists", "tuples", "list of uint8 rows", "pandas"],
)
def test_lists_and_tables_are_features(X: Any, expected: TrainingResult) -> None:
    """Whatever holds the numbers: only a uint8 ndarray is pixels."""
    result = train(X)
    assert result.form == "features"
    assert result.costs.tobytes() == expected.costs.tobytes()


def test_the_two_meanings_of_255() -> None:
    """As a list 255 is 255; in a uint8 array it stands for 1."""
    numbers = [[0, 255], [255, 0]]
    as_list, as_pixels = (train(X, [0, 1]) for X in (numbers, np.array(numbers, np.uint8)))
    assert as_list.costs.tobytes() == train(np.array(numbers, np.float64), [0, 1]).costs.tobytes()
    assert as_pixels.form == "gram"
    assert as_pixels.costs == pytest.approx(train(np.array(numbers) / 255, [0, 1]).costs, abs=1e-12)


def test_truth_values_are_features() -> None:
    """False and True are 0 and 1."""
    X: NDArray[Any] = np.array([[True, False], [False, True]])
    assert train(X, [0, 1]).costs.tobytes() == train([[1, 0], [0, 1]], [0, 1]).costs.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int16])
def test_any_memory_layout(dtype: type) -> None:
    """Columns first, every second row, backwards, read-only: the same costs, and the array is not changed."""
    X: NDArray[Any] = np.array(FEATURES, dtype)
    frozen = X.copy()
    frozen.flags.writeable = False
    layouts: list[NDArray[Any]] = [np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X[::-1].copy()[::-1], frozen]
    for layout in layouts:
        assert train(layout).costs == pytest.approx(train(X).costs, abs=1e-14)
        assert (layout == X).all()


@pytest.mark.parametrize(
    "Y",
    [
        LABELS,
        tuple(LABELS),
        [bool(label) for label in LABELS],
        [float(label) for label in LABELS],
        np.array(LABELS, np.bool_),
        np.array(LABELS, np.int8),
        np.array(LABELS, np.float16),
        pd.Series(LABELS),
    ],
    ids=lambda Y: f"{type(Y).__name__} of {type(Y[0]).__name__}",
)
@pytest.mark.parametrize("pixels", [True, False])
def test_labels_of_any_type(Y: Any, pixels: bool) -> None:
    """0 and 1 as integers, booleans and floats give the same bits."""
    X = np.array(FEATURES, np.uint8 if pixels else np.float64)
    expected = train(X, np.array(LABELS, np.uint8))
    result = train(X, Y)
    assert result.costs.tobytes() == expected.costs.tobytes()
    assert result.parameters.w.tobytes() == expected.parameters.w.tobytes()


def test_arrays_are_not_copied_where_they_need_not_be() -> None:
    """Pixels and float64 features may be large."""
    for dtype in (np.uint8, np.float64):
        X = np.array(FEATURES, dtype)
        assert np.shares_memory(read_features(X), X)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1, 2], [3]], "X cannot become an array .*; expected rows of equal length"),
        ([["a", "b"]], "X has type <U1; expected numbers"),
        ([[None, 1.0]], "X has type object; expected numbers"),
        (np.array([[1j]]), "X has type complex128; expected numbers"),
        (np.array([["2020-01-01"]], "datetime64[D]"), r"X has type datetime64\[D\]"),
        ([1.0, 2.0], r"X has shape \(2,\); expected \(m, n_x\)"),
        (3.0, r"X has shape \(\)"),
        ([[math.nan]], "X holds nan or infinity"),
        (np.array([[np.inf]], np.float16), "X holds nan or infinity"),
        (np.array([["1e400"]], np.longdouble), "X holds nan or infinity"),
        (np.zeros((0, 2)), r"X has shape \(0, 2\)"),
        (None, "X has type object"),
    ],
)
def test_features_that_are_refused(X: Any, message: str) -> None:
    """One line with the argument, its value and what is expected."""
    with pytest.raises(ValueError, match=message) as caught:
        read_features(X)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        (np.zeros((5, 1)), r"Y has shape \(5, 1\); expected \(5,\), one label for each row of X; pass Y.ravel\(\)"),
        ([[0], [0], [1], [1], [0]], r"pass Y.ravel\(\)"),
        (np.zeros((1, 5)), r"Y has shape \(1, 5\); .*pass Y.ravel\(\)"),
        (np.zeros(4), r"Y has shape \(4,\); expected \(5,\), one label for each row of X$"),
        ([0, 0, 1, 1, 2], r"Y\[4\] is 2; expected 0 or 1"),
        ([0, 0, 1, 1, 0.5], r"Y\[4\] is 0.5; expected 0 or 1"),
        ([-1, 1, 1, 1, 1], r"Y\[0\] is -1; expected 0 or 1"),
        ([0, 0, 1, 1, math.nan], r"Y\[4\] is nan"),
        (["cat"] * 5, "Y has type <U3; expected 0 and 1"),
        ([None] * 5, "Y has type object"),
    ],
)
def test_labels_that_are_refused(Y: Any, message: str) -> None:
    """(m, 1) labels would broadcast to m * m losses; the message names the remedy."""
    with pytest.raises(ValueError, match=message):
        train(FEATURES, Y)


def test_names_in_messages() -> None:
    """Of the labels and their examples."""
    with pytest.raises(ValueError, match=r"Y_test has shape \(2, 1\); .* row of X_test; pass Y_test.ravel\(\)"):
        read_labels([[0], [1]], 2, "Y_test", "X_test")


@pytest.mark.parametrize(
    "value", [1, 0.5, np.float32(0.5), np.int64(2), np.array(0.25), Fraction(1, 4), 10**100, 1e-100]
)
def test_learning_rates(value: Any) -> None:
    """Any real number becomes a Python float of the same value."""
    assert type(read_learning_rate(value)) is float
    assert read_learning_rate(value) == float(value)


@pytest.mark.parametrize("value", [0, -1, 1e-101, 1e101, 10**400, math.nan, math.inf, "0.1", None, True, [0.1], 1j])
def test_learning_rates_that_are_refused(value: Any) -> None:
    """The text of the value is in the message."""
    with pytest.raises(ValueError, match=r"learning_rate is .*; expected a number from 1e-100 to 1e100"):
        read_learning_rate(value)


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, "0", None, False])
def test_tolerances_that_are_refused(value: Any) -> None:
    """A tolerance is finite and at least 0."""
    with pytest.raises(ValueError, match=r"tolerance is .*; expected a number of at least 0"):
        read_tolerance(value)
    assert read_tolerance(np.float32(0)) == 0.0
