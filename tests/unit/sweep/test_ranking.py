"""The ranking of configurations: by held-out pictures, never by the test set."""

import math
import statistics
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_neuron.settings.params import Settings, check_settings
from one_neuron.sweep.ranking import (
    DIVERGED,
    FAILED,
    FINISHED,
    Entry,
    find_best,
    find_contenders,
    find_simplest,
    rank,
    standard_error,
)
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")


def make_settings(**train: Any) -> Settings:
    """Return settings with other values in the section train."""
    return replace(SETTINGS, train=replace(SETTINGS.train, **train))


def make_entry(
    name: str,
    accuracy: float = 0.75,
    validation_cost: float = 0.5,
    *,
    status: str = FINISHED,
    train: Any = None,
    **metrics: float,
) -> Entry:
    """Return an entry that was scored on held-out pictures."""
    scores = {"validation_accuracy": accuracy, "validation_cost": validation_cost, **metrics}
    return Entry(name, make_settings(**(train or {})), status, metrics=scores)


def names(entries: list[Entry]) -> str:
    """Return the run ids, in order."""
    return " ".join(entry.run_id for entry in entries)


def test_the_accuracy_counts_before_the_cost() -> None:
    """The higher accuracy is better, whatever the costs."""
    entries = [make_entry("b", 0.75, 0.1), make_entry("c", 0.5, 0.01), make_entry("a", 0.8, 9.0)]
    assert names(rank(entries)) == "a b c"


def test_the_cost_breaks_ties() -> None:
    """The lower validation cost is better, whatever the training cost."""
    entries = [make_entry("b", 0.75, 0.3, cost=0.1), make_entry("a", 0.75, 0.2, cost=0.4)]
    assert names(rank(entries)) == "a b"


def test_without_folds_the_training_cost_counts() -> None:
    """The lower training cost is better, whatever the training accuracy."""
    entries = [
        Entry("b", SETTINGS, FINISHED, metrics={"cost": 0.3, "train_accuracy": 1.0}),
        Entry("c", SETTINGS, FINISHED, metrics={"cost": 0.4, "train_accuracy": 0.9}),
        Entry("a", SETTINGS, FINISHED, metrics={"cost": 0.2, "train_accuracy": 0.5}),
    ]
    assert names(rank(entries)) == "a b c"


def test_equals_stand_by_length_then_by_learning_rate() -> None:
    """The shorter training is better, then the smaller learning rate."""
    entries = [
        make_entry("c", train={"num_iterations": 20, "learning_rate": 0.001}),
        make_entry("b", train={"num_iterations": 10, "learning_rate": 0.02}),
        make_entry("a", train={"num_iterations": 10, "learning_rate": 0.01}),
    ]
    assert names(rank(entries)) == "a b c"


def test_what_diverged_stands_behind_and_what_failed_last() -> None:
    """Whatever their metrics."""
    entries = [
        Entry("d", SETTINGS, FAILED, "out of memory"),
        make_entry("c", 0.8, status=DIVERGED),
        make_entry("a", 0.2),
        make_entry("b", 0.9, status=DIVERGED),
    ]
    assert names(rank(entries)) == "a b c d"


@pytest.mark.parametrize("metrics", [{}, {"cost": math.nan}, {"validation_accuracy": math.nan}])
def test_what_has_no_number_is_never_the_best(metrics: dict[str, float]) -> None:
    """Neither a missing metric nor nan, in either order."""
    nothing = Entry("b", SETTINGS, FINISHED, metrics=metrics)
    worst = make_entry("a", 0.0, 1e300)
    trained = Entry("a", SETTINGS, FINISHED, metrics={"cost": 1e300})
    for other in (worst, trained):
        assert names(rank([nothing, other])) == "a b"
        assert find_best([nothing, other]) is other


def test_a_cost_of_nan_loses_a_tie() -> None:
    """Although every comparison with nan is false."""
    assert names(rank([make_entry("b", 0.75, math.nan), make_entry("a", 0.75, 1e300)])) == "a b"


ENTRIES = st.builds(
    lambda status, accuracy, cost, train_cost, rate, count, threshold: Entry(
        "",
        make_settings(learning_rate=rate, num_iterations=count, threshold=threshold),
        status,
        metrics={} if status == FAILED else {**accuracy, "validation_cost": cost, "cost": train_cost},
    ),
    st.sampled_from([FINISHED, DIVERGED, FAILED]),
    st.one_of(st.just({}), st.sampled_from([0.5, 0.75, math.nan]).map(lambda value: {"validation_accuracy": value})),
    st.sampled_from([0.1, 0.2, math.nan]),
    st.sampled_from([0.1, 0.2, math.nan]),
    st.sampled_from([0.001, 0.005, 0.01]),
    st.sampled_from([100, 200]),
    st.sampled_from([0.4, 0.5]),
)


