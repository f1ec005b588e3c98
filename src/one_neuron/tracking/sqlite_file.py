"""The SQLite file that holds the MLflow store: what can be checked and repaired in it without importing MLflow."""

import sqlite3
from contextlib import closing
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, one_line
from one_neuron.layout import MLFLOW_ARTIFACTS
from one_neuron.tracking.outages import RECORD, Remedy

RESULTS = "one-neuron"  # the experiment with the results of the pipeline
SWEEPS = "one-neuron-sweeps"  # the one with sweeps and their configurations
_BUSY_SECONDS = 10  # for which another process may lock the file; writing takes well under a second
# The columns in which MLflow keeps absolute addresses of artifacts.
LOCATIONS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))


def sqlite_uri(path: Path) -> str:
    """Return the URI of an absolute path for SQLAlchemy, which ends the path at `?` and unquotes `%`."""
    quoted = str(path).replace("%", "%25").replace("?", "%3F")
    # After `sqlite:///` MLflow would make the folder of the quoted path; where the driver is named, it makes none.
    return f"sqlite:///{quoted}" if quoted == str(path) else f"sqlite+pysqlite:///{quoted}"


def remove_database(path: Path) -> None:
    """Delete a SQLite file and its journals, if they exist."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def check_database(path: Path, remedy: Remedy = RECORD) -> str:
    """Check that a file is a SQLite database with MLflow's tables; return the revision of their schema.

    Raises
    ------
    EnvironmentProblem
        If the file is not an MLflow store.
    StoreOutage
        If it cannot be read now.
    """
    advice = remedy.after("move it away")
    if not path.is_file():
        raise EnvironmentProblem(f"'{path}' is not a file, so it cannot be the MLflow store; {advice}")
    if path.stat().st_size == 0:
        raise EnvironmentProblem(f"'{path}' is empty, so it is not an MLflow store; {advice}")
    try:
        with closing(_connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not {"alembic_version", "experiments", "runs"} <= tables:
                raise EnvironmentProblem(f"'{path}' is a database without MLflow's tables; {advice}")
            revisions = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError as error:  # locked, or on a disk that cannot be written
        raise remedy.outage(f"the MLflow store '{path}' cannot be used ({one_line(error)})") from error
    except sqlite3.Error as error:
        raise EnvironmentProblem(
            f"'{path}' is not readable as the MLflow store ({one_line(error)}); {advice}"
        ) from error
    if len(revisions) != 1:
        raise EnvironmentProblem(f"'{path}' is an incomplete MLflow store; {advice}")
    return str(revisions[0][0])


def read_experiments(path: Path) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the id and the tags of each experiment that is not deleted, by its name.

    Raises
    ------
    sqlite3.Error
        If the file is not an MLflow store.
    """
    found: dict[str, tuple[str, dict[str, str]]] = {}
    with closing(_connect(path)) as connection:
        for number, name in connection.execute(
            "SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'"
        ):
            tags = connection.execute("SELECT key, value FROM experiment_tags WHERE experiment_id = ?", [number])
            found[name] = str(number), dict(tags.fetchall())
    return found


def follow_move(path: Path, artifact_location: str, remedy: Remedy = RECORD) -> None:
    """Update the addresses of artifacts in a store after its folder was moved or copied.

    MLflow fixes absolute addresses when it creates an experiment, and would create the old folder again. Addresses
    that do not end in the default folder were chosen by the user and stay. `artifact_location` is the URI of the folder
    in which the artifacts lie now.

    Raises
    ------
    StoreOutage
        If the database cannot be written.
    """
    try:
        with closing(_connect(path)) as connection, connection:
            row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", [RESULTS]).fetchone()
            old = str(row[0] if row else "")
            if old == artifact_location or not (old.startswith("file:///") and old.endswith(f"/{MLFLOW_ARTIFACTS}")):
                return
            for table, column in LOCATIONS:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column} || '/', 1, ?) = ?",  # noqa: S608
                    [artifact_location, len(old) + 1, len(old) + 1, f"{old}/"],
                )
    except sqlite3.Error as error:
        raise remedy.outage(
            f"'{path}' was moved here and cannot be updated ({one_line(error)})", "make it writable"
        ) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open a SQLite file that must exist.

    Not read-only: a writer that was killed leaves a journal, which SQLite must be allowed to roll back.
    """
    return sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
