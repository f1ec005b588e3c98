"""Arithmetic that gives the same bits on every machine.

`numpy.exp` and `numpy.log1p` differ in the last bit between CPUs, and BLAS adds up in another order for another CPU
or thread count. IEEE 754, however, fixes the result of one addition, multiplication, division, rounding or
comparison, and sums of integers below 2**53 are exact in any order. Everything here is made of these.
`docs/exact-arithmetic.md` derives it.
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PIXEL_MAX = 255  # a uint8 pixel p stands for p / 255 in [0, 1]
EXACT = 53  # float64 holds every whole number up to 2**53
STATE_BITS = 50  # of a number in fixed point, without its sign

_EXP_LIMIT = 708.0  # exp(+-708) is still a normal number
_STEPS = 64 * 64  # exp looks 2**(j / 4096) up
_COARSE = [Decimal(2) ** (Decimal(j) / 64) for j in range(64)]
_FINE = [Decimal(2) ** (Decimal(j) / _STEPS) for j in range(64)]
_POWERS = np.array([float(coarse * fine) for coarse in _COARSE for fine in _FINE])
_STEPS_PER_UNIT = float(_STEPS / Decimal(2).ln())
# ln(2) / 4096 in two parts: the first has so many zeros at its end that k * _STEP_HIGH is exact for |k| < 2**23.
_STEP_HIGH = math.ldexp(math.floor(math.ldexp(float(Decimal(2).ln() / _STEPS), 42)), -42)
_STEP_LOW = float(Decimal(2).ln() / _STEPS - Decimal(_STEP_HIGH))
# exp(r) - 1 for |r| <= ln(2) / 8192: the first term left out, r**4 / 4!, is below 3e-18.
_EXPM1_SERIES = [1.0 / math.factorial(n) for n in range(1, 4)]
# atanh(y) / y in y**2 for |y| <= 1/3: the first term left out, y**36 / 37, is below 2e-19.
_ATANH_SERIES = [1.0 / (2 * n + 1) for n in range(18)]


def exp(x: Array) -> Array:
    """Return e**x to about one unit in the last place, x taken into [-708, 708].

    x = k ln(2) / 4096 + r with a whole number k = 4096 i + j, so e**x = 2**i 2**(j / 4096) e**r: a shift, a table and a
    short Taylor series.

    Parameters
    ----------
    x : ndarray of any shape, float64

    Returns
    -------
    ndarray of the same shape, float64
        Positive and finite.
    """
    x = np.minimum(np.maximum(x, -_EXP_LIMIT), _EXP_LIMIT)
    k = np.rint(x * _STEPS_PER_UNIT)
    r = x - k * _STEP_HIGH
    r -= k * _STEP_LOW
    result = _polynomial(_EXPM1_SERIES, r)
    result *= r
    whole = k.astype(np.int64)
    power = _POWERS.take(whole & (_STEPS - 1))
    result *= power
    result += power
    # 2**i has the exponent field i + 1023 and an empty fraction.
    result *= (((whole >> 12) + 1023) << 52).view(np.float64)
    return result


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
    return 2.0 * y * _polynomial(_ATANH_SERIES, y * y)


def mean(values: Array) -> float:
    """Return the mean of the values: their exact sum, rounded once, divided by their number."""
    return math.fsum(values.ravel().tolist()) / values.size


def _polynomial(coefficients: list[float], x: Array) -> Array:
    """Evaluate a polynomial, constant term first in the list, by Horner's rule."""
    total = np.asarray(x * coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        total += coefficient
        total *= x
    total += coefficients[0]
    return total


@dataclass(frozen=True)
class FixedPoint:
    """Numbers as whole multiples of one power of two: value = count * unit.

    Parameters
    ----------
    counts : ndarray of shape (n,), float64, whole numbers
        Absolute values up to 2**STATE_BITS.
    unit : float
        A power of two.
    """

    counts: Array
    unit: float


def to_fixed_point(v: Array) -> FixedPoint:
    """Round `v` to the finest grid on which its largest absolute value stays within 2**STATE_BITS.

    The rounding error is at most 2**-50 of the largest absolute value.

    Parameters
    ----------
    v : ndarray of shape (n,), float64, finite
    """
    largest = float(np.max(np.abs(v), initial=0.0))
    exponent = max(math.frexp(largest)[1] - STATE_BITS, -1000)  # no unit below the normal numbers
    return FixedPoint(counts=np.rint(np.ldexp(v, -exponent)), unit=math.ldexp(1.0, exponent))


def digit_bits(largest_row_sum: int) -> int:
    """Return how many bits a digit of a vector may have, so that a matrix times the digits is exact.

    Parameters
    ----------
    largest_row_sum : int
        The largest sum of absolute values in a row of the integer matrix. Every partial sum of a row times digits of
        absolute value at most 2**(bits - 1) stays within 2**53 then, whatever the order.

    Raises
    ------
    OverflowError
        If not even digits of two bits fit.
    """
    bits = EXACT + 1 - largest_row_sum.bit_length()
    if bits < 2:
        raise OverflowError(f"row sums up to {largest_row_sum} leave no room for an exact product")
    return bits


def split(counts: Array, bits: int) -> Array:
    """Split whole numbers into signed digits of `bits` bits, lowest first: counts = sum of digits[j] 2**(bits j).

    Parameters
    ----------
    counts : ndarray of shape (n,), float64, whole numbers
        Absolute values up to 2**STATE_BITS.
    bits : int
        At least 2.

    Returns
    -------
    ndarray of shape (ceil((STATE_BITS + 1) / bits), n), float64
        Whole numbers in [-2**(bits - 1), 2**(bits - 1)].
    """
    number = -(-(STATE_BITS + 1) // bits)
    digits = np.empty((number, len(counts)))
    rest = counts
    for j in range(number - 1):
        higher = np.rint(rest * 2.0**-bits)
        np.subtract(rest, higher * 2.0**bits, out=digits[j])
        rest = higher
    digits[-1] = rest
    return digits


def combine(products: Array, bits: int) -> Array:
    """Return the sum of products[j] 2**(bits j), highest first: the way back from `split` after a matrix product."""
    total: Array = products[-1].copy()
    for product in products[-2::-1]:
        total *= 2.0**bits
        total += product
    return total


def gram_matrix(X: NDArray[np.uint8], *, block: int = 1024) -> Array:
    """Return X X^T of raw pixels: an exact integer matrix.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
        n_x below 2**37, so that no entry reaches 2**53.
    block : int
        Features taken at a time; bounds the memory for the float64 copy to m * block * 8 bytes.

    Returns
    -------
    ndarray of shape (m, m), float64, whole numbers
    """
    m, n_x = X.shape
    total = np.zeros((m, m))
    for start in range(0, n_x, block):
        columns = X[:, start : start + block].astype(np.float64)
        total += columns @ columns.T
    return total


def pixels_times(X: NDArray[np.uint8], v: Array, *, block: int = 512) -> Array:
    """Return (X / 255) v for raw pixels X.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
    v : ndarray of shape (n_x,), float64, finite
    block : int
        Rows taken at a time; bounds the memory for the float64 copy.

    Returns
    -------
    ndarray of shape (m,), float64
    """
    fixed, bits = to_fixed_point(v), _pixel_digit_bits(X.shape[1])
    digits = split(fixed.counts, bits)
    products = np.empty((len(digits), len(X)))
    for i in range(0, len(X), block):
        products[:, i : i + block] = digits @ X[i : i + block].astype(np.float64).T
    return combine(products, bits) * fixed.unit / PIXEL_MAX


def transposed_pixels_times(X: NDArray[np.uint8], fixed: FixedPoint, *, block: int = 512) -> Array:
    """Return (X / 255)^T v for raw pixels X and v = fixed.counts * fixed.unit.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
    fixed : FixedPoint of m numbers
    block : int
        Rows taken at a time; bounds the memory for the float64 copy.

    Returns
    -------
    ndarray of shape (n_x,), float64
    """
    bits = _pixel_digit_bits(len(X))
    digits = split(fixed.counts, bits)
    products = np.zeros((len(digits), X.shape[1]))
    for i in range(0, len(X), block):
        products += digits[:, i : i + block] @ X[i : i + block].astype(np.float64)
    return combine(products, bits) * fixed.unit / PIXEL_MAX


def _pixel_digit_bits(terms: int) -> int:
    """Return the bits of a digit when so many raw pixels are summed up."""
    return digit_bits(terms * PIXEL_MAX)
