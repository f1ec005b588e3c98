"""The runs of a sweep in a real MLflow store: one for each configuration, one for the sweep, and the best one."""

import base64
import csv
import itertools
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from one_neuron.errors import EnvironmentProblem, SettingsError
from one_neuron.pictures.convert import encode_picture
from one_neuron.settings.params import Settings, TrainSettings, check_settings
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.sweep import sweep_run
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration, find_keys
from one_neuron.sweep.configuration_description import name_configurations
from one_neuron.sweep.configuration_runs import REMEDY, ConfigurationRuns
from one_neuron.sweep.drawing import Plotter, draw_plots
from one_neuron.sweep.plan import Plan
from one_neuron.sweep.prepared_data import DataFiles
from one_neuron.sweep.ranking import rank
from one_neuron.sweep.screening import Outcome
from one_neuron.sweep.sweep_run import abandon_sweep, close_sweep, keep_models, open_sweep
from one_neuron.system.git import Origin
from one_neuron.tracking import bulk
from one_neuron.tracking.connection import Connection, connect
from one_neuron.tracking.find_run import PromotableRun, find_run
from one_neuron.tracking.sqlite_file import SWEEPS
from one_neuron.training import train_model
from tests.values import DATA, HDF5

pytestmark = pytest.mark.integration

VALUES: dict[str, dict[str, Any]] = {
    "draw": {"seed": 1, "num_train": 12, "num_test": 7},
    "data": {**DATA, "num_px": 4},
    "hdf5": HDF5,
    "train": {"learning_rate": 0.005, "num_iterations": 200, "record_every": 100, "tolerance": 0.0, "threshold": 0.5},
    "evaluate": {"num_mistakes": 12},
}
SETTINGS = check_settings(VALUES, origin="the test")
SWEEP = SweepSettings(folds=3, seed=1, keep_models=1, search="grid", trials=60)
OTHER = "the schema of another MLflow"  # with which the client reads and writes
RATE, ITERATIONS = "train.learning_rate", "train.num_iterations"
MakePrepared = Callable[..., PreparedSet]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "DVC_")):
            monkeypatch.delenv(name)
    # None of these may lead a run astray.
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")


@pytest.fixture
def root(tmp_path: Path, fresh_store: Path, make_prepared: MakePrepared) -> Path:
    """Return a repository with prepared pictures and an empty store."""
    shutil.copy(fresh_store, tmp_path)
    for name, m in (("train", 12), ("test", 7)):
        save_prepared(tmp_path / f"data/prepared/{name}.h5", make_prepared(m, 4, seed=m, source="drawn"))
    return tmp_path


@pytest.fixture
def connection(root: Path) -> Connection:
    """Return a connection to the store."""
    return connect(root, REMEDY, experiment=SWEEPS)


def files_of(root: Path, make: MakePrepared) -> DataFiles:
    """Return the prepared pictures of `root`, with their digests."""
    digests = [make(m, 4, seed=m, source="drawn").sha256 for m in (12, 7)]
    return DataFiles(root / "data/prepared/train.h5", root / "data/prepared/test.h5", *digests)


@pytest.fixture
def files(root: Path, make_prepared: MakePrepared) -> DataFiles:
    """Return the prepared pictures."""
    return files_of(root, make_prepared)


def configure(rate: float = 0.005, number: int = 200, **train: Any) -> Settings:
    """Return settings with other values in the section train."""
    return replace(SETTINGS, train=replace(SETTINGS.train, learning_rate=rate, num_iterations=number, **train))


def plan_of(configurations: Sequence[Settings], *swept: str, command: str = "python pipeline/sweep.py -m ...") -> Plan:
    """Return a plan."""
    return Plan(configurations, swept, SWEEP, command)


def identify(settings: Settings, files: DataFiles, sweep: SweepSettings = SWEEP) -> Configuration:
    """Return a configuration with its keys."""
    return Configuration(settings, files, *find_keys(settings, files, sweep))


def outcome_of(settings: Settings, *, accuracy: float = 0.75, records: int = 3, **changes: Any) -> Outcome:
    """Return a plausible outcome."""
    last = settings.train.num_iterations
    costs = tuple(0.7 / (1 + i) for i in range(records))
    values: dict[str, Any] = {
        "iterations": tuple(round(i * last / (records - 1)) for i in range(records)),
        "train_costs": costs,
        "validation_costs": tuple(cost + 0.1 for cost in costs),
        "validation_accuracies": (accuracy,) * records,
        "measures": {
            "iterations": float(last),
            "cost": costs[-1],
            "train_accuracy": 0.9,
            "test_accuracy": 0.6,
            "validation_accuracy": accuracy,
            "validation_cost": costs[-1] + 0.1,
            "log10_learning_rate": math.log10(settings.train.learning_rate),
        },
        "diverged_at": None,
        "reason": "",
    }
    return Outcome(**{**values, **changes})


class Sweeper:
    """A process that runs a sweep over some configurations."""

    def __init__(
        self,
        connection: Connection,
        files: DataFiles,
        configurations: Sequence[Settings],
        *,
        swept: Sequence[str] = (RATE,),
        committed: str = "",
    ):
        self.connection, self.files = connection, files
        self.plan = replace(plan_of(configurations, *swept), committed=committed)
        self.keys = [find_keys(settings, files, SWEEP)[0] for settings in configurations]
        self.runs = ConfigurationRuns(connection, [identify(settings, files) for settings in configurations])
        self.names = name_configurations(self.runs.requested.values(), swept)
        self.parent_id = open_sweep(self.runs, self.plan)

    def record(self, *outcomes: Outcome | str, first: int = 0) -> None:
        """Write the outcomes of the configurations from `first` on."""
        pairs = list(zip(self.keys[first:], outcomes, strict=False))
        self.runs.record(self.parent_id, pairs, sweep=SWEEP, names=self.names)

    def record_all(self, *accuracies: float) -> None:
        """Write an outcome for each configuration."""
        configurations = self.plan.configurations
        values = accuracies or (0.75,) * len(configurations)
        self.record(*(outcome_of(each, accuracy=value) for each, value in zip(configurations, values, strict=True)))

    def close(self) -> None:
        """End the sweep."""
        with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(1) as pool:
            drawing = draw_plots(Plotter(Path(name), pool), self.runs, self.parent_id, folds=self.plan.sweep.folds)
            close_sweep(self.runs, self.parent_id, self.plan, drawing)


def _interrupt(*_: object) -> None:
    """Stand in for Ctrl-C."""
    raise KeyboardInterrupt


Start = Callable[..., Sweeper]


@pytest.fixture
def start(connection: Connection, files: DataFiles) -> Start:
    """Return a function that starts a sweep over some configurations."""

    def begin(*configurations: Settings, **options: Any) -> Sweeper:
        return Sweeper(connection, files, configurations, **options)

    return begin


