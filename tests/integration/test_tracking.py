"""Real MLflow in temporary folders: one run for each result, whatever happens meanwhile."""

import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.layout import CURVES_FILE, EVALUATE_METRICS, PREPARE_METRICS
from one_neuron.neuron import Parameters, predict_probability
from one_neuron.pictures.convert import encode_picture
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.settings.params import load_settings
from one_neuron.sources.report import ClassCount, Loaded, build_report
from one_neuron.storage.model import Model, load_model, save_model
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from one_neuron.system.files import write_csv, write_json
from one_neuron.system.outputs import read_costs, read_curves, read_json
from one_neuron.tracking import store
from one_neuron.tracking.connection import connect
from one_neuron.tracking.find_run import find_run
from one_neuron.tracking.parameters import run_parameters
from one_neuron.tracking.promotion import record_promotion
from one_neuron.tracking.record import record_result
from one_neuron.tracking.result import read_result
from one_neuron.tracking.sqlite_file import SWEEPS
from one_neuron.tracking.store import ensure_store, prepare_mlflow
from one_neuron.tracking.tags import ALSO_COMMITS, ALSO_EXP_NAMES, KEYS
from tests import bad_servers
from tests.results import seal

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).parents[2]
NUM_PX = 4
CLASSES = ("non-cat", "cat")
PARAMS = """\
draw: {seed: 1, num_train: 12, num_test: 7}
data: {source: drawn, num_px: 4, resize: stretch, decode: exact, path: pictures, positive_class: cat,
  test_fraction: 0.2, seed: 1, on_error: stop, max_skipped: 10}
hdf5: {train_file: a.h5, test_file: b.h5, train_x: x, train_y: y, test_x: x, test_y: y, classes: ''}
train: {learning_rate: 0.005, num_iterations: 2000, record_every: 100, tolerance: 0, threshold: 0.5}
evaluate: {num_mistakes: 12}
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "DVC_")):
            monkeypatch.delenv(name)
    # None of these may change where a run is recorded.
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")


def _prepared(seed: int, m: int) -> PreparedSet:
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, (m, NUM_PX * NUM_PX * 3), dtype=np.uint8)
    Y = (np.arange(m) % 2).astype(np.uint8)
    names = tuple(f"{i}.png" for i in range(m))
    return PreparedSet(X, Y, names, Preprocessing(NUM_PX), CLASSES, "drawn")


def write_result(folder: Path, *, seed: int = 0, points: int = 21) -> Path:
    """Write the outputs of the stages into `folder`."""
    train, test = _prepared(2 * seed, 12), _prepared(2 * seed + 1, 7)
    save_prepared(folder / "data/prepared/train.h5", train)
    save_prepared(folder / "data/prepared/test.h5", test)
    w = np.random.default_rng(seed).normal(size=NUM_PX * NUM_PX * 3)
    trained_with: dict[str, str | float] = {"learning_rate": 0.005, "train_sha256": train.sha256}
    model = Model(Parameters(w=w, b=0.1), Preprocessing(NUM_PX), CLASSES, 0.5, trained_with={**trained_with})
    save_model(folder / "models/model.h5", model)
    costs = [(100 * i, float(np.log(2) * np.exp(-i / 10))) for i in range(points)]
    write_csv(folder / "plots/costs.csv", ["iteration", "cost"], costs)
    write_csv(folder / "plots/predictions.csv", ["name", "actual", "predicted", "probability"], [("0.png", 0, 1, 0.5)])
    rows = [(iteration, cost, cost + 0.1, 0.5, 0.6) for iteration, cost in costs[:-1:5]]
    header = ["iteration", "train_cost", "test_cost", "train_accuracy", "test_accuracy"]
    write_csv(folder / "plots/curves.csv", header, [*rows, (costs[-1][0], costs[-1][1], 0.5, 0.8, 0.75)])
    (folder / "plots/curves.png").write_bytes(b"a picture of the costs")
    for number in range(3):
        picture = np.full((16, 16, 3), 50 * number, np.uint8)
        for name in (f"weights/{1000 * number:06}", "weights"):
            (folder / "plots" / f"{name}.png").parent.mkdir(exist_ok=True)
            (folder / "plots" / f"{name}.png").write_bytes(encode_picture(picture))
    split = {"m": 12, "cost": 0.5, "accuracy": 0.8, "precision": 0.7, "recall": 0.6, "f1": 0.65, "roc_auc": 0.9}
    split |= {"accuracy_low": 0.4674, "accuracy_high": 0.9111}
    accuracies = {"train_accuracy": 0.8, "test_accuracy": 0.75, "baseline_accuracy": 0.5}
    write_json(folder / "metrics/evaluate.json", {**accuracies, "train": split, "test": {**split, "accuracy": 0.75}})
    counts = [ClassCount("non-cat", 0, 6, 4), ClassCount("cat", 1, 6, 3)]
    report = build_report(Loaded(train, test, counts, skipped=[("a.png", "it is cut off")], ignored={".txt": 2}))
    write_json(folder / "metrics/prepare.json", report)
    first, last = costs[0][1], costs[-1][1]
    measured = {"first_cost": first, "last_cost": last, "diverged": False, "stability_bound": 0.0036}
    write_json(folder / "metrics/train.json", {"form": "gram", "m": 12, "n_x": 48, **measured})
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    seal(folder)
    return folder


@pytest.fixture
def root(tmp_path: Path, fresh_store: Path) -> Path:
    """Return a repository with a result and an empty store."""
    shutil.copy(fresh_store, tmp_path)  # `follow_move` updates its artifacts
    return write_result(tmp_path)


def client_of(root: Path) -> Any:
    """Return an MLflow client of the store in `root`."""
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(ensure_store(root).uri)


def runs_of(root: Path) -> list[Any]:
    """Return all runs of the experiment that are not deleted."""
    client = client_of(root)
    return list(client.search_runs([client.get_experiment_by_name("one-neuron").experiment_id]))


def models_of(root: Path) -> list[Any]:
    """Return all logged models of the experiment that are not deleted."""
    client = client_of(root)
    return list(client.search_logged_models([client.get_experiment_by_name("one-neuron").experiment_id]))


def run_python(program: str, *arguments: object, timeout: float = 120, **variables: str) -> str:
    """Run a program in a new process and return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "src")} | variables
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


