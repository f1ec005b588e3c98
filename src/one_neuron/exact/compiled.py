"""One pass over pixels in whole numbers, compiled: the only module that imports numba.

NumPy has no fast product of small integers. A float copy of the pixels takes four to eight times their memory, and
making it takes longer than the arithmetic. Numba compiles these loops when they are first called (a second or two). A
sum of whole numbers is the same in any order, so neither the compiler nor the number of threads can change a bit, and
the few operations on float64 are those of `functions.exp` and NumPy, one by one: numba fuses none.

A whole number c of up to 31 bits is passed as two digits of 16 bits: c = low + 2**16 high. Products of a pixel with a
digit stay within 2**23, so the sum of 256 of them fits into the 32-bit numbers that CPUs multiply fastest.
"""

import numpy as np
from numba import int32, int64, njit
from numpy.typing import NDArray

from one_neuron.exact.functions import EXP_LIMIT, EXPM1_SERIES, FRACTIONS, STEPS, WHOLES
from one_neuron.exact.products import Array

COUNT_BITS = 30  # absolute values of the whole numbers stay within 2**COUNT_BITS
_DIGIT_BITS = 16
_TERMS = 256  # the sum of 256 products of a pixel and a digit fits into 32 bits
_CACHE_BYTES = 2**18  # pixels that stay in the second-level cache of a core between their two uses
_ZEROS = (np.int32(0),) * 8
_FIRST, _SECOND, _THIRD = EXPM1_SERIES

Pixels = NDArray[np.uint8]
Digits = NDArray[np.int16]
Integers = NDArray[np.int64]


def split_counts(counts: Array) -> tuple[Digits, Digits]:
    """Split whole numbers into low and high digits, in [-2**15, 2**15): counts = low + 2**16 high.

    Parameters
    ----------
    counts : ndarray of shape (n,), float64, whole numbers
        Absolute values up to 2**COUNT_BITS.

    Returns
    -------
    low, high : ndarray of shape (n,), int16
    """
    whole = counts.astype(np.int64)
    high = (whole + (1 << (_DIGIT_BITS - 1))) >> _DIGIT_BITS
    return (whole - (high << _DIGIT_BITS)).astype(np.int16), high.astype(np.int16)


@njit(nogil=True)
def compute_z(X: Pixels, low: Digits, high: Digits, scale: float, b: float, z: Array) -> None:
    """Write X c * scale + b to `z`, where c = low + 2**16 high.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, C order
        n_x up to 2**25.
    low, high : ndarray of shape (n_x,), int16
    scale, b : float
    z : ndarray of shape (m,), float64
    """
    counts = np.empty(len(X), np.int64)
    _multiply(X, low, high, counts)
    for i in range(len(X)):
        z[i] = float(counts[i]) * scale + b


