"""What `evaluate` and `track` hold of a set does not grow with its pixels and names, and their results are right."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score

from one_neuron import layout
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.sources.report import ClassCount, Loaded, build_report
from one_neuron.storage.model import load_model
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.system.files import write_json
from one_neuron.system.outputs import write_digests
from tests.values import DATA, HDF5

pytestmark = pytest.mark.integration

NUM_PX, NAME_BYTES = 32, 1000  # a picture has 3,072 bytes of pixels
FEW, MANY = 200, 1000  # in each of both sets; above 1,000 the stage `train` would compile its loops
MOST = 400  # bytes that a picture may take: its label, z and probability, and what is computed of them
BLOCKS = """
import runpy, sys, tracemalloc
from pathlib import Path
from one_neuron.storage import names, pixel_file, prepared_set
pixel_file.BLOCK_BYTES, names.NAMES_AT_A_TIME = 2**15, 16
"""
LOADED = """
load = prepared_set.load_prepared
prepared_set.load_prepared = lambda path, **_: load(path)
"""
EVALUATE = """
work = runpy.run_path("pipeline/evaluate.py")["main"]
"""
TRACK = """
from one_neuron.tracking.result import read_result
work = lambda: read_result(Path.cwd()).content_key
"""
MEASURE = """
tracemalloc.start()
work()
print(tracemalloc.get_traced_memory()[1])
"""


def make_set(m: int, seed: int) -> PreparedSet:
    """Return pictures of which those of label 1 are brighter, with long names."""
    random = np.random.default_rng(seed)
    Y = (random.random(m) < 0.4).astype(np.uint8)
    X = random.integers(0, 200, (m, NUM_PX * NUM_PX * 3)) + 2 * Y[:, np.newaxis]
    names = tuple(f"{i}-".rjust(NAME_BYTES, "n") for i in range(m))
    return PreparedSet(X.astype(np.uint8), Y, names, Preprocessing(NUM_PX), ("other", "cat"), "folder")


def make_project(folder: Path, repository: Path, m: int) -> tuple[PreparedSet, PreparedSet]:
    """Write a project with two prepared sets of m pictures, and train on the first of them."""
    for part in ("src", "pipeline"):
        shutil.copytree(repository / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    train, test = make_set(m, 1), make_set(m, 2)
    save_prepared(folder / layout.TRAIN_FILE, train)
    save_prepared(folder / layout.TEST_FILE, test)
    counts = [ClassCount(train.classes[label], label, 0, 0) for label in (0, 1)]
    write_json(folder / layout.PREPARE_METRICS, build_report(Loaded(train, test, counts)))
    write_digests(layout.PREPARE_DIGESTS, [layout.PREPARE_METRICS], folder)
    settings = {
        "draw": {"seed": 1, "num_train": 2, "num_test": 2},
        "data": DATA | {"source": "folder", "num_px": NUM_PX},
        "hdf5": HDF5,
        "train": {"learning_rate": 0.001, "num_iterations": 9, "record_every": 3, "tolerance": 0, "threshold": 0.5},
        "evaluate": {"num_mistakes": 3},
    }
    (folder / layout.PARAMS_FILE).write_text(json.dumps(settings), encoding="utf-8")
    run(folder, "import runpy; runpy.run_path('pipeline/train.py')['main']()")
    return train, test


def run(folder: Path, program: str) -> str:
    """Run a program in a project and return what it printed."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    environment.pop("ONE_NEURON_MEMORY_MB", None)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_memory_does_not_grow_with_pixels_and_names(tmp_path: Path, repository: Path) -> None:
    """Of five times as many pictures, each takes far less than its pixels or its name.

    The same work with both in memory shows that this would be seen.
    """
    peaks: dict[tuple[str, int], int] = {}
    for m in (FEW, MANY):
        (folder := tmp_path / str(m)).mkdir()
        train, test = make_project(folder, repository, m)
        for stage, program in (("evaluate", EVALUATE), ("track", TRACK)):
            peaks[stage, m] = int(run(folder, BLOCKS + program + MEASURE))
    loaded = int(run(folder, BLOCKS + LOADED + TRACK + MEASURE))
    growth = {stage: (peaks[stage, MANY] - peaks[stage, FEW]) / (2 * (MANY - FEW)) for stage, _ in peaks}
    assert growth["evaluate"] < MOST
    assert growth["track"] < MOST
    assert loaded - peaks["track", MANY] > 2 * MANY * (NUM_PX * NUM_PX * 3 + NAME_BYTES - MOST)
    check_results(folder, train, test)


def check_results(folder: Path, train: PreparedSet, test: PreparedSet) -> None:
    """Compare what `evaluate` wrote with scikit-learn and NumPy, on the whole sets in memory."""
    parameters = load_model(folder / layout.MODEL_FILE).parameters
    metrics = json.loads((folder / layout.EVALUATE_METRICS).read_text(encoding="utf-8"))
    for name, prepared in (("train", train), ("test", test)):
        A = 1 / (1 + np.exp(-(prepared.X / 255 @ parameters.w + parameters.b)))
        assert metrics[f"{name}_accuracy"] == accuracy_score(prepared.Y, A > 0.5)
        assert metrics[name]["cost"] == pytest.approx(log_loss(prepared.Y, A), rel=1e-12)
        assert metrics[name]["roc_auc"] == pytest.approx(roc_auc_score(prepared.Y, A), rel=1e-12)
        assert metrics[name]["average_precision"] == pytest.approx(average_precision_score(prepared.Y, A), rel=1e-12)
    with (folder / layout.PREDICTIONS_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == list(test.names)
    assert [row["actual"] for row in rows] == [test.classes[label] for label in test.Y]
    assert [row["predicted"] for row in rows] == [test.classes[int(a > 0.5)] for a in A]
    assert [float(row["probability"]) for row in rows] == pytest.approx(A, rel=1e-12)
