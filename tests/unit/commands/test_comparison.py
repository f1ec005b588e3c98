"""scikit-learn's LogisticRegression beside the neuron."""

from collections.abc import Callable

import numpy as np
import pytest

from one_neuron.commands import comparison
from one_neuron.commands.comparison import compare
from one_neuron.storage.prepared_set import PreparedSet

MakePrepared = Callable[..., PreparedSet]


def minimize(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return (w, b) that minimize the sum of the losses and half the square of w (C = 1), by Newton's method."""
    X = np.column_stack([X, np.ones(len(X))])
    penalty = np.diag([1.0] * (X.shape[1] - 1) + [0.0])
    w = np.zeros(X.shape[1])
    for _ in range(50):
        A = 1 / (1 + np.exp(-X @ w))
        gradient = X.T @ (A - Y) + penalty @ w
        w -= np.linalg.solve(X.T @ (X * (A * (1 - A))[:, np.newaxis]) + penalty, gradient)
    assert np.abs(gradient).max() < 1e-12
    return w


def test_it_minimizes_the_penalized_cost_of_pixels_divided_by_255(make_prepared: MakePrepared) -> None:
    """The oracle finds the minimum in another way; both sets are measured with it."""
    train, test = make_prepared(40, seed=1), make_prepared(20, seed=2)
    found = compare(train, test, threshold=0.5)
    assert found is not None
    w = minimize(train.X / 255, train.Y)
    for prepared, scores in ((train, found.train), (test, found.test)):
        z = prepared.X / 255 @ w[:-1] + w[-1]
        losses = np.log(1 + np.exp(-np.where(prepared.Y == 1, z, -z)))
        assert scores["cost"] == pytest.approx(losses.mean(), abs=1e-4)
        assert scores["accuracy"] == np.mean((z > 0) == prepared.Y)
        assert scores["m"] == prepared.m
    assert (found.num_rows, found.converged) == (40, True)
    assert 0 < found.iterations < 1000


def test_a_large_set_is_thinned_out(make_prepared: MakePrepared) -> None:
    """Evenly spaced rows; the measures are those of all rows."""
    train, test = make_prepared(41, seed=1), make_prepared(20, seed=2)
    found = compare(train, test, threshold=0.5, most_values=10 * 12 + 11)
    rows = [0, 4, 8, 12, 16, 20, 24, 28, 32, 36]
    some = PreparedSet(
        train.X[rows], train.Y[rows], [train.names[row] for row in rows], train.preprocessing, train.classes, "drawn"
    )
    expected = compare(some, test, threshold=0.5)
    assert expected is None  # every fourth picture has the same label
    assert found is None
    found = compare(train, test, threshold=0.5, most_values=9 * 12)
    assert found is not None
    assert (found.num_rows, found.train["m"]) == (9, 41)


def test_the_threshold_is_that_of_the_neuron(make_prepared: MakePrepared) -> None:
    """With a threshold near 1 no picture is predicted as label 1."""
    prepared = make_prepared(40, seed=1)
    found = compare(prepared, prepared, threshold=0.999999)
    assert found is not None
    assert (found.train["true_positives"], found.train["recall"]) == (0, 0.0)


def test_too_few_iterations_are_told(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn only warns."""
    monkeypatch.setattr(comparison, "MAX_ITERATIONS", 2)
    found = compare(make_prepared(40, seed=1), make_prepared(20, seed=2), threshold=0.5)
    assert found is not None
    assert (found.iterations, found.converged) == (2, False)
