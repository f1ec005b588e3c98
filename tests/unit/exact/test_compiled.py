"""The compiled pass over pixels, compared with Python's own unlimited integers and with NumPy's float64 operations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from one_neuron.exact import compiled, functions
from one_neuron.exact.compiled import COUNT_BITS, add_gradient, compute_z, split_counts
from one_neuron.exact.products import Array
from one_neuron.neuron import sigmoid

LARGEST = 2**COUNT_BITS
# 2**30 - 2**15 has the digits 2**14 - 1 and 2**15 - 1 below the sign; -2**15 is the largest digit of all.
EXTREMES = {"largest": LARGEST - 2**15 - 1, "smallest": -(2**15)}


@given(st.lists(st.integers(-LARGEST, LARGEST), min_size=1, max_size=20))
def test_split_counts(counts: list[int]) -> None:
    """The digits have 16 bits and add up to the number."""
    low, high = split_counts(np.array(counts, dtype=np.float64))
    assert [int(a) + (int(b) << 16) for a, b in zip(low, high, strict=True)] == counts


def check(X: compiled.Pixels, counts: Array, *, scale: float, b: float, divisor: float) -> None:
    """Compare one pass with whole numbers of Python, and with NumPy."""
    m, n_x = X.shape
    Y, digits = (np.arange(m) % 2).astype(np.uint8), split_counts(counts)
    products = X.astype(object) @ np.array([int(count) for count in counts], dtype=object)
    expected = np.array([float(product) for product in products]) * scale + b
    z, again, dw = np.empty(m), np.empty(m), np.ones(n_x, np.int64)
    db = add_gradient(X, Y, *digits, scale, b, divisor, z, dw)
    compute_z(X, *digits, scale, b, again)
    assert z.tolist() == again.tolist() == expected.tolist()
    dz = expected / divisor if divisor else sigmoid(expected) - Y
    d = [int(number) for number in np.rint(np.ldexp(dz, COUNT_BITS))]
    assert db == sum(d)
    assert dw.tolist() == (X.T.astype(object) @ np.array(d, dtype=object) + 1).tolist()


@pytest.mark.parametrize("m", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("n_x", [1, 3, 255, 256, 257, 777])
@pytest.mark.parametrize("kind", ["random", "largest", "smallest"])
def test_pass_is_exact(m: int, n_x: int, kind: str) -> None:
    """Also with white pictures and the largest numbers of one sign, where sums in 32 bits come closest to their end."""
    rng = np.random.default_rng(m + n_x)
    X = rng.integers(0, 256, (m, n_x), np.uint8) if kind == "random" else np.full((m, n_x), 255, np.uint8)
    counts = np.full(n_x, EXTREMES.get(kind, 0), float)
    if kind == "random":
        counts = rng.integers(-LARGEST, LARGEST, n_x).astype(float)
    check(X, counts, scale=3.0 / (255 * LARGEST * n_x), b=0.25, divisor=0.0)


@pytest.mark.parametrize("kind", ["largest", "smallest"])
@pytest.mark.parametrize("m", [4, 255, 256, 257, 512, 513])
def test_sums_of_extreme_errors(m: int, kind: str) -> None:
    """Every row of white pictures has the dz of EXTREMES, which z divided by 1 gives."""
    X = np.full((m, 9), 255, np.uint8)
    value = EXTREMES[kind] / LARGEST
    check(X, np.zeros(9), scale=1.0, b=value, divisor=1.0)


@pytest.mark.parametrize("n_x", [64, 1500, 5000, 2**18])
def test_parts_of_the_cache(n_x: int) -> None:
    """Wide rows are taken a few at a time."""
    rng = np.random.default_rng(n_x)
    m = 70 if n_x < 2**18 else 9
    X = rng.integers(0, 256, (m, n_x), np.uint8)
    counts = rng.integers(-LARGEST, LARGEST, n_x).astype(float)
    check(X, counts, scale=1e-14, b=-0.5, divisor=0.0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 999), st.sampled_from([0.0, 50.0]))
@settings(max_examples=40)
def test_any_small_shape(m: int, n_x: int, seed: int, divisor: float) -> None:
    """Random numbers."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (m, n_x), np.uint8)
    counts = rng.integers(-LARGEST, LARGEST, n_x).astype(float)
    check(X, counts, scale=1.0 / (255 * LARGEST), b=float(rng.normal()), divisor=divisor)


def test_exp_has_the_bits_of_functions_exp() -> None:
    """In every region of the tables, at their limits, and for -0.0, infinite numbers and nan."""
    rng = np.random.default_rng(0)
    steps = np.arange(-5000, 5000) / 8192  # halves of a step of the table round to even
    x = np.concatenate([rng.uniform(-720, 720, 20_000), rng.normal(0, 5, 20_000), steps])
    x = np.concatenate([x, [0.0, -0.0, 1e-300, 707.99999, 708.0, 708.5, -708.0, -709.0, 1e300, np.inf, -np.inf]])
    assert [compiled._exp(value) for value in x] == functions.exp(x).tolist()
    assert compiled._exp(np.nan) == functions.exp(np.array(708.0))  # no index outside of the tables
