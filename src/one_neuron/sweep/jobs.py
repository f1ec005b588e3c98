"""The jobs of a sweep: each trains and records one batch, in the process in which a Hydra launcher runs it."""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import OneNeuronError, one_line
from one_neuron.sources.report import find_originals, row_digests
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.configuration_runs import ConfigurationRuns
from one_neuron.sweep.folds import assign_folds
from one_neuron.sweep.outage import open_runs
from one_neuron.sweep.prepared_data import DataFiles, load_data
from one_neuron.sweep.ranking import find_best
from one_neuron.sweep.screening import Outcome, plan_batches, screen
from one_neuron.system.progress import sweep_bar


@dataclass
class SweepJobs:
    """The task function that Hydra calls once for each job, with everything that the jobs of a sweep share.

    Launchers pickle it to run jobs in other processes. There `runs` and `on_progress` are None: each job opens the
    store itself.

    Parameters
    ----------
    root : Path
        The repository.
    parent_id : str
        The MLflow run of the sweep.
    sweep : SweepSettings
    names : mapping of str to str
        The names of the runs by content key.
    batches : sequence of sequences of Configuration
        What each job trains; see `pack_batches`.
    runs : ConfigurationRuns or None
        Of the process that started the sweep.
    on_progress : callable or None
        Called after each chunk of recorded runs.
    times : Path
        A folder in which each job leaves a file with three moments, in seconds since 1970: when it began to train, to
        record, and to end. See `read_times`.
    """

    root: Path
    parent_id: str
    sweep: SweepSettings
    names: Mapping[str, str]
    batches: Sequence[Sequence[Configuration]]
    runs: ConfigurationRuns | None
    on_progress: Callable[[], None] | None
    times: Path

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: open connections and progress bars cannot be."""
        return self.__dict__ | {"runs": None, "on_progress": None}

    def __call__(self, config: Mapping[str, Any]) -> float | None:
        """Train and record a batch.

        Parameters
        ----------
        config : mapping
            As Hydra composed it; `batch` is the index of the batch.

        Returns
        -------
        float or None
            The best validation accuracy in the batch, for Hydra sweepers that maximize it.
        """
        batch = self.batches[config["batch"]]
        runs = self.runs or open_runs(self.root, batch)
        moments = [time.time()]
        outcomes = _screen_batch(batch, self.sweep)
        moments.append(time.time())
        keys = [configuration.key for configuration in batch]
        runs.record(
            self.parent_id,
            list(zip(keys, outcomes, strict=True)),
            sweep=self.sweep,
            names=self.names,
            on_progress=self.on_progress,
        )
        moments.append(time.time())
        (self.times / f"{config['batch']}.json").write_text(json.dumps(moments), encoding="ascii")
        best = find_best(runs.entries[key] for key in keys)
        return best.metrics.get("validation_accuracy") if best else None


def read_times(folder: Path) -> tuple[float, float]:
    """Return the seconds in which at least one job trained, and those in which jobs only recorded.

    Jobs that ran at the same moment in other processes count once, so the sum is never longer than the jobs took.
    """
    moments = [json.loads(path.read_text(encoding="ascii")) for path in folder.glob("*.json")]
    training = _length((begin, middle) for begin, middle, _ in moments)
    return training, _length((begin, end) for begin, _, end in moments) - training


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of spans of time."""
    length, reached = 0.0, -math.inf
    for begin, end in sorted(spans):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length


def count_trainings(configurations: Iterable[Configuration]) -> int:
    """Return how many trainings on all rows give these configurations, if they are trained together.

    Configurations that differ only in num_iterations, record_every or tolerance share one, the longest.
    """
    trains = ((each.files, each.settings.train) for each in configurations)
    return len({(files, train.learning_rate, train.threshold) for files, train in trains})


def pack_batches(configurations: Sequence[Configuration], *, folds: int, one_by_one: bool) -> list[list[Configuration]]:
    """Divide configurations into batches that are trained together, or one by one, in the order of their pictures."""
    groups: dict[DataFiles, list[Configuration]] = {}
    for configuration in configurations:
        groups.setdefault(configuration.files, []).append(configuration)
    if one_by_one:
        return [[configuration] for group in groups.values() for configuration in group]
    batches = []
    for files, group in groups.items():
        m, n_x = load_data(files)[0].X.shape
        packed = plan_batches([configuration.settings.train for configuration in group], m=m, n_x=n_x, folds=folds)
        batches += [[group[index] for index in batch] for batch in packed]
    return batches


@lru_cache(maxsize=4)  # as many as `load_data` keeps
def find_folds(files: DataFiles, sweep: SweepSettings) -> NDArray[np.int64] | None:
    """Return the fold of each training picture, copies of a picture in the same fold; None without folds.

    Raises
    ------
    DataError
        If a class has too few different pictures.
    """
    if not sweep.folds:
        return None
    train, _ = load_data(files)
    originals = find_originals(row_digests(train.X))
    return assign_folds(train.Y, folds=sweep.folds, seed=sweep.seed, originals=originals)


def _screen_batch(batch: Sequence[Configuration], sweep: SweepSettings) -> Sequence[Outcome | str]:
    """Train configurations with the same pictures; return each outcome, or one reason for all if training failed."""
    train, test = load_data(batch[0].files)
    folds = find_folds(batch[0].files, sweep)
    try:
        with sweep_bar(100, f"training {len(batch):,} configurations, percent") as show:
            return screen(
                train.X,
                train.Y,
                test.X,
                test.Y,
                [configuration.settings.train for configuration in batch],
                folds=folds,
                on_progress=lambda done, total: show(100 * done // total, ""),
            )
    except (MemoryError, OneNeuronError) as error:
        reason = one_line(error) or "out of memory; try fewer configurations or folds at once"
        return [reason] * len(batch)
