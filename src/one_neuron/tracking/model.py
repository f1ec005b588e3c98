"""The model and the data sets of a result, as MLflow stores them."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from one_neuron.layout import SOURCE_ROOT, find_code
from one_neuron.pictures.convert import encode_picture
from one_neuron.storage.model import Model as StoredModel
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.tracking.tags import MODEL_SHA256

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, LoggedModel, Run

# MLflow allows none of these characters in the name of a model.
_FORBIDDEN = str.maketrans({".": ",", **dict.fromkeys("/:%\"'", "_")})
DIGEST = 32  # MLflow allows a data set's digest 36 characters

# The distributions that loading a logged model needs, without this repository.
MODEL_REQUIREMENTS = ("h5py", "mlflow", "numpy", "pandas", "pillow")


def dataset_entry(name: str, prepared: PreparedSet, path: Path) -> "Dataset":
    """Return MLflow's entry for a prepared set, with the set's own SHA-256 as its digest.

    MLflow's digest would cover the first 10,000 values only, less than one picture of 64 x 64. `path` is where the file
    lies, from the root of the repository.
    """
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset
    from mlflow.types import Schema, TensorSpec

    schema = TensorDatasetSchema(
        features=Schema([TensorSpec(prepared.X.dtype, (-1, prepared.X.shape[1]))]),
        targets=Schema([TensorSpec(prepared.Y.dtype, (-1,))]),
    )
    profile = {
        "num_rows": prepared.m,
        "num_elements": prepared.m * prepared.X.shape[1],
        "num_px": prepared.preprocessing.num_px,
        "classes": prepared.classes,
    }
    return Dataset(
        name=name,
        digest=prepared.sha256[:DIGEST],
        source_type="local",
        source=json.dumps({"uri": path.as_posix(), "sha256": prepared.sha256}),
        schema=json.dumps(schema.to_dict()),
        profile=json.dumps(profile),
    )


def log_model(
    client: "MlflowClient",
    run: "Run",
    model: StoredModel,
    *,
    path: Path,
    params: Mapping[str, str],
    example: NDArray[np.uint8],
    step: int,
) -> str:
    """Store a model in MLflow, once for each run, so that it loads anywhere, and link it to the run.

    Parameters
    ----------
    path : Path
        The file of the model.
    params : mapping of str to str
        The parameters that made it.
    example : ndarray of shape (1, n_x), uint8
        A picture for MLflow's input example.
    step : int
        The number of iterations after which training ended.

    Returns
    -------
    str
        The id of the logged model.
    """
    experiment_id, run_id = run.info.experiment_id, run.info.run_id
    if earlier := find_model(client, run):
        return link_model(client, run, earlier, step)
    tags = {MODEL_SHA256: model.sha256}
    name = f"{model.classes[1]} or {model.classes[0]}, {run.info.run_name}".translate(_FORBIDDEN)
    logged = client.create_logged_model(experiment_id, name, source_run_id=run_id, tags=tags, params=dict(params))
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
        model_folder = Path(temporary, "model")
        num_px = model.preprocessing.num_px
        picture = encode_picture(example.reshape(num_px, num_px, -1))
        copy = Path(temporary, path.name)  # MLflow refuses a link to another folder, such as DVC's cache
        shutil.copyfile(path, copy)
        _save_model(model_folder, Path(temporary, "one_neuron"), copy, picture, logged)
        client.log_model_artifacts(logged.model_id, str(model_folder))
    client.finalize_logged_model(logged.model_id, "READY")
    return link_model(client, run, str(logged.model_id), step)


def find_model(client: "MlflowClient", run: "Run") -> str:
    """Return the id of the complete model of a run, or ""; delete what a killed attempt left, its files included."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    found = ""
    filter_string = f"source_run_id = '{run.info.run_id}'"
    for earlier in client.search_logged_models([run.info.experiment_id], filter_string=filter_string):
        if earlier.status.value == "READY" and not found:
            found = str(earlier.model_id)
        else:
            with suppress(Exception):  # what a server does not delete takes space, nothing else
                get_artifact_repository(earlier.artifact_location).delete_artifacts()
            client.delete_logged_model(earlier.model_id)
    return found


def link_model(client: "MlflowClient", run: "Run", model_id: str, step: int) -> str:
    """Make the model an output of the run, unless it is one."""
    from mlflow.entities import LoggedModelOutput

    if model_id not in {output.model_id for output in (run.outputs.model_outputs if run.outputs else [])}:
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, step=step)])
    return model_id


def _save_model(model_folder: Path, package: Path, path: Path, picture: bytes, logged: "LoggedModel") -> None:
    """Write the folder that MLflow stores: arrays, the code that reads them, signature, example, requirements."""
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import ColSpec, DataType, Schema
    from pandas import DataFrame

    script = Path(__file__).with_name("pyfunc_model.py")
    for name in find_code(script):
        (package.parent / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SOURCE_ROOT / name, package.parent / name)
    with _no_comparison_of_requirements():
        save_model(
            model_folder,
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                model_uuid=logged.model_id,
                run_id=logged.source_run_id,
                model_id=logged.model_id,
            ),
            python_model=script,
            artifacts={"model": path.as_uri()},
            code_paths=[str(package)],
            signature=ModelSignature(
                inputs=Schema([ColSpec(DataType.binary, "picture")]),
                outputs=Schema(
                    [
                        ColSpec(DataType.double, "probability"),
                        ColSpec(DataType.string, "class", required=False),
                        ColSpec(DataType.string, "error", required=False),
                    ]
                ),
            ),
            input_example=DataFrame({"picture": [picture]}),  # MLflow would return any other form as base64
            # Without them, MLflow would load the model in another process and call pip.
            pip_requirements=[f"{name}=={version(name)}" for name in MODEL_REQUIREMENTS],
        )
    for cache in model_folder.rglob("__pycache__"):
        shutil.rmtree(cache)


@contextmanager
def _no_comparison_of_requirements() -> Iterator[None]:
    """Keep MLflow from comparing the requirements of a model with what is installed, which they were made from.

    It reads the metadata of all installed packages once for each requirement, which takes 0.4 s.
    """
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    compare = getattr(environment, name)
    setattr(environment, name, lambda _: None)
    try:
        yield
    finally:
        setattr(environment, name, compare)
