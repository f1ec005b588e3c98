"""Passes on a GPU, with PyTorch: the same bits as on the CPU.

The pixels stay in the memory of the device. Products add up whole numbers, exactly, in one of two ways:

int8
    Pixels p - 128 times digits to base 256, each in [-128, 128): `torch._int_mm` adds up at most TERMS products in
    int32, and the rest is int64. cuBLAS takes the operands in one memory layout only, so the pixels are kept twice, by
    rows and by columns.
float64
    A copy of a block in float64, and at most FLOAT_TERMS products at a time. It takes about ten times as long.

int8 is checked against float64 at the start, and float64 is used where they differ or int8 is not supported. On "cpu"
it is always float64: on a CPU without VNNI PyTorch's int8 products are wrong.

All else is float64 in separate operations, each a kernel of its own, so that no two are fused into one with another
rounding; hence no `torch.compile`. And nothing is divided by a Python number: CUDA would multiply by its reciprocal.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import functions, products
from one_neuron.exact.compiled import COUNT_BITS
from one_neuron.gradient_descent.engines.torch_device import check_memory, find_device, report_full
from one_neuron.gradient_descent.many_rows import NUM_SCORES, ManyWanted
from one_neuron.gradient_descent.passes import Passes, Sums, Wanted
from one_neuron.neuron import Array
from one_neuron.rows import Pixels, RowsOnDisk

INT8_DEVICES = ("cuda",)
TERMS = 2**16  # (-128)**2 * TERMS = 2**30
FLOAT_TERMS = 2**15  # 255 * 2**COUNT_BITS * FLOAT_TERMS is below 2**53
_DIGITS = 4  # to base 256: COUNT_BITS and the sign
# cuBLAS demands a multiple of 8 columns, more than 16 rows, and addresses that are multiples of 16.
_COLUMNS, _ALIGN, _LEAST = 8, 16, 32
_FLOAT_BYTES = 2**28  # of the pixels of a block as float64, and of all that a pass for many configurations computes
_ROW_BYTES = 8 * 12 + 16  # of a row without its pixels: numbers in float64 and int64, and digits


class TorchPasses(Passes):
    """Passes on one device.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, or a `RowsOnDisk`
        It is copied to the device, block by block.
    Y : ndarray of shape (m,), values in {0, 1}
    device : str
        "cuda", "cuda:1", or "cpu" to check the arithmetic.
    block : int
        Rows that are multiplied at a time, a multiple of 16.

    Raises
    ------
    EnvironmentProblem
        If PyTorch does not see the device, or its memory is too small.
    """

    @report_full()
    def __init__(self, X: Pixels, Y: NDArray[Any], *, device: str, block: int = TERMS) -> None:
        import torch

        self._m, self._n_x = X.shape
        self._device = find_device(device)
        on_device: dict[str, Any] = {"device": self._device}
        self._one = torch.ones((), dtype=torch.float64, **on_device)
        self._wholes = torch.tensor(functions.WHOLES, **on_device)
        self._fractions = torch.tensor(functions.FRACTIONS, **on_device)
        self._bases = torch.tensor([256**j for j in range(_DIGITS)], **on_device)
        self._Y = torch.tensor(Y.astype(np.float64), **on_device)
        self._size = min(block, _padded(self._m))
        self._int8 = self._device.type in INT8_DEVICES and self._multiplies_int8(X)
        check_memory(self._device, self._bytes_needed())
        self._blocks = [self._load(X, start) for start in range(0, self._m, self._size)]

    def __exit__(self, *_: object) -> None:
        self._blocks = []

    @report_full()
    def add_up(self, wanted: Wanted) -> Sums:
        """Do one pass over all rows."""
        import torch

        fixed, unit = products.to_fixed_point(wanted.parameters.w, bits=COUNT_BITS)
        counts = torch.tensor(fixed.astype(np.int64), device=self._device)
        z = self._rows_times(counts).double() * float(unit / products.PIXEL_MAX) + wanted.parameters.b
        dw, db = np.zeros(self._n_x, np.int64), 0
        if wanted.gradient:
            dz = self._sigmoid(z) - self._Y if wanted.divisor is None else z / (self._one * wanted.divisor)
            dz_counts = torch.round(dz * 2.0**COUNT_BITS).long()
            dw, db = self._columns_times(dz_counts).cpu().numpy(), int(dz_counts.sum())
        return Sums(z.cpu().numpy() if wanted.z else None, dw, db)

    @report_full()
    def add_up_many(self, wanted: ManyWanted, folds: NDArray[Any] | None) -> tuple[Array, Array]:
        """Do one pass over all rows for many configurations: `many_rows.add_up` in PyTorch, which promises no bits."""
        import torch

        left_out = None if folds is None or (wanted.left_out < 0).all() else torch.tensor(wanted.left_out)[:, None]
        w, b, logits = (
            torch.tensor(values, device=self._device)
            for values in (wanted.weights[:, :-1].T / products.PIXEL_MAX, wanted.weights[:, -1:], wanted.logits)
        )
        gradients = self._zeros(len(b), self._n_x + 1, dtype=torch.float64)
        scores = self._zeros(len(b), NUM_SCORES, dtype=torch.float64)
        row_bytes = 8 * (2 * self._n_x + 6 * len(b))  # pixels and p - 128; u, losses and their like at one time
        for part, pixels in self._float64_pixels(max(1, _FLOAT_BYTES // row_bytes)):
            s = 2.0 * self._Y[part] - 1.0
            u = ((pixels @ w).T + b) * s
            kept = torch.ones_like(u, dtype=torch.bool)
            if left_out is not None and folds is not None:
                kept = (torch.tensor(folds[part]) != left_out).to(self._device)
            if wanted.scores:
                losses = torch.logaddexp(-u, torch.zeros_like(u))
                right = ((s * u > logits[:, None]) == (s > 0)).double()
                parts = [(values * where).sum(1) for where in (kept, ~kept) for values in (losses, right)]
                scores += torch.stack(parts, 1)
            if wanted.gradient:
                dz = -s * torch.sigmoid(-u) * kept
                gradients[:, :-1] += dz @ pixels
                gradients[:, -1] += dz.sum(1)
        gradients[:, :-1] /= products.PIXEL_MAX
        return gradients.cpu().numpy(), scores.cpu().numpy()

    def _float64_pixels(self, number: int) -> Iterator[tuple[slice, Any]]:
        """Yield all rows, at most `number` at a time, and their pixels as float64."""
        for i, block in enumerate(self._blocks):
            first = i * self._size
            for start in range(first, min(first + self._size, self._m), number):
                rows = slice(start, min(start + number, first + self._size, self._m))
                inner = slice(rows.start - first, rows.stop - first)
                yield rows, block[0][inner, : self._n_x].double() + 128.0 if self._int8 else block[inner].double()

    def _load(self, X: Pixels, start: int) -> Any:
        """Return a block of pixels on the device, as the products need it."""
        import torch

        rows = slice(start, min(start + self._size, self._m))
        host = X[rows] if isinstance(X, RowsOnDisk) else np.array(X[rows], order="C")
        pixels = torch.from_numpy(host).to(self._device)
        if not self._int8:
            return pixels
        by_rows = self._shift(pixels)
        return by_rows, by_rows.t().contiguous()

    def _shift(self, pixels: Any) -> Any:
        """Return p - 128 as int8, with as many rows and columns of zeros as the products need."""
        import torch

        shifted = self._zeros(_padded(len(pixels)), _padded(self._n_x), dtype=torch.int8)
        shifted[: len(pixels), : self._n_x] = (pixels ^ 128).view(torch.int8)
        return shifted

    def _rows_times(self, counts: Any) -> Any:
        """Return X c, of shape (m,), int64, for c of shape (n_x,), int64, absolute values up to 2**COUNT_BITS."""
        z = self._zeros(self._m)
        if not self._int8:
            for i, pixels in enumerate(self._blocks):
                rows = slice(i * self._size, i * self._size + len(pixels))
                z[rows] = self._float64_product(pixels, counts)
            return z
        digits = self._split(counts, _padded(self._n_x))
        for i, (pixels, _) in enumerate(self._blocks):
            rows = slice(i * self._size, min((i + 1) * self._size, self._m))
            for j in range(0, pixels.shape[1], TERMS):
                z[rows] += self._int8_product(pixels[:, j : j + TERMS], digits[:, j : j + TERMS])[: len(z[rows])]
        return z + 128 * counts.sum()

    def _columns_times(self, counts: Any) -> Any:
        """Return X^T c, of shape (n_x,), int64, for c of shape (m,), int64, absolute values up to 2**COUNT_BITS."""
        total = self._zeros(self._n_x)
        for block, part in zip(self._blocks, counts.split(self._size), strict=True):
            if self._int8:
                columns = block[1]
                total += self._int8_product(columns, self._split(part, columns.shape[1]))[: self._n_x]
            else:
                total += self._float64_product(block.t(), part)
        return total + 128 * counts.sum() if self._int8 else total

    def _int8_product(self, matrix: Any, digits: Any) -> Any:
        """Return matrix c, int64, from int8 digits of c: one row for each digit."""
        import torch

        # A matrix by rows times digits by columns: the layout that cuBLAS supports.
        return (torch._int_mm(matrix, digits.t())[:, :_DIGITS].long() * self._bases).sum(1)

    def _float64_product(self, pixels: Any, counts: Any) -> Any:
        """Return pixels c, int64, by products in float64 of blocks that fit beside the pixels."""
        height, width = pixels.shape
        total, c = self._zeros(height), counts.double()
        rows = max(1, _FLOAT_BYTES // 8 // min(width, FLOAT_TERMS))
        for i in range(0, height, rows):
            for j in range(0, width, FLOAT_TERMS):
                part = pixels[i : i + rows, j : j + FLOAT_TERMS].double()
                total[i : i + rows] += (part @ c[j : j + FLOAT_TERMS]).long()
        return total

    def _split(self, counts: Any, length: int) -> Any:
        """Return digits to base 256, lowest first, in [-128, 128), int8, of shape (_COLUMNS, length)."""
        import torch

        digits = self._zeros(_COLUMNS, length, dtype=torch.int8)
        for j in range(_DIGITS):
            low = ((counts + 128) & 255) - 128
            digits[j, : len(counts)] = low.to(torch.int8)
            counts = (counts - low) >> 8
        return digits

    def _sigmoid(self, z: Any) -> Any:
        """Return `neuron.sigmoid`, operation for operation."""
        return self._one / (self._one + self._exp(-z))

    def _exp(self, x: Any) -> Any:
        """Return `functions.exp`, operation for operation."""
        import torch

        limit, (first, second, third) = float(functions.EXP_LIMIT), functions.EXPM1_SERIES
        r = torch.clamp(x, -limit, limit) * float(functions.STEPS)
        k = torch.round(r)
        r, k = r - k, k.long()
        whole = torch.div(k, functions.STEPS, rounding_mode="floor")  # of whole numbers: exact
        power = self._wholes[whole + functions.EXP_LIMIT] * self._fractions[k - whole * functions.STEPS]
        return ((r * third + second) * r + first) * r * power + power

    def _multiplies_int8(self, X: Pixels) -> bool:
        """Return whether int8 products of some pixels of X with irregular numbers equal those in float64, both ways."""
        import torch

        pixels = torch.from_numpy(np.array(X[: min(self._m, 256)], order="C")).to(self._device)
        by_rows = self._shift(pixels)
        try:
            for uint8, int8 in ((pixels, by_rows), (pixels.t(), by_rows.t().contiguous())):
                terms = min(uint8.shape[1], TERMS)
                counts = (torch.arange(terms, device=self._device) * 2654435761) % 2 ** (COUNT_BITS + 1) - 2**COUNT_BITS
                digits = self._split(counts, min(int8.shape[1], TERMS))
                found = self._int8_product(int8[:, :TERMS], digits)[: len(uint8)] + 128 * counts.sum()
                if not torch.equal(found, self._float64_product(uint8[:, :terms], counts)):
                    raise RuntimeError("they are wrong")
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            print(f"one-neuron: no int8 products on {self._device} ({reason}); float64 takes longer", file=sys.stderr)
            return False
        return True

    def _bytes_needed(self) -> int:
        """Return the memory of the device that the pixels and a pass take."""
        both_ways = 2 * (_padded(self._m) + self._size) * _padded(self._n_x)  # and a block on its way
        pixels = both_ways if self._int8 else self._m * self._n_x
        return int(pixels + 2 * _FLOAT_BYTES + self._m * _ROW_BYTES + 8 * _COLUMNS * (self._size + self._n_x))

    def _zeros(self, *shape: int, dtype: Any = None) -> Any:
        """Return zeros on the device; int64 by default."""
        import torch

        return torch.zeros(shape, dtype=dtype or torch.int64, device=self._device)


def _padded(n: int) -> int:
    """Return the number of rows or columns that int8 products need for n of them."""
    return max(_LEAST, -(-n // _ALIGN) * _ALIGN)
