"""Where the runs are kept: an MLflow store made once and whole, or the server that MLFLOW_TRACKING_URI names.

MLflow is imported only when a store has to be made. A fresh SQLite store takes a second of migrations, fails for all
but one of the processes that start on it together, and is broken for ever if the first one is killed in the middle. So
the migrations run on a file aside, under a lock, and the name `mlflow.db` appears only when all of it is on the disk.
"""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from one_neuron.errors import EnvironmentProblem, one_line
from one_neuron.layout import MLFLOW_ARTIFACTS, WORK_FOLDER
from one_neuron.system.command import defer_signals

EXPERIMENT = "one-neuron"
DATABASE = "mlflow.db"
LOCK_FILE = WORK_FOLDER / "store.lock"
LOCATIONS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
LOCK_SECONDS = 300  # a record takes well under a second: whoever holds the lock longer than this hangs
SERVERS = ("http", "https", "databricks")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SAFE_IN_FILES = "the results are safe in the files"
AGAIN = "run `make track`, or the same sweep again"

# MLflow's own defaults let a call to a dead server hang for 4 to 20 minutes.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
NO_TELEMETRY = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@dataclass(frozen=True)
class Store:
    """Where runs go.

    Parameters
    ----------
    uri : str
        For MLflow: a database or a server.
    place : str
        For people: the file or the address, without a password.
    artifact_location : str or None
        Where the artifacts of a new experiment go; None leaves it to the server.
    database : Path or None
        The SQLite file, if the store is one.
    lock_file : Path
        Held by whoever writes.
    """

    uri: str
    place: str
    artifact_location: str | None
    database: Path | None
    lock_file: Path


def ensure_store(root: Path) -> Store:
    """Find the store, and make it if it is a SQLite file that is not there yet.

    By default that is `mlflow.db` beside `mlartifacts/` in `root`; the environment variable MLFLOW_TRACKING_URI names
    another one (a relative SQLite file counts from `root`). Safe when many processes start at once and when one is
    killed.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    Store

    Raises
    ------
    EnvironmentProblem
        If the file is no MLflow store, or cannot be made.
    """
    store = find_store(root)
    if store.database is None:
        return store
    if not os.path.lexists(store.database):
        with store_lock(store):
            if not os.path.lexists(store.database):  # another process may have made it meanwhile
                _make_database(store, store.database)
    check_database(store.database)
    _follow_move(store, store.database)
    return store


def find_store(root: Path) -> Store:
    """Say where the runs go, without touching it.

    Parameters
    ----------
    root : Path
        The repository.
    """
    root = root.resolve()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{DATABASE}"
    scheme = _check_scheme(uri)
    if uri.startswith("sqlite:///") and "?" not in uri:
        database = root / unquote(uri.removeprefix("sqlite:///"))
        folder = database.parent
        return Store(
            _sqlite_uri(database), str(database), (folder / MLFLOW_ARTIFACTS).as_uri(), database, folder / LOCK_FILE
        )
    # No database keeps artifacts, and MLflow would put them into the current folder, which may be temporary.
    artifacts = (root / MLFLOW_ARTIFACTS).as_uri() if scheme in DATABASES else None
    return Store(uri, _without_password(uri), artifacts, None, root / LOCK_FILE)


def _check_scheme(uri: str) -> str:
    """Return what the address begins with, after checking that MLflow keeps runs there."""
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


