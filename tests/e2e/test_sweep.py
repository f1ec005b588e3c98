"""Sweeps as users run them, with the real DVC, Hydra and MLflow, on few and small pictures."""

import os
import re
import shutil
import signal
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from one_neuron.errors import SettingsError
from one_neuron.storage.model import load_model
from one_neuron.storage.prepared_set import load_prepared
from tests.browser import open_browser
from tests.e2e.conftest import Project, make_project
from tests.e2e.sweeps import SCRIPT, read_runs, run_here, start, sweep, wait_for

pytestmark = pytest.mark.integration

SMALL_GRID = ("train.learning_rate=0.002,0.01", "train.num_iterations=300,700")
KEPT = ("data/prepared", "models", "metrics", "plots", "params.yaml", "dvc.lock")


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


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which nothing was run; tests must not change it."""
    return make_project(tmp_path_factory.mktemp("untouched") / "one neuron")


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


def digest(project: Project, *names: str) -> dict[str, str]:
    """Return the SHA-256 of files, and of all files in folders."""
    roots = [project.folder / name for name in names]
    paths = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file()]
    return {str(path.relative_to(project.folder)): sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}


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
        (["-m", "evaluate.num_mistakes=1,2"], "'evaluate.num_mistakes=1,2' cannot be swept"),
        (["-m", "train.learning_rate=interval(0.1,0.2)"], "search in it with sweep.search=tpe"),
        (["-m", "train.learning_rate=0.1,0.2", "--config-dir=conf"], "--config-dir is not supported"),
        (["--cfg=job", "-m"], "Only one of --run, --multirun, --cfg"),
    ],
)
def test_wrong_use_is_one_line_and_nothing_is_made(untouched: Project, arguments: list[str], said: str) -> None:
    """The error of a wrong use is raised before any picture is drawn or any store is created."""
    with pytest.raises(SettingsError) as caught:
        run_here(untouched, *arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert untouched.run("git", "status", "--porcelain", "--ignored") == ""


def test_a_wrong_engine_is_refused_before_anything_is_made(untouched: Project) -> None:
    """Not recorded as the reason of configurations that failed."""
    with pytest.raises(SettingsError, match="ONE_NEURON_ENGINE = 'gpu'; expected local, ray"):
        run_here(untouched, "-m", *SMALL_GRID, ONE_NEURON_ENGINE="gpu")
    assert untouched.run("git", "status", "--porcelain", "--ignored") == ""


def test_wrong_use_ends_with_code_2(untouched: Project) -> None:
    """One line on stderr, in a process of its own and outside the root as well."""
    outside = "cd docs && exec python ../pipeline/sweep.py -m train.learning_rate=0.1,0.2"
    for command, said in (
        ([*SCRIPT, "-m", "train.learning_rate=0.1,-1"], "train.learning_rate is -1"),
        (["sh", "-c", outside], "is not the root of the project"),
    ):
        process = untouched.start(*command, PYTHONPATH=str(untouched.folder / "src"), PYTHONDONTWRITEBYTECODE="1")
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stdout) == (2, "")
        assert said in stderr
        assert len(stderr.splitlines()) == 1
    assert untouched.run("git", "status", "--porcelain", "--ignored") == ""


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


# --- MLflow's UI ---------------------------------------------------------------------

# How many charts have a line, a point or a surface: MLflow draws with Plotly, and parallel coordinates with parcoords.
DRAWN = """number => {
    const plots = [...document.querySelectorAll('.js-plotly-plot')].filter(
        plot => plot.querySelector('.scatterlayer path, .contourlayer path'));
    const canvases = [...document.querySelectorAll('.wrapper-parcoords canvas, .parcoords canvas')];
    return plots.length + (canvases.length > 0) >= number;
}"""


@pytest.fixture
def opened(swept_once: Project) -> Iterator[dict[str, str]]:
    """Start MLflow's UI, and return the links that it prints, by what they show."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    process = swept_once.start("one-neuron", "ui", "--port", str(port), PYTHONPATH="src")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"MLflow is at http://127.0.0.1:{port}; stop it with Ctrl-C. Open:\n"
        lines = [re.split(r"\s{2,}", process.stdout.readline().strip()) for _ in range(6)]
        wait_for(lambda: _answers(port), process)
        yield dict(lines)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()


def _answers(port: int) -> bool:
    """Return whether a server listens on a port of this machine."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_each_link_of_the_ui_opens_its_answer(swept_once: Project, opened: dict[str, str]) -> None:
    """In a fresh browser: the best run with parameters and accuracy, all in order, and charts that are drawn."""
    runs = read_runs(swept_once, "configuration")
    best = min(runs, key=lambda run: (-run.last("validation_accuracy"), run.last("validation_cost")))
    accuracy = f"{100 * best.last('validation_accuracy'):.1f} %"
    (result,) = read_runs(swept_once, "result")
    named = {run.id: run.tags["mlflow.runName"] for run in runs}
    expected = {
        "Best run of the last sweep": [f"train.learning_rate={best.params['train.learning_rate']} ", accuracy],
        "Results, newest first": [result.tags["mlflow.runName"], "train.learning_rate", "test_accuracy"],
        "Results, curves": ["cost vs test_cost", "train_accuracy vs test_accuracy"],
        "Last sweep, best first": [*named.values(), "validation_accuracy", "4 matching runs"],
        "Last sweep, charts": [*named.values(), "Parallel Coordinates", "log10_learning_rate"],
        "All sweeps, configurations nested": ["lr x iterations, drawn", "validation_accuracy"],
    }
    assert opened.keys() == expected.keys()
    with open_browser() as browser:
        for name, texts in expected.items():
            page = browser.new_page(viewport={"width": 1500, "height": 1400})
            page.goto(opened[name])
            for text in texts:
                page.get_by_text(text).first.wait_for(timeout=30_000)
            if "chart" in name or "curves" in name:
                page.wait_for_function(DRAWN, arg=5 if "chart" in name else 2, timeout=30_000)
            shown = page.inner_text("body")
            assert "Something went wrong" not in shown, name
            if name == "Last sweep, best first":
                assert min(named.values(), key=shown.index) == named[best.id]
            if name != "Best run of the last sweep":
                for other in expected.keys() - {"Best run of the last sweep"}:
                    assert page.get_by_role("link", name=other).count(), f"the note of {name} lacks {other}"
            page.close()
