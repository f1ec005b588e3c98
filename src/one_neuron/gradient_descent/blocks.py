"""Gradient descent by blocks of rows, in whole numbers: the form for any number of pictures, in memory or on disk.

An iteration is one pass over the pixels (`passes`). w and A - Y are rounded to 30 bits, so the sums are exact, and it
does not matter where and in which order they are added up. `docs/exact-arithmetic.md` derives it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from numpy.typing import NDArray

from one_neuron.gradient_descent.passes import Passes
from one_neuron.gradient_descent.recorder import Checkpoint, Recorder, TrainingState
from one_neuron.gradient_descent.snapshots import Snapshots
from one_neuron.gradient_descent.stability import largest_eigenvalue
from one_neuron.neuron import Parameters, initialize_with_zeros

ROWS_LIMIT = 2**25  # rows or columns whose products add up within 64 bits


def descend(
    X: Any,
    Y: NDArray[Any],
    learning_rate: float,
    recorder: Recorder,
    snapshots: Snapshots,
    checkpoint: Checkpoint | None,
    make_passes: Callable[[Any, NDArray[Any]], Passes],
) -> tuple[dict[int, Parameters], float]:
    """Train; return w and b by their iterations, the trained ones last, and the largest eigenvalue of X X^T + 1.

    X is an ndarray or a `RowsOnDisk`; make_passes(X, Y) is an engine.
    """
    m, n_x = X.shape
    if max(m, n_x) > ROWS_LIMIT:
        raise ValueError(f"X has shape {X.shape}; expected at most {ROWS_LIMIT:,} rows and columns")
    state = checkpoint.load() if checkpoint else None
    parameters, done = initialize_with_zeros(n_x), 0
    if state:
        parameters, done = state.parameters, state.iteration
        recorder.resume(state.iterations, state.costs)
        snapshots.kept = dict(state.snapshots)
    with make_passes(X, Y) as passes:
        for iteration in range(done, recorder.num_iterations + 1):
            last = iteration == recorder.num_iterations
            z, dw, db = passes.run(parameters, z=recorder.is_due(iteration), gradient=not last)
            if z is not None:
                snapshots.offer(iteration, parameters)
                if recorder.record(iteration, z) or last:
                    break
            recorder.show(iteration)
            parameters = Parameters(
                w=parameters.w - learning_rate * (dw / m), b=parameters.b - learning_rate * (db / m)
            )
            if checkpoint:
                checkpoint.offer(partial(_state, iteration + 1, parameters, recorder, snapshots))
        return snapshots.kept, largest_eigenvalue(passes.times_covariance, n_x + 1)


def _state(iteration: int, parameters: Parameters, recorder: Recorder, snapshots: Snapshots) -> TrainingState:
    """Return all that training needs to resume after these updates."""
    return TrainingState(iteration, parameters, *recorder.recorded(), dict(snapshots.kept))
