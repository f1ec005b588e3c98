"""Where the store is, and what is refused without touching it. MLflow is not imported here."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.store import LOCATIONS, Store, ensure_store, find_store, short_reason, store_lock


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_default_store_lies_in_the_repository(tmp_path: Path) -> None:
    """Absolute, and nothing is made by looking."""
    store = find_store(tmp_path / "a folder")
    assert store.database == tmp_path / "a folder" / "mlflow.db"
    assert store.uri == f"sqlite:///{tmp_path}/a folder/mlflow.db"
    assert store.artifact_location == f"file://{tmp_path}/a%20folder/mlartifacts"
    assert not (tmp_path / "a folder").exists()


@pytest.mark.parametrize(
    ("name", "uri"),
    [("50%20", "sqlite+pysqlite:///{}/50%2520/mlflow.db"), ("a?b", "sqlite+pysqlite:///{}/a%3Fb/mlflow.db")],
)
def test_characters_that_mean_something_in_a_uri_are_quoted(tmp_path: Path, name: str, uri: str) -> None:
    """SQLAlchemy unquotes `%` and cuts at `?`."""
    assert find_store(tmp_path / name).uri == uri.format(tmp_path)


def test_a_relative_file_counts_from_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the current folder, which DVC may delete."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/all.db")
    store = find_store(tmp_path)
    assert store.database == tmp_path / "runs" / "all.db"
    assert store.artifact_location == f"file://{tmp_path}/runs/mlartifacts"


def test_a_server_keeps_its_own_artifacts_and_its_password_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a database needs to be told where artifacts go."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@runs.example.org:8443/mlflow?x=1")
    store = ensure_store(tmp_path)
    assert store == Store(
        uri="https://me:secret@runs.example.org:8443/mlflow?x=1",
        place="https://runs.example.org:8443/mlflow",
        artifact_location=None,
        database=None,
        lock_file=tmp_path / ".one-neuron" / "store.lock",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me:secret@host/runs")
    store = find_store(tmp_path)
    assert store.place == "postgresql+psycopg2://host/runs"
    assert store.artifact_location == f"file://{tmp_path}/mlartifacts"


def _write_sqlite(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


TABLES = [
    "CREATE TABLE alembic_version (version_num)",
    "CREATE TABLE experiments (name, artifact_location)",
    "CREATE TABLE runs (artifact_uri)",
    "CREATE TABLE logged_models (artifact_location)",
]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "is empty"),
        ("text", "is not readable"),
        ("truncated", "is not readable"),
        ("foreign", "something else than MLflow"),
        ("half", "not made to its end"),
        ("folder", "is not a file"),
        ("dangling", "is not a file"),
    ],
)
def test_a_broken_store_is_named_and_left_alone(tmp_path: Path, kind: str, words: str) -> None:
    """It may be somebody's data."""
    path = tmp_path / "mlflow.db"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind in ("foreign", "half", "truncated"):
        _write_sqlite(path, *(["CREATE TABLE songs (x)"] if kind == "foreign" else TABLES))
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:5000])
    else:
        path.write_bytes(b"" if kind == "empty" else b"not a database " * 100)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(EnvironmentProblem, match=words) as caught:
        ensure_store(tmp_path)
    assert str(path) in str(caught.value)
    assert "move it away and run `make track`" in str(caught.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert [found.name for found in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_healthy_store_is_found_without_mlflow(tmp_path: Path) -> None:
    """`one-neuron ui` need not wait for its import."""
    _write_sqlite(tmp_path / "mlflow.db", *TABLES, "INSERT INTO alembic_version VALUES ('abc')")
    program = (
        "import sys; from pathlib import Path; from one_neuron.tracking.store import ensure_store; "
        "ensure_store(Path(sys.argv[1])); sys.exit('mlflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


def test_artifacts_are_found_after_a_move(tmp_path: Path) -> None:
    """Our locations follow; those of others stay."""
    path = tmp_path / "mlflow.db"
    _write_sqlite(
        path,
        *TABLES,
        "INSERT INTO alembic_version VALUES ('abc')",
        "INSERT INTO experiments VALUES ('one-neuron', 'file:///old/mlartifacts'), ('other', 's3://bucket/mlartifacts')",
        "INSERT INTO runs VALUES ('file:///old/mlartifacts/1/artifacts'), ('file:///old/mlartifacts2/1/artifacts')",
        "INSERT INTO logged_models VALUES ('file:///old/mlartifacts/models/m-1/artifacts')",
    )
    ensure_store(tmp_path)
    with closing(sqlite3.connect(path)) as connection:
        found = [
            location
            for table, column in LOCATIONS
            for (location,) in connection.execute(f"SELECT {column} FROM {table} ORDER BY rowid")
        ]
    new = f"file://{tmp_path}/mlartifacts"
    assert found == [
        new,
        "s3://bucket/mlartifacts",
        f"{new}/1/artifacts",
        "file:///old/mlartifacts2/1/artifacts",
        f"{new}/models/m-1/artifacts",
    ]


def test_a_place_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    """As in a read-only folder."""
    (tmp_path / ".one-neuron").touch()  # as a read-only folder does, but also for root
    with pytest.raises(EnvironmentProblem, match="cannot be locked"), store_lock(find_store(tmp_path)):
        pass


def test_reasons_are_short_and_keep_passwords() -> None:
    """No SQL, no links, no secrets."""
    error = ValueError(
        "(sqlite3.OperationalError) disk is full\n[SQL: INSERT INTO x]\n(Background on this error at: y)"
    )
    assert short_reason(error) == "(sqlite3.OperationalError) disk is full"
    assert short_reason(ValueError("no http://me:pw@h"), hide=("http://me:pw@h", "http://h")) == "no http://h"
    assert len(short_reason(ValueError("x" * 1000))) == 200