RunStage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_stage() -> RunStage:
    """Return a function that runs the script of the stage in a folder."""

    def run(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROJECT / "pipeline" / "track.py")],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(PROJECT / "src")} | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


# --- one run, all of it --------------------------------------------------------------


def test_a_training_that_went_wrong_is_a_run_like_any_other_and_tagged(root: Path) -> None:
    """So that it can be found, or filtered out, in the UI."""
    assert client_of(root).get_run(record_result(root, root).run_id).data.tags["one_neuron.status"] == "finished"
    metrics = json.loads((root / "metrics/train.json").read_text())
    write_json(root / "metrics/train.json", {**metrics, "diverged": True})
    seal(root)
    run = client_of(root).get_run(record_result(root, root).run_id)
    assert run.data.tags["one_neuron.status"] == "diverged"
    assert run.data.tags["mlflow.note.content"].startswith("**The training diverged**")
    assert run.data.params["stability_bound"] == "0.0036"
    assert run.info.status == "FINISHED"


def test_copies_between_the_sets_are_a_tag(root: Path) -> None:
    """As in metrics/prepare.json; a name may be longer than a tag."""
    assert "one_neuron.warning" not in client_of(root).get_run(record_result(root, root).run_id).data.tags
    report = read_json(PREPARE_METRICS, root)
    write_json(root / "metrics/prepare.json", {**report, "num_copies": 3, "copies": [["a.png", "b.png" * 2000]]})
    seal(root)
    run = client_of(root).get_run(record_result(root, root).run_id)
    expected = "3 test pictures are copies of training pictures, for instance 'a.png' of 'b.pngb.png"
    assert run.data.tags["one_neuron.warning"].startswith(expected)


@pytest.mark.parametrize(("key", "value"), [("resize", "pad"), ("decode", "fast")])
def test_a_model_for_pictures_made_in_another_way_is_refused(root: Path, key: str, value: str) -> None:
    """As after an edit of params.yaml without a run."""
    change: dict[str, Any] = {key: value}
    model = load_model(root / "models/model.h5")
    save_model(root / "models/model.h5", replace(model, preprocessing=replace(model.preprocessing, **change)))
    with pytest.raises(DataError, match=rf"made with {key} = {value}, '.*params\.yaml' says .*; run `dvc repro`"):
        read_result(root)


def test_first_call_makes_the_run_and_the_second_adds_nothing(root: Path) -> None:
    """The second call finds the run by its key and writes no file."""
    first = record_result(root, root)
    files = sorted(root.rglob("*"))
    second = record_result(root, root)
    assert (first.created, second.created) == (True, False)
    assert first.run_id == second.run_id
    assert [run.info.run_id for run in runs_of(root)] == [first.run_id]
    assert len(models_of(root)) == 1
    assert sorted(root.rglob("*")) == files


def test_run_shows_parameters_metrics_tags_and_files(root: Path) -> None:
    """All that the files hold is in the run, under the same names."""
    run_id = record_result(root, root).run_id
    client = client_of(root)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "2000 drawn lr 0.005"
    assert run.data.params["train.learning_rate"] == "0.005"
    assert (run.data.params["form"], run.data.params["n_x"]) == ("gram", "48")
    assert run.data.metrics == {
        "cost": read_costs(root)[-1][1],
        "train_accuracy": 0.8,
        "test_accuracy": 0.75,
        "test_accuracy_low": 0.4674,
        "test_accuracy_high": 0.9111,
        "baseline_accuracy": 0.5,
        "test_cost": 0.5,
        "train_roc_auc": 0.9,
        "test_roc_auc": 0.9,
        "test_precision": 0.7,
        "test_recall": 0.6,
        "test_f1": 0.65,
    }
    shown = {name for name in run.data.tags if not name.startswith("mlflow.")}
    assert shown == {f"one_neuron.{name}" for name in ("kind", "keys", "status", "model_sha256")}
    assert run.data.tags[KEYS] == read_result(root).content_key
    assert run.data.tags["one_neuron.model_sha256"] == load_model(root / "models/model.h5").sha256
    assert "dvc repro" in run.data.tags["mlflow.note.content"]

    def list_files(folder: str | None = None) -> list[str]:
        found = client.list_artifacts(run_id, folder)
        return [path for item in found for path in (list_files(item.path) if item.is_dir else [item.path])]

    files = sorted(list_files())
    images = [name for name in files if name.startswith("images/")]
    assert len(images) == 6
    assert [name for name in files if name not in images] == [
        "dvc.lock",
        "metrics/evaluate.json",
        "metrics/prepare.json",
        "metrics/train.json",
        "params.yaml",
        "plots/costs.csv",
        "plots/curves.csv",
        "plots/curves.png",
        "plots/predictions.csv",
        "weights.png",
    ]
    assert Path(client.download_artifacts(run_id, "plots/curves.png")).read_bytes() == b"a picture of the costs"


