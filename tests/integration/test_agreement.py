"""The estimator, `one-neuron predict`, `one-neuron serve` and MLflow's server give the same bits for 200 pictures."""

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.pipeline import make_pipeline
from starlette.testclient import TestClient

from one_neuron.cli import main
from one_neuron.estimator import OneNeuronClassifier, PictureRows
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.serving.app import create_app
from one_neuron.serving.predictor import Predictor
from one_neuron.storage.model import Model, load_model, save_model
from one_neuron.tracking.model import _save_model
from one_neuron.tracking.store import prepare_mlflow

pytestmark = pytest.mark.integration
NUM_PX = 16
ENDINGS = (".png", ".jpg", ".webp", ".bmp")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write 200 pictures of several sizes and formats."""
    folder, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    paths = [folder / f"{i:03}{ENDINGS[i % 4]}" for i in range(200)]
    for i, path in enumerate(paths):
        shape = (int(random.integers(10, 60)), int(random.integers(10, 60)), 3)
        Image.fromarray((random.integers(0, 200, shape) + 55 * (i % 2)).astype(np.uint8)).save(path)
    return paths


def test_four_ways_to_the_same_bits(
    paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is trained by the estimator, on the same pictures."""
    monkeypatch.setattr(sys, "path", sys.path[:])  # MLflow puts the code of the model there, for good
    pipeline = make_pipeline(PictureRows(num_px=NUM_PX), OneNeuronClassifier(learning_rate=0.01, num_iterations=200))
    pipeline.fit(paths, np.arange(200) % 2 == 1)
    expected = pipeline.predict_proba(paths)[:, 1].tolist()
    assert len(set(expected)) == 200
    learned = pipeline[-1]
    parameters = Parameters(learned.coef_[0], float(learned.intercept_[0]))
    save_model(tmp_path / "model.h5", Model(parameters, Preprocessing(NUM_PX), ("dark", "bright"), 0.5))

    assert main(["predict", "--json", "--model", str(tmp_path / "model.h5"), *map(str, paths)]) == 0
    assert [json.loads(line)["probability"] for line in capsys.readouterr().out.splitlines()] == expected

    client = TestClient(create_app(Predictor(load_model(tmp_path / "model.h5"), {})))
    answers: list[float] = []
    for half in (paths[:100], paths[100:]):
        response = client.post("/predict", files=[("file", (path.name, path.read_bytes())) for path in half])
        answers += [result["probability"] for result in response.json()["results"]]
    assert answers == expected

    prepare_mlflow()
    from mlflow.pyfunc import load_model as load_pyfunc
    from mlflow.pyfunc.scoring_server import init

    of_no_run: Any = SimpleNamespace(artifact_location="model", model_id=None, source_run_id=None)
    _save_model(tmp_path / "pyfunc", tmp_path / "one_neuron", tmp_path / "model.h5", paths[0].read_bytes(), of_no_run)
    mlflow_client = TestClient(init(load_pyfunc(str(tmp_path / "pyfunc"))))
    data = [[base64.b64encode(path.read_bytes()).decode()] for path in paths]
    response = mlflow_client.post("/invocations", json={"dataframe_split": {"columns": ["picture"], "data": data}})
    assert [row["probability"] for row in response.json()["predictions"]] == expected
    bad = {"dataframe_split": {"columns": ["picture"], "data": [*data[:1], ["aGVsbG8="]]}}
    good, wrong = mlflow_client.post("/invocations", json=bad).json()["predictions"]
    assert (good["probability"], good["error"]) == (expected[0], None)
    assert wrong["probability"] is None
    assert wrong["error"].startswith("is not a picture that can be read")
