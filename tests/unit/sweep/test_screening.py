"""Screening compared with a textbook loop for each configuration and fold, the exact engine, and sums by hand."""

import dataclasses
import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from one_neuron import neuron
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.many import BatchResult, optimize_many
from one_neuron.settings.params import TrainSettings
from one_neuron.sweep import screening
from one_neuron.sweep.folds import assign_folds
from one_neuron.sweep.screening import Outcome, plan_batches, screen

WITHOUT_FOLDS = set("iterations cost train_accuracy test_accuracy test_cost log10_learning_rate".split())
WITH_FOLDS = WITHOUT_FOLDS | set(
    "validation_cost validation_accuracy validation_accuracy_std best_validation_accuracy "
    "best_iteration validation_baseline_accuracy".split()
)


def configure(**changes: Any) -> TrainSettings:
    """Return settings of a small training."""
    values: dict[str, Any] = {
        "learning_rate": 0.02,
        "num_iterations": 60,
        "record_every": 10,
        "tolerance": 0.0,
        "threshold": 0.5,
    }
    return TrainSettings(**{**values, **changes})


def make_problem(m: int, n_x: int, *, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return random pixels and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, size=(m, n_x), dtype=np.uint8), rng.integers(0, 2, size=m)


def textbook(
    X: NDArray[np.uint8], Y: NDArray[Any], configuration: TrainSettings, others: list[Any]
) -> list[list[tuple[float, int]]]:
    """Train as in the course; return cost and correct predictions after each update, on X, Y and each other set."""
    w, b, scores = np.zeros(X.shape[1]), 0.0, []
    for _ in range(configuration.num_iterations + 1):
        row = []
        for pictures, labels in [(X, Y), *others]:
            z = pictures / 255 @ w + b
            predicted = 1 / (1 + np.exp(-z)) > configuration.threshold
            row.append((float(np.mean(np.logaddexp(0, z) - labels * z)), int(np.sum(predicted == labels))))
        scores.append(row)
        dz = 1 / (1 + np.exp(-(X / 255 @ w + b))) - Y
        w = w - configuration.learning_rate * (X.T / 255 @ dz) / len(X)
        b = b - configuration.learning_rate * float(np.mean(dz))
    return scores


def records_of(configuration: TrainSettings) -> list[int]:
    """Return 0, record_every, 2 record_every, ... and num_iterations."""
    last = configuration.num_iterations
    return [i for i in range(last + 1) if i % configuration.record_every == 0 or i == last]


def assert_close(found: Outcome, expected: Outcome) -> None:
    """Compare with another implementation: counts exactly, costs to 1e-9."""
    assert found.iterations == expected.iterations
    assert (found.diverged_at, found.reason) == (expected.diverged_at, expected.reason)
    assert found.validation_accuracies == expected.validation_accuracies
    assert found.train_costs == pytest.approx(expected.train_costs, abs=1e-9)
    assert found.validation_costs == pytest.approx(expected.validation_costs, abs=1e-9)
    assert found.measures == pytest.approx(expected.measures, abs=1e-9)


