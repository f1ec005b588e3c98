"""Sweeps that are killed, interrupted, or run at the same moment, in processes of their own."""

import itertools
import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from tests.e2e.conftest import Project
from tests.e2e.sweeps import ONE_BY_ONE, count_finished, drop_progress, find_sweep_id, read_runs, start, sweep, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RATES = "0.0001,0.0002,0.0004,0.0007,0.001,0.002,0.003,0.005,0.007,0.01,0.02,0.03"
GRID = (f"train.learning_rate={RATES}", "train.num_iterations=50,100,200,300,400")  # 60 configurations


def forget_data(project: Project) -> None:
    """Remove the outputs of the stages, and DVC's cache and lock file."""
    for name in ("data", ".dvc/cache", ".dvc/tmp", ".one-neuron"):
        shutil.rmtree(project.folder / name)
    (project.folder / "dvc.lock").unlink()


def test_a_sweep_killed_ten_times_is_completed_by_the_same_command(project: Project) -> None:
    """A kill -9 at any moment, start-up included, only costs time: the runs are those of an undisturbed sweep."""
    started = time.monotonic()
    sweep(project, *GRID, MLFLOW_TRACKING_URI="sqlite:///peace.db")
    length = time.monotonic() - started
    forget_data(project)
    chance = random.Random(1)
    # Six moments until the first run is recorded, one in each sixth of that time; three while there is something
    # to record, and one when only the summary is missing.
    moments = [0.6 * length * (part + chance.random()) / 6 for part in range(6)]
    targets = [1] * 6 + sorted(chance.sample(range(10, 58), 3)) + [60]
    killed, counts = 0, []
    for moment, target in zip(moments + [120.0] * 4, targets, strict=True):
        process = start(project, *GRID, ONE_BY_ONE)
        deadline = time.monotonic() + moment
        while process.poll() is None and time.monotonic() < deadline and count_finished(project) < target:
            time.sleep(0.01)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        counts.append(count_finished(project))
    assert killed >= 8, counts
    assert any(0 < count < 60 for count in counts), counts
    printed = sweep(project, *GRID)
    assert "\n60 configurations: " in printed
    assert "0 diverged, 0 failed" in printed
    (parent,) = read_runs(project, "sweep")
    assert parent.status == "FINISHED"
    runs, expected = (
        {run.key: run for run in read_runs(project, "configuration", store)} for store in ("mlflow.db", "peace.db")
    )
    assert len(read_runs(project, "configuration")) == len(runs) == 60
    assert runs.keys() == expected.keys()
    for key, run in runs.items():
        assert run.status == "FINISHED"
        assert run.tags["mlflow.parentRunId"] == parent.id
        assert run.params == expected[key].params
        assert run.points == pytest.approx(expected[key].points, rel=1e-9)
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as database:
        assert database.execute("SELECT count(*) FROM runs WHERE status != 'FINISHED'").fetchone() == (0,)


def test_four_sweeps_at_the_same_moment_share_a_fresh_store(project: Project) -> None:
    """Two are equal and all overlap: each configuration has one run, in the sweep that recorded it first."""
    asked = [
        ("0.001,0.002,0.003,0.005", "50,100,200,300"),
        ("0.001,0.002,0.003,0.005", "50,100,200,300"),
        ("0.003,0.005,0.01", "50,100,200,300"),
        ("0.001,0.003,0.01,0.02", "200,300,400"),
    ]
    processes = [start(project, f"train.learning_rate={rates}", f"train.num_iterations={n}") for rates, n in asked]
    printed = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, printed
    assert [drop_progress(stderr) for _, stderr in printed] == [[]] * 4
    points = {
        (float(rate), int(number))
        for rates, numbers in asked
        for rate, number in itertools.product(rates.split(","), numbers.split(","))
    }
    runs, parents = read_runs(project, "configuration"), read_runs(project, "sweep")
    assert sorted(run.point for run in runs) == sorted(points)
    assert len({run.key for run in runs}) == len(points)
    assert {run.status for run in runs + parents} == {"FINISHED"}
    named = [find_sweep_id(stdout) for stdout, _ in printed]
    assert named[0] == named[1]
    assert {parent.id for parent in parents} == set(named)
    for number, (stdout, _) in zip((16, 16, 12, 12), printed, strict=True):
        assert f"\n{number} configurations: " in stdout


def test_a_sweep_does_not_take_over_one_that_is_still_at_work(project: Project) -> None:
    """Its grid contains all that the other has tried so far, but not all that the other will try."""
    rates = [f"{0.0001 * number:.4f}" for number in range(1, 101)]
    fixed = ("train.num_iterations=1", "sweep.folds=0")
    before = count_finished(project)
    first = start(project, f"train.learning_rate={','.join(rates)}", *fixed, ONE_BY_ONE)
    wait_for(lambda: count_finished(project) > before, first)
    second = sweep(project, f"train.learning_rate={','.join([*rates[:-1], '0.04'])}", *fixed)
    printed, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    assert 0 < int(second.split("held out; ")[1].split()[0]) < 99  # it began while the other was at work
    assert find_sweep_id(printed) != find_sweep_id(second)


def test_an_interrupted_sweep_says_what_it_has_and_goes_on(project: Project) -> None:
    """After Ctrl-C: one line with the number of recorded runs, exit code 130; the same command does the rest."""
    rates = [f"{0.0005 * number:.4f}" for number in range(1, 41)]
    grid = (f"train.learning_rate={','.join(rates)}", "train.num_iterations=50")
    process = start(project, *grid, ONE_BY_ONE)
    wait_for(lambda: count_finished(project) >= 5, process)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    recorded = count_finished(project)
    assert process.returncode == 130
    assert 5 <= recorded < 40
    said, end = drop_progress(stderr)
    # What is being written at that moment may be whole in the store without being counted.
    wanted = "one-neuron: {} of 40 configurations are recorded; the same command again goes on from there"
    assert said in {wanted.format(recorded), wanted.format(recorded - 1)}
    assert end.startswith("one-neuron: interrupted")
    (parent,) = read_runs(project, "sweep")
    assert parent.status == "KILLED"
    assert f"40 configurations: {40 - recorded} ran, {recorded} reused" in sweep(project, *grid)
    runs = read_runs(project, "configuration")
    assert sorted(run.point[0] for run in runs) == [float(rate) for rate in rates]
    assert {run.status for run in [*runs, *read_runs(project, "sweep")]} == {"FINISHED"}
    assert [run.id for run in read_runs(project, "sweep")] == [parent.id]