@pytest.mark.parametrize(("accuracy", "warns"), [(0.49, True), (0.5, True), (0.51, False)])
def test_a_model_that_is_not_better_than_the_baseline_says_so(root: Path, accuracy: float, warns: bool) -> None:
    """In the description, in which an equal accuracy is not better; and promotion would be refused."""
    measured = read_json(EVALUATE_METRICS, root)
    del measured["test"]["accuracy"]
    write_json(root / "metrics/evaluate.json", {**measured, "test_accuracy": accuracy})
    curves = (root / "plots/curves.csv").read_text()
    (root / "plots/curves.csv").write_text(f"{curves.removesuffix('0.75' + chr(10))}{accuracy}\n")
    seal(root)
    run_id = record_result(root, root).run_id
    warning = f"NOT BETTER THAN THE BASELINE: accuracy {100 * accuracy:.1f} %, always the most frequent class 50.0 %"
    assert (f"**{warning}**" in client_of(root).get_run(run_id).data.tags["mlflow.note.content"]) is warns
    assert find_run(root, run=run_id).warning == (f"test set: {warning}" if warns else "")


@pytest.fixture
def configurations(root: Path) -> list[str]:
    """Return the ids of two runs with the parameters of the result, and of one that has another learning rate."""
    connection = connect(root, experiment=SWEEPS)
    client, ids = connection.client, []
    params = run_parameters(load_settings(root / "params.yaml"))
    for name, rate in (("a*b", "0.005"), ("same", "0.005"), ("other", "0.01")):
        run = client.create_run(connection.experiment_id, run_name=name, tags={"one_neuron.kind": "configuration"})
        for key, value in (params | {"train.learning_rate": rate, "sweep.folds": "5"}).items():
            if not key.startswith("evaluate."):
                client.log_param(run.info.run_id, key, value)
        client.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)
    return ids


def promote_run(root: Path, run_id: str, sweep_id: str | None = None) -> None:
    """Record that a run was promoted."""
    record_promotion(root, replace(find_run(root, run=run_id), sweep_id=sweep_id))


def test_a_promotion_links_the_result_and_its_configuration(root: Path, configurations: list[str]) -> None:
    """Both ways, with tags and descriptions; the key is the same as without, and a second time adds nothing."""
    key = read_result(root).content_key
    promote_run(root, configurations[0], "5" * 32)
    result_id = record_result(root, root).run_id
    assert read_result(root).content_key == key
    client = client_of(root)
    result, source = client.get_run(result_id), client.get_run(configurations[0])
    assert result.data.tags[KEYS] == key
    assert result.data.tags["one_neuron.promoted_from"] == f"{configurations[0]} of sweep {'5' * 32}"
    assert source.data.tags["one_neuron.promoted_to"] == result_id
    start, own = (f"(#/experiments/{run.info.experiment_id}/runs/" for run in (source, result))
    end = "?workflowType=machine_learning)"
    first, second, *_ = result.data.tags["mlflow.note.content"].split("\n\n")
    assert first.startswith("Test accuracy **75.0 %** (95 % interval 46.7 to 91.1 %, baseline 50.0 %), train accuracy")
    assert second == (
        f"Its parameters were promoted from [a\\*b]{start}{configurations[0]}{end} "
        f"of the [sweep 55555555]{start}{'5' * 32}{end}."
    )
    name = result.info.run_name.replace("_", "\\_")
    assert source.data.tags["mlflow.note.content"] == (
        f"Promoted: the result with these parameters is [{name}]{own}{result_id}{end}."
    )
    record_result(root, root)
    assert client.get_run(result_id).data.tags == result.data.tags


def test_the_last_promotion_counts(root: Path, configurations: list[str]) -> None:
    """The same values from another sweep; the result was there before. A queued experiment runs in another folder."""
    promote_run(root, configurations[1])
    result_id = record_result(root, root).run_id
    promote_run(root, configurations[0])
    (root / "queued").mkdir()
    assert record_result(write_result(root / "queued"), root).run_id == result_id
    tags = client_of(root).get_run(result_id).data.tags
    assert tags["one_neuron.promoted_from"] == configurations[0]
    assert tags["mlflow.note.content"].count("promoted from") == 1


def test_edited_parameters_are_not_the_promoted_ones(root: Path, configurations: list[str]) -> None:
    """Neither those of another configuration, nor a result promoted from itself."""
    result_id = record_result(root, root).run_id
    for run_id in (configurations[2], result_id):
        promote_run(root, run_id)
        assert record_result(root, root).run_id == result_id
        assert "one_neuron.promoted_from" not in client_of(root).get_run(result_id).data.tags


