"""Products of raw pixels with whole numbers, compiled: the only room that knows numba.

NumPy has no fast product of small integers, and a float copy of the pixels takes four to eight times their memory and
longer than the arithmetic. Numba compiles these loops when they are first called (about a second). Whole numbers add up
to the same sum in any order, so neither the compiler nor the number of threads can change a bit.

A whole number c of up to 31 bits is handed in as two digits of 16: c = low + 2**16 high. Products of a pixel with a
digit stay within 2**23, so 256 of them fit into the 32-bit numbers that CPUs multiply fastest.
"""

import numpy as np
from numba import int32, int64, njit
from numpy.typing import NDArray

COUNT_BITS = 30  # absolute values of the whole numbers stay within 2**COUNT_BITS
_DIGIT_BITS = 16
_TERMS = 256  # so many products of a pixel and a digit fit into 32 bits

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
    for i in range(m):
        total = int64(0)
        for start in range(0, n_x, _TERMS):
            x, a, b = X[i, start : start + _TERMS], low[start : start + _TERMS], high[start : start + _TERMS]
            sum_low, sum_high = int32(0), int32(0)
            for j in range(x.size):
                sum_low = int32(sum_low + int32(x[j]) * int32(a[j]))
                sum_high = int32(sum_high + int32(x[j]) * int32(b[j]))
            total += int64(sum_low) + (int64(sum_high) << _DIGIT_BITS)
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
        for i in range(start, min(start + _TERMS, m)):
            a, b = int32(low[i]), int32(high[i])
            for j in range(n_x):
                sums_low[j] += int32(X[i, j]) * a
                sums_high[j] += int32(X[i, j]) * b
        for j in range(n_x):
            out[j] += int64(sums_low[j]) + (int64(sums_high[j]) << _DIGIT_BITS)
