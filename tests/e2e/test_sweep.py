"""Sweeps as users run them, with the real DVC, Hydra and MLflow, on few and small pictures."""

import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from one_neuron.storage.model import load_model
from one_neuron.storage.prepared_set import load_prepared
from tests.e2e.conftest import Project, make_project

pytestmark = pytest.mark.integration

SCRIPT = (sys.executable, "pipeline/sweep.py")
RATES = "0.0001,0.0002,0.0004,0.0007,0.001,0.002,0.003,0.005,0.007,0.01,0.02,0.03"
GRID = (f"train.learning_rate={RATES}", "train.num_iterations=50,100,200,300,400")  # 60 configurations
ONE_BY_ONE = "hydra/sweeper=basic"  # otherwise all of them are recorded in one transaction
SMALL_GRID = ("train.learning_rate=0.002,0.01", "train.num_iterations=300,700")
KEPT = ("data/prepared", "models", "metrics", "plots", "params.yaml", "dvc.lock")


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


def sweep(project: Project, *overrides: str, **variables: str) -> str:
    """Run a sweep to its end, and return what it printed."""
    return project.run(*SCRIPT, "-m", *overrides, code=0, PYTHONPATH="src", **variables)


def start(project: Project, *overrides: str) -> subprocess.Popen[str]:
    """Start a sweep."""
    return project.start(*SCRIPT, "-m", *overrides, PYTHONPATH="src")


