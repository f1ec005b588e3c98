"""Addresses of pages of MLflow's UI.

Without `workflowType=machine_learning` an experiment opens on the page for GenAI, which shows nothing of this project.
"""

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.sqlite_file import RESULTS, SWEEPS, read_experiments
from one_neuron.tracking.store import SERVERS, Store, find_store

PORT = 5000
VIEW_TAG = "mlflow.sharedViewState."  # of an experiment; followed by the key of the view
RESULTS_VIEW, RESULT_CHARTS = "results", "result-charts"
BEST_VIEW, SWEEP_CHARTS, SWEEPS_VIEW = "best-first", "sweep-charts", "sweeps"
# The keys of the saved views of each experiment, in the order in which links to them are listed.
VIEWS = {RESULTS: (RESULTS_VIEW, RESULT_CHARTS), SWEEPS: (BEST_VIEW, SWEEP_CHARTS, SWEEPS_VIEW)}
_CHART_PAGES = (RESULT_CHARTS, SWEEP_CHARTS)
_MODE = "workflowType=machine_learning"


def find_address(store: Store, port: int = PORT) -> str:
    """Return the address of the UI: that of the tracking server, or of `make ui` on a port of this machine."""
    return store.place.rstrip("/") if store.uri.startswith(SERVERS) else f"http://127.0.0.1:{port}"


def link_views(experiments: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """Return the links to the saved views that there are, by their names, relative to the address of the UI.

    Parameters
    ----------
    experiments : mapping of str to (str, mapping)
        The id and the tags of each experiment, by its name.
    """
    links = {}
    for experiment, keys in VIEWS.items():
        experiment_id, tags = experiments.get(experiment, ("", {}))
        for key in (key for key in keys if VIEW_TAG + key in tags):
            name = str(json.loads(tags[VIEW_TAG + key])["name"])
            query = {"viewStateShareKey": key} | ({"compareRunsMode": "CHART"} if key in _CHART_PAGES else {})
            links[name] = f"{link_experiment(experiment_id)}&{urlencode(query)}"
    return links


def read_links(root: Path) -> list[str]:
    """Return a line for each saved view in the SQLite file of the repository `root`, without importing MLflow.

    There are none if the runs are elsewhere, or if the file cannot be read.
    """
    try:
        store = find_store(root)
        experiments = read_experiments(store.database) if store.database and store.database.is_file() else {}
        return list_links(find_address(store), link_views(experiments))
    except (EnvironmentProblem, sqlite3.Error, ValueError, KeyError, TypeError):
        return []


def link_experiment(experiment_id: str) -> str:
    """Return the link to the runs of an experiment, relative to the address of the UI."""
    return f"#/experiments/{experiment_id}/runs?{_MODE}"


def link_run(experiment_id: str, run_id: str) -> str:
    """Return the link to a run, relative to the address of the UI."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{_MODE}"


def list_links(address: str, links: Mapping[str, str]) -> list[str]:
    """Return a line for each link, with its name before it and the address of the UI in front."""
    width = max(map(len, links), default=0)
    return [f"  {name:<{width}}  {address}/{link}" for name, link in links.items()]


def compare_lines(store: Store, links: Mapping[str, str]) -> list[str]:
    """Return the lines that end a command whose runs can be compared in the UI."""
    start = "" if store.uri.startswith(SERVERS) else " (start it: make ui)"
    return [f"compare in MLflow{start}:", *list_links(find_address(store), links)]
