"""Any Hydra launcher can run the jobs: here one that pickles them and starts a process for each, as on a cluster."""

import re
import sqlite3
from contextlib import closing

import pytest

from tests.e2e.conftest import Project

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LAUNCHER = """
import json, pickle, subprocess, sys
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

JOB = "import json, pickle, sys; task, config = pickle.load(sys.stdin.buffer); print(json.dumps(task(config)))"


class ProcessLauncher(Launcher):
    def setup(self, *, hydra_context, task_function, config):
        self.config, self.task_function = config, task_function

    def launch(self, job_overrides, initial_job_idx):
        jobs, returns = [], []
        for (override,) in job_overrides:
            config = {"batch": int(override.removeprefix("+batch="))}
            job = subprocess.Popen([sys.executable, "-c", JOB], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            job.stdin.write(pickle.dumps((self.task_function, config)))
            job.stdin.close()
            jobs.append(job)
        for job in jobs:
            out = job.stdout.read()
            assert job.wait() == 0
            returns.append(JobReturn(overrides=[], status=JobStatus.COMPLETED, _return_value=json.loads(out)))
        return returns
"""


def read_seconds(printed: str) -> tuple[float, dict[str, float]]:
    """Return the seconds of a sweep and of its parts, from the line that ends it."""
    match = re.fullmatch(r"took ([\d.]+) s: (.+)", printed.splitlines()[-1])
    assert match, printed
    parts = [part.rpartition(" ") for part in match[2].split(", ")]
    return float(match[1]), {name: float(seconds) for name, _, seconds in parts}


def test_jobs_in_processes_of_their_own(project: Project) -> None:
    """Two batches at the same moment: all runs under one parent, each counted as new, then as reused."""
    plugin = project.folder / "src/hydra_plugins/process_launcher/__init__.py"
    plugin.parent.mkdir()
    plugin.write_text(LAUNCHER, encoding="utf-8")
    group = project.folder / "conf/hydra/launcher/process.yaml"
    group.parent.mkdir()
    group.write_text("_target_: hydra_plugins.process_launcher.ProcessLauncher\n", encoding="utf-8")
    sweep = ["python", "pipeline/sweep.py", "-m", "hydra/launcher=process"]
    sweep += ["data.num_px=8,12", "train.learning_rate=0.001,0.005,0.01", "train.num_iterations=20,20000"]
    shown = project.run(*sweep, PYTHONPATH="src")
    assert shown.startswith("12 configurations, 5 folds; 0 are there already, 6 trainings are needed, each to its larg")
    took, parts = read_seconds(shown)
    assert list(parts)[:5] == ["start", "looking up", "training", "recording", "starting jobs"]
    assert sum(parts.values()) == pytest.approx(took, abs=0.05 * (len(parts) + 1))  # each is rounded
    assert parts["training"] > 0  # not counted as recording, although it was in other processes
    assert parts["starting jobs"] > 0  # Python and MLflow start in each
    assert "12 configurations: 12 ran, 0 reused, 0 diverged, 0 failed" in shown
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as store:
        parents = store.execute(
            "SELECT value, count(*) FROM tags WHERE key = 'mlflow.parentRunId' GROUP BY value"
        ).fetchall()
        kinds = store.execute(
            "SELECT value, count(*) FROM tags WHERE key = 'one_neuron.kind' GROUP BY value"
        ).fetchall()
    assert [number for _, number in parents] == [12]
    assert sorted(kinds) == [("configuration", 12), ("sweep", 1)]
    assert "12 configurations: 0 ran, 12 reused, 0 diverged, 0 failed" in project.run(*sweep, PYTHONPATH="src")
