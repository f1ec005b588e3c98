"""Files that are refused as a store and not changed, and updates after a move. MLflow is not imported here."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.sqlite_file import LOCATIONS
from one_neuron.tracking.store import ensure_store


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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
        ("foreign", "without MLflow's tables"),
        ("half", "is an incomplete MLflow store"),
        ("folder", "is not a file"),
        ("dangling", "is not a file"),
    ],
)
def test_a_broken_store_is_named_and_left_alone(tmp_path: Path, kind: str, words: str) -> None:
    """The file may be the user's data."""
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


def test_artifacts_are_found_after_a_move(tmp_path: Path) -> None:
    """The project's locations are updated; others stay."""
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


def test_a_healthy_store_is_found_without_mlflow(tmp_path: Path) -> None:
    """`one-neuron ui` does not wait for its import."""
    _write_sqlite(tmp_path / "mlflow.db", *TABLES, "INSERT INTO alembic_version VALUES ('abc')")
    program = (
        "import sys; from pathlib import Path; from one_neuron.tracking.store import ensure_store; "
        "ensure_store(Path(sys.argv[1])); sys.exit('mlflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
