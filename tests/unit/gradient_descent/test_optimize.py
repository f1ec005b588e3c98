"""Training compared with a loop in plain NumPy, the course's published numbers and properties of the optimum."""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError
from importlib.abc import MetaPathFinder
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from one_neuron import neuron
from one_neuron.exact import products
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.optimize import TrainingResult, choose_form, optimize
from one_neuron.neuron import Array, Parameters

Problem = tuple[NDArray[np.uint8], NDArray[np.uint8]]

# learning_rate 0.005, 2,000 iterations: iteration 0, 100, ... 1900, as the course prints them.
COURSE_COSTS = [
    *(0.693147, 0.584508, 0.466949, 0.376007, 0.331463, 0.303273, 0.279880, 0.260042, 0.242941, 0.228004),
    *(0.214820, 0.203078, 0.192544, 0.183033, 0.174399, 0.166521, 0.159305, 0.152667, 0.146542, 0.140872),
]


def textbook(X: NDArray[Any], Y: NDArray[Any], learning_rate: float, num_iterations: int) -> tuple[Array, float, Array]:
    """Train with plain NumPy, without the project's own arithmetic. Return w, b and all costs."""
    features = X / 255 if X.dtype == np.uint8 else X
    w, b, costs = np.zeros(X.shape[1]), 0.0, []
    for _ in range(num_iterations):
        z = features @ w + b
        costs.append(float(np.mean(np.logaddexp(0, z) - Y * z)))
        dz = 1 / (1 + np.exp(-z)) - Y
        w, b = w - learning_rate * (features.T @ dz) / len(X), b - learning_rate * float(np.mean(dz))
    z = features @ w + b
    costs.append(float(np.mean(np.logaddexp(0, z) - Y * z)))
    return w, b, np.array(costs)


