"""The compiled products compared with Python's own unlimited integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_neuron.exact.compiled import COUNT_BITS, add_transposed_product, multiply, split_counts

LARGEST = 2**COUNT_BITS


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=20))
def test_split_counts(counts: list[int]) -> None:
    """The digits have 16 bits and add up to the number."""
    low, high = split_counts(np.array(counts, dtype=np.float64))
    assert [int(a) + (int(b) << 16) for a, b in zip(low, high, strict=True)] == counts


@pytest.mark.parametrize("m", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("n_x", [1, 3, 255, 256, 257, 777])
@pytest.mark.parametrize("kind", ["random", "largest", "smallest"])
def test_products_are_exact(m: int, n_x: int, kind: str) -> None:
    """Also with white pictures and the largest numbers of one sign, where sums in 32 bits come closest to their end."""
    rng = np.random.default_rng(m + n_x)
    X = rng.integers(0, 256, (m, n_x), np.uint8) if kind == "random" else np.full((m, n_x), 255, np.uint8)
    # 2**30 - 2**15 has the digits 2**14 - 1 and 2**15 - 1 below the sign; -2**15 is the largest digit of all.
    extreme = {"largest": LARGEST - 2**15 - 1, "smallest": -(2**15)}.get(kind)
    for length, transposed in ((n_x, False), (m, True)):
        counts = rng.integers(-LARGEST, LARGEST, length) if extreme is None else np.full(length, extreme)
        digits = split_counts(counts.astype(np.float64))
        wide = X.astype(object)
        if transposed:
            out = np.ones(n_x, np.int64)
            add_transposed_product(X, *digits, out)
            assert out.tolist() == (wide.T @ counts.astype(object) + 1).tolist()
        else:
            out = np.empty(m, np.int64)
            multiply(X, *digits, out)
            assert out.tolist() == (wide @ counts.astype(object)).tolist()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999))
@settings(max_examples=40)
def test_any_small_shape(m: int, n_x: int, seed: int) -> None:
    """Both products, random numbers."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (m, n_x), np.uint8)
    c, d = rng.integers(-LARGEST, LARGEST, n_x), rng.integers(-LARGEST, LARGEST, m)
    z, sums = np.empty(m, np.int64), np.zeros(n_x, np.int64)
    multiply(X, *split_counts(c.astype(float)), z)
    add_transposed_product(X, *split_counts(d.astype(float)), sums)
    assert (z == X.astype(np.int64) @ c).all()
    assert (sums == X.T.astype(np.int64) @ d).all()