@contextmanager
def store_lock(store: Store) -> Iterator[None]:
    """Let one process of this machine at a time write to the store of this repository.

    Raises
    ------
    EnvironmentProblem
        If the lock file cannot be made, or is held for more than five minutes.
    """
    from filelock import FileLock, Timeout

    try:
        store.lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.lock_file, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise EnvironmentProblem(
            f"'{store.lock_file}' has been held by another process for {LOCK_SECONDS} s; "
            f"{SAFE_IN_FILES}, end that process and {AGAIN}"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise EnvironmentProblem(
            f"'{store.lock_file}' cannot be locked ({one_line(error)}); {SAFE_IN_FILES}, "
            f"make that folder writable and {AGAIN}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def hold_signals(store: Store) -> AbstractContextManager[None]:
    """Let Ctrl-C and SIGTERM wait while MLflow works on our own file.

    Where one breaks into a transaction, SQLAlchemy may keep it open, and this process then waits for itself. A server
    looks after its own database, and may take minutes to answer.
    """
    return defer_signals() if store.database is not None else nullcontext()


def check_database(path: Path) -> str:
    """Check that `path` is a SQLite file with MLflow's tables, and change nothing in it.

    Returns
    -------
    str
        The revision of its schema.

    Raises
    ------
    EnvironmentProblem
        If it is something else.
    """
    remedy = f"move it away and {AGAIN} ({SAFE_IN_FILES})"
    if not path.is_file():
        raise EnvironmentProblem(f"'{path}' is not a file, so it cannot be the MLflow store; {remedy}")
    if path.stat().st_size == 0:
        raise EnvironmentProblem(f"'{path}' is empty, so it is no MLflow store; {remedy}")
    try:
        with closing(_connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "experiments", "runs"} <= tables:
                raise EnvironmentProblem(f"'{path}' is a database of something else than MLflow; {remedy}")
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error as error:
        raise EnvironmentProblem(
            f"'{path}' is not readable as the MLflow store ({one_line(error)}); {remedy}"
        ) from error
    if len(revisions) != 1:
        raise EnvironmentProblem(f"'{path}' is an MLflow store that was not made to its end; {remedy}")
    return str(revisions[0][0])


def _connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file that must exist.

    Not read-only: a writer that was killed leaves a journal, which SQLite must be allowed to roll back.
    """
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=20)


def _follow_move(store: Store, path: Path) -> None:
    """Let the store find its artifacts after the repository was moved or copied.

    MLflow fixes absolute locations when an experiment is made and never changes them: it would make the old folder
    anew. Locations that somebody else chose stay.
    """
    try:
        with closing(_connect(path)) as connection, connection:
            row = connection.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", [EXPERIMENT]
            ).fetchone()
            old, new = str(row[0] if row else ""), store.artifact_location
            if old == new or not (old.startswith("file:///") and old.endswith(f"/{MLFLOW_ARTIFACTS}")):
                return
            for table, column in LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",  # noqa: S608
                    [new, len(old) + 1, len(old) + 1, f"{old}/"],
                )
    except sqlite3.Error as error:
        raise EnvironmentProblem(
            f"'{path}' was moved here and cannot be brought up to date ({one_line(error)}); {SAFE_IN_FILES}, "
            f"move it away and {AGAIN}"
        ) from error


def check_schema(store: Store) -> None:
    """Check that the store has the schema of the installed MLflow, which would migrate some older ones unasked.

    Raises
    ------
    EnvironmentProblem
        If another version of MLflow made it.
    """
    if store.database is None:
        return
    prepare_mlflow()
    import mlflow
    from mlflow.store.db.utils import _get_latest_schema_revision

    found, expected = check_database(store.database), _get_latest_schema_revision()
    if found != expected:
        raise EnvironmentProblem(
            f"'{store.place}' has the schema {found} of another MLflow, {mlflow.__version__} expects {expected}; copy "
            f"the file, then run `mlflow db upgrade '{store.uri}'` (or install the newer MLflow that made it)"
        )


def prepare_mlflow() -> None:
    """Silence MLflow and shorten its waits; to be called before MLflow is imported or used.

    What the user has set stays, except that nothing ever phones home.
    """
    os.environ.update(NO_TELEMETRY)
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    import mlflow  # noqa: F401  (its import sets up the loggers that are silenced here)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what goes wrong is said by us, in one line


def _make_database(store: Store, path: Path) -> None:
    """Make a store with the experiment in it, under the lock, and give it its name when it is whole."""
    prepare_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    new = store.lock_file.with_name("new-store.db")
    try:
        _remove_database(new)  # of a process that was killed while it had the lock
        made = SqlAlchemyStore(_sqlite_uri(new), store.artifact_location)
        made.create_experiment(EXPERIMENT, artifact_location=store.artifact_location)
        made.engine.dispose()
        with new.open("rb+") as stream:
            os.fsync(stream.fileno())
        new.replace(path)
        _remove_database(new)
    except (OSError, SQLAlchemyError, MlflowException) as error:
        raise EnvironmentProblem(
            f"the MLflow store '{path}' cannot be made ({short_reason(error)}); "
            f"{SAFE_IN_FILES}, make room or give permission and {AGAIN}"
        ) from error


def _remove_database(path: Path) -> None:
    """Remove a SQLite file and what SQLite keeps beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def short_reason(error: Exception, *, hide: tuple[str, str] = ("", "")) -> str:
    """Return what an error of MLflow or SQLAlchemy says, without the SQL and the links.

    Parameters
    ----------
    error : Exception
        Its text can be a page long.
    hide : (str, str)
        An address with a password, and what to show instead.
    """
    text = one_line(error).replace(*hide) if hide[0] else one_line(error)
    for rest in ("[SQL:", "(Background on this error"):
        text = text.split(rest)[0].strip()
    return text if len(text) <= 200 else text[:199] + "…"


def _sqlite_uri(path: Path) -> str:
    """Return the URI of a SQLite file. SQLAlchemy takes `?` for the start of a query and unquotes `%`."""
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    # MLflow makes the parent folder of what follows `sqlite:///`, quoted as it is; with the driver named it does not.
    return f"sqlite:///{quoted}" if quoted == str(path) else f"sqlite+pysqlite:///{quoted}"


def _without_password(uri: str) -> str:
    """Return `uri` without user name, password and query, fit to be printed."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