@pytest.fixture(scope="module")
def swept_once(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with a committed first result, after a sweep over the small grid; tests must not change it."""
    project = make_project(tmp_path_factory.mktemp("swept") / "one neuron")
    project.run("dvc", "repro")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "first result")
    before = digest(project, *KEPT)
    assert {"data/prepared/train.h5", "models/model.h5", "metrics/train.json", "plots/costs.csv"} <= before.keys()
    assert "\n4 configurations: 4 ran, 0 reused" in sweep(project, *SMALL_GRID)
    assert digest(project, *KEPT) == before, "a sweep changed what DVC knows"
    return project


@pytest.fixture
def swept(swept_once: Project, tmp_path: Path) -> Project:
    """Return a copy of that project."""
    shutil.copytree(swept_once.folder, tmp_path / "one neuron", symlinks=True)
    return Project(tmp_path / "one neuron")


def read_promotions(project: Project) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Return the first result with the run it was promoted from, and all promoted runs with their results."""
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as database:
        tags = "SELECT run_uuid, value FROM tags WHERE key = ?"
        results = database.execute(tags, ["one_neuron.promoted_from"]).fetchall()
        return results[0], database.execute(tags, ["one_neuron.promoted_to"]).fetchall()


def find_sweep_id(printed: str) -> str:
    """Return the id that a sweep prints at its end."""
    return next(line for line in printed.splitlines() if line.startswith("tracked: sweep ")).split()[2]


def drop_progress(stderr: str) -> list[str]:
    """Return the lines of stderr without the progress that a slow machine adds every ten seconds."""
    progress = re.compile(r"(configurations recorded|training \d+ conf.*): ")
    return [line for line in stderr.splitlines() if not progress.match(line)]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds while a process is running."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def forget_data(project: Project) -> None:
    """Remove the outputs of the stages, and DVC's cache and lock file."""
    for name in ("data", ".dvc/cache", ".dvc/tmp", ".one-neuron"):
        shutil.rmtree(project.folder / name)
    (project.folder / "dvc.lock").unlink()


def digest(project: Project, *names: str) -> dict[str, str]:
    """Return the SHA-256 of files, and of all files in folders."""
    roots = [project.folder / name for name in names]
    paths = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file()]
    return {str(path.relative_to(project.folder)): sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_sweep_does_not_take_over_one_that_is_still_at_work(swept: Project) -> None:
    """Its grid contains all that the other has tried so far, but not all that the other will try."""
    rates = [f"{0.0001 * number:.4f}" for number in range(1, 151)]
    fixed = ("train.num_iterations=1", "sweep.folds=0")
    before = count_finished(swept)
    first = start(swept, f"train.learning_rate={','.join(rates)}", *fixed, ONE_BY_ONE)
    wait_for(lambda: count_finished(swept) > before, first)
    second = sweep(swept, f"train.learning_rate={','.join([*rates[:-1], '0.04'])}", *fixed)
    printed, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    assert 0 < int(second.split("held out; ")[1].split()[0]) < 149  # it began while the other was at work
    assert find_sweep_id(printed) != find_sweep_id(second)


@pytest.mark.slow
def test_the_promoted_best_gives_the_model_that_the_sweep_kept(swept: Project) -> None:
    """Promotion changes only the promoted values, and `dvc repro` makes the model with the announced SHA-256.

    The new run and the configuration are linked.
    """
    best = min(
        read_runs(swept, "configuration"),
        key=lambda run: (-run.last("validation_accuracy"), run.last("validation_cost"), run.point[1]),
    )
    committed = (swept.folder / "params.yaml").read_text(encoding="utf-8")
    swept.edit("params.yaml", "num_mistakes: 12", "num_mistakes: 3")
    edited = (swept.folder / "params.yaml").read_bytes()
    refusal = swept.run("one-neuron", "promote", code=2, PYTHONPATH="src")
    assert refusal.startswith("one-neuron: 'params.yaml' has uncommitted changes")
    assert len(refusal.splitlines()) == 1
    assert (swept.folder / "params.yaml").read_bytes() == edited
    swept.run("git", "checkout", "--quiet", "params.yaml")
    assert best.tags["one_neuron.model_sha256"] in swept.run("one-neuron", "promote", PYTHONPATH="src")
    promoted = (swept.folder / "params.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(committed)
    values["train"]["learning_rate"], values["train"]["num_iterations"] = best.point
    assert yaml.safe_load(promoted) == values
    changed = [
        old.split(":")[0].strip()
        for old, new in zip(committed.splitlines(), promoted.splitlines(), strict=True)
        if old != new
    ]
    assert changed == ["learning_rate", "num_iterations"]
    assert "tracked: run" in swept.run("dvc", "repro")
    assert load_model(swept.folder / "models" / "model.h5").sha256 == best.tags["one_neuron.model_sha256"]
    sweep_id = best.tags["mlflow.parentRunId"]
    (result_id, found), links = read_promotions(swept)
    assert (found, links) == (f"{best.id} of sweep {sweep_id}", [(best.id, result_id)])
    # A value that was typed is promoted afterwards: the remedy that is printed links it.
    swept.run("git", "checkout", "--quiet", "params.yaml")
    other = next(run for run in read_runs(swept, "configuration") if run.point not in (best.point, (0.005, 2000)))
    swept.edit("params.yaml", "learning_rate: 0.005", f"learning_rate: {other.point[0]}")
    swept.edit("params.yaml", "num_iterations: 2000", f"num_iterations: {other.point[1]}")
    swept.run("dvc", "repro")
    lock = (swept.folder / "dvc.lock").read_bytes()
    printed = swept.run("one-neuron", "promote", "--run", other.id, PYTHONPATH="src")
    assert printed.endswith(f"of sweep {sweep_id}; `make track` links the result to that run.\n")
    assert len(read_promotions(swept)[1]) == 1
    swept.run("dvc", "repro", "--single-item", "--force", "track")  # the last line of `make track`
    assert other.id in {source for source, _ in read_promotions(swept)[1]}
    assert (swept.folder / "dvc.lock").read_bytes() == lock, "a promotion is not a parameter"


@pytest.mark.slow
def test_what_a_sweep_was_told_about_pictures_is_promoted_too(project: Project) -> None:
    """Their location and preprocessing are written to params.yaml."""
    folder = project.folder.parent / "elsewhere"
    rng = np.random.default_rng(1)
    for name, brightest in (("cat", 256), ("dog", 128)):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, brightest, (16, 24, 3), np.uint8)).save(folder / name / f"{number}.png")
    pictures = ("data.source=folder", f"data.path={folder}", "data.resize=crop,pad")
    sweep(project, *pictures, "train.learning_rate=0.001,0.01", "train.num_iterations=100")
    promised = project.run("one-neuron", "promote", PYTHONPATH="src").split("SHA-256 will be ")[1][:64]
    assert f"path: {folder} #" in (project.folder / "params.yaml").read_text(encoding="utf-8")
    assert "tracked: run" in project.run("dvc", "repro")
    assert load_model(project.folder / "models" / "model.h5").sha256 == promised


