"""Read back the model that MLflow stores with a run."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from one_neuron.errors import SettingsError
from one_neuron.storage.model import Model, load_model
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.find_run import find_run_by_id
from one_neuron.tracking.outages import Remedy

REMEDY = Remedy("try again")
MODEL_PATH = "artifacts/model.h5"  # in the folder of a logged model; see `model.log_model`


@dataclass(frozen=True)
class LoggedModel:
    """A model out of MLflow.

    Parameters
    ----------
    model : Model
    origin : mapping of str to str
        "run_id", and "registry" for a registered model.
    metrics : mapping of str to float
        The last values of the run's metrics.
    """

    model: Model
    origin: Mapping[str, str]
    metrics: Mapping[str, float]


def fetch_model(root: Path, *, run: str | None = None, registered: str | None = None) -> LoggedModel:
    """Fetch the model of a run, or a registered one, from the store of the repository `root`.

    Parameters
    ----------
    run : str, optional
        The id of a run, or its first characters.
    registered : str, optional
        "models:/NAME@ALIAS" or "models:/NAME/VERSION".

    Raises
    ------
    SettingsError
        If there is no such run or registered model, or if the run has no model.
    DataError
        If the model is damaged.
    EnvironmentProblem
        If the store cannot be used.
    """
    connection = connect(root, REMEDY)
    with mlflow_errors(connection.store):
        origin = {}
        if registered is not None:
            run = _find_registered(connection, registered)
            origin = {"registry": registered}
        assert run is not None
        found = find_run_by_id(connection, run, "run")
        outputs = found.outputs.model_outputs if found.outputs else []
        if not outputs:
            raise SettingsError(f"the run {found.info.run_id} has no model; name another one, see make ui")
        logged = connection.client.get_logged_model(outputs[0].model_id)
        with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
            from mlflow.artifacts import download_artifacts

            path = download_artifacts(
                f"{logged.artifact_location}/{MODEL_PATH}", dst_path=temporary, tracking_uri=connection.store.uri
            )
            model = load_model(Path(path))
    return LoggedModel(model, origin | {"run_id": found.info.run_id}, dict(found.data.metrics))


def _find_registered(connection: Connection, registered: str) -> str:
    """Return the id of the run that a registered model comes from."""
    from mlflow.exceptions import MlflowException

    name, at, alias = registered.removeprefix("models:/").partition("@")
    try:
        if at:
            version = connection.client.get_model_version_by_alias(name, alias)
        else:
            name, _, number = name.partition("/")
            version = connection.client.get_model_version(name, number)
    except MlflowException as error:
        raise SettingsError(
            f"there is no {registered!r} in '{connection.store.place}'; name one as models:/NAME@ALIAS or "
            "models:/NAME/VERSION, see make ui"
        ) from error
    return str(version.run_id)
