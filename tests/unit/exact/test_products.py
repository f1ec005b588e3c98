"""The arithmetic against mpmath (120 bits) and against Python's own unlimited integers and fractions."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem
from one_neuron.exact import functions, products
from one_neuron.exact.products import Array
from one_neuron.gradient_descent.optimize import optimize

LN2 = math.log(2)
int50 = st.integers(-(2**50), 2**50)


def errors_in_ulp(got: Array, x: Array, function: Callable[[Any], Any]) -> NDArray[np.float64]:
    """Return |got - function(x)| in units of the last place of the true value."""
    with mpmath.workprec(120):
        truth = [function(mpmath.mpf(value)) for value in x.tolist()]
        units = [mpmath.ldexp(1, max(mpmath.frexp(value)[1] - 53, -1074)) for value in truth]
        pairs = zip(got.tolist(), truth, units, strict=True)
        return np.array([float(abs(mpmath.mpf(value) - true) / unit) for value, true, unit in pairs])


def hard_exponents() -> Array:
    """Return numbers in [-708, 708]: spread out, near zero, and where the reduction by k ln 2 changes its k."""
    rng = np.random.default_rng(0)
    middles = (np.arange(-1021, 1021) + 0.5) * LN2
    x = np.concatenate(
        [
            rng.uniform(-708, 708, 4000),
            rng.normal(0, 3, 4000),
            middles,
            np.nextafter(middles, 0),
            np.arange(-1021, 1021) * LN2,
        ]
    )
    return np.append(x[np.abs(x) <= 708], [0.0, -0.0, 708.0, -708.0, 5e-324, -5e-324, 1e-17])


def hard_logarithm_arguments() -> Array:
    """Return numbers in [0, 1]: spread out, and down to the subnormal ones."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(0, 1, 6000), np.exp(-rng.uniform(0, 708, 4000)), np.linspace(0, 1, 1025)])
    return np.append(x, [0.0, 1.0, np.nextafter(1, 0), 5e-324, 1e-310, 2.0**-53])


@pytest.mark.parametrize(
    ("function", "oracle", "x", "bound"),
    [
        pytest.param(functions.exp, mpmath.exp, hard_exponents(), 2.8, id="exp"),
        pytest.param(functions.log1p, mpmath.log1p, hard_logarithm_arguments(), 3.0, id="log1p"),
    ],
)
def test_error_stays_within_a_few_units_in_the_last_place(
    function: Callable[[Array], Array], oracle: Callable[[Any], Any], x: Array, bound: float
) -> None:
    """Measured: exp 2.6 ulp, log1p 2.9 ulp."""
    assert errors_in_ulp(function(x), x, oracle).max() <= bound


def test_exp_of_nan() -> None:
    """exp(nan) is nan, without a warning."""
    assert np.isnan(functions.exp(np.array([np.nan, 0.0]))).tolist() == [True, False]


@pytest.mark.parametrize(
    ("beyond", "limit"), [(709.0, 708.0), (1e6, 708.0), (np.inf, 708.0), (-800.0, -708.0), (-np.inf, -708.0)]
)
def test_exp_clips_its_argument(beyond: float, limit: float) -> None:
    """Far arguments give the value at the end of the range: finite, positive, without a warning."""
    value = functions.exp(np.array([beyond]))[0]
    assert value == functions.exp(np.array([limit]))[0]
    assert 0 < value < np.inf


def test_exp_and_log1p_are_exact_where_they_can_be() -> None:
    """e**0 is 1 and ln(1 + 0) is 0, to the bit."""
    assert functions.exp(np.zeros(1))[0] == 1.0
    assert functions.log1p(np.zeros(1))[0] == 0.0


def test_exp_never_falls() -> None:
    """A larger argument never gives a smaller value by more than the rounding error."""
    values = functions.exp(np.linspace(-20, 20, 4001))
    assert (np.diff(values) > 0).all()