@pytest.mark.slow
def test_both_sweepers_find_the_same(swept: Project) -> None:
    """One by one or as columns of one matrix: the same keys and numbers; neither repeats the runs of the other."""
    assert "4 configurations: 0 ran, 4 reused" in sweep(swept, *SMALL_GRID, "hydra/sweeper=basic")
    sweep(swept, *SMALL_GRID, "hydra/sweeper=basic", MLFLOW_TRACKING_URI="sqlite:///other.db")
    together, single = (
        {run.key: run for run in read_runs(swept, "configuration", store)} for store in ("mlflow.db", "other.db")
    )
    assert sorted(run.point for run in together.values()) == [(0.002, 300), (0.002, 700), (0.01, 300), (0.01, 700)]
    assert single.keys() == together.keys()
    for key, run in together.items():
        assert {"cost", "validation_cost", "validation_accuracy", "test_accuracy"} <= {name for name, _ in run.points}
        assert single[key].params == run.params
        assert single[key].points == pytest.approx(run.points, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_a_sweep_leaves_what_dvc_knows_as_it_is_and_prepares_what_is_missing(swept: Project) -> None:
    """No file changes; deleted data are restored, and an edit of params.yaml prepares new data."""
    assert swept.run("git", "status", "--porcelain") == ""
    before = digest(swept, *KEPT)
    shutil.rmtree(swept.folder / "data" / "prepared")
    assert "4 configurations: 0 ran, 4 reused" in sweep(swept, *SMALL_GRID)
    assert digest(swept, *KEPT) == before
    swept.edit("params.yaml", "num_px: 16", "num_px: 8")
    assert "4 configurations: 4 ran, 0 reused" in sweep(swept, *SMALL_GRID)
    assert load_prepared(swept.folder / "data" / "prepared" / "train.h5").X.shape == (40, 8 * 8 * 3)
    results = digest(swept, "models", "metrics", "plots")
    assert results == {name: value for name, value in before.items() if name.startswith(("m", "plots"))}


@pytest.mark.slow
def test_an_interrupted_sweep_says_what_it_has_and_goes_on(project: Project) -> None:
    """After Ctrl-C: one line with the number of recorded runs, exit code 130; the same command does the rest."""
    rates = [f"{0.0002 * number:.4f}" for number in range(1, 101)]
    grid = (f"train.learning_rate={','.join(rates)}", "train.num_iterations=50", ONE_BY_ONE)
    process = start(project, *grid)
    wait_for(lambda: count_finished(project) >= 5, process)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    recorded = count_finished(project)
    assert process.returncode == 130
    assert 5 <= recorded < 100
    said, end = drop_progress(stderr)
    # What is being written at that moment may be whole in the store without being counted.
    wanted = "one-neuron: {} of 100 configurations are recorded; the same command again goes on from there"
    assert said in {wanted.format(recorded), wanted.format(recorded - 1)}
    assert end.startswith("one-neuron: interrupted")
    (parent,) = read_runs(project, "sweep")
    assert parent.status == "KILLED"
    assert f"100 configurations: {100 - recorded} ran, {recorded} reused" in sweep(project, *grid)
    runs = read_runs(project, "configuration")
    assert sorted(run.point[0] for run in runs) == [float(rate) for rate in rates]
    assert {run.status for run in [*runs, *read_runs(project, "sweep")]} == {"FINISHED"}
    assert [run.id for run in read_runs(project, "sweep")] == [parent.id]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train.learning_rate=0.001,0.01"], "python pipeline/sweep.py -m train.learning_rate=0.001,0.01"),
        (["-m", "train.learning_rate=0.001,-1,0.01"], "train.learning_rate is -1"),
        (["-m", "train.learning_rate=0.001,0,0.01"], "train.learning_rate is 0"),
        (["-m", "train.learning_rate=0.001,nan,0.01"], "train.learning_rate is nan"),
        (["-m", "train.lerning_rate=0.001,0.01"], "did you mean 'train.learning_rate'"),
        (["-m", "sweep=gird"], "Could not find 'sweep/gird'"),
        (["-m"], "nothing to try"),
        (["-m", "train.learning_rate=0.001,0.01", "sweep.folds=1"], "sweep.folds is 1"),
    ],
)
def test_wrong_use_is_one_line_and_nothing_is_made(project: Project, arguments: list[str], said: str) -> None:
    """Exit code 2 before any picture is drawn or any store is created."""
    process = project.start(*SCRIPT, *arguments, PYTHONPATH="src")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert said in stderr
    assert len(stderr.splitlines()) == 1
    assert not any((project.folder / name).exists() for name in ("mlflow.db", "mlartifacts", "data", "dvc.lock"))


