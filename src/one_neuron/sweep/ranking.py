"""What is known of the configurations of a sweep, and their ranking, in which the test set plays no part."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from one_neuron.settings.params import Settings

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"


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


def rank(entries: Iterable[Entry]) -> list[Entry]:
    """Return the finished entries, the best first, then those that diverged, then those that failed.

    The higher validation accuracy is better, at equal accuracy the lower validation cost; without folds the lower
    training cost. Ties go to the shorter training, then to the smaller learning rate.
    """
    return sorted(entries, key=_key)


def find_best(entries: Iterable[Entry]) -> Entry | None:
    """Return the best finished entry, or None."""
    return min((entry for entry in entries if entry.status == FINISHED), key=_key, default=None)


def is_held_out(entries: Iterable[Entry]) -> bool:
    """Return whether pictures were held out for validation; False without folds."""
    return any("validation_accuracy" in entry.metrics for entry in entries)


def _key(entry: Entry) -> tuple[float | str, ...]:
    """Return the sort key used for ranking."""
    train = entry.settings.train
    objective = (0.0, entry.get_metric("cost"))
    if "validation_accuracy" in entry.metrics:
        objective = (-entry.get_metric("validation_accuracy"), entry.get_metric("validation_cost"))
    place = (FINISHED, DIVERGED, FAILED).index(entry.status)
    numbers = [math.inf if math.isnan(value) else value for value in objective]
    return (place, *numbers, train.num_iterations, train.learning_rate, str(entry.settings))