@pytest.fixture(params=["gram", "blocks"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test in each of the forms of `optimize_many`."""
    if request.param == "blocks":
        monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)
    return str(request.param)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return a list that receives the arguments of each call of `optimize_many`."""
    taken: list[dict[str, Any]] = []

    def note(X: Any, Y: Any, **options: Any) -> BatchResult:
        result = optimize_many(X, Y, **options)
        taken.append({**options, "result": result})
        return result

    monkeypatch.setattr(screening, "optimize_many", note)
    return taken


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes `optimize_many` return given scores, of shape (k, columns)."""

    def answer(iterations: list[int], **given: list[list[float]]) -> None:
        costs = np.array(given["train_costs"])
        names = [f"{part}_{score}" for part in ("train", "validation", "test") for score in ("costs", "accuracies")]
        scores = {name: np.array(given.get(name, np.full(costs.shape, 0.25))) for name in names}
        result = BatchResult(
            form="gram",
            parameters=lambda _: neuron.Parameters(w=np.zeros(1), b=0.0),
            iterations=np.array(iterations),
            **scores,
        )
        monkeypatch.setattr(screening, "optimize_many", lambda *_, **__: result)

    return answer


CONFIGURATIONS = [
    configure(),
    configure(learning_rate=0.001, num_iterations=25, record_every=4),
    configure(threshold=0.4, num_iterations=7),
    configure(record_every=100, num_iterations=33),
    configure(learning_rate=0.05, threshold=0.55, record_every=1),
    configure(),
    configure(num_iterations=1),
]


@pytest.mark.parametrize("with_folds", [False, True])
def test_every_configuration_follows_the_textbook(with_folds: bool, form: str) -> None:
    """All fields of an outcome, from one loop for each configuration and each fold."""
    (X, Y), (X_test, Y_test) = make_problem(23, 30), make_problem(7, 30, seed=1)
    folds = np.arange(23) * 7 % 23 % 3  # of 8, 8 and 7 rows
    found = screen(X, Y, X_test, Y_test, CONFIGURATIONS, folds=folds if with_folds else None)
    for outcome, configuration in zip(found, CONFIGURATIONS, strict=True):
        records = records_of(configuration)
        scores = textbook(X, Y, configuration, [(X_test, Y_test)])
        costs = [scores[i][0][0] for i in records]
        measures = {
            "iterations": configuration.num_iterations,
            "cost": costs[-1],
            "train_accuracy": scores[-1][0][1] / 23,
            "test_accuracy": scores[-1][1][1] / 7,
            "test_cost": scores[-1][1][0],
            "log10_learning_rate": math.log10(configuration.learning_rate),
        }
        pooled_costs, pooled = [], []
        if with_folds:
            parts = [folds == fold for fold in range(3)]
            by_fold = [textbook(X[~part], Y[~part], configuration, [(X[part], Y[part])]) for part in parts]
            sizes = [int(part.sum()) for part in parts]
            pooled_costs = [
                sum(size * one[i][1][0] for size, one in zip(sizes, by_fold, strict=True)) / 23 for i in records
            ]
            pooled = [sum(one[i][1][1] for one in by_fold) / 23 for i in records]
            best = max(range(len(records)), key=lambda k: (pooled[k], -pooled_costs[k], -k))
            measures |= {
                "validation_cost": pooled_costs[-1],
                "validation_accuracy": pooled[-1],
                "validation_accuracy_std": statistics.pstdev(
                    one[-1][1][1] / size for size, one in zip(sizes, by_fold, strict=True)
                ),
                "best_validation_accuracy": max(pooled),
                "best_iteration": records[best],
                "validation_baseline_accuracy": max(Y.mean(), 1 - Y.mean()),
            }
        expected = Outcome(tuple(records), tuple(costs), tuple(pooled_costs), tuple(pooled), measures, None, "")
        assert_close(outcome, expected)
        assert set(outcome.measures) == (WITH_FOLDS if with_folds else WITHOUT_FOLDS)
        assert {type(value) for value in outcome.measures.values()} == {float}
        assert {type(value) for value in outcome.iterations} == {int}


def test_read_offs_equal_separate_trainings() -> None:
    """A configuration has the same outcome among others as alone, even if its rate is too large."""
    (X, Y), (X_test, Y_test) = make_problem(14, 10), make_problem(5, 10, seed=1)
    folds = np.arange(14) % 2
    configurations = [*CONFIGURATIONS, configure(learning_rate=500.0, num_iterations=20), configure(tolerance=0.004)]
    for outcome, configuration in zip(
        screen(X, Y, X_test, Y_test, configurations, folds=folds), configurations, strict=True
    ):
        (alone,) = screen(X, Y, X_test, Y_test, [configuration], folds=folds)
        assert_close(outcome, alone)


@pytest.mark.parametrize("with_folds", [False, True])
def test_the_order_of_configurations_changes_no_bit(with_folds: bool, calls: list[dict[str, Any]]) -> None:
    """The columns are sorted, so each outcome is the same in any order."""
    X, Y = make_problem(15, 9)
    folds = np.arange(15) % 4 if with_folds else None
    order = np.random.default_rng(0).permutation(len(CONFIGURATIONS)).tolist()
    one = screen(X, Y, X[:4], Y[:4], CONFIGURATIONS, folds=folds)
    other = screen(X, Y, X[:4], Y[:4], [CONFIGURATIONS[i] for i in order], folds=folds)
    assert order != sorted(order)
    assert other == [one[i] for i in order]
    assert all(calls[0][name] == calls[1][name] for name in ("learning_rates", "thresholds", "held_out", "also_at"))


def test_columns_are_shared(calls: list[dict[str, Any]]) -> None:
    """One call with a column for each rate, threshold and fold, and only the requested records."""
    X, Y = make_problem(15, 9)
    screen(X, Y, X[:4], Y[:4], CONFIGURATIONS, folds=np.arange(15) % 4)
    (call,) = calls
    columns = zip(call["learning_rates"], call["thresholds"], call["held_out"], strict=True)
    pairs = [(0.02, 0.5), (0.001, 0.5), (0.02, 0.4), (0.05, 0.55)]
    assert sorted(columns) == sorted((*pair, fold) for pair in pairs for fold in (-1, 0, 1, 2, 3))
    wanted = sorted({i for configuration in CONFIGURATIONS for i in records_of(configuration)})
    assert call["result"].iterations.tolist() == wanted
    calls.clear()
    screen(X, Y, X[:4], Y[:4], [configure(num_iterations=31), configure(num_iterations=20, record_every=6)])
    assert calls[0]["result"].iterations.tolist() == [0, 6, 10, 12, 18, 20, 30, 31]
    assert calls[0]["result"].train_costs.shape == (8, 1)


def test_a_thousand_configurations_are_a_hundred_columns(calls: list[dict[str, Any]]) -> None:
    """100 rates with 10 numbers of iterations each, on pictures of the course's size."""
    X, Y = make_problem(209, 12288)
    configurations = [
        configure(learning_rate=float(rate), num_iterations=number, record_every=100)
        for rate in np.geomspace(1e-5, 1e-2, 100)
        for number in range(200, 2001, 200)
    ]
    outcomes = screen(X, Y, X[:50], Y[:50], configurations)
    (call,) = calls
    assert call["result"].train_costs.shape == (21, 100)
    assert [outcome.iterations[-1] for outcome in outcomes] == [c.num_iterations for c in configurations]
    assert plan_batches(configurations, m=209, n_x=12288, folds=0) == [list(range(1000))]
    # The read-offs of a rate are beginnings of the longest one.
    for first in range(0, 1000, 10):
        longest = outcomes[first + 9].train_costs
        for outcome in outcomes[first : first + 10]:
            assert outcome.train_costs == longest[: len(outcome.train_costs)]
            assert outcome.measures["cost"] == outcome.train_costs[-1]


def test_tolerance_stops_each_training_as_the_exact_engine_does(form: str) -> None:
    """All rows and each fold stop separately; a fold that stopped keeps its scores."""
    X, Y = make_problem(40, 6, seed=6)
    (X_test, Y_test), folds = make_problem(9, 6, seed=1), np.arange(40) % 3
    configuration = configure(learning_rate=0.05, num_iterations=900, record_every=7, tolerance=3e-4)
    found, whole = screen(
        X, Y, X_test, Y_test, [configuration, dataclasses.replace(configuration, tolerance=0.0)], folds=folds
    )
    stops, costs, right = [], 0.0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradient_descent, "GRAM_LIMIT", 6000)
        for fold in (-1, 0, 1, 2):
            kept = folds != fold
            exact = gradient_descent.optimize(
                X[kept], Y[kept], learning_rate=0.05, num_iterations=900, record_every=7, tolerance=3e-4
            )
            stops.append(int(exact.iterations[-1]))
            if fold == -1:
                assert found.iterations == tuple(exact.iterations.tolist())
                assert found.train_costs == pytest.approx(exact.costs.tolist(), abs=1e-9)
                z = neuron.compute_z(X_test, exact.parameters)
                assert found.measures["test_cost"] == pytest.approx(neuron.cost(z, Y_test), abs=1e-9)
                assert found.measures["test_accuracy"] == np.mean((z > 0) == Y_test)
            else:
                z = neuron.compute_z(X[~kept], exact.parameters)
                costs, right = costs + neuron.cost(z, Y[~kept]) * len(z), right + int(np.sum((z > 0) == Y[~kept]))
    assert min(stops[1:]) < stops[0] < max(stops[1:]) < 900  # a fold before it, a fold after it
    assert found.measures["iterations"] == stops[0]
    assert found.measures["validation_cost"] == pytest.approx(costs / 40, abs=1e-9)
    assert found.measures["validation_accuracy"] == right / 40
    assert found.validation_costs[-1] == found.measures["validation_cost"]
    # Until the first of them stops, nothing differs from a training without tolerance.
    running = found.iterations.index(min(stops[1:])) + 1
    assert found.validation_costs[:running] == whole.validation_costs[:running]
    assert whole.iterations[-1] == 900


def test_what_has_stopped_stays_as_it_is(say: Callable[..., None]) -> None:
    """Fold 0 stops at 10, all rows at 30, fold 1 at 40; later records do not count."""
    say(
        [0, 10, 20, 30, 40, 50],
        train_costs=[[0.7, 0.7, 0.7], [0.6, 0.69, 0.6], [0.5, 0.5, 0.5], [0.49, 5.0, 0.4], [9.0, 5.0, 0.39], [9.0] * 3],
        validation_costs=[[math.nan, 0.1 * k, 0.01 * k] for k in range(6)],
        validation_accuracies=[[math.nan, float(k == 1), float(k == 4)] for k in range(6)],
    )
    empty, labels = np.zeros((2, 1), np.uint8), np.zeros(2)
    configuration = configure(num_iterations=50, tolerance=0.02)
    (found,) = screen(empty, labels, empty, labels, [configuration], folds=np.array([0, 1]))
    assert found.iterations == (0, 10, 20, 30)
    assert found.train_costs == (0.7, 0.6, 0.5, 0.49)
    # Fold 0 as at 10 from there on, fold 1 as at 40 at the last record.
    assert found.validation_costs == pytest.approx((0.0, 0.11 / 2, 0.12 / 2, 0.14 / 2), abs=1e-15)
    assert found.validation_accuracies == (0.0, 0.5, 0.5, 1.0)
    assert found.diverged_at is None


def test_no_tolerance_never_stops() -> None:
    """Not even if no cost changes: equal pictures, with equally many of each class."""
    X, Y = np.full((4, 3), 7, np.uint8), np.array([0, 1, 0, 1])
    never, at_once = screen(X, Y, X, Y, [configure(), configure(tolerance=1e-12)])
    assert set(never.train_costs) == {never.train_costs[0]}
    assert never.iterations[-1] == 60
    assert at_once.iterations == (0, 10)


def test_tolerance_is_judged_at_the_configurations_own_records() -> None:
    """Records of another configuration in between do not stop it."""
    X, Y = make_problem(20, 8)
    often, seldom = (configure(tolerance=2e-3, record_every=every, num_iterations=200) for every in (1, 50))
    outcomes = screen(X, Y, X[:3], Y[:3], [often, seldom])
    stops = []
    for outcome, configuration in zip(outcomes, [often, seldom], strict=True):
        exact = gradient_descent.optimize(
            X,
            Y,
            **{
                name: getattr(configuration, name)
                for name in ("learning_rate", "num_iterations", "record_every", "tolerance")
            },
        )
        assert outcome.iterations == tuple(exact.iterations.tolist())
        stops.append(outcome.iterations[-1])
    assert stops[0] < stops[1]


def test_pooled_by_hand(say: Callable[..., None]) -> None:
    """Folds of 1, 2 and 4 rows: sums of losses and correct predictions over 7 rows; ties by cost, then the earliest."""
    say(
        [0, 10, 20, 30, 40],
        train_costs=[[0.7] * 4, [0.5] * 4, [0.3] * 4, [0.4] * 4, [0.35] * 4],
        train_accuracies=[[0.0] * 4] * 4 + [[5 / 7, 0.0, 0.0, 0.0]],
        validation_costs=[
            [math.nan, 0.7, 0.7, 0.7],
            [math.nan, 0.1, 0.2, 0.4],
            [math.nan, 0.9, 0.2, 0.1],
            [math.nan, 0.9, 0.2, 0.1],
            [math.nan, 0.1, 0.1, 0.1],
        ],
        validation_accuracies=[
            [math.nan, 1.0, 0.0, 0.25],
            [math.nan, 0.0, 1.0, 0.75],
            [math.nan, 1.0, 0.5, 0.75],
            [math.nan, 1.0, 1.0, 0.5],
            [math.nan, 1.0, 0.0, 0.75],
        ],
        test_costs=[[0.7] * 4, [0.6] * 4, [0.5] * 4, [0.4] * 4, [0.8, 0.0, 0.0, 0.0]],
        test_accuracies=[[0.5] * 4] * 4 + [[0.75, 0.0, 0.0, 0.0]],
    )
    folds = np.array([2, 1, 2, 0, 1, 2, 2])
    configuration = configure(num_iterations=40, learning_rate=0.01)
    (found,) = screen(np.zeros((7, 1), np.uint8), np.zeros(7), None, np.zeros(1), [configuration], folds=folds)
    assert found.validation_costs == pytest.approx((4.9 / 7, 2.1 / 7, 1.7 / 7, 1.7 / 7, 0.7 / 7), rel=1e-14)
    assert found.validation_accuracies == (2 / 7, 5 / 7, 5 / 7, 5 / 7, 4 / 7)
    mean = (1 + 0 + 0.75) / 3
    expected = {
        "iterations": 40,
        "cost": 0.35,
        "train_accuracy": 5 / 7,
        "validation_cost": 0.1,
        "validation_accuracy": 4 / 7,
        "validation_accuracy_std": math.sqrt(((1 - mean) ** 2 + mean**2 + (0.75 - mean) ** 2) / 3),
        "best_validation_accuracy": 5 / 7,
        "best_iteration": 20,
        "validation_baseline_accuracy": 1.0,
        "test_accuracy": 0.75,
        "test_cost": 0.8,
        "log10_learning_rate": -2,
    }
    assert found.measures == pytest.approx(expected, rel=1e-14)


def test_equally_many_right_answers_are_equal(say: Callable[..., None]) -> None:
    """One in the fold of 49 rows or one in the fold of 50: an exact tie, and the earlier record is better."""
    assert 1 / 49 * 49 != 1 / 50 * 50  # so that sums of products would not do
    say(
        [0, 10],
        train_costs=[[0.7] * 3, [0.6] * 3],
        validation_costs=[[math.nan, 0.2, 0.2]] * 2,
        validation_accuracies=[[math.nan, 1 / 49, 0.0], [math.nan, 0.0, 1 / 50]],
    )
    empty, labels = np.zeros((99, 1), np.uint8), np.zeros(99)
    configuration = configure(num_iterations=10)
    (found,) = screen(empty, labels, empty, labels, [configuration], folds=np.repeat([0, 1], [49, 50]))
    assert found.validation_accuracies == (1 / 99, 1 / 99)
    assert found.measures["best_iteration"] == 0


def test_an_absurd_rate_diverges_alone() -> None:
    """The reason names the first cost and the first iteration above it; the other configuration is unaffected."""
    X, Y = make_problem(30, 4)
    configurations = [configure(), configure(learning_rate=500.0, num_iterations=200, record_every=50)]
    good, bad = screen(X, Y, X[:5], Y[:5], configurations, folds=np.arange(30) % 3)
    assert (good.diverged_at, good.reason) == (None, "")
    assert "diverged_at" not in good.measures
    costs = [row[0][0] for row in textbook(X, Y, configurations[1], [])][::50]
    above = next(50 * k for k, cost in enumerate(costs) if cost > math.log(2))
    assert bad.diverged_at == above
    assert bad.reason == f"the last costs lie above the first (0.693147); first at iteration {above}"
    assert bad.measures["diverged_at"] == above
    assert set(bad.measures) == WITH_FOLDS | {"diverged_at"}
    assert bad.iterations == (0, 50, 100, 150, 200)


def test_only_a_fold_diverges() -> None:
    """Without the dark rows, the same rate is too large."""
    X = np.array([[255, 255], [255, 250], [250, 255], [240, 255], [0, 0], [0, 0], [0, 0], [0, 0]], np.uint8)
    Y = np.array([1, 0, 1, 1, 0, 1, 0, 1])
    folds = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    configuration = configure(learning_rate=6.0, num_iterations=200)
    for kept, goes_wrong in [(folds >= 0, False), (folds != 0, False), (folds != 1, False), (folds != 2, True)]:
        costs = [row[0][0] for row in textbook(X[kept], Y[kept], configuration, [])][::10]
        assert (sum(costs[-2:]) / 2 > costs[0]) is goes_wrong
    first = next(10 * k for k, cost in enumerate(costs) if cost > costs[0])
    (found,) = screen(X, Y, X, Y, [configuration], folds=folds)
    assert found.diverged_at == first
    assert found.reason == (
        f"with fold 2 left out, the last costs lie above the first (0.693147); first at iteration {first}"
    )
    assert found.measures["diverged_at"] == first
    (whole,) = screen(X, Y, X, Y, [configuration])
    assert whole.diverged_at is None


def test_a_jump_that_came_back_is_no_divergence(say: Callable[..., None]) -> None:
    """The last tenth of the records up to the stop counts."""
    say([0, 10, 20, 30], train_costs=[[0.7], [5.0], [0.6], [0.9]])
    empty = np.zeros((1, 1), np.uint8)
    going_on, to_20 = screen(
        empty, np.zeros(1), empty, np.zeros(1), [configure(num_iterations=30), configure(num_iterations=20)]
    )
    assert (to_20.diverged_at, to_20.reason) == (None, "")
    assert going_on.diverged_at == 10


def test_a_cost_that_is_not_finite_ends_a_training(say: Callable[..., None]) -> None:
    """It has diverged, whatever comes later; measures are finite."""
    say([0, 10, 20, 30], train_costs=[[0.7, 0.7], [0.5, 0.5], [math.nan, math.inf], [0.1, 0.1]])
    empty = np.zeros((2, 1), np.uint8)
    configuration = configure(num_iterations=30)
    (found,) = screen(empty, np.zeros(2), empty, np.zeros(2), [configuration], folds=np.zeros(2, np.int64))
    assert found.iterations == (0, 10, 20)
    assert found.train_costs[:2] == (0.7, 0.5)
    assert found.diverged_at == 20
    assert found.reason == "a cost is not finite; first at iteration 20"
    assert "cost" not in found.measures
    assert all(map(math.isfinite, found.measures.values()))
    say([0, 10, 20, 30], train_costs=[[0.7, 0.7], [0.5, 0.5], [0.4, math.inf], [0.1, 0.1]])
    (found,) = screen(empty, np.zeros(2), empty, np.zeros(2), [configuration], folds=np.zeros(2, np.int64))
    assert found.iterations == (0, 10, 20, 30)
    assert found.reason == "with fold 0 left out, a cost is not finite; first at iteration 20"


def test_one_row_of_each_class_in_each_fold() -> None:
    """The smallest folds: each training has two rows."""
    X, Y = make_problem(4, 5)
    Y = np.array([0, 1, 1, 0])
    folds = assign_folds(Y, folds=2, seed=0)
    (found,) = screen(X, Y, X, Y, [configure()], folds=folds)
    right = 0
    for fold in (0, 1):
        part = folds == fold
        assert sorted(Y[part]) == [0, 1]
        right += textbook(X[~part], Y[~part], configure(), [(X[part], Y[part])])[-1][1][1]
    assert found.measures["validation_accuracy"] == right / 4


def test_progress_counts_all_updates() -> None:
    """Updates of all columns are counted; the last call reports all of them."""
    X, Y = make_problem(12, 6)
    seen: list[tuple[int, int]] = []
    screen(X, Y, X, Y, CONFIGURATIONS, folds=np.arange(12) % 2, on_progress=lambda *done: seen.append(done))
    assert seen[-1] == (4 * 3 * 60, 4 * 3 * 60)


def test_no_configuration_is_refused() -> None:
    """At least one configuration is needed."""
    X, Y = make_problem(4, 5)
    with pytest.raises(ValueError, match="empty"):
        screen(X, Y, X, Y, [])


@given(
    table=st.lists(st.tuples(st.integers(1, 400), st.sampled_from([0.4, 0.5]), st.integers(1, 10**7)), max_size=300),
    m=st.integers(1, 20_000),
    n_x=st.integers(1, 20_000),
    folds=st.integers(0, 40),
)
def test_every_batch_is_within_its_limits(table: list[tuple[int, float, int]], m: int, n_x: int, folds: int) -> None:
    """Each index once, pairs together, columns and estimated time within the limits."""
    configurations = [
        configure(learning_rate=rate / 1000, threshold=threshold, num_iterations=number)
        for rate, threshold, number in table
    ]
    batches = plan_batches(configurations, m=m, n_x=n_x, folds=folds)
    assert sorted(index for batch in batches for index in batch) == list(range(len(table)))
    pairs = [{table[index][:2] for index in batch} for batch in batches]
    assert sum(map(len, pairs)) == len({row[:2] for row in table})  # none is in two batches
    longest = [max(table[index][2] for index in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    operations = m * m if m <= min(6000, max(1000, 2 * n_x)) else 2 * m * n_x
    for batch, held, number in zip(batches, pairs, longest, strict=True):
        columns = len(held) * (folds + 1)
        assert batch == sorted(batch)
        assert columns <= 1024
        assert columns >= 128 or len(batches) == 1
        seconds = columns * operations * number / 3e10
        assert seconds <= 30 or columns < 2 * (128 + folds)


@pytest.mark.parametrize(
    ("shape", "number", "folds", "iterations", "columns"),
    [
        ((209, 12288), 0, 5, 2000, []),
        ((209, 12288), 1, 5, 2000, [6]),
        ((209, 12288), 1000, 0, 2000, [1000]),
        ((209, 12288), 1500, 0, 2000, [1024, 476]),
        ((209, 12288), 1100, 0, 2000, [972, 128]),  # 76 would be too few
        ((209, 12288), 200, 0, 1_000_000, [200]),  # 72 would be too few
        ((209, 12288), 300, 0, 1_000_000, [128, 172]),
        ((209, 12288), 3, 1499, 2000, [1500, 1500, 1500]),  # a pair cannot be divided
        ((600, 12288), 200, 4, 3500, [710, 290]),  # 12 microseconds an iteration and column; 714.3 of them in 30 s
        ((7000, 12288), 500, 0, 20, [261, 239]),  # in blocks, 5.7344 milliseconds; 261.6 columns in 30 s
        ((5000, 12288), 600, 0, 84, [428, 172]),  # not in blocks: 0.8333 milliseconds; 428.6 columns in 30 s
        ((3000, 1000), 600, 0, 350, [428, 172]),  # in blocks, 0.2 milliseconds; 428.6 columns in 30 s
        ((1000, 10), 600, 0, 2100, [428, 172]),  # so few rows never in blocks: 33.3 microseconds; 428.6 columns
    ],
)
def test_batches_by_hand(shape: tuple[int, int], number: int, folds: int, iterations: int, columns: list[int]) -> None:
    """Multiply-adds of an iteration and column: m * m in the form gram, 2 m n_x in blocks."""
    configurations = [configure(learning_rate=(i + 1) / 1e4, num_iterations=iterations) for i in range(number)]
    batches = plan_batches(configurations, m=shape[0], n_x=shape[1], folds=folds)
    assert [len(batch) * (folds + 1) for batch in batches] == columns


def test_similar_lengths_lie_together() -> None:
    """Long trainings are not mixed with short ones, and configurations that share a column stay together."""
    configurations = [
        configure(learning_rate=(i + 1) / 1e4, num_iterations=100_000 if i % 2 else 100) for i in range(512)
    ]
    configurations.append(configure(learning_rate=2 / 1e4, num_iterations=100))  # the pair of index 1
    batches = plan_batches(configurations, m=600, n_x=12288, folds=0)
    assert batches == [[*range(1, 256, 2), 512], list(range(257, 512, 2)), list(range(0, 512, 2))]


def test_the_table_of_the_course(course: dict[str, NDArray[Any]]) -> None:
    """Three learning rates over 1,500 iterations, compared with the course's output and a loop in plain NumPy."""
    X, Y, X_test, Y_test = course["train_X"] / 255, course["train_Y"], course["test_X"] / 255, course["test_Y"]
    # w never leaves the space that the training pictures span: in axes of that space the loop takes no half a minute.
    axes = np.linalg.qr(X.T)[0]
    sets = [(X @ axes, Y), (X_test @ axes, Y_test)]
    printed = {0.01: [208 / 209, 34 / 50], 0.001: [186 / 209, 32 / 50], 0.0001: [143 / 209, 18 / 50]}
    configurations = [configure(learning_rate=rate, num_iterations=1500) for rate in printed]
    found = screen(course["train_X"], Y, course["test_X"], Y_test, configurations)
    for outcome, (rate, accuracies) in zip(found, printed.items(), strict=True):
        w, b = np.zeros(len(X)), 0.0
        for _ in range(1500):
            dz = 1 / (1 + np.exp(-(sets[0][0] @ w + b))) - Y
            w, b = w - rate * sets[0][0].T @ dz / len(X), b - rate * float(dz.mean())
        by_hand = [float(np.mean((1 / (1 + np.exp(-(each @ w + b))) > 0.5) == labels)) for each, labels in sets]
        measured = [outcome.measures[f"{name}_accuracy"] for name in ("train", "test")]
        assert measured == pytest.approx(by_hand)
        assert measured == pytest.approx(accuracies)


# --- one training for all numbers of iterations ---------------------------------------


@pytest.mark.parametrize("with_folds", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"record_every": 7}, id="a record that does not divide the iterations"),
        pytest.param({"record_every": 1000}, id="the ends only"),
        pytest.param({"tolerance": 0.004}, id="stops early"),
        pytest.param({"learning_rate": 4.0}, id="diverges"),
    ],
)
def test_one_training_gives_what_a_training_for_each_number_gives(
    changes: dict[str, Any], with_folds: bool, form: str, calls: list[dict[str, Any]]
) -> None:
    """To the last bit: the same columns in the same matrix, whatever else is recorded on the way."""
    (X, Y), (X_test, Y_test) = make_problem(40, 30), make_problem(7, 30, seed=1)
    folds = np.arange(40) * 7 % 40 % 3 if with_folds else None
    configurations = [configure(num_iterations=number, **changes) for number in (60, 1, 20, 59, 33)]
    together = screen(X, Y, X_test, Y_test, configurations, folds=folds)
    assert [len(call["learning_rates"]) for call in calls] == [4 if with_folds else 1]
    assert [call["num_iterations"] for call in calls] == [60]
    alone = [screen(X, Y, X_test, Y_test, [each], folds=folds)[0] for each in configurations]
    assert together == alone
    assert len({outcome.train_costs for outcome in together}) > 1
    assert any(outcome.diverged_at is not None for outcome in together) == (changes.get("learning_rate") == 4.0)
    stopped = [
        outcome.iterations[-1] < each.num_iterations for outcome, each in zip(together, configurations, strict=True)
    ]
    assert any(stopped) == ("tolerance" in changes)


