"""The largest eigenvalue compared with NumPy's, and the bound compared with what training does."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from one_neuron.gradient_descent.stability import largest_eigenvalue, stability_bound
from one_neuron.neuron import Array


def make_symmetric(eigenvalues: Array, seed: int = 0) -> Array:
    """Return a symmetric matrix with these eigenvalues."""
    n = len(eigenvalues)
    directions, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    return np.asarray(directions * eigenvalues @ directions.T)


@example([0.0, 999515.0, 999514.0, 1.0], 0)  # the estimate pauses between the two largest for one step
@example([1e5, 1e5 - 1e-3, 9e4, 3e4, 1e4], 3)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12), st.integers(0, 9))
def test_any_small_matrix(eigenvalues: list[float], seed: int) -> None:
    """Also with equal and tiny eigenvalues, and with a single one."""
    matrix = make_symmetric(np.array(eigenvalues), seed)
    assert largest_eigenvalue(lambda v: matrix @ v, len(matrix)) == pytest.approx(max(eigenvalues), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("second", [0.1, 0.9, 0.99, 0.999, 1.0])
def test_a_second_eigenvalue_close_by(second: float) -> None:
    """Six digits, where plain power iteration would need thousands of products."""
    eigenvalues = np.append(np.linspace(0, 0.5, 198), [second, 1.0]) * 4.6e5
    matrix = make_symmetric(eigenvalues)
    products = 0

    def times(v: Array) -> Array:
        nonlocal products
        products += 1
        return np.asarray(matrix @ v)

    assert largest_eigenvalue(times, 200) == pytest.approx(4.6e5, rel=1e-6)
    assert products <= 80


def test_many_eigenvalues_close_to_the_largest() -> None:
    """Evenly spread eigenvalues need 74 products; after 20 the third digit would be wrong."""
    matrix = make_symmetric(np.linspace(0.0, 1.0, 300))
    assert largest_eigenvalue(lambda v: matrix @ v, 300) == pytest.approx(1.0, rel=1e-6)


def test_an_eigenvector_orthogonal_to_equal_numbers() -> None:
    """Two pictures that are each other's negative: a start with equal numbers would never see their eigenvector."""
    matrix = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert largest_eigenvalue(lambda v: matrix @ v, 2) == pytest.approx(2.0, rel=1e-12)


def test_gram_matrices() -> None:
    """X X^T + 1 of random pixels, against LAPACK."""
    rng = np.random.default_rng(1)
    for m, n_x in [(1, 1), (2, 5), (30, 4), (50, 300)]:
        X = rng.integers(0, 256, (m, n_x)) / 255
        matrix = X @ X.T + 1
        found = largest_eigenvalue(lambda v, matrix=matrix: matrix @ v, m)  # type: ignore[misc]
        assert found == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-9)


def test_products_that_are_not_finite() -> None:
    """Huge float features overflow, so there is no bound."""
    assert math.isnan(largest_eigenvalue(lambda v: v * np.inf, 3))
    assert math.isnan(stability_bound(math.nan, 3))


def test_bound_by_hand() -> None:
    """One black picture: X X^T + 1 = 1, L = 1/4, 2 / L = 8; six digits are kept."""
    assert stability_bound(1.0, 1) == 8.0
    assert stability_bound(3.0, 1) == 2.66667


def test_the_bound_divides_falling_from_jumping() -> None:
    """One feature, at the flattest start: below the bound the cost never rises, at twice of it the steps overshoot.

    With b alone (a black picture) and labels half and half, the curvature at 0 is just L; the start is the optimum, so
    the update is applied to a start beside it.
    """
    bound = stability_bound(1.0, 1)

    def update(b: float, learning_rate: float) -> float:
        return b - learning_rate * (1 / (1 + math.exp(-b)) - 0.5)

    assert abs(update(0.01, 0.99 * bound)) < 0.01
    assert abs(update(0.01, 1.01 * bound)) > 0.01