def runs_of(connection: Connection, kind: str | None = None) -> list[Any]:
    """Return all runs that are not deleted, oldest first."""
    runs = connection.client.search_runs([connection.experiment_id], order_by=["attributes.start_time ASC"])
    return [run for run in runs if kind in (None, run.data.tags["one_neuron.kind"])]


def history(connection: Connection, run_id: str, name: str) -> list[tuple[int, float]]:
    """Return the points of a metric."""
    return sorted((point.step, point.value) for point in connection.client.get_metric_history(run_id, name))


# --- configurations -----------------------------------------------------------------


def test_what_a_configuration_shows(start: Start, connection: Connection) -> None:
    """Parameters, tags, metrics, name and parent."""
    settings = configure(0.01, 2000)
    sweep = start(settings, configure(0.02), swept=(RATE, ITERATIONS))
    outcome = outcome_of(settings)
    sweep.record(outcome)
    (run,) = runs_of(connection, "configuration")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "2000 lr 0.01"
    assert run.data.params == {
        "draw.seed": "1",
        "draw.num_train": "12",
        "draw.num_test": "7",
        "data.source": "drawn",
        "data.num_px": "4",
        "data.resize": "stretch",
        "data.decode": "exact",
        "train.learning_rate": "0.01",
        "train.num_iterations": "2000",
        "train.record_every": "100",
        "train.tolerance": "0.0",
        "train.threshold": "0.5",
        "sweep.folds": "3",
        "sweep.seed": "1",
    }
    assert run.data.metrics == pytest.approx(outcome.measures)
    assert run.data.metrics["log10_learning_rate"] == -2
    key, context = find_keys(settings, sweep.files, SWEEP)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("Validation accuracy **75.0 %** (")
    assert note.endswith("\n\ntrain.learning_rate=0.01 train.num_iterations=2000")
    expected = {
        "mlflow.parentRunId": sweep.parent_id,
        "mlflow.source.name": "pipeline/sweep.py",
        "mlflow.user": connection.origin.user,
        "one_neuron.kind": "configuration",
        "one_neuron.keys": f"{context} {key}",
        "one_neuron.status": "finished",
    }
    assert {name: run.data.tags.get(name) for name in expected} == expected
    shown = {name for name in run.data.tags if not name.startswith("mlflow.")}
    assert shown <= {"one_neuron.kind", "one_neuron.keys", "one_neuron.status", "git.dirty"}


def test_a_curve_has_twenty_points_with_both_ends(start: Start, connection: Connection) -> None:
    """Evenly spread points; a short curve is complete; measures are at the last iteration."""
    long, short = configure(0.01, 2000), configure(0.02, 200)
    sweep = start(long, short)
    outcomes = outcome_of(long, records=101), outcome_of(short, records=21)
    sweep.record(*outcomes)
    for key, outcome in zip(sweep.keys, outcomes, strict=True):
        run_id = sweep.runs.entries[key].run_id
        curve = history(connection, run_id, "cost")
        whole = list(zip(outcome.iterations, outcome.train_costs, strict=True))
        assert len(curve) == min(21, len(whole))
        assert set(curve) <= set(whole)
        assert (curve[0], curve[-1]) == (whole[0], whole[-1])
        gaps = np.diff([step for step, _ in curve])
        assert gaps.max() - gaps.min() <= 2000 / 100  # one record
        assert [step for step, _ in history(connection, run_id, "validation_cost")] == [step for step, _ in curve]
        assert history(connection, run_id, "train_accuracy") == [(whole[-1][0], 0.9)]


def test_the_run_of_a_single_configuration_has_a_name(connection: Connection, files: DataFiles) -> None:
    """It needs no values in its name, because nothing is swept."""
    settings = configure()
    configuration = identify(settings, files)
    runs = ConfigurationRuns(connection, [configuration])
    parent_id = open_sweep(runs, plan_of([settings]))
    names = name_configurations([configuration], ())
    runs.record(parent_id, [(configuration.key, outcome_of(settings))], sweep=SWEEP, names=names)
    (nested,), (parent,) = (runs_of(connection, kind) for kind in ("configuration", "sweep"))
    assert (nested.info.run_name, parent.info.run_name) == ("200 lr 0.005", "one configuration, drawn")


def test_a_diverged_configuration_is_finished_and_marked(start: Start, connection: Connection) -> None:
    """It is not tried again; only finite costs are points of its curve."""
    settings = configure(5.0)
    outcome = outcome_of(
        settings,
        train_costs=(0.69, 5.0, math.nan),
        validation_costs=(0.69, math.inf, math.nan),
        diverged_at=100,
        reason="a cost is not finite; first at iteration 100",
        measures={"diverged_at": 100.0, "log10_learning_rate": math.log10(5)},
    )
    sweep = start(settings, configure())
    sweep.record(outcome)
    (run,) = runs_of(connection, "configuration")
    tags = run.data.tags
    assert run.info.status == "FINISHED"
    assert (tags["one_neuron.status"], tags["one_neuron.reason"]) == ("diverged", outcome.reason)
    assert history(connection, run.info.run_id, "cost") == [(0, 0.69), (100, 5.0)]
    assert history(connection, run.info.run_id, "validation_cost") == [(0, 0.69)]
    again = start(settings, configure())
    entry = again.runs.entries[again.keys[0]]
    assert again.runs.finished == {again.keys[0]}
    assert (entry.status, entry.reason) == ("diverged", outcome.reason)


def test_a_failed_configuration_is_tried_again_in_the_same_run(start: Start, connection: Connection) -> None:
    """It shows the reason; when it has finished, it is like any other run."""
    settings = configure()
    sweep = start(settings)
    sweep.record("out of memory; try fewer")
    (run,) = runs_of(connection, "configuration")
    assert run.info.status == "FAILED"
    assert (run.data.tags["one_neuron.status"], run.data.tags["one_neuron.reason"]) == (
        "failed",
        "out of memory; try fewer",
    )
    assert run.data.metrics == {}
    assert sweep.runs.entries[sweep.keys[0]].status == "failed"
    again = start(settings)
    assert again.runs.finished == set()
    again.record_all(0.5)
    (completed,) = runs_of(connection, "configuration")
    assert completed.info.run_id == run.info.run_id == again.runs.entries[again.keys[0]].run_id
    assert completed.info.status == "FINISHED"
    assert (completed.data.tags["one_neuron.status"], completed.data.tags["one_neuron.reason"]) == ("finished", "")
    assert completed.data.metrics["validation_accuracy"] == 0.5


def test_a_failed_configuration_is_tried_again_by_the_same_process(start: Start, connection: Connection) -> None:
    """There is still one run."""
    settings = configure()
    sweep = start(settings)
    sweep.record("out of memory")
    sweep.record_all()
    (run,) = runs_of(connection, "configuration")
    assert run.info.status == "FINISHED"


