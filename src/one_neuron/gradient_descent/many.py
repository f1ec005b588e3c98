"""Train many configurations at once, for sweeps and cross-validation: `optimize_many`. Plain float64, all cores.

The configurations share the pictures and differ in their learning rate and in the rows that they leave out. Each one
follows the trajectory of `optimize`; `many_forms` does the arithmetic.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from one_neuron.gradient_descent import arguments
from one_neuron.gradient_descent.engines.choice import MakePasses, find_engine
from one_neuron.gradient_descent.many_forms import Crew, Examples, Job, train_by_blocks, train_by_gram
from one_neuron.gradient_descent.optimize import choose_form
from one_neuron.gradient_descent.stop_rule import has_diverged
from one_neuron.neuron import Array, Parameters
from one_neuron.system.machine import count_cores, one_blas_thread

ROWS_PER_FEATURE = 2.0  # with m < 2 n_x, the 2 m^2 operations of gram are fewer than the 4 m n_x of blocks


@dataclass(frozen=True)
class BatchResult:
    """The costs and accuracies of c configurations. They are nan where there are no rows to score.

    Parameters
    ----------
    form : str
        "gram" or "blocks".
    parameters : callable
        parameters(j) gives w and b of configuration j after the last update; the gram form computes them at each call.
    iterations : ndarray of shape (k,), int64
        The recorded iterations.
    train_costs, train_accuracies, validation_costs, validation_accuracies, test_costs, test_accuracies : ndarray
        Of shape (k, c), float64: on the rows that a configuration trains on, on those that it leaves out, on X_test.
    """

    form: str
    parameters: Callable[[int], Parameters]
    iterations: NDArray[np.int64]
    train_costs: Array
    train_accuracies: Array
    validation_costs: Array
    validation_accuracies: Array
    test_costs: Array
    test_accuracies: Array

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """Which configurations diverged, of shape (c,); see `stop_rule.has_diverged`."""
        return has_diverged(self.train_costs)


def optimize_many(  # noqa: PLR0913 - the options are keywords
    X: Any,
    Y: ArrayLike,
    *,
    learning_rates: ArrayLike,
    num_iterations: int,
    record_every: int = 100,
    also_at: Iterable[int] = (),
    folds: ArrayLike | None = None,
    held_out: ArrayLike | None = None,
    X_test: Any = None,
    Y_test: ArrayLike | None = None,
    thresholds: ArrayLike = 0.5,
    engine: str | MakePasses | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> BatchResult:
    """Train c configurations by batch gradient descent on the cross-entropy cost, each starting at zero.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels (p stands for p / 255); or a `rows.RowsOnDisk`
    Y : array_like of shape (m,), values in {0, 1}
    learning_rates : array of shape (c,), from 1e-100 to 1e100
    num_iterations : int
        Number of updates, at least 1. The scores of a shorter training are those recorded on the way.
    record_every : int
        Scores are recorded at 0, record_every, 2 record_every, ... and num_iterations; at least 1.
    also_at : ints, optional
        More iterations at which scores are recorded, from 0 to num_iterations.
    folds, held_out : ints of shape (m,) and (c,), optional
        The fold of each row, at least 0, and the fold that each configuration leaves out; -1 leaves out none.
    X_test, Y_test : optional
        Pixels and labels to score as well; the gram form keeps m_test * m numbers of them in memory.
    thresholds : float or array of shape (c,), in (0, 1)
        A probability above it means label 1.
    engine : str or callable, optional
        Where the form "blocks" passes over the rows, as in `optimize`; it may change the last bits.
    on_progress : callable, optional
        on_progress(done, total) counts updates: a few times a second, from any thread, never twice at once.

    Returns
    -------
    BatchResult

    Raises
    ------
    ValueError
        If a shape, a type, a label or a parameter is not as above, or a configuration has no rows to train on.
    EnvironmentProblem
        If BLAS computes wrong products on this CPU, or the engine cannot be used; see `optimize`.
    SettingsError
        If ONE_NEURON_ENGINE, ONE_NEURON_SHARDS or ONE_NEURON_PIXELS_URL is wrong.

    Examples
    --------
    >>> X = np.array([[255, 0], [0, 255]], dtype=np.uint8)
    >>> result = optimize_many(X, [0, 1], learning_rates=[0.01, 0.1], num_iterations=100)
    >>> result.iterations.tolist(), result.train_costs[-1].round(6).tolist()
    ([0, 100], [0.582456, 0.199967])
    """
    num_iterations = arguments.read_count("num_iterations", num_iterations)
    recorded = _list_iterations(num_iterations, arguments.read_count("record_every", record_every), list(also_at))
    train = _read_examples(X, Y, "X", "Y")
    test = None if X_test is None and Y_test is None else _read_examples(X_test, Y_test, "X_test", "Y_test")
    m, n_x = train.X.shape
    if test is not None and test.X.shape[1] != n_x:
        raise ValueError(f"X_test has shape {test.X.shape}; expected (m_test, {n_x}) to fit X")
    rates = arguments.read_learning_rates(learning_rates)
    c = len(rates)
    thresholds = np.full(c, thresholds) if np.ndim(thresholds) == 0 else thresholds
    limits = arguments.read_vector("thresholds", thresholds, "f", c)
    arguments.refuse_first("thresholds", limits, ~((limits > 0) & (limits < 1)), "a number in (0, 1)")
    folds, left_out, sizes = _read_folds(folds, held_out, m, c)

    logits, sums = np.log(limits) - np.log1p(-limits), np.zeros((6, len(recorded), c))
    form = choose_form(train.X, rows_per_feature=ROWS_PER_FEATURE)
    # Each thread of the pool calls BLAS by itself.
    with one_blas_thread(), ThreadPoolExecutor(count_cores()) as pool:
        crew = Crew(pool, c * num_iterations, on_progress)
        job = Job(train, test, folds, left_out, rates / sizes, logits, recorded, sums, crew, find_engine(engine)[1])
        parameters = train_by_gram(job) if form == "gram" else train_by_blocks(job)
    counts = np.repeat([sizes, m - sizes, np.full(c, 0 if test is None else len(test.Y))], 2, axis=0)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is nothing to score
        scores = sums / counts[:, np.newaxis]
    return BatchResult(form, parameters, np.array(recorded), *scores)


def _list_iterations(num_iterations: int, record_every: int, also_at: list[int]) -> list[int]:
    """Return the iterations whose scores are recorded."""
    also = arguments.read_vector("also_at", also_at or [0], "iu")
    expected = f"a number from 0 to num_iterations, {num_iterations}"
    arguments.refuse_first("also_at", also, (also < 0) | (also > num_iterations), expected)
    return sorted({*range(0, num_iterations, record_every), *also.tolist(), num_iterations})


def _read_examples(X: Any, Y: Any, name: str, labels: str) -> Examples:
    """Check pixels and labels."""
    if X is None or Y is None:
        raise ValueError(f"{name if X is None else labels} is missing; expected both {name} and {labels}")
    given = getattr(X, "dtype", type(X).__name__)
    X = arguments.read_features(X, name)
    if X.dtype != np.uint8:
        raise ValueError(f"{name} has type {given}; expected an ndarray of uint8 pixels")
    return Examples(X, arguments.read_labels(Y, X.shape[0], labels, name))


def _read_folds(folds: Any, held_out: Any, m: int, c: int) -> tuple[NDArray[np.int64], ...]:
    """Return the fold of each row, the fold that each configuration leaves out, and how many rows it trains on."""
    if (folds is None) != (held_out is None):
        raise ValueError(f"{'folds' if folds is None else 'held_out'} is missing; expected both folds and held_out")
    if folds is None:
        return np.zeros(m, np.int64), np.full(c, -1), np.full(c, m)
    folds = arguments.read_vector("folds", folds, "iu", m)
    held_out = arguments.read_vector("held_out", held_out, "iu", c)
    arguments.refuse_first("folds", folds, folds < 0, "at least 0")
    rows = {fold: int(np.count_nonzero(folds == fold)) for fold in set(held_out.tolist())}
    left = m - np.array([rows[fold] for fold in held_out.tolist()])
    arguments.refuse_first("held_out", held_out, (held_out != -1) & (left == m), "-1 or a fold that some row is in")
    arguments.refuse_first("held_out", held_out, left == 0, "a fold that leaves a row to train on")
    return folds, held_out, left