@njit(nogil=True)
def add_gradient(  # noqa: PLR0913, PLR0917 - numba takes no keywords and no structures
    X: Pixels, Y: Pixels, low: Digits, high: Digits, scale: float, b: float, divisor: float, z: Array, dw: Integers
) -> int:
    """Write z = X c * scale + b, where c = low + 2**16 high, and add X^T d to `dw`; return sum(d).

    d = rint(2**COUNT_BITS dz), with dz = z / divisor, or dz = sigmoid(z) - Y if `divisor` is 0. The rows are taken in
    parts that the cache holds, so that memory delivers them once for both products.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, C order
        n_x up to 2**25.
    Y : ndarray of shape (m,), uint8, values in {0, 1}
    low, high : ndarray of shape (n_x,), int16
    scale, b, divisor : float
        |z / divisor| is at most 1.
    z : ndarray of shape (m,), float64
    dw : ndarray of shape (n_x,), int64
    """
    m, n_x = X.shape
    rows = min(max(_CACHE_BYTES // n_x // 4 * 4, 4), _TERMS)
    dz_low, dz_high = np.empty(rows, np.int16), np.empty(rows, np.int16)
    sums_low, sums_high = np.zeros(n_x, np.int32), np.zeros(n_x, np.int32)
    db, added = 0, 0
    for start in range(0, m, rows):
        stop = min(start + rows, m)
        part = X[start:stop]
        compute_z(part, low, high, scale, b, z[start:stop])
        for i in range(start, stop):
            dz = z[i] / divisor if divisor else 1.0 / (1.0 + _exp(-z[i])) - Y[i]
            count = int(np.rint(dz * (1 << COUNT_BITS)))
            db += count
            digit = (count + (1 << (_DIGIT_BITS - 1))) >> _DIGIT_BITS
            dz_low[i - start], dz_high[i - start] = count - (digit << _DIGIT_BITS), digit
        if added + len(part) > _TERMS:
            _carry(sums_low, sums_high, dw)
            added = 0
        _add_transposed_product(part, dz_low, dz_high, sums_low, sums_high)
        added += len(part)
    _carry(sums_low, sums_high, dw)
    return db


@njit(nogil=True)
def _exp(x: float) -> float:
    """Return e**x with the bits of `functions.exp`, and e**708 for nan."""
    r = x if x < EXP_LIMIT else float(EXP_LIMIT)
    r = (r if r > -EXP_LIMIT else float(-EXP_LIMIT)) * STEPS
    k = np.rint(r)
    r -= k
    steps = int(k)
    power = WHOLES[steps // STEPS + EXP_LIMIT] * FRACTIONS[steps % STEPS]
    return float(((r * _THIRD + _SECOND) * r + _FIRST) * r * power + power)


@njit(nogil=True)
def _multiply(X: Pixels, low: Digits, high: Digits, out: Integers) -> None:
    """Write X (low + 2**16 high) to `out`, of shape (m,)."""
    m, n_x = X.shape
    fours = m // 4 * 4
    # Four rows at a time: loading the digits takes longer than adding, and one load serves all four.
    for i in range(0, fours, 4):
        z0, z1, z2, z3 = int64(0), int64(0), int64(0), int64(0)
        for start in range(0, n_x, _TERMS):
            stop = start + _TERMS
            a, b = low[start:stop], high[start:stop]
            x0, x1, x2, x3 = X[i, start:stop], X[i + 1, start:stop], X[i + 2, start:stop], X[i + 3, start:stop]
            a0, a1, a2, a3, b0, b1, b2, b3 = _ZEROS
            for j in range(a.size):
                # Numba would add 32-bit numbers as 64-bit ones; int32 keeps each step narrow.
                a0, b0 = int32(a0 + int32(x0[j]) * int32(a[j])), int32(b0 + int32(x0[j]) * int32(b[j]))
                a1, b1 = int32(a1 + int32(x1[j]) * int32(a[j])), int32(b1 + int32(x1[j]) * int32(b[j]))
                a2, b2 = int32(a2 + int32(x2[j]) * int32(a[j])), int32(b2 + int32(x2[j]) * int32(b[j]))
                a3, b3 = int32(a3 + int32(x3[j]) * int32(a[j])), int32(b3 + int32(x3[j]) * int32(b[j]))
            z0 += int64(a0) + (int64(b0) << _DIGIT_BITS)
            z1 += int64(a1) + (int64(b1) << _DIGIT_BITS)
            z2 += int64(a2) + (int64(b2) << _DIGIT_BITS)
            z3 += int64(a3) + (int64(b3) << _DIGIT_BITS)
        out[i], out[i + 1], out[i + 2], out[i + 3] = z0, z1, z2, z3
    for i in range(fours, m):
        total = int64(0)
        for j in range(n_x):
            total += int64(X[i, j]) * (int64(low[j]) + (int64(high[j]) << _DIGIT_BITS))
        out[i] = total


@njit(nogil=True)
def _add_transposed_product(
    X: Pixels, low: Digits, high: Digits, sums_low: NDArray[np.int32], sums_high: NDArray[np.int32]
) -> None:
    """Add X^T low and X^T high to the sums, of shape (n_x,); X has at most _TERMS rows."""
    m, n_x = X.shape
    fours = m // 4 * 4
    # Four rows at a time again: the sums are loaded and stored once for all of them.
    for i in range(0, fours, 4):
        a0, a1, a2, a3 = int32(low[i]), int32(low[i + 1]), int32(low[i + 2]), int32(low[i + 3])
        b0, b1, b2, b3 = int32(high[i]), int32(high[i + 1]), int32(high[i + 2]), int32(high[i + 3])
        for j in range(n_x):
            x0, x1, x2, x3 = int32(X[i, j]), int32(X[i + 1, j]), int32(X[i + 2, j]), int32(X[i + 3, j])
            total = int32(int32(int32(sums_low[j] + x0 * a0) + x1 * a1) + x2 * a2)
            sums_low[j] = int32(total + x3 * a3)
            total = int32(int32(int32(sums_high[j] + x0 * b0) + x1 * b1) + x2 * b2)
            sums_high[j] = int32(total + x3 * b3)
    for i in range(fours, m):
        a0, b0 = int32(low[i]), int32(high[i])
        for j in range(n_x):
            x0 = int32(X[i, j])
            sums_low[j], sums_high[j] = int32(sums_low[j] + x0 * a0), int32(sums_high[j] + x0 * b0)


@njit(nogil=True)
def _carry(sums_low: NDArray[np.int32], sums_high: NDArray[np.int32], out: Integers) -> None:
    """Add sums_low + 2**16 sums_high to `out`, and set the sums to 0."""
    for j in range(len(out)):
        out[j] += int64(sums_low[j]) + (int64(sums_high[j]) << _DIGIT_BITS)
        sums_low[j] = sums_high[j] = 0
