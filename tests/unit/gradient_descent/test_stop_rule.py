"""When recorded costs stop a training, and when they count as diverged."""

import math
from typing import Any

import numpy as np
import pytest

from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.gradient_descent.stop_rule import find_stops, has_diverged


@pytest.mark.parametrize(
    ("costs", "tolerance", "stops"),
    [
        ([0.7], 1.0, [False]),
        ([0.7, 0.6], 1.0, [False, True]),
        ([0.7, 0.6], 0.125, [False, True]),
        ([0.5, 0.375], 0.125, [False, False]),  # by exactly the tolerance is not by less
        ([0.7, 0.3, 0.4, 0.35], 0.06, [False, False, False, True]),
        ([0.7, 0.7, 0.7], 0.0, [False, False, False]),
        ([0.7, math.nan], 0.0, [False, True]),
        ([0.7, math.inf, math.inf], 0.1, [False, True, True]),
        ([math.inf], 0.0, [True]),
    ],
)
def test_stops(costs: list[float], tolerance: float, stops: list[bool]) -> None:
    """The first cost has no predecessor; a rise counts like a fall; what is not finite stops in any case."""
    assert find_stops(costs, tolerance).tolist() == stops


def test_stops_by_columns() -> None:
    """Each column stops by itself, as in `has_diverged`."""
    costs = np.array([[0.7, 0.7, 0.7], [0.6, 0.69, np.nan], [0.59, 0.5, 0.5]])
    assert find_stops(costs, 0.05).T.tolist() == [[False, False, True], [False, True, False], [False, True, False]]


@pytest.mark.parametrize("form", ["gram", "blocks", "features"])
@pytest.mark.parametrize("record_every", [1, 3])
def test_a_large_tolerance_stops_every_form_at_its_second_record(
    form: str, record_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at the first record nor at the third, and w is that of a training that ends there."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5), np.uint8)
    X, Y = pixels / 255 if form == "features" else pixels, np.array([0, 1, 0, 1, 1, 0])
    options: dict[str, Any] = {"learning_rate": 0.1, "record_every": record_every}
    stopped = optimize(X, Y, num_iterations=60, tolerance=1.0, **options)
    assert stopped.form == form
    assert stopped.iterations.tolist() == [0, record_every]
    whole = optimize(X, Y, num_iterations=record_every, **options)
    assert stopped.parameters.w == pytest.approx(whole.parameters.w, abs=1e-12)


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
    """The mean of the last tenth, at least one cost, is compared with the first cost."""
    assert bool(has_diverged(np.array(costs))) is diverged


def test_diverged_by_columns() -> None:
    """Each column is judged by itself."""
    costs = np.array([[0.7, 0.7, 0.7], [0.6, 0.8, np.nan]])
    assert has_diverged(costs).tolist() == [False, True, True]
