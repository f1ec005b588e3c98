"""Batch gradient descent from a zero start: the one door to training is `optimize`.

The update of the course, with X of shape (m, n_x) and one example per row:

    w := w - learning_rate * dw,    b := b - learning_rate * db

is done in one of three forms that follow the same trajectory. Which one runs depends on type and shape of X alone.

gram
    Few rows of raw pixels, through their scalar products: 2 m^2 operations an iteration (`gram_descent`).
blocks
    Many rows of raw pixels, in memory or on disk: one pass over them an iteration, 4 m n_x operations
    (`block_descent`).
features
    Any X but raw pixels, just as it stands above and in the course.

For uint8 pixels each form gives the same bits on every machine, at any learning rate: see `docs/exact-arithmetic.md`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.gradient_descent import gram
from one_neuron.gradient_descent.recorder import Checkpoint, Recorder, has_diverged
from one_neuron.gradient_descent.stability import largest_eigenvalue, stability_bound
from one_neuron.neuron import Array, Parameters, compute_z, gradient, initialize_with_zeros
from one_neuron.system.machine import one_blas_thread

GRAM_LIMIT = 6000  # examples; their m * m Gram matrix takes 288 MB of float64
_GRAM_ALWAYS = 1000  # examples; so few are done sooner than numba is ready


@dataclass(frozen=True)
class TrainingResult:
    """What training gives.

    Parameters
    ----------
    parameters : Parameters
        w and b after the last update.
    iterations : ndarray of shape (k,), int64
        The recorded iterations: 0, record_every, 2 record_every, ... and the last one, which is num_iterations unless
        training stopped early.
    costs : ndarray of shape (k,), float64
        The cost after so many updates.
    form : str
        "gram", "blocks" or "features".
    stability_bound : float
        2 / L, to six digits; see `stability.stability_bound`.
    """

    parameters: Parameters
    iterations: NDArray[np.int64]
    costs: Array
    form: str
    stability_bound: float

    @property
    def diverged(self) -> bool:
        """Whether training went wrong; see `recording.has_diverged`."""
        return bool(has_diverged(self.costs))


def choose_form(X: Any, *, most_per_feature: float = 1 / 3) -> str:
    """Return "gram" for few rows of raw pixels, "blocks" for many, "features" for anything else.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), or a `pixel_file.PixelFile`
    most_per_feature : float
        Rows are few up to _GRAM_ALWAYS, and up to so many times n_x, but never above GRAM_LIMIT. With a third of n_x
        an iteration takes as long in the one form as in the other (measured for n_x = 3,072 and 12,288).
    """
    if X.dtype != np.uint8:
        return "features"
    m, n_x = X.shape
    few = min(GRAM_LIMIT, max(_GRAM_ALWAYS, int(most_per_feature * n_x)))
    return "gram" if m <= few else "blocks"


def optimize(  # noqa: PLR0913 - one door, and each has a name
    X: Any,
    Y: NDArray[Any],
    *,
    learning_rate: float,
    num_iterations: int,
    record_every: int = 100,
    tolerance: float = 0.0,
    on_progress: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train the neuron by batch gradient descent on the cross-entropy cost, starting at zero.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels (p stands for p / 255) or float64; or a `pixel_file.PixelFile`
        One example per row. It is not changed.
    Y : ndarray of shape (m,), values in {0, 1}
    learning_rate : float
        Length of a step along the gradient; from 1e-100 to 1e100.
    num_iterations : int
        Number of updates, at least 1.
    record_every : int
        The cost is kept at every so many iterations and at the last one; at least 1.
    tolerance : float
        Stop as soon as the cost changes by less than this from one record to the next; at least 0, which never stops.
    on_progress : callable, optional
        Called after each iteration with the number of updates and the last cost known.
    checkpoint : Checkpoint, optional
        Where a training by blocks keeps its state, and finds it after a kill. The other forms take no notice.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If a shape, a label or a parameter is not as above.

    References
    ----------
    Andrew Ng, Neural Networks and Deep Learning, week 2, "Logistic Regression with a Neural Network mindset",
    `optimize`.
    """
    learning_rate = float(learning_rate)  # a float32 would spoil what it is multiplied with
    _check(X, Y, learning_rate, num_iterations, record_every, tolerance)
    form = choose_form(X)
    recorder = Recorder(
        Y, num_iterations=num_iterations, record_every=record_every, tolerance=tolerance, on_progress=on_progress
    )
    # The products of one iteration are so small that handing them to several threads takes longer than doing them.
    with one_blas_thread():
        if form == "gram":
            parameters, eigenvalue = gram.descend(X, Y, learning_rate, num_iterations, recorder)
        elif form == "blocks":
            blocks = _import_blocks()
            parameters, eigenvalue = blocks.descend(X, Y, learning_rate, num_iterations, recorder, checkpoint)
        else:
            parameters, eigenvalue = _descend_features(X, Y, learning_rate, num_iterations, recorder)
    return TrainingResult(
        parameters,
        np.array(recorder.iterations),
        np.array(recorder.costs),
        form,
        stability_bound(eigenvalue, len(Y)),
    )


def _import_blocks() -> Any:
    """Return the module whose loops are compiled: too slow to import for a small set."""
    try:
        from one_neuron.gradient_descent import blocks
    except OSError as error:  # a shared library of numba's is missing
        raise ImportError(str(error)) from error
    return blocks


def _descend_features(
    X: NDArray[Any], Y: NDArray[Any], learning_rate: float, num_iterations: int, recorder: Recorder
) -> tuple[Parameters, float]:
    """Train as the course does: a pass for z, one for the gradient. Return also the largest eigenvalue of X X^T + 1."""
    parameters = initialize_with_zeros(X.shape[1])
    for iteration in range(num_iterations + 1):
        z = compute_z(X, parameters)  # forward
        if recorder.due(iteration) and recorder.keep(iteration, z):
            break
        recorder.show(iteration)
        if iteration == num_iterations:
            break
        dw, db = gradient(X, Y, z)  # backward
        parameters = Parameters(w=parameters.w - learning_rate * dw, b=parameters.b - learning_rate * db)  # update
    return parameters, largest_eigenvalue(lambda v: X @ (X.T @ v) + v.sum(), len(X))


def _check(
    X: Any, Y: NDArray[Any], learning_rate: float, num_iterations: int, record_every: int, tolerance: float
) -> None:
    """Refuse what would train to nonsense in silence."""
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"X has shape {X.shape}; expected (m, n_x) with at least one example and one feature")
    if Y.shape != X.shape[:1]:
        raise ValueError(f"Y has shape {Y.shape}; expected ({X.shape[0]},), one label for each row of X")
    wrong = np.flatnonzero((Y != 0) & (Y != 1))
    if wrong.size:
        raise ValueError(f"Y[{wrong[0]}] is {Y[wrong[0]]}; labels are 0 or 1")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has type {X.dtype}; expected uint8 or floats")
    if X.dtype != np.uint8 and not np.isfinite(X).all():
        raise ValueError("X holds nan or infinity")
    if not 1e-100 <= learning_rate <= 1e100:
        raise ValueError(f"learning_rate is {learning_rate}; expected a number from 1e-100 to 1e100")
    if not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance is {tolerance}; expected a number of at least 0")
    numbers: dict[str, Any] = {"num_iterations": num_iterations, "record_every": record_every}
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
