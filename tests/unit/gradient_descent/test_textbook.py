"""The course's loop: published numbers, its own steps, and the trajectory that the quicker forms follow."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent import textbook
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.neuron import Parameters, compute_z, cost, gradient


def make_pixels(m: int, n_x: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random pixels and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (m, n_x), np.uint8), rng.integers(0, 2, m, np.uint8)


@pytest.mark.parametrize("form", ["gram", "blocks"])
@pytest.mark.parametrize("learning_rate", [0.001, 0.05])
@pytest.mark.parametrize(("m", "n_x"), [(1, 1), (16, 27), (40, 300)])
def test_gram_and_blocks_follow_the_textbook_on_pixels(
    form: str, learning_rate: float, m: int, n_x: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost at every iteration, w and b within 1e-9."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
    X, Y = make_pixels(m, n_x)
    options: dict[str, Any] = {"learning_rate": learning_rate, "num_iterations": 120, "record_every": 1}
    parameters, iterations, costs = textbook.descend(X, Y, **options)
    result = optimize(X, Y, **options)
    assert result.form == form
    assert result.iterations.tolist() == iterations == list(range(121))
    assert result.costs == pytest.approx(costs, abs=1e-9)
    assert result.parameters.w == pytest.approx(parameters.w, abs=1e-9)
    assert result.parameters.b == pytest.approx(parameters.b, abs=1e-9)


@pytest.mark.parametrize("form", ["gram", "blocks"])
def test_gram_and_blocks_follow_the_textbook_on_the_courses_pictures(
    form: str, course: dict[str, NDArray[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first published costs, from pixels, in this loop and in the quicker forms."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0 if form == "blocks" else 6000)
    X, Y = course["train_X"], course["train_Y"]
    options: dict[str, Any] = {"learning_rate": 0.005, "num_iterations": 100}
    parameters, _, costs = textbook.descend(X, Y, **options)
    assert [f"{value:.6f}" for value in costs] == ["0.693147", "0.584508"]
    result = optimize(X, Y, **options)
    assert result.form == form
    assert result.costs == pytest.approx(costs, abs=1e-9)
    assert result.parameters.w == pytest.approx(parameters.w, abs=1e-9)


@pytest.mark.parametrize("pixels", [True, False])
def test_it_is_the_update_of_the_course(pixels: bool) -> None:
    """Three updates done here with `neuron` alone: the same bits."""
    raw, Y = make_pixels(7, 4)
    X: NDArray[Any] = raw if pixels else raw / 255
    parameters, iterations, costs = textbook.descend(X, Y, learning_rate=0.5, num_iterations=3, record_every=2)
    w, b, expected = np.zeros(4), 0.0, []
    for iteration in range(4):
        z = compute_z(X, Parameters(w, b))
        expected.append(cost(z, Y))
        if iteration < 3:
            dw, db = gradient(X, Y, z)
            w, b = w - 0.5 * dw, b - 0.5 * db
    assert parameters.w.tobytes() == w.tobytes()
    assert parameters.b == b
    assert iterations == [0, 2, 3]
    assert costs == [expected[i] for i in iterations]


def test_features_are_trained_by_this_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no second loop behind `optimize`: a breakpoint here fires."""
    descend, called = textbook.descend, []

    def spy(*arrays: Any, **options: Any) -> Any:
        called.append(options["num_iterations"])
        return descend(*arrays, **options)

    monkeypatch.setattr(textbook, "descend", spy)
    optimize([[0.5], [1.5]], [0, 1], learning_rate=0.1, num_iterations=2)
    assert called == [2]


def test_progress_is_reported_at_each_iteration() -> None:
    """The number of updates and the last recorded cost."""
    X, Y = make_pixels(5, 3)
    calls: list[tuple[int, float]] = []
    _, _, costs = textbook.descend(
        X,
        Y,
        learning_rate=0.1,
        num_iterations=4,
        record_every=3,
        on_progress=lambda iteration, cost: calls.append((iteration, cost)),
    )
    assert calls == [(0, costs[0]), (1, costs[0]), (2, costs[0]), (3, costs[1]), (4, costs[2])]


def test_it_runs_by_itself() -> None:
    """As the docstring says; the cost falls."""
    program = [sys.executable, "-m", "one_neuron.gradient_descent.textbook"]
    lines = subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()
    costs = [float(line.split(": ")[1]) for line in lines if line.startswith("cost")]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == 11
    assert lines[-1].startswith("w = [")