def make_problem(m: int, n_x: int, *, positives: int | None = None, seed: int = 0) -> Problem:
    """Return random pixels and labels, `positives` of them 1 (by default half)."""
    rng = np.random.default_rng(seed)
    Y = (np.arange(m) < (m // 2 if positives is None else positives)).astype(np.uint8)
    return rng.integers(0, 256, size=(m, n_x), dtype=np.uint8), rng.permutation(Y)


def run_blocks(monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> TrainingResult:
    """Train in the form "blocks", which `optimize` uses above GRAM_LIMIT."""
    with monkeypatch.context() as patch:
        patch.setattr(gradient_descent, "GRAM_LIMIT", 0)
        result = optimize(*arguments, **options)
    assert result.form == "blocks"
    return result


def test_course_numbers(course: dict[str, NDArray[Any]]) -> None:
    """Every published cost to six digits, train accuracy 99.043 % and test accuracy 70 %."""
    result = optimize(course["train_X"], course["train_Y"], learning_rate=0.005, num_iterations=2000)
    assert result.iterations.tolist() == list(range(0, 2001, 100))
    assert [f"{cost:.6f}" for cost in result.costs[:-1]] == [f"{cost:.6f}" for cost in COURSE_COSTS]
    right = {
        split: int((neuron.predict(course[f"{split}_X"], result.parameters) == course[f"{split}_Y"]).sum())
        for split in ("train", "test")
    }
    assert right == {"train": 207, "test": 35}  # of 209 and of 50


def test_course_against_the_textbook_loop(course: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """All costs, w and b within 1e-9, in both forms; 12,288 features."""
    X, Y = course["train_X"], course["train_Y"]
    options: dict[str, Any] = {"learning_rate": 0.005, "record_every": 1}
    w, b, costs = textbook(X, Y, 0.005, 80)
    gram = optimize(X, Y, num_iterations=80, **options)
    assert gram.form == "gram"
    assert gram.costs == pytest.approx(costs, abs=1e-9)
    assert gram.parameters.w == pytest.approx(w, abs=1e-9)
    assert gram.parameters.b == pytest.approx(b, abs=1e-9)
    blocks = run_blocks(monkeypatch, X, Y, num_iterations=80, **options)
    assert blocks.costs == pytest.approx(costs, abs=1e-9)
    assert blocks.parameters.w == pytest.approx(w, abs=1e-9)
    assert blocks.parameters.b == pytest.approx(b, abs=1e-9)


@pytest.mark.parametrize("positives", [0, 1, 8, 15, 16])
@pytest.mark.parametrize("learning_rate", [0.001, 0.05])
def test_both_forms_follow_the_textbook(positives: int, learning_rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within 1e-9 at every iteration, with balanced, rare and missing classes."""
    X, Y = make_problem(16, 27, positives=positives)
    w, b, costs = textbook(X, Y, learning_rate, 300)
    options = {"learning_rate": learning_rate, "num_iterations": 300, "record_every": 1}
    gram = optimize(X, Y, **options)  # type: ignore[arg-type]
    for result in (gram, run_blocks(monkeypatch, X, Y, **options)):
        assert result.costs == pytest.approx(costs, abs=1e-9)
        assert result.parameters.w == pytest.approx(w, abs=1e-9)
        assert result.parameters.b == pytest.approx(b, abs=1e-9)
    assert gram.form == "gram"


@pytest.mark.slow
@given(
    m=st.integers(1, 12),
    n_x=st.integers(1, 12),
    positives=st.integers(0, 12),
    learning_rate=st.floats(1e-6, 0.05),
    seed=st.integers(0, 99),
    gram_limit=st.sampled_from([0, 6000]),
)
@settings(max_examples=80)
def test_any_small_problem_follows_the_textbook(
    m: int, n_x: int, positives: int, learning_rate: float, seed: int, gram_limit: int
) -> None:
    """One example, one feature, one class, either form: cost and w within 1e-9."""
    X, Y = make_problem(m, n_x, positives=min(positives, m), seed=seed)
    w, b, costs = textbook(X, Y, learning_rate, 40)
    with patch.object(gradient_descent, "GRAM_LIMIT", gram_limit):
        result = optimize(X, Y, learning_rate=learning_rate, num_iterations=40, record_every=1)
    assert result.form == ("gram" if gram_limit else "blocks")
    assert result.costs == pytest.approx(costs, abs=1e-9)
    assert result.parameters.w == pytest.approx(w, abs=1e-9)
    assert result.parameters.b == pytest.approx(b, abs=1e-9)


def test_floats_are_trained_as_they_are() -> None:
    """Any X that is not pixels takes the form "features" and is not divided by 255."""
    X, Y = np.random.default_rng(0).normal(size=(20, 5)), make_problem(20, 1)[1]
    w, b, costs = textbook(X, Y, 0.5, 200)
    result = optimize(X, Y, learning_rate=0.5, num_iterations=200, record_every=1)
    assert result.form == "features"
    assert result.costs == pytest.approx(costs, abs=1e-12)
    assert result.parameters.w == pytest.approx(w, abs=1e-12)
    assert result.parameters.b == pytest.approx(b, abs=1e-12)


def test_one_update_by_hand() -> None:
    """From zero dz = +-1/2: with X = [[1], [0]] and Y = [1, 0], w = rate / 4, b = 0 after one update."""
    X, Y = np.array([[255], [0]], dtype=np.uint8), np.array([1, 0])
    result = optimize(X, Y, learning_rate=0.8, num_iterations=1)
    assert result.parameters.w.tolist() == pytest.approx([0.2], rel=1e-13)
    assert result.parameters.b == pytest.approx(0.0, abs=1e-13)
    expected = (math.log1p(math.exp(-0.2)) + math.log(2)) / 2
    assert result.costs.tolist() == pytest.approx([math.log(2), expected], rel=1e-13)


def test_the_gradient_vanishes_at_the_optimum() -> None:
    """On data that no line separates, long training ends where the cost is flat."""
    X = np.array([[0]] * 4 + [[255]] * 4, dtype=np.uint8)
    trained = optimize(X, np.array([0, 0, 0, 1, 0, 1, 1, 1]), learning_rate=4.0, num_iterations=1000).parameters
    # Of the dark pictures 1 of 4 is labelled 1, of the bright ones 3 of 4: sigmoid(b) = 1/4, sigmoid(w + b) = 3/4.
    assert trained.b == pytest.approx(-math.log(3), abs=1e-9)
    assert trained.w.tolist() == pytest.approx([2 * math.log(3)], abs=1e-9)


@pytest.mark.parametrize("pixels", [True, False])
def test_fewer_iterations_are_a_prefix(pixels: bool) -> None:
    """The same first costs to the bit, up to 16,383 iterations."""
    raw, Y = make_problem(9, 12)
    X: NDArray[Any] = raw if pixels else raw / 255
    long, short = (optimize(X, Y, learning_rate=0.3, num_iterations=number, record_every=1) for number in (400, 123))
    assert short.costs.tobytes() == long.costs[:124].tobytes()


def test_many_iterations_follow_the_textbook() -> None:
    """The grid for the weights of the pictures grows with them."""
    X, Y = make_problem(5, 3)
    w, _, costs = textbook(X, Y, 0.01, 17000)
    result = optimize(X, Y, learning_rate=0.01, num_iterations=17000, record_every=1000)
    assert result.costs == pytest.approx(costs[::1000], abs=1e-9)
    assert result.parameters.w == pytest.approx(w, abs=1e-9)


@pytest.mark.parametrize("learning_rate", [1e-12, 1e-6, 0.1, 7.3, 1000.0])
@pytest.mark.parametrize(("m", "n_x"), [(1, 1), (1, 12), (6, 1), (6, 12)])
@pytest.mark.parametrize("form", ["gram", "blocks", "float"])
def test_every_allowed_rate_stays_finite(
    learning_rate: float, m: int, n_x: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No overflow, no nan, no negative cost, from the smallest to the largest rate."""
    raw, Y = make_problem(m, n_x)
    X: NDArray[Any] = raw / 255 if form == "float" else raw
    if form == "blocks":
        monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)
    result = optimize(X, Y, learning_rate=learning_rate, num_iterations=60, record_every=7)
    assert np.isfinite(result.costs).all()
    assert (result.costs >= 0).all()
    assert np.isfinite(result.parameters.w).all()
    assert math.isfinite(result.parameters.b)
    if learning_rate == 1e-12:
        assert result.parameters.w.any() or not raw.any()  # a tiny step is still a step


@pytest.mark.parametrize("value", [0, 7, 255])
def test_constant_pictures_learn_the_share_of_the_classes(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All pictures alike, a quarter of them cats: the probability goes to 1/4, all weights are equal."""
    X, Y = np.full((8, 5), value, dtype=np.uint8), np.array([1, 1, 0, 0, 0, 0, 0, 0])
    options = {"learning_rate": 0.5, "num_iterations": 300}
    for result in (optimize(X, Y, **options), run_blocks(monkeypatch, X, Y, **options)):  # type: ignore[arg-type]
        assert len(set(result.parameters.w.tolist())) == 1
        assert neuron.predict_probability(X, result.parameters) == pytest.approx([0.25] * 8, abs=1e-9)


@pytest.mark.parametrize("learning_rate", [0.005, 3.0, 1e50])
@pytest.mark.parametrize("positives", [0, 7])
def test_digits_stay_small_enough_to_be_exact(
    learning_rate: float, positives: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the pictures stay within the grid that was chosen for them, however long the steps are."""
    largest: list[float] = []
    multiply = products.SymmetricProduct.__call__

    def spy(self: products.SymmetricProduct, v: Array, out: Array) -> Array:
        multiply(self, v, out)
        largest.append(float(np.abs(self._digits).max() / (self._base / 2)))
        return out

    monkeypatch.setattr(products.SymmetricProduct, "__call__", spy)
    optimize(*make_problem(14, 6, positives=positives), learning_rate=learning_rate, num_iterations=400)
    assert 0.1 < max(largest) <= 1


def test_examples_in_another_order_give_the_same_bits() -> None:
    """Sums are exact, so the order of the pictures does not matter at all."""
    X, Y = make_problem(14, 30)
    order = np.random.default_rng(1).permutation(14)
    one, other = (optimize(X[rows], Y[rows], learning_rate=2.0, num_iterations=200) for rows in (np.arange(14), order))
    assert one.parameters.w.tobytes() == other.parameters.w.tobytes()
    assert one.parameters.b == other.parameters.b
    assert one.costs.tobytes() == other.costs.tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float64])
def test_labels_of_any_type_mean_the_same(dtype: type) -> None:
    """0 and 1 as integers, truth values or floats."""
    X, Y = make_problem(8, 6)
    expected = optimize(X, Y, learning_rate=0.1, num_iterations=50)
    result = optimize(X, Y.astype(dtype), learning_rate=0.1, num_iterations=50)
    assert result.parameters.w.tobytes() == expected.parameters.w.tobytes()
    assert result.costs.tobytes() == expected.costs.tobytes()


@pytest.mark.parametrize(
    ("num_iterations", "record_every", "recorded"),
    [(1, 100, [0, 1]), (10, 5, [0, 5, 10]), (11, 5, [0, 5, 10, 11]), (3, 1, [0, 1, 2, 3]), (4, 4, [0, 4])],
)
def test_recorded_iterations(num_iterations: int, record_every: int, recorded: list[int]) -> None:
    """Row i is the cost after i updates: at 0, at every `record_every`, and at the last."""
    X, Y = make_problem(4, 3)
    result = optimize(X, Y, learning_rate=0.1, num_iterations=num_iterations, record_every=record_every)
    assert result.iterations.tolist() == recorded
    *_, costs = textbook(X, Y, 0.1, num_iterations)
    assert result.costs == pytest.approx(costs[recorded], abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_inputs_are_not_changed(dtype: type) -> None:
    """X and Y may be read-only."""
    raw, Y = make_problem(6, 5)
    X: NDArray[Any] = raw.astype(dtype)
    X.flags.writeable = Y.flags.writeable = False
    before = X.copy()
    optimize(X, Y, learning_rate=0.1, num_iterations=5)
    assert (X == before).all()


def test_result_is_frozen() -> None:
    """A result is a value."""
    X, Y = make_problem(4, 3)
    result = optimize(X, Y, learning_rate=0.1, num_iterations=1)
    with pytest.raises(FrozenInstanceError):
        result.form = "other"  # type: ignore[misc]
    assert isinstance(result.parameters, Parameters)


def test_rates_of_any_type_mean_the_same() -> None:
    """A float32 does not lower the precision, and whole numbers are rates as well."""
    X, Y = make_problem(8, 6)
    for rate in (np.float32(0.5), np.float16(0.5)):
        result = optimize(X, Y, learning_rate=rate, num_iterations=50)  # type: ignore[arg-type]
        assert result.costs.tobytes() == optimize(X, Y, learning_rate=0.5, num_iterations=50).costs.tobytes()
    assert np.isfinite(optimize(X, Y, learning_rate=10**100, num_iterations=5).costs).all()


def test_huge_float_features_have_no_bound() -> None:
    """Their scalar products overflow, so the bound is nan; training itself continues."""
    result = optimize(np.array([[1e200], [-1e200]]), np.array([1, 0]), learning_rate=1e-300 * 1e201, num_iterations=1)
    assert math.isnan(result.stability_bound)


def test_the_bound_of_features() -> None:
    """2 / L with the largest eigenvalue of X X^T + 1, as for pixels."""
    X = np.random.default_rng(0).normal(size=(9, 4))
    result = optimize(X, np.arange(9) % 2, learning_rate=0.1, num_iterations=1)
    largest = np.linalg.eigvalsh(X @ X.T + 1)[-1]
    assert result.stability_bound == pytest.approx(8 * 9 / largest, rel=1e-5)


@pytest.mark.parametrize("form", ["gram", "blocks", "features"])
def test_blas_has_one_thread_while_training(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More threads would take longer for products as small as these."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
    raw, Y = make_problem(6, 4)
    held: list[bool] = []

    @contextmanager
    def hold() -> Iterator[None]:
        held.append(True)
        yield
        held.append(False)

    monkeypatch.setattr(gradient_descent, "one_blas_thread", hold)
    seen: list[bool] = []
    optimize(
        raw / 255 if form == "features" else raw,
        Y,
        learning_rate=0.1,
        num_iterations=2,
        on_progress=lambda _iteration, _cost: seen.append(held[-1]),
    )
    assert all(seen)
    assert seen
    assert held == [True, False]


def test_a_missing_library_of_numba_is_an_import_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader raises OSError, which a command would take for a problem with one of its files."""

    class Broken(MetaPathFinder):
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "one_neuron.gradient_descent.blocks":
                raise OSError("libllvmlite.so: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "one_neuron.gradient_descent.blocks", raising=False)
    monkeypatch.delattr("one_neuron.gradient_descent.blocks", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)
    with pytest.raises(ImportError, match=r"libllvmlite.so: cannot open"):
        optimize(*make_problem(4, 3), learning_rate=0.1, num_iterations=1)


@pytest.mark.parametrize(
    ("shape", "dtype", "form"),
    [
        ((1000, 1), np.uint8, "gram"),
        ((1001, 1), np.uint8, "blocks"),
        ((4096, 12288), np.uint8, "gram"),
        ((4097, 12288), np.uint8, "blocks"),
        ((6000, 20000), np.uint8, "gram"),
        ((6001, 20000), np.uint8, "blocks"),
        ((3, 1), np.float64, "features"),
        ((3, 1), np.int64, "features"),
    ],
)
def test_the_form_follows_from_type_and_shape(shape: tuple[int, int], dtype: type, form: str) -> None:
    """Free memory and the number of cores play no part."""
    assert choose_form(np.broadcast_to(np.zeros(1, dtype=dtype), shape)) == form


GOOD: dict[str, Any] = {
    "X": np.zeros((3, 2), dtype=np.uint8),
    "Y": np.array([0, 1, 1]),
    "learning_rate": 0.1,
    "num_iterations": 5,
    "record_every": 1,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros(3)}, r"X has shape \(3,\)"),
        ({"X": np.zeros((0, 2))}, r"X has shape \(0, 2\)"),
        ({"X": np.zeros((3, 0))}, r"X has shape \(3, 0\)"),
        ({"X": np.zeros((3, 2, 2))}, r"X has shape \(3, 2, 2\)"),
        ({"X": np.full((3, 2), np.nan)}, "nan or infinity"),
        ({"X": np.full((3, 2), None)}, "X has type object"),
        ({"X": np.full((3, 2), np.inf)}, "nan or infinity"),
        ({"Y": np.zeros((3, 1))}, r"Y has shape \(3, 1\); expected \(3,\)"),
        ({"Y": np.zeros((1, 3))}, r"Y has shape \(1, 3\)"),
        ({"Y": np.zeros(2)}, r"Y has shape \(2,\)"),
        ({"Y": np.array([0, 1, 2])}, r"Y\[2\] is 2; expected 0 or 1"),
        ({"Y": np.array([-1, 1, 1])}, r"Y\[0\] is -1"),
        ({"Y": np.array([0, 0.5, 1])}, r"Y\[1\] is 0.5"),
        ({"Y": np.array([0, np.nan, 1])}, r"Y\[1\] is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"num_iterations": 0}, "num_iterations is 0"),
        ({"num_iterations": 1.5}, "num_iterations is 1.5"),
        ({"record_every": 0}, "record_every is 0"),
        ({"record_every": -1}, "record_every is -1"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], message: str) -> None:
    """Every wrong shape, label and parameter is named with its value."""
    values = {**GOOD, **changes}
    with pytest.raises(ValueError, match=message):
        optimize(values.pop("X"), values.pop("Y"), **values)
