"""Sweeps of a small project: starting them, and reading what they recorded."""

import io
import re
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field

import pytest

from one_neuron.sweep.command import run_sweep
from tests.e2e.conftest import Project

SCRIPT = (sys.executable, "pipeline/sweep.py")
ONE_BY_ONE = "hydra/sweeper=basic"  # otherwise all of them are recorded in one transaction


@dataclass(frozen=True)
class Run:
    """A run of the store."""

    id: str
    status: str
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    points: dict[tuple[str, int], float] = field(default_factory=dict)  # of all metrics, by name and step

    @property
    def key(self) -> str:
        """The content key."""
        return self.tags["one_neuron.keys"].split()[1]

    @property
    def point(self) -> tuple[float, int]:
        """Learning rate and number of iterations."""
        return float(self.params["train.learning_rate"]), int(self.params["train.num_iterations"])

    def last(self, name: str) -> float:
        """Return the last value of a metric."""
        return self.points[max(point for point in self.points if point[0] == name)]


def read_runs(project: Project, kind: str, store: str = "mlflow.db") -> list[Run]:
    """Return the runs of one kind, "sweep" or "configuration", that are not deleted."""
    with closing(sqlite3.connect(project.folder / store, timeout=60)) as database:
        found = database.execute(
            "SELECT r.run_uuid, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'one_neuron.kind' AND t.value = ? AND r.lifecycle_stage = 'active'",
            [kind],
        )
        runs = {run_id: Run(run_id, status) for run_id, status in found.fetchall()}
        for table in ("tags", "params"):
            for run_id, name, value in database.execute(f"SELECT run_uuid, key, value FROM {table}"):
                if run_id in runs:
                    getattr(runs[run_id], table)[name] = value
        for run_id, name, step, value in database.execute("SELECT run_uuid, key, step, value FROM metrics"):
            if run_id in runs:
                runs[run_id].points[name, step] = value
    return list(runs.values())


def count_finished(project: Project) -> int:
    """Return the number of finished configurations in the store; 0 if there is no store yet."""
    if not (project.folder / "mlflow.db").exists():
        return 0
    with closing(sqlite3.connect(project.folder / "mlflow.db", timeout=60)) as database:
        row = database.execute(
            "SELECT count(*) FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid "
            "WHERE t.key = 'one_neuron.kind' AND t.value = 'configuration' AND r.status = 'FINISHED'"
        ).fetchone()
    return int(row[0])


def run_here(project: Project, *arguments: str, **variables: str) -> str:
    """Run pipeline/sweep.py to its end in this process, which has imported MLflow already; return what it printed."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(printed),
        redirect_stderr(printed),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # as in a process of its own, which shows no deprecations
        patch.chdir(project.folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        run_sweep(arguments)
    return printed.getvalue()


def sweep(project: Project, *overrides: str, **variables: str) -> str:
    """Run a sweep to its end in this process, and return what it printed; `start` starts another process."""
    return run_here(project, "-m", *overrides, **variables)


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    """Start a sweep in a process of its own."""
    return project.start(*SCRIPT, "-m", *arguments, PYTHONPATH="src")


def find_sweep_id(printed: str) -> str:
    """Return the id that a sweep prints at its end."""
    return next(line for line in printed.splitlines() if line.startswith("tracked: sweep ")).split()[2]


def drop_progress(stderr: str) -> list[str]:
    """Return the lines of stderr without the progress that a slow machine adds, and without those about waiting."""
    progress = re.compile(r"(configurations recorded|training \d+ conf.*): |one-neuron: another command uses DVC")
    return [line for line in stderr.splitlines() if not progress.match(line)]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds while a process is running."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
