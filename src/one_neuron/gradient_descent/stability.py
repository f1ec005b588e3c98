"""The learning rate up to which the cost is sure to fall, from the largest eigenvalue of X X^T + 1."""

import math
from collections.abc import Callable

import numpy as np

from one_neuron.neuron import Array

_MOST_STEPS = 200
_SETTLED = 1e-10  # relative change from one step to the next
_SETTLED_STEPS = (
    3  # in a row: between two eigenvalues that are close together, the estimate can pause for a step or two
)


def stability_bound(eigenvalue: float, m: int) -> float:
    r"""Return 2 / L, the learning rate up to which gradient descent is sure to lower the cost, to six digits.

    .. math:: L = \frac{\lambda_{max}(X X^T + 1)}{4 m}

    L bounds the curvature of the cost, since the derivative of the sigmoid is at most 1/4.

    Parameters
    ----------
    eigenvalue : float
        The largest eigenvalue of X X^T + 1, from `largest_eigenvalue`; at least 1.
    m : int
        Number of examples.

    References
    ----------
    Nesterov (2004), Introductory Lectures on Convex Optimization, section 2.1.5.
    """
    return float(f"{8 * m / eigenvalue:.6g}")


def largest_eigenvalue(times: Callable[[Array], Array], n: int) -> float:
    """Return the largest eigenvalue of a symmetric matrix that is given by its products with vectors.

    Lanczos's method: the eigenvalues of a small tridiagonal matrix grow towards those of the large one. Scalar
    products are exact sums, and bisection finds the eigenvalue of the small matrix, so the result has the same bits on
    every machine if `times` has.

    Parameters
    ----------
    times : callable
        Returns the product of the matrix with an ndarray of shape (n,).
    n : int
        Number of rows.

    Returns
    -------
    float
        nan if a product is not finite.

    References
    ----------
    Golub and Van Loan (2013), Matrix Computations, sections 8.4.1 and 10.1.
    """
    # An irregular start: a symmetry of the data must not make it orthogonal to the eigenvector.
    v = 1.0 + np.arange(n) % 7 / 16.0
    v /= math.sqrt(_dot(v, v))
    previous = np.zeros(n)
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    found, settled_steps = 0.0, 0
    # n steps are enough in exact arithmetic; rounding can cost as many again.
    for _ in range(min(2 * n, _MOST_STEPS)):
        with np.errstate(over="ignore", invalid="ignore"):
            product = times(v)
        if not np.isfinite(product).all():
            return math.nan
        diagonal.append(_dot(v, product))
        product -= diagonal[-1] * v
        if off_diagonal:
            product -= off_diagonal[-1] * previous
        last, found = found, _largest_of_tridiagonal(diagonal, off_diagonal)
        length = math.sqrt(_dot(product, product))
        settled_steps = settled_steps + 1 if abs(found - last) <= _SETTLED * abs(found) else 0
        if settled_steps == _SETTLED_STEPS or length <= _SETTLED * abs(found):
            break
        off_diagonal.append(length)
        previous, v = v, product / length
    return found


def _dot(v: Array, w: Array) -> float:
    """Return the scalar product; its sum is rounded once."""
    return math.fsum((v * w).tolist())


def _largest_of_tridiagonal(diagonal: list[float], off_diagonal: list[float]) -> float:
    """Return the largest eigenvalue by bisection: x is above all of them if no pivot of x - T is negative."""
    reach = [0.0, *off_diagonal, 0.0]
    low = max(diagonal)
    high = max(value + reach[i] + reach[i + 1] for i, value in enumerate(diagonal))  # Gershgorin's bound
    while low < (middle := (low + high) / 2) < high:
        if _above_all(middle, diagonal, off_diagonal):
            high = middle
        else:
            low = middle
    return high


def _above_all(x: float, diagonal: list[float], off_diagonal: list[float]) -> bool:
    """Return whether x is above all eigenvalues."""
    pivot = x - diagonal[0]
    for value, side in zip(diagonal[1:], off_diagonal, strict=True):
        if pivot <= 0:
            return False
        pivot = x - value - side * side / pivot
    return pivot > 0