@given(
    st.lists(ENTRIES, max_size=8, unique_by=lambda entry: str(entry.settings)).flatmap(
        lambda entries: st.tuples(st.just(entries), st.permutations(entries))
    )
)
def test_the_order_does_not_depend_on_the_order_before(pair: tuple[list[Entry], list[Entry]]) -> None:
    """With ties and nan as well: the same entries, each once, in the same order."""
    entries, shuffled = pair
    ranked = rank(entries)
    assert [id(entry) for entry in rank(shuffled)] == [id(entry) for entry in ranked]
    assert sorted(map(id, ranked)) == sorted(map(id, entries))
    finished = [entry for entry in ranked if entry.status == FINISHED]
    assert find_best(shuffled) is (finished[0] if finished else None)


@given(st.lists(ENTRIES, max_size=6), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_the_test_set_has_no_say(entries: list[Entry], accuracies: list[float]) -> None:
    """The order is the same for any test accuracy and test cost."""
    scored = [
        replace(entry, run_id=str(i), metrics={**entry.metrics, "test_accuracy": score, "test_cost": 1 - score})
        for i, (entry, score) in enumerate(zip(entries, accuracies, strict=False))
    ]
    plain = [replace(entry, run_id=str(i)) for i, entry in enumerate(entries)]
    assert names(rank(scored)) == names(rank(plain))


def test_the_best_has_finished() -> None:
    """Diverged and failed entries are never chosen, whatever their metrics."""
    diverged, failed = make_entry("a", 1.0, 0.0, status=DIVERGED), Entry("b", SETTINGS, FAILED, "no space")
    finished = make_entry("c", 0.1)
    assert find_best([diverged, failed, finished]) is finished
    assert find_best([diverged, failed]) is None
    assert find_best([]) is None


@pytest.mark.parametrize("accuracies", [[0.8, 0.7, 0.75, 0.85, 0.65], [0.5, 0.5], [1.0, 0.0, 1.0]])
def test_the_standard_error_is_that_of_a_mean(accuracies: list[float]) -> None:
    """The sample standard deviation over the folds, as Python's statistics computes it, by the root of their number."""
    entry = make_entry("a", validation_accuracy_std=statistics.pstdev(accuracies))
    expected = statistics.stdev(accuracies) / math.sqrt(len(accuracies))
    assert standard_error(entry, len(accuracies)) == pytest.approx(expected, rel=1e-14)


def test_what_cannot_be_told_apart_from_the_best() -> None:
    """A standard error of 0.04 / 2 below 0.80 includes 0.79 and 0.785, not 0.77; diverged entries never count."""
    spread: dict[str, Any] = {"validation_accuracy_std": 0.04}
    entries = [
        make_entry("far", 0.77, **spread),
        make_entry("long", 0.79, **spread, train={"num_iterations": 900}),
        make_entry("best", 0.80, **spread, train={"num_iterations": 700}),
        make_entry("fast", 0.785, **spread, train={"num_iterations": 100, "learning_rate": 0.02}),
        make_entry("slow", 0.785, **spread, train={"num_iterations": 100, "learning_rate": 0.01}),
        make_entry("gone", 0.80, status=DIVERGED, train={"num_iterations": 1}),
        Entry("lost", SETTINGS, FAILED),
    ]
    contenders = find_contenders(entries, 5)
    assert names(contenders) == "best long slow fast"
    simplest = find_simplest(contenders)
    assert simplest is not None
    assert simplest.run_id == "slow"
    assert names(find_contenders(entries, 2)) == "best long slow fast far"  # two folds say less: 0.04 / 1


def test_only_the_spread_of_the_best_counts() -> None:
    """By the rule of Breiman and others; without spread, equal accuracies are all that is within it."""
    entries = [
        make_entry("a", 0.8, 0.1, validation_accuracy_std=0.0),
        make_entry("b", 0.8, 0.2, validation_accuracy_std=0.3),
        make_entry("c", 0.79, validation_accuracy_std=0.3),
    ]
    assert names(find_contenders(entries, 5)) == "a b"


@pytest.mark.parametrize("folds", [0, 5])
def test_without_a_spread_nothing_is_said(folds: int) -> None:
    """Without folds there is no spread, and without finished entries no best one."""
    assert find_contenders([Entry("a", SETTINGS, FINISHED, metrics={"cost": 0.3})], folds) == []
    assert find_contenders([make_entry("a", status=DIVERGED, validation_accuracy_std=0.1)], folds) == []
    assert find_simplest([]) is None


def test_a_missing_metric_is_nan() -> None:
    """Other metrics are returned as they are."""
    entry = make_entry("a", 0.75)
    assert entry.get_metric("validation_accuracy") == 0.75
    assert math.isnan(entry.get_metric("test_accuracy"))
