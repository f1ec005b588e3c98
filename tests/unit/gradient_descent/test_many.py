"""Many trainings at once, compared with a loop in plain NumPy, with `optimize` and with the course's numbers."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from one_neuron.exact import products
from one_neuron.gradient_descent import many, many_forms, many_rows
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.many import BatchResult, optimize_many
from one_neuron.gradient_descent.optimize import optimize

# learning_rate 0.005, 2,000 iterations: iteration 0, 100, ... 1900, as the course prints them.
COURSE_COSTS = (
    "0.693147 0.584508 0.466949 0.376007 0.331463 0.303273 0.279880 0.260042 0.242941 0.228004 "
    "0.214820 0.203078 0.192544 0.183033 0.174399 0.166521 0.159305 0.152667 0.146542 0.140872"
).split()
FORMS = ["gram", "blocks"]
ARRAYS = [f"{part}_{score}" for part in ("train", "validation", "test") for score in ("costs", "accuracies")]
RATES = np.array([0.001, 0.01, 0.03, 0.002, 0.02])


class OnDisk:
    """Rows that are read one slice at a time, as from a file; they never become one array."""

    def __init__(self, X: NDArray[np.uint8]) -> None:
        self._X, self.shape, self.dtype = X, X.shape, X.dtype
        self.largest = 0

    def __len__(self) -> int:
        return len(self._X)

    def __getitem__(self, key: slice | tuple[slice, slice]) -> NDArray[np.uint8]:
        block = self._X[key]
        assert block.ndim == 2
        self.largest = max(self.largest, block.size)
        return block.copy()


def make_problem(m: int, n_x: int, *, positives: int | None = None, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return random pixels and labels, `positives` of them 1 (by default half)."""
    rng = np.random.default_rng(seed)
    Y = (np.arange(m) < (m // 2 if positives is None else positives)).astype(np.uint8)
    return rng.integers(0, 256, size=(m, n_x), dtype=np.uint8), rng.permutation(Y)


def textbook(
    X: NDArray[np.uint8], Y: NDArray[Any], rate: float, num_iterations: int, others: list[Any], threshold: float = 0.5
) -> tuple[NDArray[Any], float, NDArray[Any]]:
    """Train as the course does; return w, b and, for each iteration, cost and accuracy on X, Y and each other set."""
    features, w, b, scores = X / 255, np.zeros(X.shape[1]), 0.0, []
    for iteration in range(num_iterations + 1):
        row = []
        for pictures, labels in [(X, Y), *others]:
            z = pictures / 255 @ w + b
            row += [np.mean(np.logaddexp(0, z) - labels * z), np.mean((1 / (1 + np.exp(-z)) > threshold) == labels)]
        scores.append(row)
        if iteration < num_iterations:
            dz = 1 / (1 + np.exp(-(features @ w + b))) - Y
            w, b = w - rate * (features.T @ dz) / len(X), b - rate * float(np.mean(dz))
    return w, b, np.array(scores)


def bits(result: BatchResult) -> list[bytes]:
    """Return all scores and weights as bytes."""
    c = result.train_costs.shape[1]
    weights = [result.parameters(j).w.tobytes() for j in range(c)]
    return [getattr(result, name).tobytes() for name in ARRAYS] + weights


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test in each form; blocks and spans are small, so that there are several."""
    if request.param == "blocks":
        monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)
    return str(request.param)


@pytest.fixture
def set_cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that sets how many cores there seem to be."""
    return lambda number: monkeypatch.setattr(many, "count_cores", lambda: number)


@pytest.mark.parametrize("with_folds", [False, True])
def test_every_column_follows_the_textbook(with_folds: bool, form: str) -> None:
    """Costs, accuracies, w and b of each training, on its rows, on those left out and on a test set."""
    (X, Y), (X_test, Y_test) = make_problem(23, 300), make_problem(7, 300, seed=1)
    folds, held_out = np.arange(23) * 7 % 3, np.array([0, -1, 2, 1, 0])
    thresholds = np.array([0.5, 0.3, 0.6, 0.45, 0.5])
    options: dict[str, Any] = {"folds": folds, "held_out": held_out} if with_folds else {}
    result = optimize_many(
        X,
        Y,
        learning_rates=RATES,
        num_iterations=60,
        record_every=1,
        X_test=X_test,
        Y_test=Y_test,
        thresholds=thresholds,
        **options,
    )
    assert result.form == form
    assert result.iterations.tolist() == list(range(61))
    for j, rate in enumerate(RATES):
        kept = folds != held_out[j] if with_folds else np.full(23, True)
        others = [(X_test, Y_test)] + ([(X[~kept], Y[~kept])] if not kept.all() else [])
        w, b, scores = textbook(X[kept], Y[kept], rate, 60, others, thresholds[j])
        assert result.parameters(j).w == pytest.approx(w, abs=1e-9)
        assert result.parameters(j).b == pytest.approx(b, abs=1e-9)
        names = ["train_costs", "train_accuracies", "test_costs", "test_accuracies"]
        names += ["validation_costs", "validation_accuracies"] if not kept.all() else []
        for name, expected in zip(names, scores.T, strict=True):
            assert getattr(result, name)[:, j] == pytest.approx(expected, abs=1e-9), name
        if kept.all():
            assert np.isnan(result.validation_costs[:, j]).all()
            assert np.isnan(result.validation_accuracies[:, j]).all()
    assert not result.diverged.any()


@pytest.mark.slow
@given(
    m=st.integers(1, 12),
    n_x=st.integers(1, 12),
    positives=st.integers(0, 12),
    rates=st.lists(st.floats(1e-6, 0.05), min_size=1, max_size=4),
    gram_limit=st.sampled_from([0, 6000]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_any_small_problem_follows_the_textbook(
    m: int, n_x: int, positives: int, rates: list[float], gram_limit: int, seed: int
) -> None:
    """One example, one feature, one class, one configuration: within 1e-9."""
    X, Y = make_problem(m, n_x, positives=min(positives, m), seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient_descent, "GRAM_LIMIT", gram_limit)
        result = optimize_many(X, Y, learning_rates=rates, num_iterations=20, record_every=1)
    for j, rate in enumerate(rates):
        w, b, scores = textbook(X, Y, rate, 20, [])
        assert result.train_costs[:, j] == pytest.approx(scores[:, 0], abs=1e-9)
        assert result.parameters(j).w == pytest.approx(w, abs=1e-9)
        assert result.parameters(j).b == pytest.approx(b, abs=1e-9)


def test_every_column_follows_the_exact_engine(form: str) -> None:
    """`optimize` follows the same trajectory with other arithmetic."""
    X, Y = make_problem(16, 27)
    result = optimize_many(X, Y, learning_rates=RATES, num_iterations=300, record_every=50)
    for j, rate in enumerate(RATES):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gradient_descent, "GRAM_LIMIT", 6000)
            expected = optimize(X, Y, learning_rate=float(rate), num_iterations=300, record_every=50)
        assert result.train_costs[:, j] == pytest.approx(expected.costs, abs=1e-9)
        assert result.parameters(j).w == pytest.approx(expected.parameters.w, abs=1e-9)
        assert result.parameters(j).b == pytest.approx(expected.parameters.b, abs=1e-9)


def test_course_numbers(course: dict[str, NDArray[Any]]) -> None:
    """Every published cost to six digits; 207 of 209 and 35 of 50 right; other columns change nothing."""
    result = optimize_many(
        course["train_X"],
        course["train_Y"],
        learning_rates=[0.001, 0.005, 0.0001],
        num_iterations=2000,
        X_test=course["test_X"],
        Y_test=course["test_Y"],
    )
    assert result.iterations.tolist() == list(range(0, 2001, 100))
    assert [f"{cost:.6f}" for cost in result.train_costs[:-1, 1]] == COURSE_COSTS
    assert result.train_accuracies[-1, 1] == 207 / 209
    assert result.test_accuracies[-1, 1] == 35 / 50


def test_course_in_blocks(course: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first published costs in the other form; 12,288 features."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)
    X, Y = course["train_X"], course["train_Y"]
    result = optimize_many(X, Y, learning_rates=[0.005], num_iterations=100, also_at=[100])
    assert [f"{cost:.6f}" for cost in result.train_costs[:, 0]] == COURSE_COSTS[:2]


@pytest.mark.parametrize("c", [3, 70, 300])
def test_the_number_of_threads_changes_no_bit(c: int, form: str, set_cores: Callable[[int], None]) -> None:
    """Few and many columns, one thread, two, and more than there is work for."""
    X, Y = make_problem(40, 30)
    rng, results = np.random.default_rng(0), []
    folds, held_out = rng.integers(0, 3, 40), rng.integers(-1, 3, c)
    for number in (1, 2, 11):
        set_cores(number)
        results.append(
            optimize_many(
                X,
                Y,
                learning_rates=np.geomspace(1e-4, 3.0, c),
                num_iterations=20,
                record_every=5,
                folds=folds,
                held_out=held_out,
                X_test=X[:5],
                Y_test=Y[:5],
            )
        )
    assert bits(results[0]) == bits(results[1]) == bits(results[2])


def test_the_order_of_the_columns_does_not_matter(form: str) -> None:
    """Columns in another order follow the same trajectories."""
    X, Y = make_problem(15, 9)
    order, rates = np.random.default_rng(0).permutation(150), np.geomspace(1e-4, 0.03, 150)
    one, other = (optimize_many(X, Y, learning_rates=r, num_iterations=50) for r in (rates, rates[order]))
    assert other.train_costs == pytest.approx(one.train_costs[:, order], abs=1e-12)
    assert other.parameters(7).w == pytest.approx(one.parameters(int(order[7])).w, abs=1e-12)


def test_fewer_iterations_are_a_prefix(form: str) -> None:
    """A shorter training has the first scores of a longer one, to the bit, even at rates that are too large."""
    X, Y = make_problem(9, 12)
    rates = [0.01, 5.0]
    long = optimize_many(X, Y, learning_rates=rates, num_iterations=90, record_every=20, also_at=[37, 40, 0, 90])
    assert long.iterations.tolist() == [0, 20, 37, 40, 60, 80, 90]
    for number in (20, 37):
        short = optimize_many(X, Y, learning_rates=rates, num_iterations=number, record_every=20)
        k = long.iterations.tolist().index(number) + 1
        assert short.train_costs.tobytes() == long.train_costs[:k].tobytes()
        assert short.train_accuracies.tobytes() == long.train_accuracies[:k].tobytes()


def test_an_absurd_rate_diverges_alone(form: str) -> None:
    """No nan, no warning, and the other columns are not affected."""
    X, Y = np.random.default_rng(0).integers(0, 256, (30, 4), dtype=np.uint8), np.arange(30) % 2
    rates = [0.01, 1e6, 0.02, 1e100, 1e-100]
    result = optimize_many(X, Y, learning_rates=rates, num_iterations=200, record_every=10)
    assert result.diverged.tolist() == [False, True, False, True, False]
    assert np.isfinite(result.train_costs).all()
    for j in (0, 2):
        alone = optimize_many(X, Y, learning_rates=[rates[j]], num_iterations=200, record_every=10)
        assert result.train_costs[:, j] == pytest.approx(alone.train_costs[:, 0], abs=1e-12)


def test_rows_on_disk_are_read_block_by_block(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything with a shape and slices serves as X and X_test; the blocks form never holds all of it."""
    monkeypatch.setattr(many_rows, "_BLOCK_VALUES", 0)  # 64 rows
    monkeypatch.setattr(products, "_CROSS_ROWS", 64)
    (X, Y), (X_test, Y_test) = make_problem(300, 600), make_problem(150, 600, seed=1)
    stored, stored_test = OnDisk(X), OnDisk(X_test)
    one, other = (
        optimize_many(
            pixels, Y, learning_rates=RATES, num_iterations=5, record_every=2, X_test=pixels_test, Y_test=Y_test
        )
        for pixels, pixels_test in ((X, X_test), (stored, stored_test))
    )
    assert bits(one) == bits(other)
    assert stored_test.largest <= 64 * 600
    assert stored.largest <= (300 * 256 if form == "gram" else 64 * 600)
    for j, rate in enumerate(RATES):
        _, _, scores = textbook(X, Y, rate, 5, [(X_test, Y_test)])
        assert one.train_costs[:, j] == pytest.approx(scores[[0, 2, 4, 5], 0], abs=1e-9)
        assert one.test_costs[:, j] == pytest.approx(scores[[0, 2, 4, 5], 2], abs=1e-9)


def test_nothing_is_changed_and_nothing_to_score_is_nan(form: str) -> None:
    """The inputs stay as they are; without folds and test set their scores are nan."""
    X, Y = make_problem(8, 6)
    before = X.tobytes(), Y.tobytes(), RATES.tobytes()
    result = optimize_many(X, Y, learning_rates=RATES, num_iterations=3)
    assert (X.tobytes(), Y.tobytes(), RATES.tobytes()) == before
    for name in ARRAYS:
        assert getattr(result, name).shape == (2, 5)
        assert np.isnan(getattr(result, name)).all() == (not name.startswith("train"))
    assert result.train_costs[0].tolist() == pytest.approx([math.log(2)] * 5, rel=1e-15)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float64])
def test_labels_of_any_type_mean_the_same(dtype: type) -> None:
    """0 and 1 as integers, truth values or floats."""
    X, Y = make_problem(8, 6)
    one, other = (optimize_many(X, labels, learning_rates=RATES, num_iterations=30) for labels in (Y, Y.astype(dtype)))
    assert bits(one) == bits(other)


@pytest.mark.parametrize("cores", [1, 2])
def test_progress_counts_all_updates(
    cores: int, form: str, set_cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers rise, the calls do not overlap, and the last call reports that all is done."""
    set_cores(cores)
    monkeypatch.setattr(many_forms, "_PROGRESS_SECONDS", 0.0)
    X, Y = make_problem(12, 6)
    calls: list[tuple[int, int]] = []
    busy = threading.Lock()

    def note(done: int, total: int) -> None:
        assert busy.acquire(blocking=False)
        calls.append((done, total))
        busy.release()

    optimize_many(X, Y, learning_rates=np.full(70, 0.01), num_iterations=40, on_progress=note)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert {total for _, total in calls} == {2800}
    assert calls[-1][0] == 2800


def test_progress_is_reported_a_few_times_a_second() -> None:
    """A short training reports its first and its last update."""
    X, Y = make_problem(12, 6)
    calls: list[int] = []
    optimize_many(X, Y, learning_rates=[0.01], num_iterations=100, on_progress=lambda done, _: calls.append(done))
    assert calls[0] == 1
    assert calls[-1] == 100
    assert len(calls) < 20


@pytest.mark.parametrize("cores", [1, 2])
def test_an_error_in_the_callback_ends_training_at_once(
    cores: int, form: str, set_cores: Callable[[int], None]
) -> None:
    """The caller gets the error, and no thread continues."""
    set_cores(cores)
    X, Y = make_problem(200, 50)

    def fail(done: int, total: int) -> None:
        raise RuntimeError("enough")

    threads, start = threading.active_count(), time.monotonic()
    with pytest.raises(RuntimeError, match="enough"):
        optimize_many(X, Y, learning_rates=np.full(200, 0.01), num_iterations=1_000_000, on_progress=fail)
    assert time.monotonic() - start < 5
    assert threading.active_count() == threads


@pytest.mark.parametrize("cores", [1, 2])
def test_ctrl_c_ends_all_threads_soon(cores: int, form: str, set_cores: Callable[[int], None]) -> None:
    """Ctrl-C during a training that would take minutes."""
    set_cores(cores)
    X, Y = make_problem(200, 50)
    began = threading.Event()

    def press() -> None:
        began.wait(10)
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threads, start = threading.active_count(), time.monotonic()
    finger = threading.Thread(target=press)
    finger.start()
    with pytest.raises(KeyboardInterrupt):
        optimize_many(
            X,
            Y,
            learning_rates=np.full(200, 0.01),
            num_iterations=1_000_000,
            on_progress=lambda _done, _total: began.set(),
        )
    finger.join()
    assert time.monotonic() - start < 5
    assert threading.active_count() == threads


def test_a_broken_file_is_not_hidden(form: str, set_cores: Callable[[int], None]) -> None:
    """The caller gets the error of a thread unchanged."""
    set_cores(2)
    X, Y = make_problem(40, 5)

    class Broken(OnDisk):
        def __getitem__(self, key: slice | tuple[slice, slice]) -> NDArray[np.uint8]:
            if isinstance(key, tuple) or key.stop > 30:
                raise OSError("the disk is gone")
            return super().__getitem__(key)

    with pytest.raises(OSError, match="the disk is gone"):
        optimize_many(Broken(X), Y, learning_rates=[0.1], num_iterations=5)


GOOD: dict[str, Any] = {
    "X": np.array([[1, 2], [3, 4], [5, 6]], dtype=np.uint8),
    "Y": np.array([0, 1, 1]),
    "learning_rates": [0.1, 0.2],
    "num_iterations": 3,
}
FOLDS = {"folds": [0, 1, 1], "held_out": [0, -1]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((0, 2), np.uint8)}, r"X has shape \(0, 2\)"),
        ({"X": np.zeros((3, 0), np.uint8)}, r"X has shape \(3, 0\)"),
        ({"X": np.zeros((3, 2, 2), np.uint8)}, r"X has shape \(3, 2, 2\)"),
        ({"X": np.zeros((3, 2))}, "X has type float64; expected an ndarray of uint8"),
        ({"X": np.zeros((3, 2), np.int64)}, "X has type int64"),
        ({"X": [[1, 2], [3, 4], [5, 6]]}, "X has type list; expected an ndarray of uint8 pixels"),
        ({"Y": np.zeros((3, 1))}, r"Y has shape \(3, 1\); expected \(3,\)"),
        ({"Y": np.zeros(2)}, r"Y has shape \(2,\)"),
        ({"Y": np.array([0, 1, 2])}, r"Y\[2\] is 2; expected 0 or 1"),
        ({"Y": np.array([0, math.nan, 1])}, r"Y\[1\] is nan"),
        ({"learning_rates": []}, r"learning_rates has shape \(0,\)"),
        ({"learning_rates": 0.1}, r"learning_rates has shape \(\)"),
        ({"learning_rates": [[0.1]]}, r"learning_rates has shape \(1, 1\)"),
        ({"learning_rates": ["0.1"]}, "learning_rates has type <U3; expected numbers"),
        ({"learning_rates": [0.1, 0.0]}, r"learning_rates\[1\] is 0.0; expected a number from 1e-100 to 1e100"),
        ({"learning_rates": [0.1, -0.1]}, r"learning_rates\[1\] is -0.1"),
        ({"learning_rates": [math.nan, 0.1]}, r"learning_rates\[0\] is nan"),
        ({"learning_rates": [0.1, math.inf]}, r"learning_rates\[1\] is inf"),
        ({"num_iterations": 0}, "num_iterations is 0; expected a whole number of at least 1"),
        ({"num_iterations": 1.5}, "num_iterations is 1.5"),
        ({"num_iterations": True}, "num_iterations is True"),
        ({"record_every": 0}, "record_every is 0"),
        ({"also_at": [1, 4]}, r"also_at\[1\] is 4; expected a number from 0 to num_iterations, 3"),
        ({"also_at": [-1]}, r"also_at\[0\] is -1"),
        ({"also_at": [1.5]}, "also_at has type float64; expected whole numbers"),
        ({"thresholds": 0.0}, r"thresholds\[0\] is 0.0; expected a number in \(0, 1\)"),
        ({"thresholds": [0.5, 1.0]}, r"thresholds\[1\] is 1.0"),
        ({"thresholds": [0.5, math.nan]}, r"thresholds\[1\] is nan"),
        ({"thresholds": [0.5] * 3}, r"thresholds has shape \(3,\); expected \(2,\)"),
        ({"folds": [0, 1, 1]}, "held_out is missing"),
        ({"held_out": [0, 1]}, "folds is missing"),
        ({**FOLDS, "folds": [0, 1]}, r"folds has shape \(2,\); expected \(3,\)"),
        ({**FOLDS, "folds": [0.0, 1.0, 1.0]}, "folds has type float64; expected whole numbers"),
        ({**FOLDS, "folds": [0, 1, -1]}, r"folds\[2\] is -1; expected at least 0"),
        ({**FOLDS, "held_out": [0]}, r"held_out has shape \(1,\); expected \(2,\)"),
        ({**FOLDS, "held_out": [0, 2]}, r"held_out\[1\] is 2; expected -1 or a fold that some row is in"),
        ({**FOLDS, "held_out": [-2, 0]}, r"held_out\[0\] is -2"),
        ({"folds": [0, 0, 0], "held_out": [-1, 0]}, r"held_out\[1\] is 0; expected a fold that leaves a row"),
        ({"X_test": np.zeros((1, 2), np.uint8)}, "Y_test is missing; expected both X_test and Y_test"),
        ({"Y_test": np.zeros(1)}, "X_test is missing"),
        ({"X_test": np.zeros((1, 3), np.uint8), "Y_test": np.zeros(1)}, r"X_test has shape \(1, 3\); expected \(m_t"),
        ({"X_test": np.zeros((1, 2)), "Y_test": np.zeros(1)}, "X_test has type float64"),
        ({"X_test": np.zeros((1, 2), np.uint8), "Y_test": np.ones(2)}, r"Y_test has shape \(2,\)"),
        ({"X_test": np.zeros((1, 2), np.uint8), "Y_test": np.array([3])}, r"Y_test\[0\] is 3"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, Any], message: str) -> None:
    """Every wrong shape, type, label and parameter is named with its value."""
    values = {**GOOD, **changes}
    with pytest.raises(ValueError, match=message):
        optimize_many(values.pop("X"), values.pop("Y"), **values)
