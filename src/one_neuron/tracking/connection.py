"""The open MLflow store: the client, the experiment, and errors as one line. No other module opens the store."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.command import no_garbage_collection
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking.sqlite_file import RESULTS, SAFE_IN_FILES, SWEEPS
from one_neuron.tracking.store import Store, check_schema, ensure_store, prepare_mlflow, short_reason

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

REMEDY = f"{SAFE_IN_FILES}, run `make track` when the store is back"
ABANDONED_SECONDS = 600  # on a server, an unfinished run that is older than this was interrupted


@dataclass(frozen=True)
class Connection:
    """The open store of the repository `root`, and the experiment in which runs are written."""

    root: Path
    store: Store
    client: "MlflowClient"
    experiment_id: str

    @cached_property
    def origin(self) -> Origin:
        """The commit and the user of the repository; Git is asked once."""
        return find_origin(self.root)

    @cached_property
    def experiment_ids(self) -> dict[str, str]:
        """The ids of both experiments by their names, RESULTS and SWEEPS; a missing or deleted one is left out."""
        found = filter(None, map(self.client.get_experiment_by_name, (RESULTS, SWEEPS)))
        return {one.name: str(one.experiment_id) for one in found if one.lifecycle_stage == "active"}

    def is_interrupted(self, run: "Run") -> bool:
        """Return whether a run is unfinished and no process is writing it any more. The store's lock must be held."""
        if run.info.status == "FINISHED":
            return False
        # The lock proves it for a SQLite file and for this machine; on a server, another machine may be writing.
        age = time.time() - run.info.start_time / 1000
        return self.store.database is not None or run.info.status == "FAILED" or age > ABANDONED_SECONDS


def connect(root: Path, remedy: str = REMEDY, *, experiment: str = RESULTS) -> Connection:
    """Open the store of the repository `root`; create it if it does not exist. Errors end with `remedy`.

    `experiment` is RESULTS or SWEEPS.

    Raises
    ------
    EnvironmentProblem
        If the store cannot be used.
    """
    with no_garbage_collection():
        prepare_mlflow()
        store = ensure_store(root)
        check_schema(store)
        from mlflow import MlflowClient

        with mlflow_errors(store, remedy):
            client = MlflowClient(store.uri, registry_uri=store.uri)
    with mlflow_errors(store, remedy):
        return Connection(root, store, client, _find_experiment(client, store, experiment))


@contextmanager
def mlflow_errors(store: Store, remedy: str = REMEDY) -> Iterator[None]:
    """Raise the errors of MLflow as EnvironmentProblem: one line with the reason and `remedy`, what the user can do."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = short_reason(error, hide=(store.uri, store.place))
        # MLflow wraps the error of `requests`, an OSError, in a text of half a page.
        if store.artifact_location is None and isinstance(error.__context__, OSError):
            reason = "it does not answer"
        what = "tracking server" if store.artifact_location is None else "MLflow store"
        raise EnvironmentProblem(f"the {what} '{store.place}' cannot be used ({reason}); {remedy}") from error


def _find_experiment(client: "MlflowClient", store: Store, name: str) -> str:
    """Return the id of an experiment of this project; create the experiment if it does not exist.

    Raises
    ------
    EnvironmentProblem
        If the experiment was deleted: MLflow does not allow another one of the same name.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifact_location=store.artifact_location)
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another machine may have created it meanwhile
            if experiment is None:
                raise error
    if experiment.lifecycle_stage != "active":
        where = f"MLFLOW_TRACKING_URI='{store.uri}' " if store.database else ""  # otherwise it is set already
        raise EnvironmentProblem(
            f"the experiment '{name}' in '{store.place}' is deleted; restore it with "
            f"`{where}mlflow experiments restore --experiment-id {experiment.experiment_id}`"
        )
    return str(experiment.experiment_id)


def delete_run(client: "MlflowClient", run: "Run") -> None:
    """Delete a run that shows the same result as another one, and its model."""
    for output in run.outputs.model_outputs if run.outputs else []:
        client.delete_logged_model(output.model_id)
    client.delete_run(run.info.run_id)


def has_artifact(connection: Connection, run_id: str, path: Path) -> bool:
    """Return whether a run has an artifact with the name and the content of a file."""
    from mlflow.exceptions import MlflowException

    try:
        with tempfile.TemporaryDirectory(prefix="one-neuron-") as folder:
            found = connection.client.download_artifacts(run_id, path.name, folder)
            return Path(found).read_bytes() == path.read_bytes()
    except (MlflowException, OSError):
        return False