def test_what_is_missing_of_a_rate_gives_the_same_numbers() -> None:
    """A sweep that finds some numbers of iterations recorded trains to the largest missing one only."""
    (X, Y), (X_test, Y_test) = make_problem(40, 30), make_problem(7, 30, seed=1)
    folds = np.arange(40) * 7 % 40 % 3
    configurations = [configure(num_iterations=number, record_every=7) for number in (60, 33, 20)]
    whole = screen(X, Y, X_test, Y_test, configurations, folds=folds)
    assert screen(X, Y, X_test, Y_test, configurations[1:], folds=folds) == whole[1:]


def test_all_iterations_of_a_rate_are_in_one_batch() -> None:
    """However many batches there are: a hundred rates with ten numbers of iterations are a hundred trainings."""
    rates = np.geomspace(0.001, 0.1, 100)
    configurations = [
        configure(learning_rate=float(rate), num_iterations=number)
        for number in range(1000, 11000, 1000)
        for rate in rates
    ]
    batches = plan_batches(configurations, m=5000, n_x=12288, folds=5)
    assert len(batches) > 2
    assert sorted(index for batch in batches for index in batch) == list(range(1000))
    of_batch = [{configurations[index].learning_rate for index in batch} for batch in batches]
    assert sum(map(len, of_batch)) == 100
    assert all(len(batch) == 10 * len(found) for batch, found in zip(batches, of_batch, strict=True))
