"""Jobs can be sent to other processes, and each configuration is in one batch."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.settings.params import check_settings
from one_neuron.storage.prepared_set import save_prepared
from one_neuron.sweep import jobs
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.jobs import SweepJobs, count_trainings, pack_batches, read_times
from one_neuron.sweep.prepared_data import DataFiles
from one_neuron.sweep.ranking import FAILED, FINISHED, Entry
from one_neuron.sweep.screening import Outcome
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")
SWEEP = SweepSettings(folds=2, seed=1, keep_models=1, search="grid", trials=60)


class Runs:
    """A stand-in for the runs of the store, in which a higher learning rate is better."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.recorded: list[tuple[str, Outcome | str]] = []

    def record(self, parent_id: str, outcomes: Any, *, sweep: Any, names: Any, on_progress: Any) -> None:
        """Keep the outcomes of a job."""
        assert (parent_id, sweep, names) == ("a" * 32, SWEEP, {"1": "lr 0.001"})
        self.recorded += outcomes
        for key, outcome in outcomes:
            metrics = {"validation_accuracy": float(key) / 10} if isinstance(outcome, Outcome) else {}
            self.entries[key] = Entry(key, SETTINGS, FINISHED if metrics else FAILED, metrics=metrics)
        on_progress()


@pytest.fixture
def files(tmp_path: Path, make_prepared: Any) -> DataFiles:
    """Return prepared pictures."""
    sets = {"train": make_prepared(12, seed=1), "test": make_prepared(4, seed=2)}
    for name, prepared in sets.items():
        save_prepared(tmp_path / f"{name}.h5", prepared)
    return DataFiles(tmp_path / "train.h5", tmp_path / "test.h5", sets["train"].sha256, sets["test"].sha256)


def make_configurations(files: DataFiles, number: int) -> list[Configuration]:
    """Return configurations with the keys "1", "2", ... and rising learning rates."""
    return [
        Configuration(
            replace(SETTINGS, train=replace(SETTINGS.train, learning_rate=i / 1000)), files, str(i), "context"
        )
        for i in range(1, number + 1)
    ]


def make_jobs(batches: list[list[Configuration]], **options: Any) -> SweepJobs:
    """Return the jobs of a sweep in this folder."""
    values: dict[str, Any] = {"runs": None, "on_progress": None, "times": batches[0][0].files.train.parent, **options}
    return SweepJobs(Path.cwd(), "a" * 32, SWEEP, {"1": "lr 0.001"}, batches, **values)


def test_jobs_are_pickled_without_what_is_open(files: DataFiles) -> None:
    """A launcher sends them to other processes, where each opens the store itself."""
    batches = [make_configurations(files, 3)]
    shared = make_jobs(batches, runs=lambda: None, on_progress=lambda: None)  # neither can be pickled
    copy = pickle.loads(pickle.dumps(shared))
    assert isinstance(copy, SweepJobs)
    assert (copy.runs, copy.on_progress) == (None, None)
    assert (copy.root, copy.parent_id, copy.sweep, copy.names) == (shared.root, "a" * 32, SWEEP, shared.names)
    assert copy.batches == batches
    assert shared.on_progress is not None


def test_a_job_trains_and_records_its_batch(files: DataFiles) -> None:
    """It returns the best validation accuracy of the batch."""
    configurations, runs, told = make_configurations(files, 5), Runs(), []
    shared = make_jobs([configurations[:2], configurations[2:]], runs=runs, on_progress=lambda: told.append(1))
    assert shared({"batch": 1}) == 0.5
    assert [key for key, _ in runs.recorded] == ["3", "4", "5"]
    assert {type(outcome) for _, outcome in runs.recorded} == {Outcome}
    assert told == [1]
    assert shared({"batch": 0}) == 0.2