def test_a_run_that_was_broken_off_is_completed(start: Start, connection: Connection) -> None:
    """A run that was killed while its metrics were written is completed, with each point once."""
    settings = configure(0.01, 2000)
    sweep = start(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "SCHEMA", OTHER)
        patch.setattr(type(connection.client), "set_terminated", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            sweep.record_all()
    (broken,) = runs_of(connection, "configuration")
    assert broken.info.status == "RUNNING"
    again = start(settings)
    assert again.runs.finished == set()
    again.record_all()
    (run,) = runs_of(connection, "configuration")
    assert (run.info.run_id, run.info.status) == (broken.info.run_id, "FINISHED")
    assert [step for step, _ in history(connection, run.info.run_id, "cost")] == [0, 1000, 2000]
    assert len(history(connection, run.info.run_id, "train_accuracy")) == 1


def test_recording_twice_writes_nothing(start: Start, connection: Connection) -> None:
    """Neither in the same process nor in another one, even with other outcomes."""
    configurations = [configure(rate) for rate in (0.1, 0.2, 0.3)]
    sweep = start(*configurations)
    sweep.record_all()
    before = [(run.info.run_id, run.info.end_time, run.data.metrics) for run in runs_of(connection, "configuration")]
    sweep.record_all(0.1, 0.1, 0.1)
    other = start(*configurations)
    assert other.runs.finished == set(other.keys)
    other.record_all(0.2, 0.2, 0.2)
    after = [(run.info.run_id, run.info.end_time, run.data.metrics) for run in runs_of(connection, "configuration")]
    assert after == before
    assert len(before) == 3
    assert [set(each.runs.curves) for each in (sweep, other)] == [set(sweep.keys), set()]  # of what was written there
    assert {entry.metrics["validation_accuracy"] for entry in other.runs.entries.values()} == {0.75}


def test_two_sweeps_at_once_write_each_configuration_once(connection: Connection, files: DataFiles) -> None:
    """They take turns on the same grid, and each finds the runs of the other."""
    configurations = [configure(rate / 100) for rate in range(1, 7)]
    one, other = (Sweeper(connection, files, configurations) for _ in range(2))
    assert one.parent_id == other.parent_id
    for first in range(0, 6, 2):
        one.record(*map(outcome_of, configurations[first : first + 2]), first=first)
        other.record(*map(outcome_of, configurations[first : first + 4]), first=first)
    runs = runs_of(connection, "configuration")
    assert sorted(run.data.tags["one_neuron.keys"].split()[1] for run in runs) == sorted(one.keys)
    one.runs.refresh_under_lock()
    ids = [{key: entry.run_id for key, entry in each.runs.entries.items()} for each in (one, other)]
    assert ids[0] == ids[1]
    assert set(ids[0]) == set(one.keys)
    assert len(one.runs.curves) + len(other.runs.curves) == 6  # each was written by one of them


def test_what_failed_here_can_be_finished_by_another(connection: Connection, files: DataFiles) -> None:
    """One process runs out of memory, the other does not: there is one run, which both find finished."""
    settings = configure()
    one, other = (Sweeper(connection, files, [settings]) for _ in range(2))
    one.record("out of memory")
    other.record_all()
    one.runs.refresh_under_lock()
    (run,) = runs_of(connection, "configuration")
    assert run.info.status == "FINISHED"
    assert one.runs.entries[one.keys[0]].status == "finished"


@pytest.mark.parametrize(("schema", "expected"), [(bulk.SCHEMA, [52]), (OTHER, [50, 52])])
def test_progress_is_told_after_each_chunk(
    schema: str, expected: list[int], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is released in between; the client's chunks are smaller."""
    monkeypatch.setattr(bulk, "SCHEMA", schema)
    configurations = [configure(rate / 100) for rate in range(1, 53)]
    sweep = start(*configurations)
    told: list[int] = []
    pairs: list[tuple[str, Outcome | str]] = [
        (key, outcome_of(each)) for key, each in zip(sweep.keys, configurations, strict=True)
    ]
    sweep.runs.record(
        sweep.parent_id,
        pairs,
        sweep=SWEEP,
        names=sweep.names,
        on_progress=lambda: told.append(len(sweep.runs.finished)),
    )
    assert told == expected


# --- in one transaction --------------------------------------------------------------


def read_tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables: run ids by their number, of a time whether it is there."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: [dict(row) for row in database.execute(f'SELECT * FROM "{name}"')] for name in names}
    runs = {run["run_uuid"]: run["start_time"] for run in found["runs"]}  # in the order in which they were written
    for row in (row for rows in found.values() for row in rows):
        for column, value in row.items():
            if column == "timestamp" or column.endswith("_time"):
                row[column] = "start" if column == "timestamp" and value in runs.values() else value is not None
            elif isinstance(value, str):
                for number, run_id in enumerate(runs):
                    row[column] = row[column].replace(run_id, f"<{number}>")
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def test_both_ways_write_the_same_rows_of_all_tables(
    root: Path, fresh_store: Path, files: DataFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's client and the insert: finished, diverged and failed, and values that a database cannot hold.

    After an update of MLflow, this test proves that `bulk.SCHEMA` may name the schema of the new one.
    """
    configurations = [configure(rate, 2000) for rate in (0.001, 0.002, 0.003, 0.004, 0.005)]
    odd = {"test_accuracy": math.nan, "test_cost": math.inf, "validation_accuracy_std": -math.inf}
    outcomes: list[Outcome | str] = [
        outcome_of(configurations[0], records=101),
        outcome_of(configurations[1], measures={**outcome_of(configurations[1]).measures, **odd}),
        outcome_of(
            configurations[2],
            train_costs=(0.69, 5.0, math.nan),
            validation_costs=(),
            diverged_at=100,
            reason="a cost is not finite",
            measures={"diverged_at": 100.0},
        ),
        "out of memory; try fewer",
        outcome_of(configurations[4], train_costs=(math.nan,) * 3, validation_costs=(), measures={}),
    ]
    tables, found = {}, {}
    for schema in (OTHER, bulk.SCHEMA):
        shutil.copy(fresh_store, root)
        monkeypatch.setattr(bulk, "SCHEMA", schema)
        connection = connect(root, REMEDY, experiment=SWEEPS)
        assert (bulk.find_database(connection) is None) == (schema == OTHER)
        sweep = Sweeper(connection, files, configurations, swept=(RATE, ITERATIONS))
        sweep.record(*outcomes)
        tables[schema] = read_tables(root / "mlflow.db")
        connection.client._tracking_client.store.engine.dispose()
    for name, rows in tables[OTHER].items():
        assert rows == tables[bulk.SCHEMA][name], name
    assert {name: len(rows) for name, rows in tables[OTHER].items() if len(rows) > 5} == {
        "runs": 6,
        "tags": len(tables[OTHER]["tags"]),
        "params": 70,
        "metrics": 63,
        "latest_metrics": 18,
    }
    for schema in (OTHER, bulk.SCHEMA):  # and both read the same from it
        monkeypatch.setattr(bulk, "SCHEMA", schema)
        runs = Sweeper(connect(root, REMEDY, experiment=SWEEPS), files, configurations, swept=(RATE, ITERATIONS)).runs
        entries = [runs.entries[key] for key in sorted(runs.entries)]
        curves = bulk.read_curves(runs.connection, "cost", [entry.run_id for entry in entries])
        by_sweep = [(parent_id, sorted(keys)) for parent_id, keys in runs.keys_by_sweep.items()]
        found[schema] = repr((entries, by_sweep, runs.best, curves))
    assert found[OTHER] == found[bulk.SCHEMA]


def test_a_chunk_is_written_as_a_whole_or_not_at_all(start: Start, connection: Connection) -> None:
    """A disk that is full in the middle leaves no run behind; the next attempt writes them all."""
    sweep = start(configure(0.1), configure(0.2))

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO latest_metrics"):
            raise OSError("disk full")

    event.listen(Engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(EnvironmentProblem, match="disk full"):
            sweep.record_all()
    finally:
        event.remove(Engine, "before_cursor_execute", fail)
    assert runs_of(connection, "configuration") == []
    start(configure(0.1), configure(0.2)).record_all()
    assert [run.info.status for run in runs_of(connection, "configuration")] == ["FINISHED"] * 2


# --- parents -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "schema"),
    [(moment, OTHER) for moment in (1, 9, 17, 25, 40)] + [(k, bulk.SCHEMA) for k in (1, 9, 17, 25)],
)
def test_ctrl_c_while_mlflow_writes_leaves_the_store_usable(
    moment: int, schema: str, start: Start, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interrupt waits until the chunk is written; within a transaction it could leave the file locked."""
    monkeypatch.setattr(bulk, "SCHEMA", schema)
    sweep, told = start(configure(0.001), configure(0.01)), itertools.count(1)

    def interrupt(*_: object) -> None:
        if next(told) == moment:
            signal.raise_signal(signal.SIGINT)

    event.listen(Engine, "after_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            sweep.record_all()
    finally:
        event.remove(Engine, "after_cursor_execute", interrupt)
    assert next(told) > moment
    abandon_sweep(connection, sweep.parent_id)
    assert connection.client.get_run(sweep.parent_id).info.status == "KILLED"
    assert {run.info.status for run in runs_of(connection, "configuration")} <= {"FINISHED"}


def test_what_a_parent_shows_while_it_runs(start: Start, connection: Connection) -> None:
    """Command, description, name."""
    sweep = start(configure(0.1), configure(0.2), swept=(RATE,))
    (run,) = runs_of(connection, "sweep")
    assert (run.info.run_id, run.info.status, run.info.run_name) == (sweep.parent_id, "RUNNING", "lr, drawn")
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("2 configurations, all with draw.seed=1, ")
    assert "The best is chosen by 3-fold cross-validation" in note
    assert sweep.plan.command in note


def test_what_the_parent_of_one_configuration_shows(start: Start, connection: Connection) -> None:
    """One configuration is not called "1 configurations"."""
    start(configure(0.1), swept=(RATE,))
    (run,) = runs_of(connection, "sweep")
    assert run.data.tags["mlflow.note.content"].startswith("1 configuration, with draw.seed=1, ")


def test_the_same_grid_is_the_same_sweep(start: Start, connection: Connection) -> None:
    """In any order, finished or not, and after an interruption."""
    one, two = configure(0.1), configure(0.2)
    first = start(one, two)
    abandon_sweep(connection, first.parent_id)
    assert connection.client.get_run(first.parent_id).info.status == "KILLED"
    second = start(two, one)
    assert second.parent_id == first.parent_id
    assert connection.client.get_run(first.parent_id).info.status == "RUNNING"
    second.record_all()
    second.close()
    assert start(one, two).parent_id == first.parent_id
    assert len(runs_of(connection, "sweep")) == 1


def test_plots_are_begun_again_after_an_outage(start: Start, tmp_path: Path) -> None:
    """The first ones may still be drawn when the sweep is closed in the spool instead."""
    sweep = start(configure(0.1), configure(0.2))
    sweep.record_all()
    with ThreadPoolExecutor(1) as pool:
        plotter = Plotter(tmp_path, pool)
        drawings = [draw_plots(plotter, sweep.runs, sweep.parent_id, folds=0) for _ in range(2)]
    first, second = ({path.name for path in drawing.wait().iterdir()} for drawing in drawings)
    assert first == second != set()


def test_a_larger_grid_extends_the_sweep(start: Start, connection: Connection) -> None:
    """A grid that contains all of the old one continues its run, and is found again itself."""
    small = [configure(0.1), configure(0.2)]
    first = start(*small)
    first.record_all()
    first.close()
    second = start(*small, configure(0.3))
    assert second.parent_id == first.parent_id
    assert second.runs.finished == set(first.keys)
    second.record_all()
    second.close()
    assert start(*small, configure(0.3)).parent_id == first.parent_id
    assert len(runs_of(connection, "sweep")) == 1
    assert len(runs_of(connection, "configuration")) == 3
    assert connection.client.get_run(first.parent_id).data.metrics["num_configurations"] == 3


def test_sweeps_of_different_files_stay_apart(start: Start) -> None:
    """Neither a typed grid that contains the one of a committed file nor another file extends it."""
    small, large = [configure(0.1)], [configure(0.1), configure(0.2)]
    first = start(*small, committed="sweep=course")
    first.record_all()
    first.close()
    assert start(*large).parent_id != first.parent_id
    assert start(*large, configure(0.3), committed="sweep=grid").parent_id != first.parent_id
    edited = start(*large, configure(0.4), committed="sweep=course")
    assert edited.parent_id == first.parent_id


def test_a_sweep_that_reused_others_is_left_alone(start: Start) -> None:
    """The configurations that it ran are not all that it asked for, so a grid that contains them may differ."""
    for rates in ((0.1, 0.2), (0.2, 0.3)):
        sweep = start(*map(configure, rates))
        sweep.record(
            *(outcome_of(configure(rate)) for rate in rates if rate != 0.2 or 0.1 in rates), first=rates[0] == 0.2
        )
        sweep.close()
    third = start(configure(0.3), configure(0.4))
    assert third.parent_id != sweep.parent_id


def test_an_extended_sweep_does_not_show_a_shared_value_that_is_swept_by_now(
    start: Start, connection: Connection
) -> None:
    """A value that all configurations shared at first is not a parameter of the sweep."""
    small = [configure(rate, 200) for rate in (0.1, 0.2)]
    first = start(*small)
    first.record_all()
    first.close()
    second = start(*small, *(configure(rate, 400) for rate in (0.1, 0.2)), swept=(RATE, ITERATIONS))
    second.record_all()
    second.close()
    shown = connection.client.get_run(second.parent_id)
    assert second.parent_id == first.parent_id
    assert ITERATIONS not in shown.data.params
    assert ITERATIONS not in shown.data.tags["mlflow.note.content"].partition("all with ")[2].partition("```")[0]


def test_a_smaller_or_another_grid_is_a_new_sweep(start: Start, connection: Connection) -> None:
    """Finished configurations stay with their own sweep and count as reused."""
    first = start(configure(0.1), configure(0.2))
    first.record_all()
    first.close()
    subset, another = start(configure(0.1)), start(configure(0.1), configure(0.3))
    assert len({first.parent_id, subset.parent_id, another.parent_id}) == 3
    assert subset.runs.finished == another.runs.finished == {first.keys[0]}
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs_of(connection, "configuration")}
    assert parents == {first.parent_id}


def test_the_larger_of_two_sweeps_is_extended(start: Start) -> None:
    """Extending the larger one leaves the fewest configurations outside."""
    small = start(configure(0.1), configure(0.2))
    small.record_all()
    small.close()
    large = start(*(configure(rate) for rate in (0.3, 0.4, 0.5)))
    large.record_all()
    large.close()
    assert start(*(configure(rate / 10) for rate in range(1, 7))).parent_id == large.parent_id


def test_other_folds_are_another_sweep(connection: Connection, files: DataFiles, start: Start) -> None:
    """Outcomes with other folds cannot be compared."""
    first = start(configure(0.1))
    first.record_all()
    other, configurations = replace(SWEEP, folds=4), [configure(0.1), configure(0.2)]
    runs = ConfigurationRuns(connection, [identify(settings, files, other) for settings in configurations])
    plan = replace(plan_of(configurations, RATE), sweep=other)
    assert open_sweep(runs, plan) != first.parent_id
    assert runs.finished == set()


def test_configurations_of_a_deleted_sweep_are_adopted(start: Start, connection: Connection) -> None:
    """They are not trained again, and become nested runs of the new sweep."""
    configurations = [configure(0.1), configure(0.2)]
    first = start(*configurations)
    first.record_all()
    first.close()
    connection.client.delete_run(first.parent_id)
    second = start(*configurations)
    assert second.parent_id != first.parent_id
    assert second.runs.finished == set(second.keys)
    runs = runs_of(connection, "configuration")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {second.parent_id}
    assert {run.info.run_id for run in runs} == {entry.run_id for entry in first.runs.entries.values()}


def test_a_deleted_configuration_is_tried_again(start: Start, connection: Connection) -> None:
    """It gets a new run."""
    sweep = start(configure(0.1), configure(0.2))
    sweep.record_all()
    connection.client.delete_run(sweep.runs.entries[sweep.keys[0]].run_id)
    again = start(configure(0.1), configure(0.2))
    assert again.runs.finished == {sweep.keys[1]}
    again.record_all()
    assert len(runs_of(connection, "configuration")) == 2


# --- the end of a sweep --------------------------------------------------------------


def test_plots_are_drawn_again_only_if_the_table_changed(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same sweep again takes less time; with a new configuration, or without the table, they are drawn."""
    log = tmp_path / "drawn"

    def draw(folder: Path, entries: Sequence[object], *_: object, **__: object) -> None:  # in another process
        with log.open("a") as stream:
            stream.write(f"{len(entries)} ")
        (folder / "plot.txt").write_text(str(len(entries)))

    monkeypatch.setattr("one_neuron.sweep.plots.save_plots", draw)
    for configurations in ((0.01, 0.02), (0.01, 0.02), (0.01, 0.02, 0.03)):
        sweep = start(*map(configure, configurations))
        sweep.record_all()
        sweep.close()
    assert log.read_text() == "2 3 "
    kept = read_artifacts(sweep.connection, sweep.parent_id)
    assert kept["plot.txt"] == b"3"
    assert {"configurations.csv", "command.txt", "plot.txt"} <= kept.keys()
    sweep.connection.client.log_text(sweep.parent_id, "another table", "configurations.csv")
    sweep.close()
    assert log.read_text() == "2 3 3 "


def read_artifacts(connection: Connection, run_id: str) -> dict[str, bytes]:
    """Return the files of a run."""
    folder = Path(connection.client.download_artifacts(run_id, ""))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_a_sweep_shows_in_the_end(start: Start, connection: Connection) -> None:
    """Files, numbers, shared parameters, data sets, and a tag that names the best."""
    configurations = [configure(rate, number) for rate in (0.1, 0.2) for number in (100, 200)]
    sweep = start(*configurations, configure(5.0, 100), configure(6.0, 100), swept=(RATE, ITERATIONS))
    sweep.record(
        *(outcome_of(each, accuracy=value) for each, value in zip(configurations, (0.5, 0.7, 0.9, 0.8), strict=True)),
        outcome_of(configure(5.0, 100), accuracy=1.0, diverged_at=50, reason="too large"),
        "out of memory",
    )
    sweep.close()
    run = connection.client.get_run(sweep.parent_id)
    best = sweep.runs.entries[sweep.keys[2]]
    assert run.info.status == "FINISHED"
    assert run.data.tags["one_neuron.best_run"] == best.run_id
    assert run.data.metrics == pytest.approx(
        {
            "num_configurations": 6,
            "num_diverged": 1,
            "num_failed": 1,
            "validation_accuracy": 0.9,
            "validation_cost": best.metrics["validation_cost"],
            "train_accuracy": 0.9,
            "cost": best.metrics["cost"],
            "test_accuracy": 0.6,
        }
    )
    assert run.data.params == {"sweep.folds": "3", "sweep.seed": "1"}
    note, address = run.data.tags["mlflow.note.content"], f"(#/experiments/{connection.experiment_id}/runs/"
    first, table, picture, *_ = note.split("\n\n")
    assert first.startswith(
        f"[**best**]{address}{best.run_id}?workflowType=machine_learning): {RATE}=0.2 {ITERATIONS}=100"
    )
    ranked = [2, 3, 1, 0, 4, 5]
    links = [line.split("]")[1].split("?")[0] for line in table.splitlines()[2:]]
    assert links == [f"{address}{sweep.runs.entries[sweep.keys[i]].run_id}" for i in ranked]
    assert picture == f"![Heat map](get-artifact?path=heat_map.png&run_uuid={sweep.parent_id})"
    assert "data.source=drawn" in note
    assert sweep.plan.command in note
    assert not {RATE, ITERATIONS, "evaluate.num_mistakes"} & set(run.data.params)
    kept = read_artifacts(connection, sweep.parent_id)
    assert set(kept) == {"configurations.csv", "heat_map.png", "accuracies.png", "curves.png", "command.txt"}
    assert {kept[name][:8] for name in kept if name.endswith(".png")} == {b"\x89PNG\r\n\x1a\n"}
    assert kept["command.txt"].decode() == f"{sweep.plan.command}\n"
    rows = list(csv.DictReader(kept["configurations.csv"].decode().splitlines()))
    assert [row["status"] for row in rows] == ["finished"] * 4 + ["diverged", "failed"]
    assert (rows[0]["run_id"], rows[0][RATE], rows[0][ITERATIONS]) == (best.run_id, "0.2", "100")
    assert run.inputs is not None
    inputs = {item.dataset.name: item for item in run.inputs.dataset_inputs}
    assert {name: [tag.value for tag in item.tags] for name, item in inputs.items()} == {
        "drawn-train": ["training"],
        "drawn-test": ["testing"],
    }
    assert inputs["drawn-train"].dataset.digest == sweep.files.train_sha256[:32]


def test_closing_again_changes_what_is_new_only(start: Start, connection: Connection) -> None:
    """The same command again: the same run, its data sets once, and the current best."""
    configurations = [configure(0.1), configure(0.2)]
    for _ in range(2):
        sweep = start(*configurations)
        sweep.record_all(0.5, 0.6)
        sweep.close()
    run = connection.client.get_run(sweep.parent_id)
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 2
    larger = start(*configurations, configure(0.3))
    larger.record(outcome_of(configure(0.3), accuracy=0.9), first=2)
    larger.close()
    run = connection.client.get_run(sweep.parent_id)
    assert run.data.tags["one_neuron.best_run"] == larger.runs.entries[larger.keys[2]].run_id
    assert run.data.metrics["validation_accuracy"] == 0.9
    rows = list(csv.DictReader(read_artifacts(connection, sweep.parent_id)["configurations.csv"].decode().splitlines()))
    assert [row[RATE] for row in rows] == ["0.3", "0.2", "0.1"]


def test_a_sweep_without_a_best_has_no_tag(start: Start, connection: Connection) -> None:
    """A sweep whose configurations all failed is finished as well."""
    sweep = start(configure(0.1), configure(0.2))
    sweep.record("no", "no")
    sweep.close()
    run = connection.client.get_run(sweep.parent_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["one_neuron.best_run"] == ""
    assert run.data.metrics == {"num_configurations": 2, "num_diverged": 0, "num_failed": 2}


def test_later_duplicates_are_deleted_once(start: Start, connection: Connection) -> None:
    """Machines without a common lock can write them; the first one stays."""
    sweep = start(configure(0.1))
    sweep.record_all()
    first = connection.client.get_run(sweep.runs.entries[sweep.keys[0]].run_id)
    duplicate = connection.client.create_run(connection.experiment_id, tags=dict(first.data.tags))
    connection.client.set_terminated(duplicate.info.run_id)
    again = start(configure(0.1))
    again.runs.refresh_under_lock()  # clocks may differ, so the newest runs are read once more
    assert list(again.runs.duplicates) == [duplicate.info.run_id]
    assert again.runs.entries[again.keys[0]].run_id == first.info.run_id
    again.close()
    assert [run.info.run_id for run in runs_of(connection, "configuration")] == [first.info.run_id]


# --- models --------------------------------------------------------------------------

LOAD = """
import sys
from pathlib import Path
import numpy as np
import pandas as pd
import mlflow
uri, pictures = sys.argv[1:]
X = pd.DataFrame({"picture": [path.read_bytes() for path in sorted(Path(pictures).iterdir())]})
predicted = mlflow.pyfunc.load_model(uri).predict(X)
np.save("probability.npy", predicted["probability"].to_numpy())
"""


def test_the_best_keeps_its_model_once(
    start: Start,
    connection: Connection,
    make_prepared: MakePrepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trained again exactly; MLflow loads it in another process, and the run shows what the exact model scores."""
    train, test = make_prepared(12, 4, seed=12, source="drawn"), make_prepared(7, 4, seed=7, source="drawn")
    trained: list[TrainSettings] = []

    def exactly(prepared: PreparedSet, settings: TrainSettings) -> Model:
        trained.append(settings)
        return train_model(prepared, settings)[0]

    monkeypatch.setattr(sweep_run, "_train_exactly", exactly)
    best = configure(0.2, threshold=0.4)
    sweep = start(configure(0.1), best, configure(9.0))
    sweep.record(
        outcome_of(configure(0.1), accuracy=0.5),
        outcome_of(best, accuracy=0.9),
        outcome_of(configure(9.0), accuracy=1.0, diverged_at=100, reason="too large"),
    )
    at_once = start(configure(0.1), best, configure(9.0))
    for process in (sweep, at_once):
        keep_models(process.runs, 1)
    assert trained == [best.train, best.train]  # neither knows of the other, and yet there is one model in the end
    keep_models(start(configure(0.1), best, configure(9.0)).runs, 1)
    assert trained == [best.train, best.train]
    expected, result = train_model(train, best.train)
    entry = sweep.runs.entries[sweep.keys[1]]
    assert entry.model_sha256 == expected.sha256
    run = connection.client.get_run(entry.run_id)
    assert run.data.tags["one_neuron.model_sha256"] == expected.sha256
    (model,) = connection.client.search_logged_models([connection.experiment_id])
    assert run.outputs is not None
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert (model.source_run_id, model.status.value) == (entry.run_id, "READY")
    scored = {}
    for name, prepared in (("train", train), ("test", test)):
        z = prepared.X / 255 @ expected.parameters.w + expected.parameters.b
        scored[f"{name}_accuracy"] = float(np.mean((1 / (1 + np.exp(-z)) > 0.4) == prepared.Y))
        cost = "cost" if name == "train" else "test_cost"
        scored[cost] = float(np.mean(np.logaddexp(0, z) - prepared.Y * z))
    # The recorded outcome was made up, so the scores of the exact engine come on top; the model has only these.
    assert {metric.key: metric.value for metric in model.metrics or ()} == pytest.approx(scored, abs=1e-12)
    assert {name: run.data.metrics[name] for name in scored} == pytest.approx(scored, abs=1e-12)
    assert len(history(connection, entry.run_id, "cost")) == 4
    assert scored["cost"] == pytest.approx(result.costs[-1], abs=1e-12)
    (tmp_path / "pictures").mkdir()
    for i, row in enumerate(test.X):
        (tmp_path / "pictures" / f"{i}.png").write_bytes(encode_picture(row.reshape(4, 4, 3)))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"models:/{model.model_id}", "pictures"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": connection.store.uri, "MLFLOW_RUN_ID": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    z = test.X / 255 @ expected.parameters.w + expected.parameters.b
    assert np.load(tmp_path / "probability.npy") == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-12)


def test_no_model_is_kept_where_none_is_wanted_or_finished(
    start: Start, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """keep_models: 0, and a sweep in which all diverged."""
    monkeypatch.delattr(sweep_run, "_train_exactly")
    sweep = start(configure(0.1), configure(9.0))
    sweep.record(outcome_of(configure(0.1)), outcome_of(configure(9.0), diverged_at=100, reason="too large"))
    keep_models(sweep.runs, 0)
    bad = start(configure(9.0))
    keep_models(bad.runs, 5)
    assert connection.client.search_logged_models([connection.experiment_id]) == []


# --- the candidate -------------------------------------------------------------------


@pytest.fixture
def two_sweeps(start: Start) -> tuple[Sweeper, Sweeper]:
    """Return two sweeps that are finished, the later one with a diverged configuration."""
    first = start(configure(0.1), configure(0.2))
    first.record_all(0.5, 0.9)
    first.close()
    second = start(configure(0.3), configure(9.0))
    second.record(
        outcome_of(configure(0.3), accuracy=0.6),
        outcome_of(configure(9.0), accuracy=1.0, diverged_at=100, reason="too large"),
    )
    second.close()
    return first, second


def id_of(sweep: Sweeper, number: int) -> str:
    """Return the id of a configuration's run."""
    return sweep.runs.entries[sweep.keys[number]].run_id


def test_the_candidate_is_the_best_of_the_last_sweep(root: Path, two_sweeps: tuple[Sweeper, Sweeper]) -> None:
    """With its parameters, as MLflow keeps them."""
    _, second = two_sweeps
    found = find_run(root)
    assert isinstance(found, PromotableRun)
    assert (found.run_id, found.sweep_id) == (id_of(second, 0), second.parent_id)
    assert (found.diverged, found.model_sha256) == (False, "")
    assert (found.params[RATE], found.params[ITERATIONS], found.params["data.source"]) == ("0.3", "200", "drawn")


def test_the_sweep_that_ran_last_is_the_last(root: Path, two_sweeps: tuple[Sweeper, Sweeper], start: Start) -> None:
    """Even if it began earlier; a sweep that is still running does not count."""
    again = start(configure(0.1), configure(0.2))
    assert find_run(root).sweep_id == two_sweeps[1].parent_id
    again.close()
    assert find_run(root).sweep_id == two_sweeps[0].parent_id


def test_the_candidate_says_where_its_pictures_lie(root: Path, start: Start, connection: Connection) -> None:
    """The location is not a parameter of a run, but is needed to repeat it; the last sweep updates it."""

    def own(path: str) -> Settings:
        return replace(SETTINGS, data=replace(SETTINGS.data, source="folder", path=path))

    sweep = start(own("here"), swept=("data.path",))
    sweep.record_all()
    sweep.close()
    found = find_run(root)
    assert (found.params["data.path"], found.params["data.on_error"]) == ("here", "stop")
    run = connection.client.get_run(found.run_id)
    assert run.info.run_name == "here"
    assert "data.path" not in run.data.params
    again = start(own("there"))
    assert again.runs.finished == set(sweep.keys)
    again.close()
    assert find_run(root).params["data.path"] == "there"


@pytest.mark.parametrize("length", [32, 12])
def test_a_sweep_by_its_id(root: Path, two_sweeps: tuple[Sweeper, Sweeper], length: int) -> None:
    """The whole id, or its beginning."""
    first, _ = two_sweeps
    found = find_run(root, sweep=first.parent_id[:length])
    assert (found.run_id, found.sweep_id) == (id_of(first, 1), first.parent_id)


@pytest.mark.parametrize("length", [32, 12])
def test_a_run_by_its_id(root: Path, two_sweeps: tuple[Sweeper, Sweeper], length: int) -> None:
    """Any configuration can be found; a diverged one is marked."""
    first, second = two_sweeps
    found = find_run(root, run=id_of(first, 0)[:length])
    assert (found.run_id, found.params[RATE], found.sweep_id) == (id_of(first, 0), "0.1", first.parent_id)
    assert found.diverged is False
    assert find_run(root, run=id_of(second, 1)[:length]).diverged is True


def test_a_candidate_that_is_not_better_than_the_baseline(root: Path, start: Start) -> None:
    """On the held-out folds; the test set plays no part, and without folds there is nothing to compare."""
    settings = [configure(rate) for rate in (0.1, 0.2, 0.3)]
    sweep = start(*settings)
    outcomes = [outcome_of(one, accuracy=0.6) for one in settings]
    for outcome, baseline in zip(outcomes, (0.6, 0.5, None), strict=True):
        outcome.measures["test_accuracy"] = outcome.measures["baseline_accuracy"] = 0.5
        if baseline is not None:
            outcome.measures["validation_baseline_accuracy"] = baseline
    sweep.record(*outcomes)
    sweep.close()
    shown = "accuracy 60.0 %, always the most frequent class 60.0 %"
    warnings = [find_run(root, run=id_of(sweep, number)).warning for number in range(3)]
    assert warnings == [f"validation set: NOT BETTER THAN THE BASELINE: {shown}", "", ""]


def test_an_id_that_begins_two_runs_is_refused(root: Path, start: Start, connection: Connection) -> None:
    """More letters are needed."""
    sweep = start(configure(0.1), configure(0.2))
    with pytest.MonkeyPatch.context() as patch:
        from mlflow.store.tracking import sqlalchemy_store

        ids = iter(["abcdef" + "0" * 26, "abcdef" + "1" * 26])
        patch.setattr(sqlalchemy_store.uuid, "uuid4", lambda: type("Id", (), {"hex": next(ids)}))
        sweep.record_all(0.5, 0.6)
    assert find_run(root, run="abcdef0").params[RATE] == "0.1"
    with pytest.raises(SettingsError) as caught:
        find_run(root, run="abcdef")
    assert str(caught.value) == "'abcdef' begins the id of more than one run; type more characters of it"


@pytest.mark.parametrize("text", ["abc", "", "../../etc", "a b c d", "abcd%", "abcd'", "----"])
@pytest.mark.parametrize("kind", ["sweep", "run"])
def test_what_is_no_id_is_refused(root: Path, text: str, kind: str) -> None:
    """The store is not searched."""
    with pytest.raises(SettingsError) as caught:
        find_run(root, **{kind: text})
    assert str(caught.value) == f"{text!r} is not the id of a {kind}; expected 4 to 32 letters and digits, see make ui"


def test_an_unknown_id_is_refused(root: Path, two_sweeps: tuple[Sweeper, Sweeper]) -> None:
    """A configuration is not a sweep, and a sweep is not a run to promote."""
    first, _ = two_sweeps
    with pytest.raises(SettingsError, match=r"has no sweep zzzz; run one: make sweep$"):
        find_run(root, sweep="zzzz")
    with pytest.raises(SettingsError, match=r"has no run zzzz; run one: make sweep$"):
        find_run(root, run="zzzz")
    with pytest.raises(SettingsError, match=rf"has no sweep {id_of(first, 0)}; run one: make sweep$"):
        find_run(root, sweep=id_of(first, 0))
    with pytest.raises(SettingsError, match=rf"^the run {first.parent_id} is a sweep; use --sweep$"):
        find_run(root, run=first.parent_id)


def test_an_empty_store_has_no_candidate(root: Path) -> None:
    """The message names the command that runs a sweep."""
    with pytest.raises(SettingsError, match=r"mlflow.db' has no sweep; run one: make sweep$"):
        find_run(root)


def test_what_is_not_finished_is_refused(root: Path, start: Start, connection: Connection) -> None:
    """A failed configuration, an interrupted sweep, and a best configuration that was deleted."""
    sweep = start(configure(0.1), configure(0.2))
    sweep.record(outcome_of(configure(0.1)), "out of memory")
    abandon_sweep(connection, sweep.parent_id)
    with pytest.raises(SettingsError, match=rf"^the run {id_of(sweep, 1)} is FAILED, not FINISHED$"):
        find_run(root, run=id_of(sweep, 1))
    no_best = rf"^the sweep {sweep.parent_id} is KILLED, not FINISHED; run its command again, or name a configuration"
    for asked in (None, sweep.parent_id):
        with pytest.raises(SettingsError, match=no_best):
            find_run(root, sweep=asked)
    again = start(configure(0.1), configure(0.2))
    again.close()
    connection.client.delete_run(id_of(sweep, 0))
    with pytest.raises(SettingsError, match=rf"has no run {id_of(sweep, 0)}"):
        find_run(root)


# --- what MLflow's UI opens ----------------------------------------------------------


def read_views(connection: Connection) -> dict[str, Any]:
    """Return the states of the saved views by their keys."""
    tags, prefix = connection.client.get_experiment(connection.experiment_id).tags, "mlflow.sharedViewState."
    views = {key.removeprefix(prefix): json.loads(value)["state"] for key, value in tags.items() if prefix in key}
    return {
        key: json.loads(zlib.decompress(base64.b64decode(text.removeprefix("deflate;")))) for key, text in views.items()
    }


def test_the_views_follow_what_was_swept_and_measured(start: Start, connection: Connection) -> None:
    """Swept keys become columns and axes; the runs are those of the sweep that finished, the best first."""
    configurations = [configure(rate, number) for rate in (0.1, 0.2) for number in (100, 200)]
    sweep = start(*configurations, swept=(ITERATIONS, RATE))
    sweep.record_all(0.5, 0.7, 0.9, 0.7)
    sweep.close()
    views = read_views(connection)
    own = f"tags.mlflow.parentRunId = '{sweep.parent_id}' AND tags.`one_neuron.status` = 'finished'"
    for key in ("best-first", "sweep-charts"):
        state = views[key]
        assert state["searchFilter"] == own
        assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`validation_accuracy`", False)
        assert state["selectedColumns"][:3] == [f"params.`{ITERATIONS}`", f"params.`{RATE}`", state["orderByKey"]]
        found = connection.client.search_runs(
            [connection.experiment_id], filter_string=own, order_by=[f"{state['orderByKey']} DESC"]
        )
        # Ties go to the lower cost, as in the ranking: that of 200 iterations is the same, so the fewer come first.
        assert [run.info.run_id for run in found] == [entry.run_id for entry in rank(sweep.runs.entries.values())]
    charts = {chart["type"]: chart for chart in views["sweep-charts"]["compareRunCharts"] if not chart["deleted"]}
    assert charts.keys() == {"PARALLEL", "CONTOUR", "SCATTER", "LINE"}
    assert charts["PARALLEL"]["selectedParams"] == [ITERATIONS, RATE]
    axes = [charts["CONTOUR"][f"{name}axis"]["key"] for name in "xyz"]
    assert axes == ["log10_learning_rate", ITERATIONS, "validation_accuracy"]
    assert views["sweeps"]["searchFilter"] == ""


def test_without_folds_nothing_of_the_validation_is_shown(start: Start, connection: Connection) -> None:
    """The lowest training cost comes first. A parameter with text values cannot be an axis of a contour."""
    pads = [replace(configure(), data=replace(SETTINGS.data, resize=name)) for name in ("crop", "pad")]
    sweep = start(*pads, swept=("data.resize",))
    measures = {"cost": 0.2, "train_accuracy": 0.9, "test_accuracy": 0.6, "iterations": 200.0}
    sweep.record(*(outcome_of(each, measures=measures, validation_costs=()) for each in pads))
    sweep.close()
    state = read_views(connection)["sweep-charts"]
    assert "validation" not in json.dumps(state)
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`cost`", True)
    shown = [chart["type"] for chart in state["compareRunCharts"] if not chart["deleted"]]
    assert shown == ["PARALLEL", "SCATTER", "LINE"]


def test_a_sweep_that_reused_everything_links_to_the_runs(start: Start, connection: Connection) -> None:
    """They are nested in the sweep that ran them; the view shows them by their ids."""
    first = start(configure(0.1), configure(0.2), configure(0.3))
    first.record_all(0.5, 0.9, 0.7)
    first.close()
    second = start(configure(0.1), configure(0.2))
    second.close()
    note = connection.client.get_run(second.parent_id).data.tags["mlflow.note.content"]
    start_of_link = f"(#/experiments/{connection.experiment_id}/runs/"
    for run_id in (first.parent_id, *(entry.run_id for entry in second.runs.entries.values())):
        assert f"{start_of_link}{run_id}?workflowType=machine_learning)" in note
    state = read_views(connection)["best-first"]
    found = connection.client.search_runs([connection.experiment_id], filter_string=state["searchFilter"])
    assert {run.info.run_id for run in found} == {entry.run_id for entry in second.runs.entries.values()}


def test_a_sweep_that_only_diverged_has_views_as_well(start: Start, connection: Connection) -> None:
    """All its configurations, and no link to a best one."""
    sweep = start(configure(0.1))
    sweep.record(outcome_of(configure(0.1), diverged_at=50, reason="too large"))
    sweep.close()
    assert read_views(connection)["best-first"]["searchFilter"] == f"tags.mlflow.parentRunId = '{sweep.parent_id}'"
    note = connection.client.get_run(sweep.parent_id).data.tags["mlflow.note.content"]
    assert note.startswith("no configuration finished: try smaller learning rates")


def test_the_commit_of_a_sweep_is_that_of_its_last_command(
    connection: Connection, files: DataFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With whether other files differed from it, as for every other run."""
    for commit, dirty in (("a" * 40, False), ("b" * 40, True)):
        origin = Origin(commit, dirty, None, "someone")
        monkeypatch.setitem(connection.__dict__, "origin", origin)
        sweep = Sweeper(connection, files, [configure(0.1)])
        tags = connection.client.get_run(sweep.parent_id).data.tags
        assert (tags["mlflow.source.git.commit"], tags["git.dirty"]) == (commit, str(dirty).lower())
