"""Batch gradient descent from a zero start: `optimize` trains one neuron. `textbook` is the loop to read first.

The update of the course, with X of shape (m, n_x) and one example per row:

    w := w - learning_rate dw,    b := b - learning_rate db

is computed in one of three forms that follow the same trajectory. The type and shape of X alone choose the form.

gram
    Few rows of pixels, through their scalar products: 2 m^2 operations per iteration (`gram`).
blocks
    Many rows of pixels, in memory or in a file: one pass over them per iteration, 4 m n_x operations (`blocks`).
features
    Anything else: the course's loop as it is (`textbook`).

For uint8 pixels each form gives the same bits on every machine, at any learning rate: see `docs/exact-arithmetic.md`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from one_neuron.gradient_descent import arguments, gram, textbook
from one_neuron.gradient_descent.engines.choice import MakePasses, find_engine, report_unused
from one_neuron.gradient_descent.recorder import Checkpoint, Recorder
from one_neuron.gradient_descent.snapshots import Snapshots
from one_neuron.gradient_descent.stability import largest_eigenvalue, stability_bound
from one_neuron.gradient_descent.stop_rule import has_diverged
from one_neuron.neuron import Array, Parameters
from one_neuron.system.machine import one_blas_thread

GRAM_LIMIT = 6000  # examples; their m * m Gram matrix takes 288 MB of float64
_GRAM_ALWAYS = 1000  # examples; up to here training takes less time than importing numba


@dataclass(frozen=True)
class TrainingResult:
    """The trained parameters and the cost on the way to them.

    Parameters
    ----------
    parameters : Parameters
        w and b after the last update.
    iterations : ndarray of shape (k,), int64
        The recorded iterations: 0, record_every, 2 record_every, ... and the last one, which is num_iterations unless
        training stopped early.
    costs : ndarray of shape (k,), float64
        The cost at each of them.
    snapshots : mapping of int to Parameters
        w and b after that many updates, at no more than 20 of the recorded iterations: at the first, at the last, and
        at some between them that lie a constant factor apart (`snapshots.choose_records`).
    form : str
        "gram", "blocks" or "features".
    stability_bound : float
        2 / L, to six digits; see `stability.stability_bound`.
    """

    parameters: Parameters
    iterations: NDArray[np.int64]
    costs: Array
    snapshots: Mapping[int, Parameters]
    form: str
    stability_bound: float

    @property
    def diverged(self) -> bool:
        """Whether training diverged; see `stop_rule.has_diverged`."""
        return bool(has_diverged(self.costs))


def choose_form(X: Any, *, rows_per_feature: float = 1 / 3) -> str:
    """Return "gram" for few rows of pixels, "blocks" for many, "features" for anything else.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), or a `rows.RowsOnDisk`
    rows_per_feature : float
        Up to rows_per_feature * n_x rows are few, and always up to _GRAM_ALWAYS, but never more than GRAM_LIMIT. At a
        third of n_x an iteration takes the same time in both forms (measured for n_x = 3,072 and 12,288).
    """
    if X.dtype != np.uint8:
        return "features"
    m, n_x = X.shape
    few = min(GRAM_LIMIT, max(_GRAM_ALWAYS, int(rows_per_feature * n_x)))
    return "gram" if m <= few else "blocks"


def optimize(  # noqa: PLR0913 - the options are keywords
    X: Any,
    Y: ArrayLike,
    *,
    learning_rate: float,
    num_iterations: int,
    record_every: int = 100,
    tolerance: float = 0.0,
    on_progress: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
    engine: str | MakePasses | None = None,
) -> TrainingResult:
    """Train the neuron by batch gradient descent on the cross-entropy cost, starting at zero.

    Only a uint8 ndarray (or a `rows.RowsOnDisk`) holds pixels, where p stands for p / 255. Lists and arrays of any
    other type hold features: they are converted to float64 and used as they are.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels; or array_like of shape (m, n_x), features
        One example per row. It is not changed.
    Y : array_like of shape (m,), values in {0, 1}
        Labels as integers, booleans or floats.
    learning_rate : float
        Length of a step along the gradient; from 1e-100 to 1e100.
    num_iterations : int
        Number of updates, at least 1.
    record_every : int
        The cost is recorded at iteration 0, at every multiple of this number, and at the last one; at least 1.
    tolerance : float
        Stop when the cost changes by less than this from one record to the next. At least 0, which never stops.
    on_progress : callable, optional
        on_progress(updates, cost) is called at each iteration with the last cost known.
    checkpoint : Checkpoint, optional
        Where training in the form "blocks" keeps its state, to resume after a kill. The other forms ignore it.
    engine : str or callable, optional
        Where the form "blocks" passes over the rows: "local", "ray", "ray://host:port", "cuda", "cuda:1", or a function
        of (X, Y) that returns `passes.Passes`. It changes no bit. The other forms train on this machine, and a line on
        stderr says so. By default the environment variable ONE_NEURON_ENGINE decides; unset, it is "local".

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If a shape, a label or a parameter is not as above.
    EnvironmentProblem
        If BLAS, the library that multiplies NumPy's matrices, computes wrong products on this CPU; if the engine is not
        installed, has no device or not enough memory, or its workers keep failing.
    SettingsError
        If ONE_NEURON_ENGINE, ONE_NEURON_SHARDS or ONE_NEURON_PIXELS_URL is wrong.

    References
    ----------
    Andrew Ng, Neural Networks and Deep Learning, week 2, "Logistic Regression with a Neural Network mindset",
    `optimize`.

    Examples
    --------
    >>> X = np.array([[255, 0], [0, 255]], dtype=np.uint8)  # two pictures of two pixels
    >>> result = optimize(X, [0, 1], learning_rate=0.1, num_iterations=100)
    >>> result.costs.round(6).tolist(), result.parameters.w.round(3).tolist(), result.form
    ([0.693147, 0.199967], [-1.508, 1.508], 'gram')
    """
    X = arguments.read_features(X)
    labels = arguments.read_labels(Y, X.shape[0])
    learning_rate = arguments.read_learning_rate(learning_rate)
    records = {
        "num_iterations": arguments.read_count("num_iterations", num_iterations),
        "record_every": arguments.read_count("record_every", record_every),
    }
    snapshots = Snapshots(X.shape[1], **records)
    options: dict[str, Any] = {
        **records,
        "tolerance": arguments.read_tolerance(tolerance),
        "on_progress": on_progress,
    }
    form = choose_form(X)
    engine_name, make_passes = find_engine(engine)
    if form != "blocks":
        report_unused(engine_name, len(labels))
    # The products of one iteration are so small that several threads take longer than one.
    with one_blas_thread():
        if form == "features":
            options |= {"learning_rate": learning_rate, "on_record": snapshots.offer}
            _, iterations, costs = textbook.descend(X, labels, **options)
            kept = snapshots.kept
            eigenvalue = largest_eigenvalue(lambda v: X @ (X.T @ v) + v.sum(), len(X))
        else:
            recorder = Recorder(labels, **options)
            if form == "gram":
                kept, eigenvalue = gram.descend(X, labels, learning_rate, recorder, snapshots)
            else:
                descend = _import_blocks().descend
                kept, eigenvalue = descend(X, labels, learning_rate, recorder, snapshots, checkpoint, make_passes)
            iterations, costs = recorder.recorded()
    bound = stability_bound(eigenvalue, len(labels))
    return TrainingResult(kept[iterations[-1]], np.array(iterations), np.array(costs), kept, form, bound)


def _import_blocks() -> Any:
    """Import and return the module `blocks`, whose loops numba compiles; this takes longer than a small training."""
    try:
        from one_neuron.gradient_descent import blocks
    except OSError as error:  # a shared library of numba is missing
        raise ImportError(str(error)) from error
    return blocks