def test_functions_leave_their_argument_alone() -> None:
    """The argument is not changed."""
    x = np.array([-1000.0, 0.25, 1000.0])
    functions.exp(x)
    assert x.tolist() == [-1000.0, 0.25, 1000.0]
    t = np.array([0.0, 0.25, 1.0])
    functions.log1p(t)
    assert t.tolist() == [0.0, 0.25, 1.0]


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 3)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    """The result has the shape of the argument, also if it is empty."""
    assert functions.exp(np.ones(shape)).shape == shape
    assert functions.log1p(np.ones(shape)).shape == shape


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=20))
def test_mean_is_the_exact_sum_rounded_once(values: list[float]) -> None:
    """The oracle sums fractions; the division by m rounds a second time."""
    exact = float(sum(map(Fraction, values)))
    assert functions.mean(np.array(values)) == exact / len(values)


def test_a_long_sum_is_exact_over_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cancels lies in other parts; 2**53 + 1 is rounded once, at the end."""
    monkeypatch.setattr(functions, "_PART", 2)
    values = np.array([[1e300, 2.0**53, 1.0], [3.0, -1e300, -2.0]])
    assert functions.exact_sum(values) == 2.0**53 + 2
    assert functions.exact_sum(values[:, ::2]) == 1e300
    assert functions.exact_sum(np.empty(0)) == 0


def test_mean_does_not_cancel() -> None:
    """Where plain summation returns 0, the exact sum is 1."""
    assert functions.mean(np.array([1e100, 1.0, -1e100])) == 1 / 3


@given(st.lists(int50, min_size=1, max_size=8), st.integers(2, 53))
def test_split_is_undone_in_integers(counts: list[int], bits: int) -> None:
    """The digits are whole, within their bounds, and add up to what was split, negative numbers included."""
    digits = products.split(np.array(counts, dtype=np.float64), bits)
    half = 2 ** (bits - 1)
    assert ((digits >= -half) & (digits <= half)).all()
    whole = [[int(digit) for digit in column] for column in digits.T]
    assert (digits.T == np.array(whole, dtype=np.float64)).all()
    assert [sum(digit << (bits * j) for j, digit in enumerate(column)) for column in whole] == counts


@pytest.mark.parametrize("count", [2**50, -(2**50), 2**50 - 1, 1 - 2**50, 2**49, 1, -1, 0])
@pytest.mark.parametrize("bits", [2, 3, 8, 17, 52, 53])
def test_split_survives_the_ends_of_its_range(count: int, bits: int) -> None:
    """Nothing is lost at +-2**50."""
    digits = products.split(np.array([float(count)]), bits)[:, 0]
    assert sum(int(digit) << (bits * j) for j, digit in enumerate(digits)) == count


def test_split_leaves_its_argument_alone() -> None:
    """The argument is not changed."""
    counts = np.array([2.0**40, -5.0])
    products.split(counts, 7)
    assert counts.tolist() == [2**40, -5]


@given(st.lists(int50, min_size=1, max_size=8), st.integers(2, 53))
def test_combine_is_the_inverse_of_split(counts: list[int], bits: int) -> None:
    """combine(split(v)) is v, exactly."""
    v = np.array(counts, dtype=np.float64)
    assert products.combine(products.split(v, bits), bits).tolist() == counts


@given(st.lists(st.lists(st.integers(-(2**53), 2**53), min_size=3, max_size=3), min_size=1, max_size=8))
def test_combine_rounds_large_products_in_the_last_place(rows: list[list[int]]) -> None:
    """Sums beyond 2**53 are off by at most three units in the last place of their largest part."""
    got = products.combine(np.array(rows, dtype=np.float64).T, 17)
    for value, row in zip(got.tolist(), rows, strict=True):
        parts = [product << (17 * j) for j, product in enumerate(row)]
        assert abs(Fraction(value) - sum(parts)) <= 3 * Fraction(math.ulp(float(max(map(abs, parts)))))


@given(st.lists(int50, min_size=1, max_size=4), st.integers(2, 30), st.integers(1, 5))
def test_leading_zero_digits_change_nothing(counts: list[int], bits: int, more: int) -> None:
    """A vector split together with longer ones gives the same bits."""
    digits = products.split(np.array(counts, dtype=np.float64), bits)
    padded = np.vstack([digits, np.zeros((more, len(counts)))])
    assert products.combine(padded, bits).tobytes() == products.combine(digits, bits).tobytes()


def test_combine_leaves_its_argument_alone() -> None:
    """The argument is not changed."""
    digits = np.array([[1.0], [2.0], [3.0]])
    products.combine(digits, 4)
    assert digits.tolist() == [[1.0], [2.0], [3.0]]


@given(st.integers(1, 2**52 - 1))
def test_digit_bits_are_the_most_that_stay_exact(row_sum: int) -> None:
    """Row sum times the largest digit stays within 2**53, and one bit more could leave it."""
    bits = products.digit_bits(row_sum)
    assert row_sum * 2 ** (bits - 1) <= 2**53
    assert 2 ** row_sum.bit_length() * 2**bits > 2**53


@pytest.mark.parametrize(("row_sum", "bits"), [(1, 53), (255, 46), (2**51, 2), (2**52 - 1, 2)])
def test_digit_bits_by_hand(row_sum: int, bits: int) -> None:
    """54 minus the length of the row sum in bits."""
    assert products.digit_bits(row_sum) == bits


def test_digit_bits_refuse_what_cannot_be_exact() -> None:
    """From 2**52 on not even two bits fit."""
    with pytest.raises(OverflowError, match=str(2**52)):
        products.digit_bits(2**52)


@given(st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=8))
def test_fixed_point_is_as_fine_as_promised(values: list[float]) -> None:
    """Each number is off by at most 2**-50 of the largest, and the counts stay within 2**50."""
    counts, unit = products.to_fixed_point(np.array(values))
    assert math.frexp(unit)[0] == 0.5
    largest = max(map(abs, values))
    for value, count in zip(values, counts.tolist(), strict=True):
        assert abs(count) <= 2**50
        assert abs(Fraction(count) * Fraction(unit) - Fraction(value)) <= max(
            Fraction(largest) / 2**50, Fraction(2) ** -1001
        )


@pytest.mark.parametrize("values", [[], [0.0], [0.0, -0.0], [5e-324], [1.7e308, -1.7e308], [np.nextafter(1, 0)]])
def test_fixed_point_takes_the_ends_of_float64(values: list[float]) -> None:
    """No vector, zeros, the smallest and the largest numbers: counts within 2**50, no warning."""
    counts, _ = products.to_fixed_point(np.array(values))
    assert len(counts) == len(values)
    assert all(abs(count) <= 2**50 for count in counts.tolist())


def pictures(m: int, n_x: int, kind: str) -> NDArray[np.uint8]:
    """Return random or all-white pictures."""
    if kind == "white":
        return np.full((m, n_x), 255, dtype=np.uint8)
    return np.random.default_rng(m + n_x).integers(0, 256, size=(m, n_x), dtype=np.uint8)


SHAPES = [(1, 1), (3, 7), (5, 1025), (9, 2048)]


@pytest.mark.parametrize("kind", ["random", "white"])
@pytest.mark.parametrize(("m", "n_x"), SHAPES)
def test_gram_matrix_is_exact(m: int, n_x: int, kind: str) -> None:
    """Every entry is the integer that int64 arithmetic gives."""
    X = pictures(m, n_x, kind)
    wide = X.astype(np.int64)
    assert (products.gram_matrix(X) == wide @ wide.T).all()


@pytest.mark.parametrize("kind", ["random", "white"])
@pytest.mark.parametrize("m", [255, 256, 257, 600])
def test_gram_matrix_of_several_blocks(m: int, kind: str) -> None:
    """The blocks below the diagonal are the mirror image of those above it."""
    X = pictures(m, 300, kind)
    wide = X.astype(np.float64)  # sums below 2**53 are exact
    assert (products.gram_matrix(X) == wide @ wide.T).all()


@pytest.mark.parametrize(("m", "k", "n_x"), [(1, 1, 1), (5, 3, 300), (1500, 2, 513)])
def test_cross_products_are_exact(m: int, k: int, n_x: int) -> None:
    """Every entry is the integer that int64 arithmetic gives, in one block of rows and in two."""
    X, other = pictures(m, n_x, "random"), pictures(k, n_x, "white")
    assert (products.cross_products(X, other) == X.astype(np.int64) @ other.astype(np.int64).T).all()


class SpoiltArray(np.ndarray[Any, np.dtype[np.float32]]):
    """float32 numbers whose matrix product has one wrong entry, as from a defect kernel of BLAS."""

    wrong: float = 0.0

    def __matmul__(self, other: Any) -> Any:
        """Return the product of BLAS, one entry spoilt."""
        product = np.asarray(self) @ np.asarray(other)
        product[-1, -1] = self.wrong
        return product


@pytest.mark.parametrize("wrong", [np.nan, 0.0, -1.0])
@pytest.mark.parametrize("function", [products.gram_matrix, lambda X: products.cross_products(X, X[:3])])
def test_a_wrong_entry_of_blas_is_found(
    wrong: float, function: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One entry in one strip of columns is enough; the message names the workaround."""
    X = pictures(300, 600, "random")
    assert np.isfinite(function(X)).all()
    monkeypatch.setattr(SpoiltArray, "wrong", wrong)

    class Pixels(np.ndarray[Any, np.dtype[np.uint8]]):
        """Pixels that become a SpoiltArray."""

        def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
            """Return float32 numbers as a SpoiltArray."""
            numbers = np.asarray(self).astype(dtype)
            return numbers.view(SpoiltArray) if dtype == np.float32 else numbers

    with pytest.raises(
        EnvironmentProblem, match=r"BLAS computed a wrong product .*OPENBLAS_CORETYPE=NEOVERSEN1 on Arm"
    ):
        function(X.view(Pixels))


