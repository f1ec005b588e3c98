"""Arithmetic that gives the same bits on every machine.

`numpy.exp` and `numpy.log1p` differ in the last bit between CPUs, and BLAS adds up in another order for another CPU
or thread count. IEEE 754, however, fixes the result of one addition, multiplication, division, rounding or
comparison, and sums of integers below 2**53 are exact in any order. Everything here is made of these.
`docs/exact-arithmetic.md` derives it.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PIXEL_MAX = 255  # a uint8 pixel p stands for p / 255 in [0, 1]
EXACT = 53  # float64 holds every integer up to 2**53
STATE_BITS = 62  # int64 without its sign, and one bit of room for rounding up

_LOG2_E = 1.4426950408889634
# ln 2 in two parts: the first has 21 trailing zero bits, so that k * LN2_HIGH is exact for |k| < 2**21.
_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
_EXP_LIMIT = 708.0  # exp(+-708) is still a normal number
# exp(r) for |r| <= ln(2) / 2: the first term left out, r**14 / 14!, is below 5e-18.
_EXP_SERIES = [1.0 / math.factorial(n) for n in range(14)]
# atanh(y) / y in y**2 for |y| <= 1/3: the first term left out, y**36 / 37, is below 2e-19.
_ATANH_SERIES = [1.0 / (2 * n + 1) for n in range(18)]


def exp(x: Array) -> Array:
    """Return e**x to about one unit in the last place, x taken into [-708, 708].

    x = k ln 2 + r with an integer k, so e**x = 2**k e**r, and e**r is a short Taylor series.

    Parameters
    ----------
    x : ndarray of any shape, float64

    Returns
    -------
    ndarray of the same shape, float64
        Positive and finite.
    """
    x = np.minimum(np.maximum(x, -_EXP_LIMIT), _EXP_LIMIT)
    k = np.rint(x * _LOG2_E)
    r = x - k * _LN2_HIGH
    r -= k * _LN2_LOW
    power = _polynomial(_EXP_SERIES, r)
    # 2**k has the exponent field k + 1023 and an empty fraction.
    power *= ((k.astype(np.int64) + 1023) << 52).view(np.float64)
    return power


def log1p(t: Array) -> Array:
    """Return ln(1 + t) for t in [0, 1] to about two units in the last place: 2 atanh(t / (2 + t)).

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
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= x
        total += coefficient
    return total


@dataclass(frozen=True)
class FixedPoint:
    """Numbers as whole multiples of one power of two: value = count * unit.

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
        Absolute values up to 2**62.
    unit : float
        A power of two.
    """

    counts: NDArray[np.int64]
    unit: float


def to_fixed_point(v: Array) -> FixedPoint:
    """Round `v` to the finest grid on which its largest absolute value stays below 2**62.

    The rounding error is at most 2**-62 of the largest absolute value, a 512th of float64's own.

    Parameters
    ----------
    v : ndarray of shape (n,), float64, finite
    """
    largest = float(np.max(np.abs(v), initial=0.0))
    exponent = max(math.frexp(largest)[1] - STATE_BITS, -1000)  # no unit below the normal numbers
    return FixedPoint(counts=np.rint(np.ldexp(v, -exponent)).astype(np.int64), unit=math.ldexp(1.0, exponent))


def piece_bits(largest_row_sum: int) -> int:
    """Return how many bits a piece of a vector may have, so that a matrix times the piece is exact.

    Parameters
    ----------
    largest_row_sum : int
        The largest sum of absolute values in a row of the integer matrix. Every partial sum of a row times pieces of
        absolute value at most 2**(bits - 1) stays within 2**53 then, whatever the order.

    Raises
    ------
    OverflowError
        If not even pieces of two bits fit.
    """
    bits = EXACT + 1 - largest_row_sum.bit_length()
    if bits < 2:
        raise OverflowError(f"row sums up to {largest_row_sum} leave no room for an exact product")
    return bits


def split(counts: NDArray[np.int64], bits: int) -> Array:
    """Split integers into signed digits of `bits` bits each, lowest first: counts = sum of digit_j 2**(bits j).

    Parameters
    ----------
    counts : ndarray of shape (n,), int64
    bits : int
        At least 2.

    Returns
    -------
    ndarray of shape (n, number of digits), float64, Fortran order
        Whole numbers in [-2**(bits - 1), 2**(bits - 1)).
    """
    half, mask = np.int64(1 << (bits - 1)), np.int64((1 << bits) - 1)
    digits = []
    rest = counts
    while True:
        digit = ((rest + half) & mask) - half
        digits.append(digit)
        rest = (rest - digit) >> bits
        if not rest.any():
            break
    return np.asfortranarray(np.stack(digits, axis=1), dtype=np.float64)


def combine(products: Array, bits: int) -> Array:
    """Return the sum of products[:, j] 2**(bits j), highest first: the way back from `split` after a matrix product.

    Leading digits that are zero change nothing, so the result does not depend on how many digits there are.
    """
    total = products[:, -1].copy()
    for j in range(products.shape[1] - 2, -1, -1):
        total *= 2.0**bits
        total += products[:, j]
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
    fixed, bits = to_fixed_point(v), _pixel_piece_bits(X.shape[1])
    digits = split(fixed.counts, bits)
    products = [X[i : i + block].astype(np.float64) @ digits for i in range(0, max(len(X), 1), block)]
    return combine(np.concatenate(products), bits) * fixed.unit / PIXEL_MAX


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
    bits = _pixel_piece_bits(len(X))
    digits = split(fixed.counts, bits)
    products = np.zeros((X.shape[1], digits.shape[1]))
    for i in range(0, len(X), block):
        products += X[i : i + block].T.astype(np.float64) @ digits[i : i + block]
    return combine(products, bits) * fixed.unit / PIXEL_MAX


def _pixel_piece_bits(terms: int) -> int:
    """Return the bits of a piece when so many raw pixels are summed up."""
    return piece_bits(terms * PIXEL_MAX)
