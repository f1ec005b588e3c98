"""Matrix products that give the same bits on every machine.

The order in which BLAS adds depends on the CPU and on the number of threads. IEEE 754, however, fixes the result of one
addition, multiplication, division, rounding or comparison, and sums of integers below 2**53 are exact in any order.
This package uses only these operations. `docs/exact-arithmetic.md` derives it.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem

Array = NDArray[np.float64]

PIXEL_MAX = 255  # a uint8 pixel p stands for p / 255 in [0, 1]
FLOAT32_TERMS = 256  # the sum of 256 products of two pixels stays below 2**24; float32 holds all whole numbers up to it
EXACT = 53  # float64 holds every whole number up to 2**53
STATE_BITS = 50  # of a number in fixed point, without its sign
_PRODUCT_BITS = 40  # the least bits, with sign, of a vector that `SymmetricProduct` multiplies
_BLOCK_ROWS = 256  # of the Gram matrix: enough for BLAS, and few enough to save half of the products
_CROSS_ROWS = 1024
_SMALL_PRODUCT = 500_000  # multiplications; on CPUs with AVX-512 OpenBLAS does not copy the operands of such a product


def to_fixed_point(v: Array, *, bits: int = STATE_BITS) -> tuple[Array, Any]:
    """Round `v` to whole multiples of a power of two: v = counts * unit, up to 2**-bits of its largest absolute value.

    Parameters
    ----------
    v : ndarray of shape (n,) or (k, n), float64, finite
        (k, n) holds k vectors, each with a unit of its own.
    bits : int
        At most STATE_BITS.

    Returns
    -------
    counts : ndarray of the shape of v, float64, whole numbers
        Absolute values up to 2**bits.
    unit : float, or ndarray of shape (k,)
        The smallest power of two for which the counts stay within 2**bits.
    """
    largest = np.max(np.abs(v), axis=-1, initial=0.0)
    exponent = np.maximum(np.frexp(largest)[1] - bits, -1000)  # no unit below the normal numbers
    return np.rint(np.ldexp(v, -exponent[..., np.newaxis])), np.ldexp(1.0, exponent)


def digit_bits(largest_row_sum: int) -> int:
    """Return the largest number of bits of a digit for which a matrix times the digits is exact.

    Parameters
    ----------
    largest_row_sum : int
        The largest sum of absolute values in a row of the integer matrix. Every partial sum of a row times digits of
        absolute value at most 2**(bits - 1) stays within 2**53, whatever the order.

    Raises
    ------
    OverflowError
        If not even digits of two bits fit.
    """
    bits = EXACT + 1 - largest_row_sum.bit_length()
    if bits < 2:
        raise OverflowError(f"row sums up to {largest_row_sum} are too large for an exact product")
    return bits


def split(counts: Array, bits: int) -> Array:
    """Split whole numbers into signed digits of `bits` bits, lowest first: counts = sum of digits[j] 2**(bits j).

    Parameters
    ----------
    counts : ndarray of shape (n,) or (k, n), float64, whole numbers
        Absolute values up to 2**STATE_BITS.
    bits : int
        At least 2.

    Returns
    -------
    ndarray of shape (ceil((STATE_BITS + 1) / bits), ...), float64
        Whole numbers in [-2**(bits - 1), 2**(bits - 1)].
    """
    number = -(-(STATE_BITS + 1) // bits)
    digits: Array = np.rint(np.multiply.outer(2.0 ** (-bits * np.arange(number)), counts))
    digits[:-1] -= digits[1:] * 2.0**bits
    return digits


def combine(products: Array, bits: int) -> Array:
    """Return the sum of products[j] 2**(bits j), highest first: the inverse of `split`, after a matrix product."""
    total: Array = products[-1].copy()
    for product in products[-2::-1]:
        total *= 2.0**bits
        total += product
    return total


class SymmetricProduct:
    """Products of one symmetric matrix of whole numbers with many vectors, in preallocated arrays.

    A vector is rounded to a grid and split into digits (see `split`) so that BLAS is exact.

    Parameters
    ----------
    matrix : ndarray of shape (n, n), float64, whole numbers
    bits : int
        From `digit_bits` of the matrix.
    factor : float
        The products are multiplied by it.
    """

    def __init__(self, matrix: Array, bits: int, *, factor: float = 1.0) -> None:
        number = -(-_PRODUCT_BITS // bits)
        self._base, self._powers = 2.0**bits, 2.0 ** (-bits * np.arange(number)[:, np.newaxis])
        self._factor, self._count_bits = factor, min(number * bits - 1, STATE_BITS)
        self._digits, self._products = np.empty((number, len(matrix))), np.empty((number, len(matrix)))
        rows = max(_SMALL_PRODUCT // (number * len(matrix)), 1)
        blocks = [slice(i, i + rows) for i in range(0, len(matrix), rows)]
        # `matrix` holds the same numbers as its transpose, but BLAS takes a fifth less time in this order.
        self._parts = [(matrix[block].T, self._products[:, block]) for block in blocks]
        self._carries = np.empty((number - 1, len(matrix)))
        self._lower, self._upper = self._digits[:-1], self._digits[1:]
        self._highest, *self._others = self._products[::-1]

    def set_range(self, largest: float) -> None:
        """Choose the grid for vectors with absolute values up to `largest`: steps of at most 2**-39 of it."""
        exponent = max(math.frexp(largest)[1] - self._count_bits, -1000)  # no unit below the normal numbers
        unit = math.ldexp(1.0, exponent)
        self._scales, self._scale_back = self._powers / unit, unit * self._factor

    def __call__(self, v: Array, out: Array) -> Array:
        """Write factor * matrix @ v to `out` and return it; v of shape (n,) is rounded to the grid first."""
        np.multiply(self._scales, v, self._digits)
        np.rint(self._digits, self._digits)
        np.multiply(self._upper, self._base, self._carries)
        np.subtract(self._lower, self._carries, self._lower)
        for columns, product in self._parts:
            np.matmul(self._digits, columns, product)
        total = self._highest
        for product in self._others:
            np.multiply(total, self._base, out)
            total = np.add(out, product, out)
        np.multiply(total, self._scale_back, out)
        return out


def gram_matrix(X: NDArray[np.uint8]) -> Array:
    """Return X X^T of pixels: an exact integer matrix.

    In float32, twice as fast as float64: see FLOAT32_TERMS. The blocks on and above the diagonal are computed; those
    below it are their mirror image.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
        m n_x below 2**37, so that no sum of a row reaches 2**53.

    Returns
    -------
    ndarray of shape (m, m), float64, whole numbers

    Raises
    ------
    EnvironmentProblem
        If BLAS computed a wrong row.
    """
    m, n_x = X.shape
    total, row_sums = np.zeros((m, m)), np.zeros(m)
    for start in range(0, n_x, FLOAT32_TERMS):
        pixels = X[:, start : start + FLOAT32_TERMS]
        columns = pixels.astype(np.float32)
        for i in range(0, m, _BLOCK_ROWS):
            # For A @ A.T of one array NumPy calls ssyrk, which is wrong on some CPUs; the copy makes it call sgemm.
            total[i : i + _BLOCK_ROWS, i:] += columns[i : i + _BLOCK_ROWS].copy() @ columns[i:].T
        row_sums += pixels.astype(np.float64) @ pixels.sum(axis=0, dtype=np.float64)
    for i in range(0, m, _BLOCK_ROWS):
        rest = slice(i + _BLOCK_ROWS, None)
        total[rest, i : i + _BLOCK_ROWS] = total[i : i + _BLOCK_ROWS, rest].T
    check_row_sums(total, row_sums)
    return total


def cross_products(X: Any, other: Any) -> Array:
    """Return X other^T of pixels: an exact integer matrix.

    Parameters
    ----------
    X, other : uint8 pixels of shape (m, n_x) and (k, n_x)
        ndarrays or a `rows.RowsOnDisk`. X is read _CROSS_ROWS rows at a time. k n_x is below 2**37.

    Returns
    -------
    ndarray of shape (m, k), float64, whole numbers

    Raises
    ------
    EnvironmentProblem
        If BLAS computed a wrong row.
    """
    m, n_x = X.shape
    total, row_sums = np.zeros((m, other.shape[0])), np.zeros(m)
    for start in range(0, n_x, FLOAT32_TERMS):
        columns = slice(start, start + FLOAT32_TERMS)
        right = other[:, columns]
        sums, right = right.sum(axis=0, dtype=np.float64), right.astype(np.float32).T
        for i in range(0, m, _CROSS_ROWS):
            rows = slice(i, min(i + _CROSS_ROWS, m))
            left = X[rows, columns]
            total[rows] += left.astype(np.float32) @ right
            row_sums[rows] += left.astype(np.float64) @ sums
    check_row_sums(total, row_sums)
    return total


def check_row_sums(matrix: Array, expected: Array) -> None:
    """Raise EnvironmentProblem unless the rows of a matrix that BLAS computed have the expected sums.

    Both sums are exact, so a single wrong entry shows, nan included.

    Parameters
    ----------
    matrix : ndarray of shape (m, k), float64, whole numbers
    expected : ndarray of shape (m,), float64, whole numbers
        The sums of the rows, which follow from other products.
    """
    wrong = np.flatnonzero(matrix.sum(axis=1) != expected)
    if wrong.size:
        raise EnvironmentProblem(
            f"BLAS computed a wrong product of pixels ({wrong.size} of {len(matrix)} rows, the first is {wrong[0]}); "
            "choose another BLAS kernel: OPENBLAS_CORETYPE=NEOVERSEN1 on Arm, OPENBLAS_CORETYPE=Haswell on x86-64"
        )


def pixels_times(X: NDArray[np.uint8], v: Array, *, block: int = 64) -> Array:
    """Return (X / 255) v for pixels X. The pixels are read once, also for several v.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
    v : ndarray of shape (n_x,) or (k, n_x), float64, finite
        (k, n_x) holds k vectors; the bits are those of k separate calls.
    block : int
        Rows in one product; bounds the memory for the float64 copy, which should stay in the processor's cache.

    Returns
    -------
    ndarray of shape (m,) or (k, m), float64
    """
    bits = digit_bits(X.shape[1] * PIXEL_MAX)
    counts, unit = to_fixed_point(v)
    digits = split(counts, bits)
    rows = digits.reshape(-1, X.shape[1])  # the digits of all vectors
    products = np.empty((len(rows), len(X)))
    for i in range(0, len(X), block):
        products[:, i : i + block] = rows @ X[i : i + block].astype(np.float64).T
    return _combine_rows(products, digits, bits, unit)


def transposed_pixels_times(X: NDArray[np.uint8], counts: Array, unit: Any, *, block: int = 32) -> Array:
    """Return (X / 255)^T v for pixels X and v = counts * unit. The pixels are read once, also for several v.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
    counts, unit
        Of shape (m,) or (k, m), from `to_fixed_point`; the bits are those of k separate calls.
    block : int
        Rows in one product; bounds the memory for the float64 copy.

    Returns
    -------
    ndarray of shape (n_x,) or (k, n_x), float64
    """
    bits = digit_bits(len(X) * PIXEL_MAX)
    digits = split(counts, bits)
    rows = digits.reshape(-1, len(X))
    products = np.zeros((len(rows), X.shape[1]))
    for i in range(0, len(X), block):
        products += rows[:, i : i + block] @ X[i : i + block].astype(np.float64)
    return _combine_rows(products, digits, bits, unit)


def _combine_rows(products: Array, digits: Array, bits: int, unit: Any) -> Array:
    """Return the products of the vectors with X / 255, from those of all their digits with X."""
    total = combine(products.reshape(*digits.shape[:-1], -1), bits)
    return np.asarray(total * np.asarray(unit)[..., np.newaxis] / PIXEL_MAX)
