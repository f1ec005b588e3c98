"""Which w and b are kept: by hand, for any number of records, in all forms, and after a kill."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_neuron import neuron
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.optimize import TrainingResult, optimize
from one_neuron.gradient_descent.recorder import TrainingState
from one_neuron.gradient_descent.snapshots import LIMIT, Snapshots, choose_records
from tests.unit.gradient_descent.test_optimize import make_problem

FORMS = ["gram", "blocks", "features"]


def train(form: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> TrainingResult:
    """Train on 14 examples of 30 features in one of the forms."""
    X, Y = make_problem(14, 30)
    with monkeypatch.context() as patch:
        patch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
        result = optimize(X / 255 if form == "features" else X, Y, **options)
    assert result.form == form
    return result


def same(one: neuron.Parameters, other: neuron.Parameters) -> bool:
    """Return whether w and b have the same bits."""
    return one.w.tobytes() == other.w.tobytes() and one.b == other.b


@pytest.mark.parametrize(
    ("last", "limit", "chosen"),
    [
        (1, 20, [0, 1]),
        (4, 20, [0, 1, 2, 3, 4]),
        (20, 20, [*range(15), *range(16, 21)]),  # 14 * (20 / 14)**(1 / 5) = 15.03
        (16, 6, [0, 1, 2, 4, 8, 16]),  # the factor is 2
        (81, 6, [0, 1, 3, 9, 27, 81]),
        (5, 3, [0, 1, 5]),
    ],
)
def test_chosen_records(last: int, limit: int, chosen: list[int]) -> None:
    """Powers of a whole number are met exactly; where numbers would coincide, they follow each other."""
    assert choose_records(last, limit) == chosen


@given(last=st.integers(1, 10**9), limit=st.integers(3, 20))
def test_records_are_as_many_as_fit_and_lie_a_factor_apart(last: int, limit: int) -> None:
    """All of them if they fit, else exactly `limit`; each is the next whole number at or above n * factor."""
    chosen = choose_records(last, limit)
    assert chosen == sorted(set(chosen))
    assert (chosen[0], chosen[1], chosen[-1]) == (0, 1, last)
    assert len(chosen) == min(limit, last + 1)
    for n, above, k in zip(chosen[1:], chosen[2:], range(limit - 2, 0, -1), strict=False):
        ratio = (last / n) ** (1 / k)
        exact = max(n + 1, n * ratio)
        assert exact * (1 - 1e-9) <= above < exact * (1 + 1e-9) + 1


def test_wide_pictures_have_fewer() -> None:
    """Pictures of 1,024 pixels have three million weights: five snapshots take 126 MB."""
    snapshots = Snapshots(1024 * 1024 * 3, num_iterations=2000, record_every=100)
    for iteration in range(0, 2001, 100):
        snapshots.offer(iteration, iteration)
    assert list(snapshots.kept) == [0, 100, 300, 800, 2000]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("record_every", [1, 7, 100, 1000])
def test_snapshots_are_the_parameters_of_shorter_trainings(
    form: str, record_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit: a training of that many iterations ends with the same w and b."""
    options = {"learning_rate": 0.05, "record_every": record_every}
    result = train(form, monkeypatch, num_iterations=200, **options)
    snapshots = result.snapshots
    assert 2 <= len(snapshots) <= LIMIT
    assert len(snapshots) == min(LIMIT, len(result.iterations))
    assert set(snapshots) <= set(result.iterations.tolist())
    assert list(snapshots) == sorted(snapshots)
    assert same(snapshots[0], neuron.initialize_with_zeros(30))
    assert list(snapshots)[-1] == 200
    assert same(snapshots[200], result.parameters)
    for iteration in list(snapshots)[1::5]:
        shorter = train(form, monkeypatch, num_iterations=iteration, **options)
        assert same(snapshots[iteration], shorter.parameters), iteration


@pytest.mark.parametrize("form", FORMS)
def test_a_training_that_stops_early_ends_with_its_last_record(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops at an iteration that was not chosen, and still has many early snapshots."""
    result = train(form, monkeypatch, learning_rate=0.5, num_iterations=10**6, record_every=1, tolerance=2e-4)
    last = int(result.iterations[-1])
    chosen = choose_records(10**6, LIMIT)
    assert 50 < last < 10**5
    assert last not in chosen
    assert list(result.snapshots) == [n for n in chosen if n < last] + [last]
    assert len(result.snapshots) >= 7
    assert same(result.snapshots[last], result.parameters)


@pytest.mark.parametrize("form", FORMS)
def test_a_training_that_diverges_keeps_snapshots(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its costs rise; every w is finite."""
    X, Y = np.full((9, 12), 255, np.uint8), np.arange(9) % 2
    with monkeypatch.context() as patch:
        patch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
        result = optimize(X / 255 if form == "features" else X, Y, learning_rate=900, num_iterations=30, record_every=2)
    assert result.diverged
    assert len(result.snapshots) == 16
    assert same(result.snapshots[30], result.parameters)
    assert all(np.isfinite(kept.w).all() and math.isfinite(kept.b) for kept in result.snapshots.values())


def test_a_training_that_was_interrupted_has_the_same_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the iteration of the checkpoint from which it resumes: before, at and after chosen records."""

    class Every:
        """Holds the state after each iteration, and offers one of them."""

        def __init__(self, states: list[TrainingState], start: int | None) -> None:
            self.states, self.start = states, start

        def load(self) -> TrainingState | None:
            return None if self.start is None else self.states[self.start]

        def offer(self, state: Any) -> None:
            if self.start is None:
                self.states.append(state())

    options = {"learning_rate": 0.5, "num_iterations": 10**6, "record_every": 1, "tolerance": 1e-3}
    states: list[TrainingState] = []
    whole = train("blocks", monkeypatch, checkpoint=Every(states, None), **options)
    assert len(states) > 40
    for start in range(len(states)):
        # The state holds copies: the lists of records, which the training went on to fill, are cut here.
        state = states[start]
        known = [n for n in state.iterations if n < state.iteration]
        states[start] = TrainingState(
            state.iteration, state.parameters, known, state.costs[: len(known)], state.snapshots
        )
        resumed = train("blocks", monkeypatch, checkpoint=Every(states, start), **options)
        assert list(resumed.snapshots) == list(whole.snapshots)
        assert all(same(resumed.snapshots[n], whole.snapshots[n]) for n in whole.snapshots), start
