"""Where the MLflow runs are stored: a SQLite file of the repository, or the server that MLFLOW_TRACKING_URI names.

MLflow is imported only to create a store or to check its schema. If several processes create a SQLite store together,
all but one fail; a kill during creation leaves an unusable file. So it is created under a lock as a temporary file, and
`mlflow.db` appears only when it is complete on the disk. MLflow creates the tables by a second of migrations; they run
once for each environment, at set-up, and a new store begins as a copy of the empty tables.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from one_neuron.errors import EnvironmentProblem, one_line
from one_neuron.layout import MLFLOW_ARTIFACTS, WORK_FOLDER
from one_neuron.system.command import defer_signals
from one_neuron.system.files import atomic_write, remove_partial_files, sync_to_disk
from one_neuron.tracking import sqlite_file
from one_neuron.tracking.outages import RECORD, Remedy, short_reason
from one_neuron.tracking.sqlite_file import RESULTS, SWEEPS

LOCK_FILE = WORK_FOLDER / "store.lock"
EMPTY_STORES = Path(sys.prefix, "share", "one-neuron")  # removed with the environment
LOCK_SECONDS = 300  # recording takes well under a second, so a process that holds the lock longer hangs
SERVERS = ("http", "https", "databricks")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# MLflow's own defaults let a call to a dead server hang for 4 to 20 minutes, or as long as the server asks for.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Store:
    """Where runs are stored.

    Parameters
    ----------
    uri : str
        For MLflow: a database or a server.
    place : str
        For messages: the file or the address, without a password.
    artifact_location : str or None
        Where the artifacts of a new experiment are stored; None leaves the choice to the server.
    database : Path or None
        The SQLite file, if the store is one.
    lock_file : Path
        Held by the process that writes.
    remedy : Remedy
        What to do if the store cannot be used.
    waits_for : str
        Of a spool, the place to which its runs are to be sent; "" for any other store.
    """

    uri: str
    place: str
    artifact_location: str | None
    database: Path | None
    lock_file: Path
    remedy: Remedy = RECORD
    waits_for: str = ""


def ensure_store(root: Path, remedy: Remedy = RECORD) -> Store:
    """Find the store. If the store is to be a SQLite file and there is none, create it.

    By default the store is `mlflow.db` beside `mlartifacts/` in `root`; the environment variable MLFLOW_TRACKING_URI
    names another one (a relative SQLite file is relative to `root`). Many processes may start at once, and any of them
    may be killed.

    Raises
    ------
    EnvironmentProblem
        If the file is not an MLflow store, or cannot be created. Errors end with `remedy`.
    """
    store = find_store(root, remedy)
    create_database(store)
    return store


def create_database(store: Store) -> None:
    """Create the SQLite file of a store, if it has one that does not exist yet, and check it.

    Raises
    ------
    EnvironmentProblem
        If the file is not an MLflow store, or cannot be created.
    """
    if store.database is None or store.artifact_location is None:
        return
    if not os.path.lexists(store.database):
        with store_lock(store):
            if not os.path.lexists(store.database):  # another process may have created it meanwhile
                _create_database(store, store.database)
    sqlite_file.check_database(store.database, store.remedy)
    sqlite_file.follow_move(store.database, store.artifact_location, store.remedy)


def find_store(root: Path, remedy: Remedy = RECORD) -> Store:
    """Return where the runs of the repository `root` are stored, without opening the store.

    Raises
    ------
    EnvironmentProblem
        If MLFLOW_TRACKING_URI is not the address of a database or a server.
    """
    root = root.resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or "sqlite:///mlflow.db"
    scheme = _check_scheme(uri)
    if uri.startswith("sqlite:///") and "?" not in uri:
        database = root / unquote(uri.removeprefix("sqlite:///"))
        artifacts = (database.parent / MLFLOW_ARTIFACTS).as_uri()
        uri, lock_file = sqlite_file.sqlite_uri(database), database.parent / LOCK_FILE
        return Store(uri, str(database), artifacts, database, lock_file, remedy)
    # A database stores no artifacts, and MLflow would write them into the current folder, which may be temporary.
    location = (root / MLFLOW_ARTIFACTS).as_uri() if scheme in DATABASES else None
    return Store(uri, _without_password(uri), location, None, root / LOCK_FILE, remedy)


def _check_scheme(uri: str) -> str:
    """Return the scheme of an address, after checking that MLflow can store runs there."""
    try:
        scheme = urlsplit(uri).scheme.split("+")[0]
    except ValueError:
        scheme = ""
    if scheme not in (*SERVERS, *DATABASES) or uri in ("sqlite://", "sqlite:///:memory:"):
        raise EnvironmentProblem(
            f"MLFLOW_TRACKING_URI is '{uri.rpartition('@')[2]}'; expected http://HOST:PORT of an MLflow server or "
            "sqlite:///FILE, or unset it"
        )
    return scheme


def _without_password(uri: str) -> str:
    """Return an address for messages: without user name, password and query."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def store_lock(store: Store) -> Iterator[None]:
    """Hold the lock under which one process of this machine at a time writes to the store.

    Raises
    ------
    StoreOutage
        If the lock file cannot be created, or another process holds it for more than five minutes.
    """
    from filelock import FileLock, Timeout

    try:
        store.lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.lock_file, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise store.remedy.outage(
            f"'{store.lock_file}' has been held by another process for {LOCK_SECONDS} s", "end that process"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise store.remedy.outage(
            f"'{store.lock_file}' cannot be locked ({one_line(error)})", "make that folder writable"
        ) from error
    try:
        yield
    finally:
        lock.release()


def hold_signals(store: Store) -> AbstractContextManager[None]:
    """Defer Ctrl-C and SIGTERM while MLflow writes to a SQLite file.

    A signal inside a transaction can make SQLAlchemy keep it open; the process would then deadlock on its own
    transaction. A server handles its own transactions and may take minutes to answer, so nothing is deferred for one.
    """
    return defer_signals() if store.database is not None else nullcontext()


def check_schema(store: Store) -> None:
    """Check that the store has the schema of the installed MLflow, which would migrate some older ones unasked.

    Call `prepare_mlflow` first.

    Raises
    ------
    EnvironmentProblem
        If another version of MLflow created it.
    """
    if store.database is None:
        return
    import mlflow
    from mlflow.store.db.utils import _get_latest_schema_revision

    found, expected = sqlite_file.check_database(store.database), _get_latest_schema_revision()
    if found != expected:
        raise EnvironmentProblem(
            f"'{store.place}' has the schema {found} of another MLflow, {mlflow.__version__} expects {expected}; copy "
            f"the file, then run `mlflow db upgrade '{store.uri}'` (or install the newer MLflow that made it)"
        )


def prepare_mlflow() -> None:
    """Import MLflow, silenced and with shorter timeouts.

    Call this instead of importing MLflow first: it sets the environment variables, then imports MLflow and silences its
    loggers. Variables that the user has set stay, but telemetry is always off.
    """
    os.environ.update(NO_TELEMETRY)
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    import mlflow  # noqa: F401  (its import sets up the loggers that are silenced here)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # this project reports errors itself, in one line


def _create_database(store: Store, path: Path) -> None:
    """Create a store with both experiments, and rename it to `path` when it is complete. The lock must be held."""
    prepare_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    new = store.lock_file.with_name(f"new-{store.lock_file.stem}.db")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sqlite_file.remove_database(new)  # left by a process that was killed while it held the lock
        try:
            shutil.copyfile(make_empty_store(), new)
        except OSError:  # the environment is read-only, so MLflow creates the tables below
            sqlite_file.remove_database(new)
        created = SqlAlchemyStore(sqlite_file.sqlite_uri(new), store.artifact_location)
        for name in (RESULTS, SWEEPS):
            created.create_experiment(name, artifact_location=store.artifact_location)
        created.engine.dispose()
        with new.open("rb+") as stream:
            sync_to_disk(stream.fileno())
        new.replace(path)
        sqlite_file.remove_database(new)
    except (OSError, SQLAlchemyError, MlflowException) as error:
        with suppress(OSError):
            sqlite_file.remove_database(new)
        raise store.remedy.outage(
            f"the MLflow store '{path}' cannot be created ({short_reason(error)})",
            "free disk space or allow writing there",
        ) from error


def make_empty_store() -> Path:
    """Return a SQLite file with MLflow's tables and nothing in them; create it if this environment has none.

    Raises
    ------
    OSError
        If the environment cannot be written.
    """
    prepare_mlflow()
    import mlflow
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import create_engine

    path = EMPTY_STORES / f"mlflow-{mlflow.__version__}.db"
    if not path.is_file():
        remove_partial_files(EMPTY_STORES, [])
        with atomic_write(path) as temporary:
            engine = create_engine(sqlite_file.sqlite_uri(temporary))
            _initialize_tables(engine)
            engine.dispose()
    return path
