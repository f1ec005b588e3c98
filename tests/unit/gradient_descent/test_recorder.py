"""Which costs are recorded, and when the recorder stops training."""

import math
from typing import Any

import numpy as np
import pytest

from one_neuron.gradient_descent.recorder import Recorder

Y = np.array([1, 0])


def make_recorder(**changes: Any) -> Recorder:
    """Return a recorder for two examples."""
    options: dict[str, Any] = {"num_iterations": 1000, "record_every": 10, "tolerance": 0.0, "on_progress": None}
    return Recorder(Y, **{**options, **changes})


def test_costs_are_right_whether_they_wait_or_not() -> None:
    """ln(1 + exp(-z)) of the right sign, by hand."""
    for record_every in (1, 1000):
        recorder = make_recorder(num_iterations=1000, record_every=record_every)
        for iteration in range(1001):
            if recorder.is_due(iteration):
                recorder.record(iteration, np.array([iteration / 100, 0.0]))
        assert recorder.iterations == list(range(0, 1001, record_every))
        expected = [(math.log1p(math.exp(-i / 100)) + math.log(2)) / 2 for i in recorder.iterations]
        assert recorder.costs == pytest.approx(expected, rel=1e-14)


def test_few_large_z_are_kept() -> None:
    """The costs of 2**16 examples are computed after two records, so that z does not fill the memory."""
    recorder = Recorder(np.zeros(2**16), num_iterations=9, record_every=1, tolerance=0.0, on_progress=None)
    known = []
    for iteration in range(4):
        recorder.record(iteration, np.zeros(2**16))
        known.append(len(recorder.costs))
    assert known == [0, 2, 2, 4]


def test_tolerance() -> None:
    """Training stops at the first record that differs by less from the one before; a rise does not stop it."""
    recorder = make_recorder(tolerance=0.01)
    z = {0: 0.0, 10: 1.0, 20: 0.9, 30: 3.0, 40: 3.001, 50: 9.0}
    stopped = [iteration for iteration in z if recorder.record(iteration, np.array([z[iteration], -z[iteration]]))]
    assert stopped[0] == 40


def test_no_tolerance_never_stops() -> None:
    """Not even when the cost no longer changes."""
    recorder = make_recorder(record_every=1)
    assert not any(recorder.record(iteration, np.zeros(2)) for iteration in range(1001))


@pytest.mark.parametrize("tolerance", [0.02, 1.0])
def test_the_second_record_can_stop_training(tolerance: float) -> None:
    """It is the first one that has a predecessor to be compared with."""
    recorder = make_recorder(tolerance=tolerance)
    assert not recorder.record(0, np.zeros(2))
    assert recorder.record(10, np.full(2, 0.01))
    assert recorder.stopped


def test_a_cost_that_is_not_finite_stops() -> None:
    """Later costs would not be finite either."""
    recorder = make_recorder(record_every=1000)
    assert not recorder.record(0, np.zeros(2))
    assert recorder.record(1000, np.array([np.nan, 0.0]))


def test_going_on_records_at_the_same_iterations() -> None:
    """The records of an interrupted training are those of one that ran through."""
    whole, first, second = (make_recorder(num_iterations=37) for _ in range(3))
    for iteration in range(38):
        if whole.is_due(iteration):
            whole.record(iteration, np.full(2, iteration / 10))
    for iteration in range(25):
        if first.is_due(iteration):
            first.record(iteration, np.full(2, iteration / 10))
    second.resume(*first.recorded())
    for iteration in range(25, 38):
        if second.is_due(iteration):
            second.record(iteration, np.full(2, iteration / 10))
    assert second.iterations == whole.iterations == [0, 10, 20, 30, 37]
    assert first.iterations == [0, 10, 20]
    assert second.costs == whole.costs


def test_progress_is_reported() -> None:
    """Reports have the iteration and the last cost, nan before the first."""
    reports: list[tuple[int, float]] = []
    recorder = make_recorder(on_progress=lambda iteration, cost: reports.append((iteration, cost)), record_every=1000)
    recorder.show(0)
    recorder.record(0, np.zeros(2))
    recorder.show(1)
    recorder.record(1000, np.array([3.0, -3.0]))
    recorder.show(1000)
    assert [iteration for iteration, _ in reports] == [0, 1, 1000]
    assert math.isnan(reports[0][1])
    assert [cost for _, cost in reports[1:]] == pytest.approx([math.log(2), math.log1p(math.exp(-3))])
