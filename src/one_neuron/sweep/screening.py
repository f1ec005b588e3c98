"""Many configurations at once: `screen` trains all of them, with their folds, as columns of one matrix.

Configurations that differ only in num_iterations, record_every or tolerance share their columns: a shorter training is
the beginning of a longer one. The arithmetic is plain float64; the best configurations are trained again exactly.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.gradient_descent.many import ROWS_PER_FEATURE, BatchResult, optimize_many
from one_neuron.gradient_descent.optimize import choose_form
from one_neuron.gradient_descent.stop_rule import find_stops, has_diverged
from one_neuron.metrics import baseline_accuracy
from one_neuron.neuron import Array
from one_neuron.settings.params import TrainSettings

_LEAST_COLUMNS = 128  # fewer leave BLAS half idle
_MOST_COLUMNS = 1024
_BATCH_SECONDS = 30.0  # the longest that a batch should take: an interrupt loses the batch that is being trained
_SPEED = 3e10  # multiply-adds a second, on two cores


@dataclass(frozen=True)
class Outcome:
    """The outcome of screening one configuration.

    Parameters
    ----------
    iterations : tuple of int
        The recorded iterations of the training on all rows, up to the one at which it stopped.
    train_costs : tuple of float
        Its cost on those rows, at each of them.
    validation_costs, validation_accuracies : tuple of float
        Over all rows, each scored by the training that left it out; empty without folds. After a fold has stopped, its
        last score is repeated. The last record combines the last score of every fold, even if a fold trained longer
        than all rows.
    measures : dict of str to float
        Finite numbers only.

        - `iterations`: number of updates of the training on all rows; the next four are its scores there
        - `cost`, `train_accuracy`
        - `test_cost`, `test_accuracy`
        - `log10_learning_rate`
        - `diverged_at`: as below, if it diverged

        With folds also:

        - `validation_cost`, `validation_accuracy`: the last ones above
        - `validation_accuracy_std`: the standard deviation of the folds' accuracies (ddof = 0)
        - `best_validation_accuracy`: the highest of all records
        - `best_iteration`: the record with that accuracy; of several the one with the lowest cost, then the first
        - `validation_baseline_accuracy`: the accuracy of always predicting the more frequent class
    diverged_at : int or None
        None if no training diverged. Otherwise the first recorded iteration whose cost lies above the first cost, or is
        not finite: of the training on all rows if that one diverged, else of the first fold that did.
    reason : str
        How it diverged, in one line; "" if it did not.
    """

    iterations: tuple[int, ...]
    train_costs: tuple[float, ...]
    validation_costs: tuple[float, ...]
    validation_accuracies: tuple[float, ...]
    measures: dict[str, float]
    diverged_at: int | None
    reason: str


def screen(
    X: Any,
    Y: NDArray[Any],
    X_test: Any,
    Y_test: NDArray[Any],
    configurations: Sequence[TrainSettings],
    *,
    folds: NDArray[np.int64] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Outcome]:
    """Train and score all configurations at once, and return their outcomes in the same order.

    Each distinct pair of learning_rate and threshold is trained on all rows and, for each fold, on all other rows.
    Each of these trainings stops early by itself, by the same rule as in `optimize`.

    Parameters
    ----------
    X, X_test : uint8 pixels of shape (m, n_x) and (m_test, n_x) that stand for X / 255
        Each an ndarray or a `rows.RowsOnDisk`.
    Y, Y_test : ndarray of shape (m,) and (m_test,), values in {0, 1}
    configurations : sequence of TrainSettings
        At least one. Their order does not change the outcome of any of them.
    folds : ndarray of shape (m,), int64, optional
        The fold of each row, at least 0; see `folds.assign_folds`. None trains on all rows only.
    on_progress : callable, optional
        on_progress(done, total) counts updates; see `optimize_many`.

    Raises
    ------
    ValueError
        If there is no configuration, or a shape, a type, a label or a fold is not as above.
    """
    left_out = [-1] if folds is None else [-1, *np.unique(folds).tolist()]
    pairs = sorted({_pair(configuration) for configuration in configurations})
    longest = max(configuration.num_iterations for configuration in configurations)
    kinds = {(configuration.num_iterations, configuration.record_every) for configuration in configurations}
    result = optimize_many(
        X,
        Y,
        learning_rates=[rate for rate, _ in pairs for _ in left_out],
        thresholds=[threshold for _, threshold in pairs for _ in left_out],
        num_iterations=longest,
        record_every=longest,  # only the first and the last; the others are in `also_at`
        also_at=np.unique(np.concatenate([_list_records(*kind) for kind in kinds])).tolist(),
        folds=folds,
        held_out=None if folds is None else left_out * len(pairs),
        X_test=X_test,
        Y_test=Y_test,
        on_progress=on_progress,
    )
    sizes = np.array([np.count_nonzero(folds == fold) for fold in left_out[1:]])
    first = {pair: len(left_out) * i for i, pair in enumerate(pairs)}
    outcomes = [_outcome_of(result, each, first[_pair(each)], left_out, sizes) for each in configurations]
    if folds is not None:
        for outcome in outcomes:
            outcome.measures["validation_baseline_accuracy"] = baseline_accuracy(Y)
    return outcomes


def plan_batches(configurations: Sequence[TrainSettings], *, m: int, n_x: int, folds: int) -> list[list[int]]:
    """Divide the configurations into batches that `screen` takes one at a time.

    A batch has 128 to 1,024 columns, folds + 1 for each pair of learning_rate and threshold, and takes an estimated
    half a minute at most. A batch is smaller only if too few configurations remain. It exceeds a limit only if the
    smallest possible batch does. The longest trainings come first, with trainings of similar length together.

    Parameters
    ----------
    configurations : sequence of TrainSettings
    m, n_x : int
        Shape of the training pixels.
    folds : int
        Number of folds, 0 for none.

    Returns
    -------
    list of list of int
        Indices of configurations, ascending in each batch; each index once. Configurations that share columns are in
        the same batch.
    """
    members: dict[tuple[float, float], list[int]] = {}
    for index, configuration in enumerate(configurations):
        members.setdefault(_pair(configuration), []).append(index)
    longest = {pair: max(configurations[i].num_iterations for i in members[pair]) for pair in members}
    waiting = sorted(members, key=lambda pair: (-longest[pair], pair))
    least, most = -(-_LEAST_COLUMNS // (folds + 1)), max(1, _MOST_COLUMNS // (folds + 1))
    shape_alone = np.broadcast_to(np.uint8(0), (m, n_x))  # takes no memory
    form = choose_form(shape_alone, rows_per_feature=ROWS_PER_FEATURE)
    multiply_adds = m * m if form == "gram" else 2 * m * n_x  # of one column and iteration
    seconds = (folds + 1) * multiply_adds / _SPEED  # of one pair and iteration
    batches = []
    while waiting:
        affordable = int(_BATCH_SECONDS / (seconds * longest[waiting[0]]))
        number = min(max(affordable, least), most)
        if number < len(waiting) < number + least:  # too few would remain
            number = len(waiting) - least if len(waiting) >= 2 * least else len(waiting)
        batches.append(sorted(index for pair in waiting[:number] for index in members[pair]))
        waiting = waiting[number:]
    return batches


def _pair(configuration: TrainSettings) -> tuple[float, float]:
    """Return what distinguishes the columns of one configuration from those of another."""
    return configuration.learning_rate, configuration.threshold


def _list_records(num_iterations: int, record_every: int) -> NDArray[np.int64]:
    """Return the iterations that a configuration records."""
    return np.append(np.arange(0, num_iterations, record_every), num_iterations)


def _outcome_of(
    result: BatchResult, configuration: TrainSettings, first: int, left_out: list[int], sizes: NDArray[np.int64]
) -> Outcome:
    """Return the outcome of a configuration from its columns: `first` for all rows, then one for each fold."""
    records = _list_records(configuration.num_iterations, configuration.record_every)
    rows = np.searchsorted(result.iterations, records)
    costs = result.train_costs[rows, first : first + len(left_out)]
    stops = find_stops(costs, configuration.tolerance)
    stops[-1] = True
    ends = stops.argmax(axis=0)  # the record at which each training stops
    end, last = int(ends[0]), rows[ends[0]]
    iterations, train_costs = records[: end + 1].tolist(), costs[: end + 1, 0].tolist()
    measures = {
        "iterations": iterations[-1],
        "cost": train_costs[-1],
        "train_accuracy": result.train_accuracies[last, first],
        "test_accuracy": result.test_accuracies[last, first],
        "test_cost": result.test_costs[last, first],
        "log10_learning_rate": math.log10(configuration.learning_rate),
    }
    validation_costs, validation_accuracies = np.empty((2, 0))
    if len(sizes):
        at = rows[np.minimum(np.arange(end + 1)[:, np.newaxis], ends[1:])]  # a fold that stopped keeps its last record
        at[-1], columns = rows[ends[1:]], first + 1 + np.arange(len(sizes))
        fold_costs, fold_accuracies = result.validation_costs[at, columns], result.validation_accuracies[at, columns]
        validation_costs, validation_accuracies = _pool_folds(fold_costs, fold_accuracies, sizes)
        best = int(np.lexsort((validation_costs, -validation_accuracies))[0])  # the first of equal ones
        measures |= {
            "validation_cost": validation_costs[-1],
            "validation_accuracy": validation_accuracies[-1],
            "validation_accuracy_std": fold_accuracies[-1].std(),
            "best_validation_accuracy": validation_accuracies[best],
            "best_iteration": iterations[best],
        }
    diverged_at, reason = _find_divergence([costs[: end + 1, j] for j, end in enumerate(ends)], records, left_out)
    if diverged_at is not None:
        measures["diverged_at"] = diverged_at
    return Outcome(
        iterations=tuple(iterations),
        train_costs=tuple(train_costs),
        validation_costs=tuple(validation_costs.tolist()),
        validation_accuracies=tuple(validation_accuracies.tolist()),
        measures={name: float(value) for name, value in measures.items() if math.isfinite(value)},
        diverged_at=diverged_at,
        reason=reason,
    )


def _pool_folds(fold_costs: Array, fold_accuracies: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return costs and accuracies over the rows of all folds, each of shape (k,).

    The cost is sum_f size_f cost_f / m. Correct predictions are counted as whole numbers, so that equal counts give the
    same float, however they are distributed over the folds.
    """
    m = int(sizes.sum())
    correct = np.rint(fold_accuracies * sizes).sum(axis=1)
    return (fold_costs * sizes).sum(axis=1) / m, correct / m


def _find_divergence(traces: list[Array], records: NDArray[np.int64], left_out: list[int]) -> tuple[int | None, str]:
    """Return where and how the first training diverged, or (None, ""); all rows come before the folds."""
    for trace, fold in zip(traces, left_out, strict=True):
        if has_diverged(trace):
            at = int(records[np.flatnonzero(~(trace <= trace[0]))[0]])  # `~ <=` finds nan as well
            finite = bool(np.isfinite(trace).all())
            what = f"the last costs lie above the first ({trace[0]:.6f})" if finite else "a cost is not finite"
            where = "" if fold < 0 else f"with fold {fold} left out, "
            return at, f"{where}{what}; first at iteration {at}"
    return None, ""