@pytest.mark.parametrize("points", [1, 21, 2001])
def test_cost_history_is_that_of_the_file(root: Path, points: int) -> None:
    """Every point has its iteration as step; more than one batch is fine."""
    write_result(root, points=points)
    run_id = record_result(root, root).run_id
    history = client_of(root).get_metric_history(run_id, "cost")
    assert sorted((point.step, point.value) for point in history) == read_costs(root)
    assert abs(history[0].timestamp / 1000 - time.time()) < 60


def test_curves_end_with_the_final_measures(root: Path) -> None:
    """Each measure of the snapshots is a curve; its last point, which the model shows, is the final measure."""
    run_id = record_result(root, root).run_id
    client = client_of(root)
    expected = read_curves(CURVES_FILE, ["test_cost", "train_accuracy", "test_accuracy"], root)
    for name, curve in expected.items():
        history = client.get_metric_history(run_id, name)
        assert sorted((point.step, point.value) for point in history) == curve
    assert len(curve) == 5
    (model,) = models_of(root)
    shown = {metric.key: (metric.step, metric.value) for metric in model.metrics}
    assert {name: shown[name] for name in expected} == {name: curve[-1] for name, curve in expected.items()}


def test_pictures_of_w_are_logged_with_their_steps(root: Path) -> None:
    """Under the names, and with the tag, that MLflow's own `log_image` gives."""
    run_id = record_result(root, root).run_id
    client = client_of(root)
    pattern = r"images/weights\+step\+(\d+)\+timestamp\+(\d+)\+[0-9a-f-]{36}(\.png|\+compressed\.webp)"

    def list_images() -> list[tuple[str, ...]]:
        names = [re.fullmatch(pattern, item.path) for item in client.list_artifacts(run_id, "images")]
        return sorted(name.groups() for name in names if name)

    start_time = str(client.get_run(run_id).info.start_time)
    ends = (".png", "+compressed.webp")
    assert list_images() == sorted((step, start_time, end) for step in ("0", "1000", "2000") for end in ends)
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
    for item in client.list_artifacts(run_id, "images"):
        with Image.open(client.download_artifacts(run_id, item.path)) as picture:
            assert picture.format == ("PNG" if item.path.endswith(".png") else "WEBP")
            grey = int(item.path.split("+")[2]) // 20
            assert set(np.asarray(picture.convert("RGB")).ravel().tolist()) == {grey}

    own = client.create_run(connect(root).experiment_id).info.run_id
    client.log_image(own, np.zeros((4, 4, 3), np.uint8), key="weights", step=7)
    names = [item.path for item in client.list_artifacts(own, "images")]
    assert len(names) == 2
    assert all(re.fullmatch(pattern, name) for name in names)
    assert client.get_run(own).data.tags["mlflow.loggedImages"] == "True"


def test_data_sets_carry_our_digests(root: Path) -> None:
    """Both sets are inputs of the run, with the SHA-256 of all their pixels."""
    run_id = record_result(root, root).run_id
    inputs = client_of(root).get_run(run_id).inputs.dataset_inputs
    found = {}
    for item in inputs:
        tags = {tag.key: tag.value for tag in item.tags}
        found[tags["mlflow.data.context"]] = (item.dataset.name, item.dataset.digest, tags["sha256"])
        assert json.loads(item.dataset.source)["sha256"] == tags["sha256"]
    train, test = (load_prepared(root / f"data/prepared/{name}.h5").sha256 for name in ("train", "test"))
    assert found == {"training": ("drawn-train", train[:32], train), "testing": ("drawn-test", test[:32], test)}


def test_one_changed_pixel_is_another_result(root: Path) -> None:
    """MLflow's own digest would not notice."""
    first = record_result(root, root)
    prepared = load_prepared(root / "data/prepared/test.h5")
    X = prepared.X.copy()
    X[-1, -1] ^= 1  # beyond what MLflow's own digest would read of real pictures
    save_prepared(root / "data/prepared/test.h5", replace(prepared, X=X))
    second = record_result(root, root)
    assert second.created
    assert second.run_id != first.run_id
    assert len(runs_of(root)) == 2


