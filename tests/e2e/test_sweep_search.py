"""Searches and single runs as users start them, and Hydra's own options, with the real DVC, Hydra and MLflow."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Project, make_project
from tests.e2e.sweeps import ONE_BY_ONE, count_finished, find_sweep_id, read_runs, run_here, start, sweep, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEARCH = (
    "sweep.search=tpe",
    "train.learning_rate=tag(log, interval(0.0001, 0.5))",
    "train.num_iterations=tag(log, int(interval(10, 400)))",
)


def test_a_killed_search_ends_with_all_trials_each_once(project: Project) -> None:
    """Killed within a batch and between two, it ends with the trials, and the best, of an undisturbed search."""
    expected = sweep(project, *SEARCH, MLFLOW_TRACKING_URI="sqlite:///peace.db")
    assert expected.startswith("search for 60 configurations, 12 at a time, 5 folds; 0 are there already\n")
    for target, more in ((17, [ONE_BY_ONE]), (36, [])):
        process = start(project, *SEARCH, *more)
        wait_for(lambda least=target: count_finished(project) >= least, process)  # type: ignore[misc]
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    killed = count_finished(project)
    assert 36 <= killed < 60
    printed = sweep(project, *SEARCH)
    assert f"; {killed} are there already\n" in printed
    assert f"\n60 configurations: {60 - killed} ran, {killed} reused, " in printed
    runs, peace = (read_runs(project, "configuration", store) for store in ("mlflow.db", "peace.db"))
    assert len({run.key for run in runs}) == len(runs) == len(peace) == 60
    assert {run.key for run in runs} == {run.key for run in peace}
    assert ", 0 diverged" not in printed  # some learning rates are too high
    best, other = (
        next(line for line in text.splitlines() if line.startswith("best: ")) for text in (printed, expected)
    )
    assert best == other
    (parent,) = read_runs(project, "sweep")
    assert parent.status == "FINISHED"
    more_trials = sweep(project, *SEARCH, "sweep.trials=72")
    assert "\n72 configurations: 12 ran, 60 reused" in more_trials
    assert find_sweep_id(more_trials) == find_sweep_id(printed) == parent.id
    assert {run.tags["mlflow.parentRunId"] for run in read_runs(project, "configuration")} == {parent.id}


def test_one_configuration_is_one_run(project: Project) -> None:
    """Without -m nothing is a sweep: one run, its scores, and its model; a later sweep takes it in."""
    values = ("train.learning_rate=0.01", "train.num_iterations=100")
    printed, again = (run_here(project, *values).splitlines() for _ in range(2))
    (run,) = read_runs(project, "configuration")
    assert printed[0] == "1 configuration, 5 folds"
    assert printed[1].startswith("train.learning_rate=0.01 train.num_iterations=100, validation accuracy ")
    assert printed[2].startswith("train accuracy ")
    assert printed[3] == f"tracked: run {run.id} in {project.folder / 'mlflow.db'}"
    assert printed[4] == f"promote it: one-neuron promote --run {run.id}"
    assert again[:-1] == [f"{printed[0]}; it is there already", *printed[1:-1]]
    assert read_runs(project, "sweep") == []
    assert "mlflow.parentRunId" not in run.tags
    promised = project.run("one-neuron", "promote", "--run", run.id, PYTHONPATH="src")
    assert f"SHA-256 will be {read_runs(project, 'configuration')[0].tags['one_neuron.model_sha256']}" in promised
    project.run("git", "checkout", "--quiet", "params.yaml")
    assert "2 configurations: 1 ran, 1 reused" in sweep(
        project, "train.learning_rate=0.01,0.02", "train.num_iterations=100"
    )
    (parent,) = read_runs(project, "sweep")
    assert {each.tags["mlflow.parentRunId"] for each in read_runs(project, "configuration")} == {parent.id}


def test_hydras_own_options_and_completion(tmp_path: Path) -> None:
    """They print what they print in any Hydra application, and run nothing."""
    project = make_project(tmp_path / "plain")  # Hydra's script for bash does not work below a folder with a space
    shown = run_here(project, "--help")
    assert "With -m: try many" in shown
    assert "sweep: course, fine, grid, tpe" in shown
    assert "\n  num_iterations: 2000\n" in shown
    assert "== Flags ==" in run_here(project, "--hydra-help")
    shown = run_here(project, "--cfg", "job", "-p", "train", "train.learning_rate=0.25")
    assert shown.splitlines()[:2] == ["# @package train", "learning_rate: 0.25"]
    assert "VectorizedSweeper" in run_here(project, "--cfg", "hydra", "-p", "hydra.sweeper")
    assert "hydra.searchpath in main" in run_here(project, "--info", "searchpath")
    completed = project.run(
        "bash",
        "-c",
        'eval "$(python pipeline/sweep.py -sc install=bash)"\n'
        'complete() { COMP_LINE="python pipeline/sweep.py $1"; COMP_CWORD=2; hydra_bash_completion; }\n'
        'for typed in train.l sweep=g; do complete $typed; echo "${COMPREPLY[@]}"; done',
        PYTHONPATH="src",
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert completed.splitlines() == ["train.learning_rate=", "sweep=grid"]
    assert project.run("git", "status", "--porcelain", "--ignored") == ""
