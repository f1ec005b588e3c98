"""Where the store is, and which addresses are refused. MLflow is not imported here."""

from pathlib import Path

import pytest

from one_neuron.errors import StoreOutage
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.store import Store, ensure_store, find_store, store_lock


@pytest.fixture(autouse=True)
def _no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_default_store_lies_in_the_repository(tmp_path: Path) -> None:
    """The path is absolute, and nothing is created."""
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
    """Only for a database the location of artifacts is given."""
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


def test_a_place_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    """For example in a read-only folder."""
    (tmp_path / ".one-neuron").touch()  # fails like a read-only folder, for root as well
    with pytest.raises(StoreOutage, match="cannot be locked"), store_lock(find_store(tmp_path)):
        pass
    # The advice is that of the command: nothing was recorded that `make track` could record again.
    store = find_store(tmp_path, Remedy("promote again"))
    with pytest.raises(StoreOutage, match=r"; make that folder writable and promote again$"), store_lock(store):
        pass