def test_a_job_leaves_its_moments(files: DataFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the folder that the jobs share, whichever process runs them."""
    times = tmp_path / "times"
    times.mkdir()
    clock = iter([100.0, 107.0, 109.0])
    monkeypatch.setattr("one_neuron.sweep.jobs.time.time", lambda: next(clock))
    shared = make_jobs([make_configurations(files, 2)], runs=Runs(), on_progress=lambda: None, times=times)
    shared({"batch": 0})
    assert json.loads((times / "0.json").read_text()) == [100.0, 107.0, 109.0]
    assert read_times(times) == (7.0, 2.0)


@pytest.mark.parametrize(
    ("moments", "training", "recording"),
    [
        ([], 0.0, 0.0),
        ([(0, 5, 6), (6, 8, 9)], 7.0, 2.0),  # one after the other
        ([(0, 5, 6), (0, 5, 6)], 5.0, 1.0),  # at the same moment
        ([(0, 5, 9), (4, 8, 9)], 8.0, 1.0),  # the second trains while the first records
        ([(10, 12, 13), (0, 2, 3)], 4.0, 2.0),  # with a pause between
        ([(0, 10, 11), (2, 3, 4)], 10.0, 1.0),  # one within the other
    ],
)
def test_jobs_that_run_together_count_once(
    moments: list[tuple[float, ...]], training: float, recording: float, tmp_path: Path
) -> None:
    """The parts of a sweep are no longer than the sweep."""
    for index, each in enumerate(moments):
        (tmp_path / f"{index}.json").write_text(json.dumps(each))
    assert read_times(tmp_path) == (training, recording)


def test_trainings_are_counted_once_for_all_iterations(files: DataFiles) -> None:
    """Learning rate, threshold and pictures make another training; iterations, records and tolerance do not."""
    (one,) = make_configurations(files, 1)

    def change(**values: Any) -> Configuration:
        return replace(one, settings=replace(SETTINGS, train=replace(one.settings.train, **values)))

    free = [change(num_iterations=7), change(record_every=3), change(tolerance=0.1)]
    assert count_trainings([one, *free]) == 1
    assert count_trainings([one, change(learning_rate=0.5), change(threshold=0.4), *free]) == 3
    assert count_trainings([one, replace(one, files=replace(files, train_sha256="0" * 64))]) == 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "out of memory; try fewer configurations or folds at once"),
        (EnvironmentProblem("no disk"), "no disk"),
    ],
)
def test_a_batch_that_cannot_be_trained_fails_as_a_whole(
    files: DataFiles, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    """Each configuration is recorded with the reason; there is no best one."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(jobs, "screen", fail)
    runs = Runs()
    shared = make_jobs([make_configurations(files, 2)], runs=runs, on_progress=lambda: None)
    assert shared({"batch": 0}) is None
    assert runs.recorded == [("1", reason), ("2", reason)]


def test_configurations_with_the_same_pictures_share_batches(files: DataFiles) -> None:
    """Each configuration is in one batch, with those of the same pictures."""
    here = make_configurations(files, 3)
    there = [replace(each, files=replace(files, test=files.train, test_sha256=files.train_sha256)) for each in here]
    mixed = [each for pair in zip(here, there, strict=True) for each in pair]
    assert pack_batches(mixed, folds=2, one_by_one=False) == [here, there]
    assert pack_batches(mixed, folds=2, one_by_one=True) == [[each] for each in here + there]
    assert pack_batches([], folds=2, one_by_one=False) == []


def test_a_job_in_another_process_opens_the_store(files: DataFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the store for the configurations of its batch."""
    opened: list[Any] = []

    def open_runs(root: Any, batch: Any) -> Runs:
        opened.append((root, batch))
        return runs

    runs = Runs()
    monkeypatch.setattr(jobs, "open_runs", open_runs)
    (batch,) = pack_batches(make_configurations(files, 2), folds=2, one_by_one=False)
    shared = make_jobs([batch], on_progress=lambda: None)
    assert shared({"batch": np.int64(0)}) == 0.2
    assert opened == [(shared.root, batch)]
