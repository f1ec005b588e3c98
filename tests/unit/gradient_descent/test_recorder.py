"""Which costs are kept, when training stops, and what counts as gone wrong."""

import math
from typing import Any

import numpy as np
import pytest

from one_neuron.gradient_descent.recorder import Recorder, has_diverged

Y = np.array([1, 0])


def make_recorder(**changes: Any) -> Recorder:
    """Return a recorder for two examples."""
    options: dict[str, Any] = {"num_iterations": 1000, "record_every": 10, "tolerance": 0.0, "on_progress": None}
    return Recorder(Y, **{**options, **changes})


@pytest.mark.parametrize(
    ("costs", "diverged"),
    [
        ([0.69, 0.5, 0.4], False),
        ([0.69, 0.5, 0.7], True),
        ([0.69], False),
        ([0.69, 0.69], False),
        ([0.1] * 30, False),
        ([math.log(2)] * 61, False),
        ([0.69, math.nan], True),
        ([0.69, math.inf, 0.1], True),
        ([0.69, *[5.0] * 17, 0.6, 0.6], False),  # a last tenth of two costs
        ([0.69, *[0.1] * 17, 0.6, 0.8], True),
        ([0.69, *[0.1] * 17, 0.8, 0.5], False),
    ],
)
def test_diverged(costs: list[float], diverged: bool) -> None:
    """The mean of the last tenth, at least one, against the first."""
    assert bool(has_diverged(np.array(costs))) is diverged


def test_diverged_by_columns() -> None:
    """Each training by itself."""
    costs = np.array([[0.7, 0.7, 0.7], [0.6, 0.8, np.nan]])
    assert has_diverged(costs).tolist() == [False, True, True]


def test_costs_are_right_whether_they_wait_or_not() -> None:
    """ln(1 + exp(-z)) of the right sign, by hand."""
    for record_every in (1, 1000):
        recorder = make_recorder(num_iterations=1000, record_every=record_every)
        for iteration in range(1001):
            if recorder.due(iteration):
                recorder.keep(iteration, np.array([iteration / 100, 0.0]))
        assert recorder.iterations == list(range(0, 1001, record_every))
        expected = [(math.log1p(math.exp(-i / 100)) + math.log(2)) / 2 for i in recorder.iterations]
        assert recorder.costs == pytest.approx(expected, rel=1e-14)


def test_tolerance() -> None:
    """Stops at the first record that differs from the one before by less; a rise is no reason."""
    recorder = make_recorder(tolerance=0.01)
    z = {0: 0.0, 10: 1.0, 20: 0.9, 30: 3.0, 40: 3.001, 50: 9.0}
    stopped = [iteration for iteration in z if recorder.keep(iteration, np.array([z[iteration], -z[iteration]]))]
    assert stopped[0] == 40


def test_no_tolerance_never_stops() -> None:
    """Not even when nothing changes any more."""
    recorder = make_recorder(record_every=1)
    assert not any(recorder.keep(iteration, np.zeros(2)) for iteration in range(1001))


def test_a_cost_that_is_not_finite_stops() -> None:
    """There is nothing to wait for."""
    recorder = make_recorder(record_every=1000)
    assert not recorder.keep(0, np.zeros(2))
    assert recorder.keep(1000, np.array([np.nan, 0.0]))


def test_going_on_records_at_the_same_iterations() -> None:
    """As if nothing had happened."""
    whole, first, second = (make_recorder(num_iterations=37) for _ in range(3))
    for iteration in range(38):
        if whole.due(iteration):
            whole.keep(iteration, np.full(2, iteration / 10))
    for iteration in range(25):
        if first.due(iteration):
            first.keep(iteration, np.full(2, iteration / 10))
    second.resume(*first.recorded())
    for iteration in range(25, 38):
        if second.due(iteration):
            second.keep(iteration, np.full(2, iteration / 10))
    assert second.iterations == whole.iterations == [0, 10, 20, 30, 37]
    assert second.costs == whole.costs


def test_progress_is_told() -> None:
    """Iteration and last cost; nan before the first."""
    told: list[tuple[int, float]] = []
    recorder = make_recorder(on_progress=lambda iteration, cost: told.append((iteration, cost)), record_every=1000)
    recorder.show(0)
    recorder.keep(0, np.zeros(2))
    recorder.show(1)
    assert math.isnan(told[0][1])
    assert told[1][0] == 1
    assert told[1][1] == pytest.approx(math.log(2))
