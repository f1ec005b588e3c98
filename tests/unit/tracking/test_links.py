"""Addresses of MLflow's pages."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from one_neuron.tracking.links import compare_lines, find_address, link_run, link_views, list_links, read_links
from one_neuron.tracking.sqlite_file import RESULTS, SWEEPS
from one_neuron.tracking.store import Store


def store_at(uri: str, place: str = "place") -> Store:
    """Return a store."""
    return Store(uri, place, None, None, Path("lock"))


@pytest.mark.parametrize(
    ("store", "port", "address"),
    [
        (store_at("sqlite:///mlflow.db"), 5000, "http://127.0.0.1:5000"),
        (store_at("postgresql://host/base"), 5001, "http://127.0.0.1:5001"),
        (store_at("http://me:secret@host:8080/", "http://host:8080/"), 5000, "http://host:8080"),
        (store_at("https://host/mlflow", "https://host/mlflow"), 5000, "https://host/mlflow"),
    ],
)
def test_the_address_is_that_of_the_server(store: Store, port: int, address: str) -> None:
    """Of MLFLOW_TRACKING_URI without a password, otherwise of `make ui` on its port."""
    assert find_address(store, port) == address


def test_views_that_are_not_saved_have_no_link() -> None:
    """Pages of charts need a mode besides the view, and every page the kind of workflow."""
    tag = "mlflow.sharedViewState."
    saved = {
        f"{tag}{key}": json.dumps({"name": name}) for key, name in (("results", "All"), ("result-charts", "Charts"))
    }
    experiments = {RESULTS: ("1", {**saved, "mlflow.note.content": "a note"}), SWEEPS: ("2", {f"{tag}another": "{}"})}
    start = "#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey="
    assert link_views(experiments) == {
        "All": f"{start}results",
        "Charts": f"{start}result-charts&compareRunsMode=CHART",
    }
    assert link_views({}) == {}


def test_lines_end_with_whole_addresses() -> None:
    """A terminal makes them links; a server needs no `make ui`."""
    links = {"the run": link_run("2", "a" * 32), "all": "#/x"}
    run = f"#/experiments/2/runs/{'a' * 32}?workflowType=machine_learning"
    assert list_links("http://host", links) == [f"  the run  http://host/{run}", "  all      http://host/#/x"]
    assert list_links("http://host", {}) == []
    assert compare_lines(store_at("sqlite:///x"), links)[0] == "compare in MLflow (start it: make ui):"
    assert compare_lines(store_at("http://host", "http://host"), links)[0] == "compare in MLflow:"


def test_links_are_read_from_the_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow is not imported. A file that is not a store gives no links and is not changed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert read_links(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE experiments (experiment_id, name, lifecycle_stage)")
        database.execute("CREATE TABLE experiment_tags (experiment_id, key, value)")
        database.execute(
            "INSERT INTO experiments VALUES (7, 'one-neuron', 'active'), (8, 'one-neuron-sweeps', 'deleted')"
        )
        for number, key, name in ((7, "results", "All"), (8, "sweeps", "Gone")):
            row = [number, f"mlflow.sharedViewState.{key}", json.dumps({"name": name})]
            database.execute("INSERT INTO experiment_tags VALUES (?, ?, ?)", row)
    link = "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=results"
    assert read_links(tmp_path) == [f"  All  http://127.0.0.1:5000/{link}"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:1")
    assert read_links(tmp_path) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "no address")
    assert read_links(tmp_path) == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    file.write_text("not a database, but text of some length", encoding="utf-8")
    assert read_links(tmp_path) == []