def test_a_wrong_product_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code of the environment, before a single update."""

    def fail(matrix: Array, expected: Array) -> None:
        check(matrix, expected + 1)

    check = products.check_row_sums
    monkeypatch.setattr(products, "check_row_sums", fail)
    with pytest.raises(EnvironmentProblem, match="3 of 3 rows, the first is 0") as caught:
        optimize(pictures(3, 4, "random"), [0, 1, 1], learning_rate=0.1, num_iterations=1)
    assert caught.value.exit_code == 4


def test_no_product_of_an_array_with_its_own_transpose(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy would call ssyrk for it, whose kernel for Arm CPUs with SME keeps NaN from memory used before."""
    shared: list[bool] = []

    class Watched(np.ndarray[Any, np.dtype[np.float32]]):
        """float32 numbers that watch what they are multiplied with."""

        def __matmul__(self, other: Any) -> Any:
            """Return the product, and record whether the factors share memory."""
            shared.append(np.shares_memory(self, other))
            return np.asarray(self) @ np.asarray(other)

    class Pixels(np.ndarray[Any, np.dtype[np.uint8]]):
        """Pixels that become Watched."""

        def astype(self, dtype: Any, *_: Any, **__: Any) -> Any:
            """Return float32 numbers as Watched."""
            numbers = np.asarray(self).astype(dtype)
            return numbers.view(Watched) if dtype == np.float32 else numbers

    products.gram_matrix(pictures(300, 600, "random").view(Pixels))
    assert shared
    assert not any(shared)