def test_a_sweep_outside_the_root_is_refused(project: Project) -> None:
    """A sweep runs in the root only; no file is written elsewhere."""
    process = project.start(
        "sh", "-c", "cd docs && exec python ../pipeline/sweep.py -m train.learning_rate=0.1,0.2", PYTHONPATH="../src"
    )
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (2, "")
    assert "is not the root of the project" in stderr
    assert len(stderr.splitlines()) == 1
    assert project.run("git", "status", "--porcelain", "--ignored", "docs") == ""


def test_more_folds_than_pictures_of_a_class_are_refused(project: Project) -> None:
    """Exit code 3, one line, and no run."""
    labels = 40 // 2  # of the 40 training pictures that the stage draws, half are cats
    process = start(project, "train.learning_rate=0.001,0.01", f"sweep.folds={labels + 1}")
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (3, "")
    assert f"sweep.folds is {labels + 1}" in stderr
    assert len(stderr.splitlines()) == 1
    assert read_runs(project, "sweep") == read_runs(project, "configuration") == []


@pytest.mark.slow
def test_another_seed_does_not_matter_where_nothing_is_held_out(swept: Project) -> None:
    """The configurations are the same, and so is the sweep."""
    overrides = ("train.learning_rate=0.001,0.01", "train.num_iterations=50", "sweep.folds=0")
    sweep(swept, *overrides, "sweep.seed=1")
    assert "2 configurations: 0 ran, 2 reused" in sweep(swept, *overrides, "sweep.seed=2")


@pytest.mark.slow
def test_pictures_of_two_sizes_are_prepared_once_each(project: Project) -> None:
    """DVC prepares those of params.yaml, the others are in the cache; a second sweep prepares and runs nothing."""
    grid = ("data.num_px=8,16", "train.learning_rate=0.001,0.01", "train.num_iterations=100")
    sweep(project, *grid)
    (parent,) = read_runs(project, "sweep")
    runs = read_runs(project, "configuration")
    assert {run.tags["mlflow.parentRunId"] for run in runs} == {parent.id}
    assert sorted((run.params["data.num_px"], run.point[0]) for run in runs) == [
        ("16", 0.001),
        ("16", 0.01),
        ("8", 0.001),
        ("8", 0.01),
    ]
    sizes = {(run.params["data.num_px"], run.tags["one_neuron.keys"].split()[0]) for run in runs}
    assert len(sizes) == len({context for _, context in sizes}) == 2
    aside = project.folder / ".one-neuron" / "prepared"
    (folder,) = aside.iterdir()
    assert load_prepared(folder / "data" / "prepared" / "train.h5").preprocessing.num_px == 8
    assert load_prepared(project.folder / "data" / "prepared" / "train.h5").preprocessing.num_px == 16
    files = [*folder.rglob("*.h5"), *(project.folder / "data").rglob("*.*")]
    made = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}
    assert "4 configurations: 0 ran, 4 reused" in sweep(project, *grid)
    assert list(aside.iterdir()) == [folder]
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files} == made
    assert len(read_runs(project, "sweep")) == 1
