"""The open MLflow store: the client, the experiment, and errors as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking.store import (
    EXPERIMENT,
    SAFE_IN_FILES,
    Store,
    check_schema,
    ensure_store,
    prepare_mlflow,
    short_reason,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


ABANDONED_SECONDS = 600  # after that long an unfinished run on a server was broken off


@contextmanager
def mlflow_errors(store: Store, remedy: str = f"{SAFE_IN_FILES}, run `make track` when it is back") -> Iterator[None]:
    """Turn what MLflow raises into one line.

    Parameters
    ----------
    store : Store
        The one in use.
    remedy : str
        What the user can do about it.

    Raises
    ------
    EnvironmentProblem
        With the reason and the remedy.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason = short_reason(error, hide=(store.uri, store.place))
        if store.artifact_location is None:
            # MLflow wraps what `requests` raises, an OSError, in a text of half a page.
            reason = "it does not answer" if isinstance(error.__context__, OSError) else reason
            problem = f"the tracking server '{store.place}' cannot be used ({reason})"
        else:
            problem = f"the MLflow store '{store.place}' cannot be used ({reason})"
        raise EnvironmentProblem(f"{problem}; {remedy}") from error


def find_experiment(client: "MlflowClient", store: Store) -> str:
    """Return the id of our experiment; make it if it is not there."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        try:
            return client.create_experiment(EXPERIMENT, artifact_location=store.artifact_location)
        except MlflowException as error:
            experiment = client.get_experiment_by_name(EXPERIMENT)  # another machine may have been quicker
            if experiment is None:
                raise error
    if experiment.lifecycle_stage != "active":
        where = f"MLFLOW_TRACKING_URI='{store.uri}' " if store.database else ""  # else it is set already
        raise EnvironmentProblem(
            f"the experiment '{EXPERIMENT}' in '{store.place}' is deleted; restore it with "
            f"`{where}mlflow experiments restore --experiment-id {experiment.experiment_id}`"
        )
    return str(experiment.experiment_id)


def delete_run(client: "MlflowClient", run: "Run") -> None:
    """Delete a run that shows what another one shows, and its model."""
    for output in run.outputs.model_outputs if run.outputs else []:
        client.delete_logged_model(output.model_id)
    client.delete_run(run.info.run_id)


@dataclass(frozen=True)
class Connection:
    """The store, ready to be used.

    Parameters
    ----------
    root : Path
        The repository.
    store : Store
    client : MlflowClient
    experiment_id : str
    origin : Origin
        Who runs the sweep, with which code.
    """

    root: Path
    store: Store
    client: "MlflowClient"
    experiment_id: str
    origin: Origin


def connect(root: Path, remedy: str) -> Connection:
    """Open the store of a repository; make it if it is not there yet.

    Parameters
    ----------
    root : Path
    remedy : str
        What the user can do when the store fails.

    Raises
    ------
    EnvironmentProblem
        If it cannot be used.
    """
    prepare_mlflow()
    store = ensure_store(root)
    check_schema(store)
    from mlflow import MlflowClient

    with mlflow_errors(store, remedy):
        client = MlflowClient(store.uri, registry_uri=store.uri)
        return Connection(root, store, client, find_experiment(client, store), find_origin(root))
