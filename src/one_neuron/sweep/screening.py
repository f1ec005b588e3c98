"""A first selection among many configurations: `screen` trains all of them, with their folds, as columns of one matrix.

Configurations that differ in num_iterations, record_every or tolerance alone share their columns: a shorter training
is the beginning of a longer one. What comes out is plain float64; the best are trained again exactly.
"""

import math
from collections.abc import Callable, Iterable, Sequence
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
_BATCH_SECONDS = 30.0  # so long a batch may take: what it found is kept if the next one is interrupted
_SPEED = 3e10  # multiply-adds a second, on two cores


@dataclass(frozen=True)
class Outcome:
    """What screening found out about one configuration.

    Parameters
    ----------
    iterations : tuple of int
        The recorded iterations of the training on all rows, up to the one at which it stopped.
    train_costs : tuple of float
        Its cost on those rows, at each of them.
    validation_costs, validation_accuracies : tuple of float
        Over all rows, each scored by the training that left it out; empty without folds. A training that has stopped
        keeps its scores; at the last of the iterations each stands where it stopped by itself, be that later.
    measures : dict of str to float
        Finite numbers only. Of the training on all rows, where it stopped: `iterations` (updates done), `final_cost`,
        `train_accuracy`, `test_accuracy`, `final_test_cost`; `best_cost` is the least recorded. With folds:
        `final_validation_cost` and `validation_accuracy`, the last ones above; `validation_accuracy_std`, the standard
        deviation of the folds' accuracies (ddof = 0); `best_validation_accuracy` and `best_validation_cost` of all
        recorded; `best_iteration`, the first record of that accuracy, at equal accuracies of the least cost.
        `log10_learning_rate`; `diverged`, 0 or 1; `diverged_at` where it did.
    diverged_at : int or None
        None if all went well. Otherwise the first recorded iteration whose cost lies above the first cost, or is not
        finite: of the training on all rows if it went wrong itself, else of the first that did.
    reason : str
        How it diverged, in one line; "" if all went well.
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
    """Train and score all configurations at once, with `batch_descent.optimize_many`.

    Each distinct pair of learning_rate and threshold is trained on all rows and, for each fold, on all other rows.
    With a tolerance above 0 each of these trainings stops by itself, as `gradient_descent.optimize` does: at the first
    record whose cost differs by less from the one before, or is not finite.

    Parameters
    ----------
    X, X_test : uint8 pixels of shape (m, n_x) and (m_test, n_x) that stand for X / 255
        ndarrays or `pixel_file.PixelFile`.
    Y, Y_test : ndarray of shape (m,) and (m_test,), values in {0, 1}
    configurations : sequence of TrainSettings
        At least one. Their order does not matter to any bit.
    folds : ndarray of shape (m,), int64, optional
        The fold of each row, at least 0; see `folds.assign_folds`. None trains on all rows only.
    on_progress : callable, optional
        on_progress(done, total) counts updates; see `batch_descent.optimize_many`.

    Returns
    -------
    list of Outcome
        One for each configuration, in their order.

    Raises
    ------
    ValueError
        If there is no configuration, or a shape, a type, a label or a fold is not as above.
    """
    left_out = [-1] if folds is None else [-1, *np.unique(folds).tolist()]
    pairs = sorted({_pair(configuration) for configuration in configurations})
    longest = max(configuration.num_iterations for configuration in configurations)
    result = optimize_many(
        X,
        Y,
        learning_rates=[rate for rate, _ in pairs for _ in left_out],
        thresholds=[threshold for _, threshold in pairs for _ in left_out],
        num_iterations=longest,
        record_every=longest,  # nothing but the first and the last
        also_at=_list_all_records(configurations),
        folds=folds,
        held_out=None if folds is None else left_out * len(pairs),
        X_test=X_test,
        Y_test=Y_test,
        on_progress=on_progress,
    )
    sizes = np.array([np.count_nonzero(folds == fold) for fold in left_out[1:]])
    first = {pair: len(left_out) * i for i, pair in enumerate(pairs)}
    outcomes = [_read_off(result, each, first[_pair(each)], left_out, sizes) for each in configurations]
    if folds is not None:
        for outcome in outcomes:  # what always saying the more frequent class would score
            outcome.measures["validation_baseline_accuracy"] = baseline_accuracy(Y)
    return outcomes


def plan_batches(configurations: Sequence[TrainSettings], *, m: int, n_x: int, folds: int) -> list[list[int]]:
    """Divide the configurations into batches that `screen` takes one at a time.

    A batch holds 128 to 1,024 columns, folds + 1 for each pair of learning_rate and threshold, and is estimated to take
    half a minute at most, unless it has no more columns than it must. It has fewer only where there are no more, and
    more only where one pair does. The longest trainings come first, beside each other.

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
        Indices of configurations, rising in each batch; each index once. Configurations that share columns are in the
        same batch.
    """
    members: dict[tuple[float, float], list[int]] = {}
    for index, configuration in enumerate(configurations):
        members.setdefault(_pair(configuration), []).append(index)
    longest = {pair: max(configurations[i].num_iterations for i in members[pair]) for pair in members}
    waiting = sorted(members, key=lambda pair: (-longest[pair], pair))
    least, most = -(-_LEAST_COLUMNS // (folds + 1)), max(1, _MOST_COLUMNS // (folds + 1))
    seconds = (folds + 1) * _count_multiply_adds(m, n_x) / _SPEED  # of one pair and iteration
    batches = []
    while waiting:
        affordable = int(_BATCH_SECONDS / (seconds * longest[waiting[0]]))
        number = min(max(affordable, least), most)
        if number < len(waiting) < number + least:  # too few would remain
            number = len(waiting) - least if len(waiting) >= 2 * least else len(waiting)
        batches.append(sorted(index for pair in waiting[:number] for index in members[pair]))
        waiting = waiting[number:]
    return batches


def _count_multiply_adds(m: int, n_x: int) -> int:
    """Return how many multiply-adds an iteration of one column takes in the form that `optimize_many` chooses."""
    shape_alone = np.broadcast_to(np.uint8(0), (m, n_x))  # takes no memory
    return m * m if choose_form(shape_alone, rows_per_feature=ROWS_PER_FEATURE) == "gram" else 2 * m * n_x


def _pair(configuration: TrainSettings) -> tuple[float, float]:
    """Return what tells the columns of one configuration from those of another."""
    return configuration.learning_rate, configuration.threshold


def _list_records(num_iterations: int, record_every: int) -> NDArray[np.int64]:
    """Return the iterations that a configuration records."""
    return np.append(np.arange(0, num_iterations, record_every), num_iterations)


def _list_all_records(configurations: Iterable[TrainSettings]) -> list[int]:
    """Return the iterations that any configuration records, each once."""
    kinds = {(configuration.num_iterations, configuration.record_every) for configuration in configurations}
    found: list[int] = np.unique(np.concatenate([_list_records(*kind) for kind in kinds])).tolist()
    return found


def _read_off(
    result: BatchResult, configuration: TrainSettings, first: int, left_out: list[int], sizes: NDArray[np.int64]
) -> Outcome:
    """Return what the columns from `first` on say about a configuration."""
    records = _list_records(configuration.num_iterations, configuration.record_every)
    rows = np.searchsorted(result.iterations, records)
    costs = result.train_costs[rows, first : first + len(left_out)]
    ends = [_find_end(column, configuration.tolerance) for column in costs.T]
    iterations, train_costs = records[: ends[0] + 1].tolist(), costs[: ends[0] + 1, 0].tolist()
    measures = {"iterations": iterations[-1], "final_cost": train_costs[-1], "best_cost": min(train_costs)}
    measures |= _read_scores(result, rows[ends[0]], first)
    validation_costs, validation_accuracies = np.empty((2, 0))
    if len(sizes):
        at, columns = rows[_hold(ends)], first + 1 + np.arange(len(sizes))
        fold_costs, fold_accuracies = result.validation_costs[at, columns], result.validation_accuracies[at, columns]
        validation_costs, validation_accuracies = _pool(fold_costs, fold_accuracies, sizes)
        measures |= _measure_validation(iterations, validation_costs, validation_accuracies)
        measures["validation_accuracy_std"] = fold_accuracies[-1].std()
    diverged_at, reason = _judge([costs[: end + 1, j] for j, end in enumerate(ends)], records, left_out)
    measures |= {"diverged": 0} if diverged_at is None else {"diverged": 1, "diverged_at": diverged_at}
    measures["log10_learning_rate"] = math.log10(configuration.learning_rate)
    return Outcome(
        iterations=tuple(iterations),
        train_costs=tuple(train_costs),
        validation_costs=tuple(validation_costs.tolist()),
        validation_accuracies=tuple(validation_accuracies.tolist()),
        measures={name: float(value) for name, value in measures.items() if math.isfinite(value)},
        diverged_at=diverged_at,
        reason=reason,
    )


def _find_end(costs: Array, tolerance: float) -> int:
    """Return the index of the record at which a training stops."""
    stops = np.flatnonzero(find_stops(costs, tolerance))
    return int(stops[0]) if stops.size else len(costs) - 1


def _read_scores(result: BatchResult, row: int, column: int) -> dict[str, float]:
    """Return the scores of one training beside its cost."""
    return {
        "train_accuracy": result.train_accuracies[row, column],
        "test_accuracy": result.test_accuracies[row, column],
        "final_test_cost": result.test_costs[row, column],
    }


def _hold(ends: list[int]) -> NDArray[np.int64]:
    """Return which record of each fold to show at those of the training on all rows, of shape (ends[0] + 1, folds).

    From its own end on, a fold stays as it is; at the last record each stands at its own end.
    """
    at = np.minimum(np.arange(ends[0] + 1)[:, np.newaxis], ends[1:])
    at[-1] = ends[1:]
    return at


def _pool(fold_costs: Array, fold_accuracies: Array, sizes: NDArray[np.int64]) -> tuple[Array, Array]:
    """Return costs and accuracies over the rows of all folds, each of shape (k,).

    The cost is sum_f size_f cost_f / m. Right answers are counted in whole numbers, so that equally many give the same
    float, however they are spread over the folds.
    """
    m = int(sizes.sum())
    right = np.rint(fold_accuracies * sizes).sum(axis=1)
    return (fold_costs * sizes).sum(axis=1) / m, right / m


def _measure_validation(iterations: list[int], costs: Array, accuracies: Array) -> dict[str, float]:
    """Return the last scores and the best ones."""
    best = int(np.lexsort((costs, -accuracies))[0])  # the first of what is equal
    return {
        "final_validation_cost": costs[-1],
        "validation_accuracy": accuracies[-1],
        "best_validation_cost": costs.min(),
        "best_validation_accuracy": accuracies[best],
        "best_iteration": iterations[best],
    }


def _judge(traces: list[Array], records: NDArray[np.int64], left_out: list[int]) -> tuple[int | None, str]:
    """Say where and how the first training that diverged did so; all rows come before the folds."""
    for trace, fold in zip(traces, left_out, strict=True):
        if has_diverged(trace):
            at = int(records[np.flatnonzero(~(trace <= trace[0]))[0]])  # nan is not above, but no less wrong
            whole = bool(np.isfinite(trace).all())
            what = f"the last costs lie above the first ({trace[0]:.6f})" if whole else "a cost is not finite"
            where = "" if fold < 0 else f"with fold {fold} left out, "
            return at, f"{where}{what}; first at iteration {at}"
    return None, ""