def test_nothing_but_git_is_started_and_nothing_is_connected_to(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pip, no network."""
    started = []
    original = subprocess.Popen.__init__

    def note(self: Any, command: Any, *rest: Any, **more: Any) -> None:
        started.append(command[0])
        original(self, command, *rest, **more)

    def refuse(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(subprocess.Popen, "__init__", note)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    record_result(root, root)
    assert set(started) <= {"git"}


def test_later_commits_and_names_are_added_and_the_first_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that several commits give is one run that lists them all."""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", "params.yaml", "dvc.lock")
    commits = []
    for name in ("first-name", "second-name", "second-name", ""):
        git("commit", "--allow-empty", "-m", "a commit")
        commits.append(git("rev-parse", "HEAD"))
        monkeypatch.setenv("DVC_EXP_NAME", name)
        run_id = record_result(root, root).run_id
    (run,) = runs_of(root)
    assert run.info.run_id == run_id
    assert run.info.run_name == run.data.tags["dvc.exp_name"] == "first-name"
    assert (run.data.tags["mlflow.source.git.commit"], run.data.tags["git.dirty"]) == (commits[0], "false")
    assert run.data.tags[ALSO_COMMITS].split() == commits[1:]
    assert run.data.tags[ALSO_EXP_NAMES] == "second-name"
    assert f"git checkout {commits[0]}" in run.data.tags["mlflow.note.content"]


# --- the model -----------------------------------------------------------------------

LOAD = """
import socket, sys
def refuse(*_): raise AssertionError("the network was used")
socket.socket.connect = refuse
from pathlib import Path
import numpy as np
import pandas as pd
import mlflow
uri, pictures, expected, project = sys.argv[1:]
model = mlflow.pyfunc.load_model(uri)
X, expected = [path.read_bytes() for path in sorted(Path(pictures).iterdir())], np.load(expected)
for part in (slice(0, 1), slice(None)):
    predicted = model.predict(pd.DataFrame({"picture": X[part]}))
    assert predicted["probability"].to_numpy().tobytes() == expected[part].tobytes()
    assert list(predicted["class"]) == ["cat" if p > 0.5 else "non-cat" for p in expected[part]]
    assert predicted["probability"].dtype == np.float64
example = model.predict(model.input_example)
assert len(example) == 1
assert example["probability"][0] == expected[0]
assert predicted["error"].isna().all()
bad = [b"text", b"", X[0][:-30], "text", None]
mixed = model.predict(pd.DataFrame({"picture": [X[0], *bad, X[1]]}))
assert mixed["probability"].iloc[[0, -1]].tolist() == expected[:2].tolist()
assert mixed["probability"].iloc[1] is mixed["class"].iloc[1] is None
assert mixed["probability"].isna().tolist() == mixed["class"].isna().tolist() == [False] + [True] * 5 + [False]
starts = ["is not a picture that can be read", "is empty (0 bytes)", "is damaged", "is 'text'; expected", "is None;"]
assert all(error.startswith(start) for error, start in zip(mixed["error"][1:-1], starts, strict=True)), mixed["error"]
assert mixed["error"].isna().to_numpy()[[0, -1]].all()
try:
    model.predict(np.zeros((1, 4, 4, 3), dtype=np.uint8))
except mlflow.exceptions.MlflowException:
    pass
else:
    raise AssertionError("pixels were taken")
files = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
assert not [file for file in files if file.startswith(project)]
print("fine")
"""


def test_model_loads_anywhere_without_pickle_and_gives_the_same_bits(root: Path, tmp_path: Path) -> None:
    """Another process and folder, no repository, no network: the same bits."""
    record_result(root, root)
    (model,) = models_of(root)
    assert (model.name, model.status.value) == ("cat or non-cat, 2000 drawn lr 0,005", "READY")
    test = load_prepared(root / "data/prepared/test.h5")
    expected = predict_probability(test.X, load_model(root / "models/model.h5").parameters)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pictures").mkdir()
    for i, row in enumerate(test.X):
        (elsewhere / "pictures" / f"{i}.png").write_bytes(encode_picture(row.reshape(NUM_PX, NUM_PX, 3)))
    np.save(elsewhere / "expected.npy", expected)
    shutil.rmtree(root / "data")  # the run must stand alone
    shutil.rmtree(root / "models")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"models:/{model.model_id}", "pictures", "expected.npy", str(PROJECT / "src")],
        cwd=elsewhere,
        env={
            **{
                key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("MLFLOW_")
            },
            "MLFLOW_TRACKING_URI": ensure_store(root).uri,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("fine\n"), done.stderr


def test_model_is_linked_pinned_and_without_junk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run names the model, the model its requirements, which are not compared; no caches, no pickles."""
    from importlib.metadata import version

    from mlflow.utils import requirements_utils

    compared: list[str] = []
    monkeypatch.setattr(requirements_utils, "_check_requirement_satisfied", compared.append)
    requirements_utils.warn_dependency_requirement_mismatches(["numpy"])
    assert compared.pop() == "numpy"  # what MLflow would call for each requirement
    run_id = record_result(root, root).run_id
    run, (model,) = client_of(root).get_run(run_id), models_of(root)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.source_run_id == run_id
    assert {metric.key: metric.value for metric in model.metrics}["test_accuracy"] == 0.75
    (folder,) = (root / "mlartifacts" / "models").iterdir()
    files = sorted(path.relative_to(folder / "artifacts").as_posix() for path in folder.rglob("*") if path.is_file())
    assert not [name for name in files if name.endswith((".pkl", ".pyc")) or "__pycache__" in name]
    assert "code/one_neuron/neuron.py" in files
    requirements = (folder / "artifacts" / "requirements.txt").read_text().split()
    assert requirements == [f"{name}=={version(name)}" for name in ("h5py", "mlflow", "numpy", "pandas", "pillow")]
    assert compared == []


SERVE = """
import base64, json, sys
from pathlib import Path
import numpy as np
import mlflow
import pandas as pd
from mlflow.pyfunc.scoring_server import invocations
uri, folder = sys.argv[1:]
model, probability = mlflow.pyfunc.load_model(uri), []
for path in sorted(Path(folder).iterdir()):
    (direct,) = model.predict(pd.DataFrame({"picture": [path.read_bytes()]}))["probability"]
    body = json.dumps({"dataframe_records": [{"picture": base64.b64encode(path.read_bytes()).decode()}]})
    answer = invocations(body, "application/json", model, model.metadata.get_input_schema())
    assert answer.status == 200, answer.response
    assert json.loads(answer.response)["predictions"][0]["probability"] == direct
    probability.append(direct)
np.save("probability.npy", probability)
"""


def test_model_treats_pictures_as_the_command_does(root: Path, tmp_path: Path) -> None:
    """Of any size and mode, turned, deep, cropped, read fast: a file, its bytes and JSON give the same bits."""
    trained = load_model(root / "models/model.h5")
    model = replace(trained, preprocessing=Preprocessing(NUM_PX, "crop", "fast"))
    save_model(root / "models/model.h5", model)
    params = PARAMS.replace("resize: stretch, decode: exact", "resize: crop, decode: fast")
    (root / "params.yaml").write_text(params)
    record_result(root, root)
    folder = tmp_path / "pictures"
    folder.mkdir()
    grey = np.arange(30 * 50).reshape(30, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    colours = Image.fromarray(np.stack([grey % 256, grey // 6, 255 - grey // 6], axis=-1).astype(np.uint8))
    colours.save(folder / "a.jpg", exif=exif)
    colours.convert("CMYK").save(folder / "b.jpg")
    colours.save(folder / "c.webp", exif=exif, lossless=True)
    Image.fromarray((40 * grey).astype(np.uint16)).save(folder / "d.tif")
    colours.convert("RGBA").rotate(30).save(folder / "e.png")
    pixels = [load_picture(path, model.preprocessing) for path in sorted(folder.iterdir())]
    stretched = [load_picture(path, Preprocessing(NUM_PX)) for path in sorted(folder.iterdir())]
    assert not any((one == other).all() for one, other in zip(pixels, stretched, strict=True))
    (logged,) = models_of(root)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, f"models:/{logged.model_id}", str(folder)],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": ensure_store(root).uri, "MLFLOW_RUN_ID": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = predict_probability(np.stack(pixels).reshape(5, -1), model.parameters)
    assert np.load(tmp_path / "probability.npy").tobytes() == expected.tobytes()


# --- lost, interrupted, moved --------------------------------------------------------


def test_run_comes_back_after_the_store_was_deleted(root: Path, run_stage: RunStage) -> None:
    """The files are enough to fill a new store."""
    old = run_stage(root).stdout
    (root / "mlflow.db").unlink()  # its artifacts stay and must not hurt
    new = run_stage(root).stdout
    assert "(new)" in old
    assert "(new)" in new
    assert old != new
    (run,) = runs_of(root)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == 0.75


STEPS = [
    "log_inputs",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "log_artifacts",
    "set_tag",
    "set_terminated",
]


@pytest.mark.parametrize("step", STEPS)
def test_an_attempt_that_was_killed_is_completed(root: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """One finished run remains, without duplicates, wherever the first attempt stopped."""
    prepare_mlflow()
    from mlflow import MlflowClient

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, die)
        with pytest.raises(KeyboardInterrupt):
            record_result(root, root)
    (broken,) = runs_of(root)
    assert broken.info.status == "RUNNING"
    run_id = record_result(root, root).run_id
    (run,) = runs_of(root)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    (model,) = models_of(root)
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert model.status.value == "READY"
    kept = root / "mlartifacts/models"
    assert {path.relative_to(kept).parts[0] for path in kept.rglob("*") if path.is_file()} == {model.model_id}
    history = client_of(root).get_metric_history(run_id, "cost")
    assert sorted((point.step, point.value) for point in history) == read_costs(root)
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        points = connection.execute("SELECT count(*) FROM metrics").fetchone()[0]
    curves = read_curves(CURVES_FILE, ["test_cost", "train_accuracy", "test_accuracy"], root)
    assert points == len(history) + sum(map(len, curves.values())) + len(run.data.metrics) - 4
    assert len(list((root / "mlartifacts").rglob("images/*"))) == 6
    assert not record_result(root, root).created


def test_files_that_are_links_into_a_read_only_cache(root: Path) -> None:
    """With `cache.type symlink`, DVC makes every output a link; MLflow stores copies that it can replace."""
    cache = root.parent / f"{root.name} cache"
    expected = {}
    for number, path in enumerate([*sorted((root / "plots").rglob("*.*")), root / "models/model.h5"]):
        cache.mkdir(exist_ok=True)
        expected[path.name] = path.read_bytes()
        path.rename(cache / str(number))
        (cache / str(number)).chmod(0o444)
        path.symlink_to(cache / str(number))
    run_id = record_result(root, root).run_id
    stored = [path for path in (root / "mlartifacts").rglob("*") if path.is_file()]
    assert all(path.stat().st_mode & 0o200 and not path.is_symlink() for path in stored)
    plots = next(path for path in stored if path.name == "curves.csv").parent
    assert {path.name: path.read_bytes() for path in plots.iterdir()}.items() <= expected.items()
    assert run_id in str(plots)
    model = next(path for path in stored if path.name == "model.h5")
    assert (model.parent.name, model.read_bytes()) == ("artifacts", expected["model.h5"])


def test_artifacts_are_found_after_the_folder_was_renamed(tmp_path: Path, fresh_store: Path) -> None:
    """Old artifacts open, and new ones are stored in the new folder."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    shutil.copy(fresh_store, before)
    run_id = record_result(write_result(before), before).run_id
    before.rename(after)
    assert not record_result(after, after).created
    assert (
        Path(client_of(after).download_artifacts(run_id, "plots/curves.png")).read_bytes() == b"a picture of the costs"
    )
    write_result(after, seed=5)
    assert record_result(after, after).created
    assert not before.exists()


@pytest.mark.parametrize("name", ["with a space", "50%20 off, a#b? 猫"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    """Special characters of URIs are plain characters there."""
    root = write_result(tmp_path / name)
    run_id = record_result(root, root).run_id
    assert (
        Path(client_of(root).download_artifacts(run_id, "plots/curves.png")).read_bytes() == b"a picture of the costs"
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]


# --- many at once, killed ------------------------------------------------------------

TOGETHER = """
import os, sys, time
from pathlib import Path
from one_neuron.tracking.record import record_result
from one_neuron.tracking.store import prepare_mlflow
prepare_mlflow()
import alembic.command, mlflow.pyfunc, mlflow.store.tracking.sqlalchemy_store, pandas  # once, instead of in every child
root, folders = Path(sys.argv[1]), sys.argv[2:]
start, children = time.time() + 0.2, []
for folder in folders:
    child = os.fork()
    if child == 0:
        time.sleep(max(0, start - time.time()))
        try:
            record_result(Path(folder), root)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    children.append(child)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_eight_first_starts_at_once_give_eight_runs(tmp_path: Path) -> None:
    """No store yet, eight results: all runs and all their files are there."""
    folders = [write_result(tmp_path / f"copy {seed}", seed=seed) for seed in range(8)]
    run_python(TOGETHER, tmp_path, *folders)
    runs = runs_of(tmp_path)
    assert len({run.data.tags[KEYS] for run in runs}) == len(runs) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(models_of(tmp_path)) == 8
    assert all(run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri()) for run in runs)
    for run in runs:
        assert client_of(tmp_path).list_artifacts(run.info.run_id, "plots")


def test_four_with_the_same_result_give_one_run(tmp_path: Path) -> None:
    """The first process creates it."""
    folders = [write_result(tmp_path / f"copy {number}", seed=3) for number in range(4)]
    run_python(TOGETHER, tmp_path, *folders)
    (run,) = runs_of(tmp_path)
    assert run.info.status == "FINISHED"
    assert len(models_of(tmp_path)) == 1


def test_kills_and_many_first_starts_leave_a_store_that_works() -> None:
    """The short form of a program of the fault harness; three kills hit the migrations of a new store."""
    command = [sys.executable, "-m", "tests.faults.fresh_stores", "--processes", "4", "--stores", "1", "--kills", "3"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert counts["first starts"] == 4
    assert counts["kills between the first table and the last migration"] == 3
    assert counts["failures"] == 0


def test_a_new_store_has_the_tables_that_mlflow_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is a copy of the empty tables equals one that MLflow made, also where no copy can be kept."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    prepare_mlflow()
    SqlAlchemyStore(f"sqlite:///{tmp_path}/expected.db", "file:///nowhere").engine.dispose()  # type: ignore[no-untyped-call]
    expected = schema_of(tmp_path / "expected.db")
    assert expected
    (tmp_path / "file").touch()
    for name, folder in (("copied", tmp_path / "environment"), ("alone", tmp_path / "file/folder")):
        monkeypatch.setattr(store, "EMPTY_STORES", folder)
        ensure_store(tmp_path / name)
        assert schema_of(tmp_path / name / "mlflow.db") == expected
    assert len(list((tmp_path / "environment").iterdir())) == 1


def schema_of(database: Path) -> list[str]:
    """Return the words of the statements that made a SQLite file; the order of constraints differs between runs."""
    with closing(sqlite3.connect(database)) as connection:
        statements = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")
        words = [word for (sql,) in statements for word in sql.replace(",", " ").split()]
        return sorted([*words, *map(str, connection.execute("SELECT version_num FROM alembic_version"))])


# --- servers ---------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path, fresh_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a result whose store is used without the lock in that folder."""
    shutil.copy(fresh_store, tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db?timeout=20")
    return write_result(tmp_path / "folder")


def test_a_run_that_another_machine_is_at_work_on_is_left_alone(shared: Path) -> None:
    """An old unfinished run was interrupted and is completed; a recent one may finish at any moment."""
    client = client_of(shared)
    experiment_id = client.get_experiment_by_name("one-neuron").experiment_id
    tags = {KEYS: read_result(shared).content_key}
    young = client.create_run(experiment_id, tags=tags).info.run_id
    assert record_result(shared, shared).run_id != young
    assert client.get_run(young).info.status == "RUNNING"
    write_result(shared, seed=1)
    tags = {KEYS: read_result(shared).content_key}
    old = client.create_run(experiment_id, tags=tags, start_time=int(1000 * (time.time() - 3600))).info.run_id
    assert record_result(shared, shared).run_id == old
    assert client.get_run(old).info.status == "FINISHED"


def test_of_two_runs_that_were_finished_at_once_the_first_stays(shared: Path) -> None:
    """The next call sees both and deletes the later one and its model."""
    client = client_of(shared)
    first = record_result(shared, shared).run_id
    key = read_result(shared).content_key
    client.set_tag(first, KEYS, "hidden")
    second = record_result(shared, shared).run_id
    client.set_tag(first, KEYS, key)
    assert second != first
    assert (record_result(shared, shared).run_id, record_result(shared, shared).created) == (first, False)
    assert [run.info.run_id for run in runs_of(shared)] == [first]
    assert len(models_of(shared)) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Start an MLflow server that keeps the artifacts, and return its address."""
    with bad_servers.real(tmp_path / "server") as address:
        yield address


@pytest.mark.slow
def test_a_server_keeps_run_model_and_artifacts(tmp_path: Path, server: str, run_stage: RunStage) -> None:
    """With MLFLOW_TRACKING_URI everything is stored there and nothing in the folder."""
    folder = write_result(tmp_path / "folder")
    before = {*folder.rglob("*")}
    outputs = [run_stage(folder, MLFLOW_TRACKING_URI=server) for _ in range(2)]
    assert [(done.returncode, done.stderr) for done in outputs] == [(0, "")] * 2
    assert f"(new) in {server}\n" in outputs[0].stdout
    assert f"(already there) in {server}\n" in outputs[1].stdout
    assert outputs[1].stdout.count(f"  {server}/#/experiments/") == 3  # the run, and the views that the server took
    assert "make ui" not in outputs[1].stdout
    new = {path.name for path in {*folder.rglob("*")} - before}
    assert new == {".one-neuron", "stages", "store.lock", "track.lock", "tracked.json"}
    kept = {path.name for path in (tmp_path / "server" / "kept").rglob("*")}
    assert {"curves.png", "evaluate.json", "params.yaml", "MLmodel", "model.h5"} <= kept


# --- what is refused -----------------------------------------------------------------


def test_a_store_of_another_version_is_not_migrated_unasked(root: Path) -> None:
    """A migration is the user's decision."""
    ensure_store(root)  # updates its artifact locations
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'bd07f7e963c5'")
        connection.commit()
    before = (root / "mlflow.db").read_bytes()
    with pytest.raises(EnvironmentProblem, match=r"mlflow\.db' has the schema bd07f7e963c5 .* `mlflow db upgrade"):
        record_result(root, root)
    assert (root / "mlflow.db").read_bytes() == before


def test_a_damaged_store_is_one_line(root: Path) -> None:
    """MLflow's pages of output become one line that names the file."""
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.execute("ALTER TABLE tags RENAME COLUMN value TO lost")
        connection.commit()
    with pytest.raises(EnvironmentProblem, match=r"the MLflow store '.*mlflow\.db' cannot be used") as caught:
        record_result(root, root)
    assert len(str(caught.value)) < 500


def test_a_deleted_experiment_says_how_to_restore_it(root: Path) -> None:
    """MLflow refuses the name of a deleted experiment."""
    client = client_of(root)
    client.delete_experiment(client.get_experiment_by_name("one-neuron").experiment_id)
    with pytest.raises(EnvironmentProblem, match="mlflow experiments restore --experiment-id 1"):
        record_result(root, root)


def test_a_run_deleted_in_the_ui_is_made_again(root: Path) -> None:
    """A deleted run does not show a result."""
    first = record_result(root, root)
    client_of(root).delete_run(first.run_id)
    second = record_result(root, root)
    assert second.created
    assert second.run_id != first.run_id


def test_a_full_disk_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run stays unfinished, and is completed when the disk has space."""

    def fill(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", fill)
    monkeypatch.setattr(shutil, "copyfile", fill)
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        record_result(root, root)


def test_a_store_that_could_not_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk becomes full after the tables were copied."""

    def fill(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(EnvironmentProblem, match="No space left on device"):
        ensure_store(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [".one-neuron", "store.lock"]


# --- the stage -----------------------------------------------------------------------


def test_stage_prints_the_links_and_keeps_the_run_in_the_repository(
    root: Path, tmp_path: Path, run_stage: RunStage
) -> None:
    """In a temporary copy, the run goes to the repository that DVC_ROOT names."""
    copy = write_result(tmp_path / ".dvc" / "tmp" / "exps" / "x", seed=9)
    before = {*copy.rglob("*")}
    done = run_stage(copy, DVC_ROOT=str(root), DVC_EXP_NAME="brave-cat")
    (run,) = runs_of(root)
    place = root / "mlflow.db"
    assert (done.returncode, done.stderr) == (0, "")
    first, *links = done.stdout.splitlines()
    assert first == f"tracked: run {run.info.run_id[:8]} (new) in {place}"
    start, mode = "http://127.0.0.1:5000/#/experiments/1/runs", "workflowType=machine_learning"
    assert [line.split()[-1] for line in links[1:]] == [
        f"{start}/{run.info.run_id}?{mode}",
        f"{start}?{mode}&viewStateShareKey=results",
        f"{start}?{mode}&viewStateShareKey=result-charts&compareRunsMode=CHART",
    ]
    assert run.info.run_name == "brave-cat"
    new = {path.relative_to(copy).as_posix() for path in {*copy.rglob("*")} - before if path.is_file()}
    assert new == {"data/tracked.json", ".one-neuron/stages/track.lock"}  # DVC deletes this folder
    shutil.rmtree(copy)
    assert client_of(root).list_artifacts(run.info.run_id, "plots")


@pytest.mark.parametrize(
    ("file", "code"),
    [("mlflow.db", 4), ("models/model.h5", 3), ("metrics/prepare.json", 3), ("metrics/evaluate.json", 3)],
)
def test_stage_says_in_one_line_which_file_is_broken(root: Path, run_stage: RunStage, file: str, code: int) -> None:
    """Exit code 3 for a file of the result, 4 for the store."""
    (root / file).write_bytes(b"broken")
    done = run_stage(root)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert file in done.stderr