def exact_product(rows: NDArray[Any], values: list[Fraction]) -> list[Fraction]:
    """Return rows / 255 times values, in fractions."""
    return [sum((int(p) * v for p, v in zip(row, values, strict=True)), Fraction(0)) / 255 for row in rows]


@pytest.mark.parametrize("kind", ["random", "white"])
@pytest.mark.parametrize(("m", "n_x"), [(1, 1), (3, 7), (5, 257)])
def test_pixels_times_against_fractions(m: int, n_x: int, kind: str) -> None:
    """Wrong by 2**-49 of the largest number for each feature and some last places, however much cancels."""
    X, v = pictures(m, n_x, kind), np.random.default_rng(1).normal(size=n_x)
    v[n_x // 2 :] *= 1e-9
    values = [Fraction(value) for value in v.tolist()]
    grid = n_x * max(map(abs, values)) / 2**49
    for value, true in zip(products.pixels_times(X, v).tolist(), exact_product(X, values), strict=True):
        assert abs(Fraction(value) - true) <= grid + 4 * Fraction(math.ulp(float(true)))


@pytest.mark.parametrize("kind", ["random", "white"])
@pytest.mark.parametrize(("m", "n_x"), [(1, 1), (3, 7), (257, 5)])
def test_transposed_pixels_times_against_fractions(m: int, n_x: int, kind: str) -> None:
    """(X / 255)^T v of numbers in fixed point, up to 2**50 counts."""
    X = pictures(m, n_x, kind)
    counts = np.random.default_rng(2).integers(-(2**50), 2**50, size=m).astype(np.float64)
    counts[0] = 2**50
    exact = exact_product(X.T, [Fraction(count) / 2**70 for count in counts.tolist()])
    for value, true in zip(products.transposed_pixels_times(X, counts, 2.0**-70).tolist(), exact, strict=True):
        assert abs(Fraction(value) - true) <= 4 * Fraction(math.ulp(float(true)))


def test_products_of_whole_numbers_are_exact() -> None:
    """White pictures times counts that cancel leave exactly the one that does not."""
    X = np.full((2, 5), 255, dtype=np.uint8)
    v = np.array([2.0**40, 1.0, -(2.0**40), 3.0, -1.0])
    assert products.pixels_times(X, v).tolist() == [3.0, 3.0]
    counts = np.array([2.0**50, 5.0, 1 - 2.0**50])
    assert products.transposed_pixels_times(np.full((3, 2), 255, dtype=np.uint8), counts, 1.0).tolist() == [6.0, 6.0]


@pytest.mark.parametrize("block", [1, 2, 3, 512])
def test_products_do_not_depend_on_the_block_or_the_layout(block: int) -> None:
    """Other blocks and another memory order give the same bits."""
    X, v = pictures(7, 300, "random"), np.random.default_rng(3).normal(size=300)
    fixed = products.to_fixed_point(np.random.default_rng(4).normal(size=7))
    z, dw = products.pixels_times(X, v), products.transposed_pixels_times(X, *fixed)
    for layout in (X, np.asfortranarray(X), np.ascontiguousarray(X[::-1])[::-1]):
        assert products.pixels_times(layout, v, block=block).tobytes() == z.tobytes()
        assert products.transposed_pixels_times(layout, *fixed, block=block).tobytes() == dw.tobytes()


def test_products_do_not_depend_on_the_order_of_summation() -> None:
    """Features or examples in another order give the same bits; a plain float64 product does not promise that."""
    rng = np.random.default_rng(5)
    X, v = pictures(6, 400, "random"), rng.normal(size=400)
    order = rng.permutation(400)
    assert products.pixels_times(X[:, order], v[order]).tobytes() == products.pixels_times(X, v).tobytes()
    rows = rng.permutation(6)
    counts, unit = products.to_fixed_point(rng.normal(size=6))
    assert (
        products.transposed_pixels_times(X[rows], counts[rows], unit).tobytes()
        == products.transposed_pixels_times(X, counts, unit).tobytes()
    )


@pytest.mark.parametrize("shape", [1, 7, (3, 5)])
def test_reverse_sigmoid(shape: int | tuple[int, ...]) -> None:
    """Numerator / (1 + e**u) within a few units of the last place of the numerator, also far beyond the table."""
    function, rng = functions.ReverseSigmoid(shape), np.random.default_rng(0)
    for spread in (1e-9, 1.0, 20.0, 1e30, 1e300):
        u, out = rng.normal(0, spread, shape), np.empty(shape)
        assert function(u * function.STEPS, numerator=3.0, out=out) is out
        expected = [3 / (1 + mpmath.exp(mpmath.mpf(value))) for value in np.ravel(u).tolist()]
        assert out.ravel().tolist() == pytest.approx([float(value) for value in expected], abs=2e-15)


@pytest.mark.parametrize("n", [1, 2, 30])
@pytest.mark.parametrize("largest", [1e-280, 1e-9, 0.9, 1.0, 7e5])
def test_symmetric_product(n: int, largest: float) -> None:
    """A matrix of pixels' products times any vector: within 2**-39 of the largest sum, in exact rational numbers."""
    rng = np.random.default_rng(n)
    X = rng.integers(0, 256, (n, 12288), np.uint8)
    matrix = products.gram_matrix(X)
    bits = products.digit_bits(int(matrix.sum(axis=1).max()))
    times, out = products.SymmetricProduct(matrix, bits, factor=0.5), np.empty(n)
    times.set_range(largest)
    for _ in range(3):
        v = rng.uniform(-largest, largest, n)
        assert times(v, out) is out
        for row, got in zip(matrix, out, strict=True):
            terms = (Fraction(a) * Fraction(x) for a, x in zip(row.tolist(), v.tolist(), strict=True))
            true = sum(terms, Fraction()) / 2
            assert abs(Fraction(got) - true) <= Fraction(largest) * Fraction(row.sum()) * Fraction(2) ** -39


@pytest.mark.parametrize("limit", [1, 40, 3 * 30 * 7])
def test_parts_of_a_symmetric_product(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the rows are divided among calls of BLAS, also unevenly, the bits are those of one call."""
    rng = np.random.default_rng(0)
    matrix = products.gram_matrix(rng.integers(0, 256, (30, 500), np.uint8))
    v, found = rng.uniform(-1, 1, 30), []
    for most in (10**9, limit):
        monkeypatch.setattr(products, "_SMALL_PRODUCT", most)
        times = products.SymmetricProduct(matrix, products.digit_bits(int(matrix.sum(axis=1).max())))
        times.set_range(1.0)
        found.append(times(v, np.full(30, np.nan)).tolist())
    assert found[0] == found[1]


@given(st.lists(st.lists(st.floats(-1e300, 1e300), max_size=9), max_size=9))
def test_exact_terms_lose_nothing(blocks: list[list[float]]) -> None:
    """Block by block, the terms have the exact sum of all values."""
    terms: list[float] = []
    for block in blocks:
        terms = functions.exact_terms([*terms, *block])
    assert sum(map(Fraction, terms)) == sum((Fraction(value) for block in blocks for value in block), Fraction(0))
    assert math.fsum(terms) == math.fsum(value for block in blocks for value in block)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_exact_terms_of_what_is_not_finite(value: float) -> None:
    """The sum alone; it ends."""
    terms = functions.exact_terms([1.0, value, 1e-30])
    assert terms == pytest.approx([value], nan_ok=True)


@pytest.mark.parametrize("k", [1, 3])
def test_several_vectors_give_the_bits_of_separate_products(k: int) -> None:
    """Each has its own unit, however different their sizes are; one is zero."""
    rng = np.random.default_rng(5)
    X = rng.integers(0, 256, (700, 40), dtype=np.uint8)
    for function, length in ((products.pixels_times, 40), (transposed, 700)):
        several = rng.normal(size=(k, length)) * 10.0 ** np.array([[0], [-200], [150]])[:k]
        several[-1] = 0
        together = function(X, several)
        assert together.shape == (k, 740 - length)
        assert together.tobytes() == np.array([function(X, v) for v in several]).tobytes()


def transposed(X: NDArray[np.uint8], v: Array) -> Array:
    """Return (X / 255)^T v."""
    return products.transposed_pixels_times(X, *products.to_fixed_point(v))
