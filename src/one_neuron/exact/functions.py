"""Functions that give the same bits on every machine: exp, log1p, the sigmoid, sums and the mean.

`numpy.exp` and `numpy.log1p` differ in the last bit between CPUs. `docs/exact-arithmetic.md` derives these.
"""

import math
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from itertools import chain

import numpy as np

from one_neuron.exact.products import Array

EXP_LIMIT = 708  # exp(+-708) is still a normal number
_SIGMOID_LIMIT = 40  # beyond +-40 the sigmoid is 1 or below 5e-18
STEPS = 64 * 64  # exp looks up e**(j / 4096)
_E = Decimal(1).exp()
_COARSE = [(Decimal(j) / 64).exp() for j in range(64)]
_FINE = [(Decimal(j) / STEPS).exp() for j in range(64)]
FRACTIONS = np.array([float(coarse * fine) for coarse in _COARSE for fine in _FINE])  # e**(j / 4096)
WHOLES = np.array([float(_E**i) for i in range(-EXP_LIMIT, EXP_LIMIT + 1)])  # e**i
# exp(r / 4096) - 1 for |r| <= 1/2: the first term left out is below 1e-17.
EXPM1_SERIES = [1.0 / (math.factorial(n) * STEPS**n) for n in range(1, 4)]
# atanh(y) / y in y**2 for |y| <= 1/3: the first term left out, y**36 / 37, is below 2e-19.
_ATANH_SERIES = [1.0 / (2 * n + 1) for n in range(18)]
_PART = 2**13  # values of a sum; a number of Python takes four times the memory of one in an array


def exp(x: Array) -> Array:
    """Return e**x to within three units in the last place; x is clipped to [-708, 708].

    x = i + (j + r) / 4096 with whole numbers i and j, so e**x = e**i e**(j / 4096) e**(r / 4096): two tables and a
    short Taylor series.

    Parameters
    ----------
    x : ndarray of any shape, float64

    Returns
    -------
    ndarray of the same shape, float64
        Positive and finite; nan for nan.
    """
    r = np.minimum(np.maximum(x, -EXP_LIMIT), EXP_LIMIT) * STEPS
    k = np.rint(r)
    r -= k
    with np.errstate(invalid="ignore"):  # nan stays nan
        steps = k.astype(np.int64)
    power = WHOLES.take(steps // STEPS + EXP_LIMIT, mode="clip") * FRACTIONS.take(steps % STEPS)
    return _times_exp(power, r, np.empty_like(r))


def _times_exp(power: Array, r: Array, out: Array) -> Array:
    """Write power * exp(r / 4096) to `out` and return it; |r| <= 1/2."""
    first, second, third = EXPM1_SERIES
    np.multiply(r, third, out)
    np.add(out, second, out)
    np.multiply(out, r, out)
    np.add(out, first, out)
    np.multiply(out, r, out)
    np.multiply(out, power, out)
    return np.add(out, power, out)


class ReverseSigmoid:
    """1 / (1 + e**u) for many arrays of one shape, in place, with one table instead of two.

    Parameters
    ----------
    shape : int or tuple of int
        The shape of u.
    """

    STEPS = float(STEPS)

    def __init__(self, shape: int | tuple[int, ...]) -> None:
        self._power, self._r = np.empty(shape), np.empty(shape)
        self._steps, self._table = np.empty(shape, np.int64), _powers()

    def __call__(self, u: Array, *, numerator: float, out: Array) -> Array:
        """Write numerator / (1 + e**(u / STEPS)) to `out` and return it; u / STEPS is clipped to [-40, 40]."""
        np.rint(u, out)
        np.subtract(u, out, self._r)
        np.add(out, _SIGMOID_LIMIT * STEPS, out)
        np.maximum(np.minimum(out, 2.0 * _SIGMOID_LIMIT * STEPS, out=out), 0.0, out=out)
        np.copyto(self._steps, out, casting="unsafe")
        self._table.take(self._steps, out=self._power, mode="clip")  # "raise" takes longer
        _times_exp(self._power, self._r, out)
        np.add(out, 1.0, out)
        return np.divide(numerator, out, out)


@cache
def _powers() -> Array:
    """Return e**(k / 4096) for k = -40 * 4096 ... 40 * 4096: 2.6 MB."""
    wholes = WHOLES[EXP_LIMIT - _SIGMOID_LIMIT : EXP_LIMIT + _SIGMOID_LIMIT + 1]
    products: Array = np.multiply.outer(wholes, FRACTIONS)
    return products.ravel()[: 2 * _SIGMOID_LIMIT * STEPS + 1]


def log1p(t: Array) -> Array:
    """Return ln(1 + t) for t in [0, 1] to about three units in the last place: 2 atanh(t / (2 + t)).

    Parameters
    ----------
    t : ndarray of any shape, float64, values in [0, 1]

    Returns
    -------
    ndarray of the same shape, float64, values in [0, ln 2]
    """
    y = t / (t + 2.0)
    square = y * y
    total = np.asarray(square * _ATANH_SERIES[-1])
    for coefficient in _ATANH_SERIES[-2:0:-1]:  # Horner's rule
        total += coefficient
        total *= square
    return 2.0 * y * (total + _ATANH_SERIES[0])


def exact_sum(values: Array) -> float:
    """Return the exact sum of the values, rounded once. Only _PART of them at a time are Python's numbers."""
    flat = values.ravel()
    return math.fsum(chain.from_iterable(flat[i : i + _PART].tolist() for i in range(0, flat.size, _PART)))


def mean(values: Array) -> float:
    """Return the mean of the values: their exact sum, rounded once, divided by their number."""
    return exact_sum(values) / values.size


def exact_terms(values: Sequence[float]) -> list[float]:
    """Return a few numbers with exactly the same sum: the sum rounded, then what rounding left out, and so on.

    So a sum over blocks is exact, and `math.fsum` of the terms is what it would be of all values at once.

    Examples
    --------
    >>> exact_terms([1e16, 1.0, 1.0, 1.0])
    [1.0000000000000004e+16, -1.0]
    """
    terms: list[float] = []
    while rest := math.fsum([*values, *(-term for term in terms)]):
        terms.append(rest)
        if not math.isfinite(rest):
            return [rest]
    return terms
