"""What is known of the configurations of a sweep, and their ranking, in which the test set plays no part."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from one_neuron.settings.params import Settings

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Entry:
    """One configuration of a sweep, as its MLflow run shows it.

    Parameters
    ----------
    run_id : str
        32 hexadecimal digits.
    settings : Settings
    status : str
        "finished", "diverged" or "failed".
    reason : str
        Why it diverged or failed, or "".
    metrics : mapping
        The last value of each metric: `cost`, `train_accuracy`, `test_accuracy`, with folds `validation_accuracy`
        and `validation_cost`; empty if it failed.
    model_sha256 : str
        Of the model that was kept, or "".
    """

    run_id: str
    settings: Settings
    status: str
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    model_sha256: str = ""

    def get_metric(self, name: str) -> float:
        """Return a metric, or nan if it is missing."""
        return self.metrics.get(name, math.nan)


@dataclass(frozen=True)
class Curves:
    """The costs of one configuration.

    Parameters
    ----------
    entry : Entry
    train, validation : sequence of (int, float)
        Pairs of an iteration and the cost after that many updates, on the training set (at least one) and on the
        held-out pictures (none without folds). Costs may be infinite or nan.
    """

    entry: Entry
    train: Points
    validation: Points = ()


def rank(entries: Iterable[Entry]) -> list[Entry]:
    """Return the finished entries, the best first, then those that diverged, then those that failed.

    The higher validation accuracy is better, at equal accuracy the lower validation cost; without folds the lower
    training cost. Ties go to the shorter training, then to the smaller learning rate.
    """
    return sorted(entries, key=_key)


def find_best(entries: Iterable[Entry]) -> Entry | None:
    """Return the best finished entry, or None."""
    return min((entry for entry in entries if entry.status == FINISHED), key=_key, default=None)


def standard_error(entry: Entry, folds: int) -> float:
    r"""Return the standard error of an entry's validation accuracy, estimated from the spread over its folds.

    .. math:: \frac{s}{\sqrt{k}} = \frac{\sigma}{\sqrt{k - 1}}

    s is the sample standard deviation of the accuracies of the k folds, and sigma, which is recorded as
    `validation_accuracy_std`, divides by k instead of k - 1. The estimate is a little too small, because the training
    sets of the folds overlap.

    Parameters
    ----------
    entry : Entry
    folds : int
        k.

    Returns
    -------
    float
        At least 0; nan without folds.
    """
    return entry.get_metric("validation_accuracy_std") / math.sqrt(folds - 1) if folds > 1 else math.nan


def find_contenders(entries: Iterable[Entry], folds: int) -> list[Entry]:
    """Return the finished entries that cannot be told apart from the best one, which is the first of them.

    These are the entries whose validation accuracy is at most one standard error of the best one below it, by the
    one-standard-error rule.

    Parameters
    ----------
    entries : iterable of Entry
    folds : int
        The number of folds of their sweep.

    Returns
    -------
    list of Entry
        In the order of `rank`; empty without folds, or if no entry finished.

    References
    ----------
    Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees, section 3.4.3.
    Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 7.10.
    """
    finished = [entry for entry in rank(entries) if entry.status == FINISHED]
    if not finished or math.isnan(error := standard_error(finished[0], folds)):
        return []
    least = finished[0].get_metric("validation_accuracy") - error
    return [entry for entry in finished if entry.get_metric("validation_accuracy") >= least]


def find_simplest(contenders: Iterable[Entry]) -> Entry | None:
    """Return the entry with the fewest iterations and, of several, the smallest learning rate.

    Few and small steps keep w small, as a penalty on w would: of entries that are equally good, the simplest. None if
    no entry is better than one class for all.
    """
    useful = [entry for entry in contenders if not is_useless(entry)]
    return min(useful, key=lambda entry: (*_effort(entry), _key(entry)), default=None)


def is_useless(entry: Entry) -> bool:
    """Return whether one class for all is as good on the held-out folds; `one-neuron promote` refuses such a run."""
    return entry.get_metric("validation_accuracy") <= entry.get_metric("validation_baseline_accuracy")  # or nan


def _effort(entry: Entry) -> tuple[int, float]:
    """Return what makes a training less simple."""
    return entry.settings.train.num_iterations, entry.settings.train.learning_rate


def is_held_out(entries: Iterable[Entry]) -> bool:
    """Return whether pictures were held out for validation; False without folds."""
    return any("validation_accuracy" in entry.metrics for entry in entries)


def _key(entry: Entry) -> tuple[float | str, ...]:
    """Return the sort key used for ranking."""
    objective = (0.0, entry.get_metric("cost"))
    if "validation_accuracy" in entry.metrics:
        objective = (-entry.get_metric("validation_accuracy"), entry.get_metric("validation_cost"))
    place = (FINISHED, DIVERGED, FAILED).index(entry.status)
    numbers = [math.inf if math.isnan(value) else value for value in objective]
    return (place, *numbers, *_effort(entry), str(entry.settings))
