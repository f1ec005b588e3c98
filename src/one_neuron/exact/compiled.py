"""Compiled products of pixels with whole numbers: the only module that imports numba.

NumPy has no fast product of small integers. A float copy of the pixels takes four to eight times their memory, and
making it takes longer than the arithmetic. Numba compiles these loops when they are first called (about a second). A
sum of whole numbers is the same in any order, so neither the compiler nor the number of threads can change a bit.

A whole number c of up to 31 bits is passed as two digits of 16 bits: c = low + 2**16 high. Products of a pixel with a
digit stay within 2**23, so the sum of 256 of them fits into the 32-bit numbers that CPUs multiply fastest.
"""

import numpy as np
from numba import int32, int64, njit
from numpy.typing import NDArray

COUNT_BITS = 30  # absolute values of the whole numbers stay within 2**COUNT_BITS
_DIGIT_BITS = 16
_TERMS = 256  # the sum of 256 products of a pixel and a digit fits into 32 bits
_ZEROS = (np.int32(0),) * 8

Integers = NDArray[np.int64]


def split_counts(counts: NDArray[np.float64]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
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
def multiply(X: NDArray[np.uint8], low: NDArray[np.int16], high: NDArray[np.int16], out: Integers) -> None:
    """Write X (low + 2**16 high) to `out`.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, C order
        n_x up to 2**25.
    low, high : ndarray of shape (n_x,), int16
    out : ndarray of shape (m,), int64
    """
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
def add_transposed_product(
    X: NDArray[np.uint8], low: NDArray[np.int16], high: NDArray[np.int16], out: Integers
) -> None:
    """Add X^T (low + 2**16 high) to `out`.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, C order
    low, high : ndarray of shape (m,), int16
    out : ndarray of shape (n_x,), int64
    """
    m, n_x = X.shape
    sums_low, sums_high = np.empty(n_x, np.int32), np.empty(n_x, np.int32)
    for start in range(0, m, _TERMS):
        sums_low[:] = 0
        sums_high[:] = 0
        stop = min(start + _TERMS, m)
        fours = start + (stop - start) // 4 * 4
        # Four rows at a time again: the sums are loaded and stored once for all of them.
        for i in range(start, fours, 4):
            a0, a1, a2, a3 = int32(low[i]), int32(low[i + 1]), int32(low[i + 2]), int32(low[i + 3])
            b0, b1, b2, b3 = int32(high[i]), int32(high[i + 1]), int32(high[i + 2]), int32(high[i + 3])
            for j in range(n_x):
                x0, x1, x2, x3 = int32(X[i, j]), int32(X[i + 1, j]), int32(X[i + 2, j]), int32(X[i + 3, j])
                total = int32(int32(int32(sums_low[j] + x0 * a0) + x1 * a1) + x2 * a2)
                sums_low[j] = int32(total + x3 * a3)
                total = int32(int32(int32(sums_high[j] + x0 * b0) + x1 * b1) + x2 * b2)
                sums_high[j] = int32(total + x3 * b3)
        for i in range(fours, stop):
            for j in range(n_x):
                out[j] += int64(X[i, j]) * (int64(low[i]) + (int64(high[i]) << _DIGIT_BITS))
        for j in range(n_x):
            out[j] += int64(sums_low[j]) + (int64(sums_high[j]) << _DIGIT_BITS)
