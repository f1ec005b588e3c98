"""What a sweep found out about its configurations, and the order in which they stand. The test set has no say in it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from one_neuron.settings.params import Settings

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
_ORDER = (FINISHED, DIVERGED, FAILED)


@dataclass(frozen=True)
class Entry:
    """One configuration of a sweep, as its MLflow run shows it.

    Parameters
    ----------
    run_id : str
        The child run, 32 hexadecimal digits.
    settings : Settings
        What was tried.
    status : str
        "finished", "diverged" or "failed".
    reason : str
        Why it diverged or failed; "" where all is well.
    metrics : mapping
        The last value of each metric: `final_cost`, `train_accuracy`, `test_accuracy`, with folds `validation_accuracy`
        and `final_validation_cost`; empty where it failed.
    reused : bool
        Whether it was there before.
    model_sha256 : str
        Of the model that the exact engine made of it; "" where none was kept.
    """

    run_id: str
    settings: Settings
    status: str
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    reused: bool = False
    model_sha256: str = ""

    def get_metric(self, name: str) -> float:
        """Return a metric, or nan where there is none."""
        return self.metrics.get(name, math.nan)


def rank(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries, the best first, those that diverged after them, those that failed last.

    The higher validation accuracy is better, at equal accuracy the lower validation cost. Without folds nothing is held
    out: then the lower training cost counts. What is equal in all of that is ordered by the shorter training, then by
    the smaller learning rate.

    Parameters
    ----------
    entries : iterable of Entry

    Returns
    -------
    list of Entry
    """
    return sorted(entries, key=_key)


def find_best(entries: Iterable[Entry]) -> Entry | None:
    """Return the best finished entry; None if there is none.

    Parameters
    ----------
    entries : iterable of Entry
    """
    return min((entry for entry in entries if entry.status == FINISHED), key=_key, default=None)


def is_held_out(entries: Iterable[Entry]) -> bool:
    """Return whether pictures were held out for validation; False without folds.

    Parameters
    ----------
    entries : iterable of Entry
    """
    return any("validation_accuracy" in entry.metrics for entry in entries)


def _key(entry: Entry) -> tuple[float | str, ...]:
    """Return what the order follows from."""
    train = entry.settings.train
    objective = (0.0, entry.get_metric("final_cost"))
    if "validation_accuracy" in entry.metrics:
        objective = (-entry.get_metric("validation_accuracy"), entry.get_metric("final_validation_cost"))
    numbers = [math.inf if math.isnan(value) else value for value in objective]
    return (_ORDER.index(entry.status), *numbers, train.num_iterations, train.learning_rate, str(entry.settings))
