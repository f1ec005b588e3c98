"""Saved views of MLflow's UI: which runs a page shows, in which order, with which columns and charts.

The format of a view is MLflow's own and not documented. This one is that of MLflow 3.15 to 3.17, which a test opens in
a browser. Views are a convenience: an error while they are written is ignored.
"""

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from one_neuron.tracking.connection import Connection
from one_neuron.tracking.links import VIEW_TAG, link_experiment, link_views
from one_neuron.tracking.tags import MAX_TAG, NOTE

_OUR_NOTE = "one_neuron.note_sha256"  # of the note that this project wrote: a note that the user wrote stays
_WIDTHS = {"attributes.`Run Name`": 190, "runDateAndNestInfo": 110}  # pixels; the columns that are always there
_MOST_RUNS = 100  # that the UI loads, and that a chart compares
_CURVES = 10  # runs whose curves are drawn on top of each other
_SECTION = "charts"
_PACKED = "deflate;"


@dataclass(frozen=True)
class View:
    """A saved view.

    Parameters
    ----------
    name : str
        As the menu "Views" shows it.
    search : str
        Which runs, in MLflow's search language; "" for all.
    columns : sequence of str
        From `param`, `metric` and `tag`.
    order : str
        The column by which runs are sorted; by default the newest runs come first.
    ascending : bool
    charts : sequence of mapping
        From the functions below.
    metrics : iterable of str
        All metrics of the runs: the UI would add a chart for each that the charts do not show.
    """

    name: str
    search: str
    columns: Sequence[str]
    order: str = "attributes.start_time"
    ascending: bool = False
    charts: Sequence[Mapping[str, Any]] = ()
    metrics: Iterable[str] = field(default=())


def param(name: str) -> str:
    """Return the name of a parameter's column."""
    return f"params.`{name}`"


def metric(name: str) -> str:
    """Return the name of a metric's column."""
    return f"metrics.`{name}`"


def tag(name: str) -> str:
    """Return the name of a tag's column."""
    return f"tags.`{name}`"


