"""The open MLflow store: the client, the experiment, and errors as one line. No other module opens the store."""

import hashlib
import socket
import tempfile
import threading
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
from one_neuron.tracking.outages import RECORD, Remedy, and_of_buckets, explain_server, missing_driver, short_reason
from one_neuron.tracking.sqlite_file import RESULTS, SWEEPS
from one_neuron.tracking.store import Store, check_schema, create_database, find_store, prepare_mlflow
from one_neuron.tracking.tags import RECORDER

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_DATABASE_SECONDS = 8  # in which a database must let us in
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

    @cached_property
    def recorder(self) -> str:
        """What tells this repository on this machine from others that record on the same server."""
        folder = self.store.lock_file.parent
        number = folder.stat().st_ino if folder.is_dir() else 0
        names = f"{socket.gethostname()} {self.root.resolve()} {number}"
        return hashlib.sha256(names.encode(errors="replace")).hexdigest()[:16]

    @property
    def recorder_tags(self) -> dict[str, str]:
        """The tag by which an unfinished run is known to be this repository's own; a SQLite file needs none."""
        return {RECORDER: self.recorder} if self.store.database is None else {}

    def is_interrupted(self, run: "Run") -> bool:
        """Return whether a run is unfinished and no process is writing it any more. The store's lock must be held."""
        if run.info.status == "FINISHED":
            return False
        # The lock proves it for a SQLite file and for this repository; on a server, another machine may be writing.
        age = time.time() - run.info.start_time / 1000
        if self.store.database is not None or run.info.status == "FAILED" or age > ABANDONED_SECONDS:
            return True
        return bool(run.data.tags.get(RECORDER) == self.recorder)


def connect(root: Path, remedy: Remedy = RECORD, *, experiment: str = RESULTS) -> Connection:
    """Open the store of the repository `root`; create it if it does not exist. Errors end with `remedy`.

    `experiment` is RESULTS or SWEEPS.

    Raises
    ------
    StoreOutage
        If the store cannot be used now.
    EnvironmentProblem
        If it cannot be used at all: an address without a driver, or the file of another version.
    """
    return open_store(root, find_store(root, remedy), experiment)


def open_store(root: Path, store: Store, experiment: str) -> Connection:
    """Open a store for the repository `root`; see `connect`."""
    with no_garbage_collection():
        prepare_mlflow()
        create_database(store)
        check_schema(store)
        from mlflow import MlflowClient

        if store.database is None:
            from one_neuron.tracking import http_limits

            http_limits.limit_http()
        with mlflow_errors(store):
            if store.artifact_location is not None and store.database is None:
                _try_database(store.uri)
            client = MlflowClient(store.uri, registry_uri=store.uri)
    with mlflow_errors(store):
        return Connection(root, store, client, find_experiment(client, store, experiment))


@contextmanager
def mlflow_errors(store: Store) -> Iterator[None]:
    """Raise the errors of MLflow as StoreOutage: one line with the reason, and what the user can do.

    Raises
    ------
    StoreOutage
        For an error of the store, or of the way to it.
    EnvironmentProblem
        If the driver of a database is missing: the same fails every time.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except and_of_buckets(MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        reason, what, repair = short_reason(error, hide=(store.uri, store.place)), "MLflow store", ""
        if missing := missing_driver(error):
            raise EnvironmentProblem(f"the {what} '{store.place}' cannot be opened: {missing}") from error
        if store.artifact_location is None:
            from one_neuron.tracking.http_limits import BUDGET

            silence = f"no answer within {BUDGET.total:g} s" if BUDGET.is_spent else ""
            problem = explain_server(error, last_status=BUDGET.last_status, silence=silence)
            # MLflow wraps the error of `requests`, an OSError, in a text of half a page.
            what, reason, repair = problem.part, problem.reason or reason, problem.repair
        raise store.remedy.outage(f"the {what} '{store.place}' cannot be used ({reason})", repair) from error


def _try_database(uri: str) -> None:
    """Connect to a database once, in a thread that may be left behind; MLflow would try for two minutes.

    Raises
    ------
    SQLAlchemyError, ImportError
        If it cannot be opened.
    TimeoutError
        If it does not answer.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    problems: list[Exception] = []

    def attempt() -> None:
        try:
            engine = create_engine(uri)
            engine.connect().close()
            engine.dispose()
        except (SQLAlchemyError, ImportError, OSError) as error:
            problems.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(_DATABASE_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {_DATABASE_SECONDS} s")
    if problems:
        raise problems[0]


def find_experiment(client: "MlflowClient", store: Store, name: str) -> str:
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
