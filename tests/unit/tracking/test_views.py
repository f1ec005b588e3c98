"""Saved views, with a substitute for MLflow's client; a test in tests/e2e opens them in a browser."""

import base64
import json
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from one_neuron.tracking.connection import Connection
from one_neuron.tracking.sqlite_file import RESULTS, SWEEPS
from one_neuron.tracking.store import Store
from one_neuron.tracking.views import (
    View,
    draw_contour,
    draw_curves,
    draw_parallel,
    draw_scatter,
    metric,
    param,
    tag,
    write_views,
)

VIEW = "mlflow.sharedViewState."
NOTE = "mlflow.note.content"


class Client:
    """A substitute for MLflow's client with two experiments; it counts what is written."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {"1": {}, "2": {}}
        self.written = 0

    def get_experiment_by_name(self, name: str) -> Any:
        """Return an experiment."""
        return self.get_experiment({RESULTS: "1", SWEEPS: "2"}[name])

    def get_experiment(self, number: str) -> Any:
        """Return an experiment."""
        name = {"1": RESULTS, "2": SWEEPS}[number]
        return SimpleNamespace(name=name, experiment_id=number, tags=self.tags[number], lifecycle_stage="active")

    def set_experiment_tag(self, number: str, key: str, value: str) -> None:
        """Write a tag."""
        self.tags[number][key] = value
        self.written += 1


def connect(client: Any, experiment_id: str = "1") -> Connection:
    """Return a connection to the substitute."""
    return Connection(Path(), Store("sqlite:///x", "x", None, None, Path("lock")), client, experiment_id)


def read_state(client: Client, number: str, key: str) -> Any:
    """Return the state of a saved view."""
    state = json.loads(client.tags[number][VIEW + key])["state"]
    assert state.startswith("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))))


CHARTS = [
    draw_parallel(["train.learning_rate"], ["cost"]),
    draw_contour(metric("log10_learning_rate"), param("data.num_px"), metric("cost")),
    draw_scatter(param("data.num_px"), metric("cost")),
    draw_curves("cost", "test_cost"),
]
TABLE = View(
    "A table", "tags.a = 'b'", [param("data.num_px"), metric("cost"), tag("x")], metric("cost"), ascending=True
)


def test_a_view_says_which_runs_columns_and_charts() -> None:
    """The order, the columns with their widths, and no chart for a metric that has none."""
    client = Client()
    charts = View("Charts", "", [metric("cost")], charts=CHARTS, metrics=["cost", "test_cost", "train_accuracy"])
    write_views(connect(client), {"results": TABLE, "result-charts": charts})
    assert json.loads(client.tags["1"][VIEW + "results"])["name"] == "A table"
    state = read_state(client, "1", "results")
    columns = ["params.`data.num_px`", "metrics.`cost`", "tags.`x`"]
    assert (state["searchFilter"], state["orderByKey"], state["orderByAsc"]) == ("tags.a = 'b'", columns[1], True)
    assert state["selectedColumns"] == columns
    assert state["columnOrder"][2:] == columns
    assert all(80 <= width <= 300 for width in state["columnWidths"].values())
    assert "compareRunCharts" not in state
    state = read_state(client, "1", "result-charts")
    assert state["orderByKey"] == "attributes.start_time"
    shown = [chart for chart in state["compareRunCharts"] if not chart["deleted"]]
    assert [chart["type"] for chart in shown] == ["PARALLEL", "CONTOUR", "SCATTER", "LINE"]
    assert shown[1]["xaxis"] == {"type": "METRIC", "key": "log10_learning_rate"}
    assert shown[1]["yaxis"] == {"type": "PARAM", "key": "data.num_px"}
    assert shown[3]["selectedMetricKeys"] == ["cost", "test_cost"]
    # MLflow looks only at the first metric of a chart.
    deleted = [chart["metricKey"] for chart in state["compareRunCharts"] if chart["deleted"]]
    assert deleted == ["test_cost", "train_accuracy"]
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == 6
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {
        section["uuid"] for section in state["compareRunSections"]
    }


def test_what_is_there_is_not_written_again() -> None:
    """A second call only reads; a changed view is replaced."""
    client = Client()
    write_views(connect(client), {"results": TABLE})
    written = client.written
    assert write_views(connect(client), {"results": TABLE}) == {
        "A table": "#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=results"
    }
    assert client.written == written
    client.tags["1"][VIEW + "results"] = "not what MLflow writes"
    write_views(connect(client), {"results": TABLE})
    assert read_state(client, "1", "results")["searchFilter"] == "tags.a = 'b'"


def test_the_notes_link_both_experiments() -> None:
    """Each has links to the views of both, the results first."""
    client = Client()
    write_views(connect(client, "2"), {"best-first": View("Best", "", [])})
    assert client.tags["1"][NOTE] == client.tags["2"][NOTE]
    write_views(connect(client, "1"), {"results": View("Results", "", [])})
    mode = "workflowType=machine_learning&viewStateShareKey"
    expected = f"Open: [Results](#/experiments/1/runs?{mode}=results) · [Best](#/experiments/2/runs?{mode}=best-first)"
    assert {tags[NOTE] for tags in client.tags.values()} == {expected}


def test_a_note_of_the_user_stays() -> None:
    """A note that existed before, and one of this project that the user edited, both stay."""
    client = Client()
    client.tags["2"][NOTE] = "mine"
    write_views(connect(client), {"results": TABLE})
    assert client.tags["2"][NOTE] == "mine"
    client.tags["1"][NOTE] += " and mine"
    write_views(connect(client), {"results": View("Another", "", [])})
    assert client.tags["1"][NOTE].endswith(
        "[A table](#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=results) and mine"
    )


@pytest.mark.parametrize("method", ["get_experiment", "set_experiment_tag", "get_experiment_by_name"])
def test_views_never_stop_what_records(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever MLflow refuses."""

    def refuse(*_: object) -> None:
        raise RuntimeError("refused")

    client = Client()
    monkeypatch.setattr(client, method, refuse)
    assert write_views(connect(client), {"results": TABLE}) == {}


def test_a_view_that_is_too_long_is_left_out() -> None:
    """MLflow would cut it, and the page would show an error."""
    client = Client()
    noise = "".join(chr(33 + i * i % 89) + str(i * 7919 % 10007) for i in range(3000))
    assert write_views(connect(client), {"results": View("Long", noise, []), "result-charts": TABLE}).keys() == {
        "A table"
    }
    assert VIEW + "results" not in client.tags["1"]
