"""Cost and accuracy at several moments: against the functions for one moment, and against plain NumPy."""

import weakref
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron import neuron
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.metrics import evaluate
from one_neuron.neuron import Parameters
from one_neuron.training_curves import measure_curve
from tests.unit.gradient_descent.test_optimize import make_problem


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("threshold", [0.5, 0.4])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_each_point_has_the_bits_of_a_separate_evaluation(rows: int, threshold: float, threads: int) -> None:
    """Whatever the blocks are, and however many are computed at a time."""
    X, Y = make_problem(50, 30)
    snapshots = optimize(X, Y, learning_rate=0.1, num_iterations=400, record_every=20).snapshots
    assert len(snapshots) == 20
    blocks = [X[start : start + rows] for start in range(0, 50, rows)]
    curve = measure_curve(blocks, Y, list(snapshots.values()), threshold=threshold, threads=threads)
    for cost, accuracy, parameters in zip(curve.costs, curve.accuracies, snapshots.values(), strict=True):
        expected = evaluate(neuron.compute_z(X, parameters), Y, threshold=threshold)
        assert (cost, accuracy) == (expected["cost"], expected["accuracy"])
    assert curve.z.tobytes() == neuron.compute_z(X, parameters).tobytes()


def test_against_plain_numpy() -> None:
    """Logarithms and means of NumPy; the first point, w = 0, is the cost ln 2 and predicts label 0 for all."""
    X, Y = make_problem(40, 12, positives=10)
    snapshots = optimize(X, Y, learning_rate=0.5, num_iterations=30, record_every=10).snapshots
    curve = measure_curve([X], Y, list(snapshots.values()), threshold=0.5)
    for cost, accuracy, parameters in zip(curve.costs, curve.accuracies, snapshots.values(), strict=True):
        z = X / 255 @ parameters.w + parameters.b
        assert cost == pytest.approx(np.mean(np.logaddexp(0, z) - Y * z), abs=1e-12)
        assert accuracy == np.mean((z > 0) == Y)
    assert curve.costs[0] == pytest.approx(np.log(2))
    assert curve.accuracies[0] == 0.75


@pytest.mark.parametrize("threads", [1, 2])
def test_few_blocks_are_in_memory(threads: int) -> None:
    """The next block is asked for when no more than `threads` others are still used."""
    X, Y = make_problem(40, 12)
    alive: list[weakref.ref[NDArray[np.uint8]]] = []

    def blocks() -> Iterator[NDArray[np.uint8]]:
        for row in X:
            block = row[np.newaxis].copy()
            alive.append(weakref.ref(block))
            yield block
            del block
            assert sum(one() is not None for one in alive) <= threads + 2

    measure_curve(blocks(), Y, [Parameters(np.zeros(12), 0.0)], threshold=0.5, threads=threads)
    assert len(alive) == 40


def test_an_error_in_a_block_is_raised() -> None:
    """A block with too few columns."""
    with pytest.raises(ValueError, match="reshape"):
        measure_curve([np.zeros((2, 3), np.uint8)], np.zeros(2), [Parameters(np.zeros(5), 0.0)], threshold=0.5)


def test_sums_over_blocks_are_exact() -> None:
    """Losses of very different sizes, one picture a block: the mean is the exact sum, rounded twice."""
    X = np.array([[255], [0], [1], [128]] * 25, np.uint8)
    Y = np.array([0, 1, 0, 1] * 25, np.uint8)
    parameters = Parameters(w=np.array([1e15]), b=-1e-3)
    curve = measure_curve(list(X[:, np.newaxis]), Y, [parameters], threshold=0.5)
    losses = neuron.losses(neuron.compute_z(X, parameters), Y).tolist()
    assert curve.costs == [float(sum(map(Fraction, losses))) / 100]
    assert curve.accuracies == [0.25]