def draw_curves(*metrics: str) -> dict[str, Any]:
    """Return a chart of metrics over the iterations, the runs on top of each other."""
    return _card(
        "LINE",
        runsCountToCompare=_CURVES,
        metricKey=metrics[0],
        selectedMetricKeys=list(metrics),
        lineSmoothness=0,
        scaleType="linear",
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        range={},
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def draw_parallel(params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """Return a chart with a line for each run through the values of parameters and metrics."""
    return _card("PARALLEL", showAllRuns=True, selectedParams=list(params), selectedMetrics=list(metrics))


def draw_scatter(x: str, y: str) -> dict[str, Any]:
    """Return a chart with a point for each run; x and y are columns."""
    return _card("SCATTER", xaxis=_axis(x), yaxis=_axis(y))


def draw_contour(x: str, y: str, z: str) -> dict[str, Any]:
    """Return a chart of the heights z over x and y, which are columns."""
    return _card("CONTOUR", xaxis=_axis(x), yaxis=_axis(y), zaxis=_axis(z))


def draw_images(key: str, step: int) -> dict[str, Any]:
    """Return a grid of the logged images with a key, one for each run, with a slider that begins at a step."""
    return _card("IMAGE", imageKeys=[key], step=step, showRunParams=False)


def _card(kind: str, **settings: Any) -> dict[str, Any]:
    """Return a chart of a kind that MLflow knows."""
    shared = {"runsCountToCompare": _MOST_RUNS, "deleted": False, "isGenerated": False, "metricSectionId": _SECTION}
    return {"uuid": " ".join([kind, *settings.get("selectedMetricKeys", [])]), "type": kind} | shared | settings


def _axis(column: str) -> dict[str, str]:
    """Return an axis of a chart."""
    kind, _, name = column.partition(".")
    return {"type": "METRIC" if kind == "metrics" else "PARAM", "key": name.strip("`")}


def write_views(connection: Connection, views: Mapping[str, View]) -> dict[str, str]:
    """Save views of the connection's experiment by their keys, and link both experiments to all views by their notes.

    What is there already is not written again. A note that the user wrote or changed stays.

    Returns
    -------
    dict of str to str
        The links to the views of the experiment, by their names, relative to the address of the UI.
    """
    links: dict[str, str] = {}
    with suppress(Exception):  # whatever MLflow refuses: the runs are recorded, and can be seen without views
        client, now = connection.client, int(1000 * time.time())
        found = {name: client.get_experiment(number) for name, number in connection.experiment_ids.items()}
        experiments = {name: (str(one.experiment_id), dict(one.tags)) for name, one in found.items()}
        own = next(tags for number, tags in experiments.values() if number == connection.experiment_id)
        for key, view in views.items():
            state = _pack(json.dumps(_describe(view), separators=(",", ":")))
            with suppress(KeyError, TypeError, ValueError):
                if json.loads(own[VIEW_TAG + key])["state"] == state:
                    continue
            value = json.dumps({"name": view.name, "createdAt": now, "updatedAt": now, "state": state})
            if len(value) <= MAX_TAG:
                client.set_experiment_tag(connection.experiment_id, VIEW_TAG + key, value)
                own[VIEW_TAG + key] = value
        links = link_views(experiments)
        note = "Open: " + " · ".join(f"[{name}]({link})" for name, link in links.items())
        for number, tags in experiments.values():
            present = tags.get(NOTE, "")
            if note != present and (not present or tags.get(_OUR_NOTE) == _digest(present)):
                client.set_experiment_tag(number, _OUR_NOTE, _digest(note))
                client.set_experiment_tag(number, NOTE, note)
    return {name: link for name, link in links.items() if link.startswith(link_experiment(connection.experiment_id))}


def copy_views(connection: Connection, tags: Mapping[str, str], translate: Callable[[str], str]) -> None:
    """Save the views that another experiment has, among its tags, unless the connection's experiment has them.

    `translate` rewrites the ids of runs in their searches.
    """
    with suppress(Exception):  # as in `write_views`
        own = connection.client.get_experiment(connection.experiment_id).tags
        for key, value in tags.items():
            if key.startswith(VIEW_TAG) and key not in own:
                view = json.loads(value)
                packed = base64.b64decode(view["state"].removeprefix(_PACKED))
                view["state"] = _pack(translate(zlib.decompress(packed).decode()))
                connection.client.set_experiment_tag(connection.experiment_id, key, json.dumps(view))
        write_views(connection, {})  # the links to them


def _pack(state: str) -> str:
    """Return the state of a page as MLflow's UI stores it: compressed, in base64."""
    return _PACKED + base64.b64encode(zlib.compress(state.encode(), 9)).decode("ascii")


def _describe(view: View) -> dict[str, Any]:
    """Return the state of the page."""
    widths = _WIDTHS | {column: max(80, 7 * len(column.partition(".")[2])) for column in view.columns}
    drawn = {chart.get("metricKey") for chart in view.charts}
    # A chart that was deleted keeps the UI from adding one.
    unwanted = [
        {
            "uuid": f"no-{name}",
            "type": "BAR",
            "metricKey": name,
            "metricSectionId": _SECTION,
            "deleted": True,
            "isGenerated": False,
        }
        for name in sorted(set(view.metrics) - drawn)
    ]
    section = {"uuid": _SECTION, "name": view.name, "columns": 2, "cardHeight": 400, "display": True}
    charts = {
        "compareRunCharts": [*view.charts, *unwanted],
        "compareRunSections": [section | {"isReordered": True, "deleted": False, "isGenerated": False}],
        "isAccordionReordered": True,
    }
    return {
        "searchFilter": view.search,
        "orderByKey": view.order,
        "orderByAsc": view.ascending,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(view.columns),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL" if view.charts else "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        # Some versions leave these out of a view; those that read them fail without them.
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "autoRefreshEnabled": True,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        **(charts if view.charts else {}),
    }


def _digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return sha256(text.encode()).hexdigest()
