"""Find the run to promote: the best configuration of a sweep, or any run by its id."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import SettingsError
from one_neuron.metrics import baseline_warning
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.tags import BEST, DATA_LOCATION, KIND, MODEL_SHA256, PARENT, STATUS

if TYPE_CHECKING:
    from mlflow.entities import Run

REMEDY = Remedy("promote again")


@dataclass(frozen=True)
class PromotableRun:
    """A run whose parameters can be promoted.

    Parameters
    ----------
    params : mapping of str to str
        As MLflow shows them: "train.learning_rate": "0.005" ..., and the location of the user's own pictures.
    model_sha256 : str
        The SHA-256 of its model; "" if no model was kept.
    sweep_id : str or None
        The sweep of which it is the best, or to which it belongs.
    warning : str
        That it is not better than the baseline: on the held-out folds if it is a configuration of a sweep, otherwise
        on the test set. "" if it is better, or if nothing was held out.
    """

    run_id: str
    params: Mapping[str, str]
    diverged: bool
    model_sha256: str
    sweep_id: str | None
    warning: str


def find_run(root: Path, *, sweep: str | None = None, run: str | None = None) -> PromotableRun:
    """Find the best configuration of a sweep, or a run by its id.

    Parameters
    ----------
    sweep : str, optional
        The id of a sweep, or its first characters; by default the sweep that finished last.
    run : str, optional
        The id of a run, or its first characters; `sweep` is ignored.

    Raises
    ------
    SettingsError
        If there is no such run, if it is not finished, or if the sweep has no best configuration.
    EnvironmentProblem
        If the store cannot be used.
    """
    connection = connect(root, REMEDY)
    with mlflow_errors(connection.store):
        parent = None
        if run is None:
            parent = find_run_by_id(connection, sweep, "sweep")
            if parent.info.status != "FINISHED":
                raise SettingsError(
                    f"the sweep {parent.info.run_id} is {parent.info.status}, not FINISHED; run its command "
                    "again, or name a configuration: --run ID"
                )
            run = parent.data.tags.get(BEST, "")
            if not run:
                raise SettingsError(
                    f"the sweep {parent.info.run_id} has no best configuration: all of them diverged or failed; try "
                    "smaller learning rates"
                )
        found = find_run_by_id(connection, run, "run")
    return promotable(found, parent.info.run_id if parent else None)


def promotable(run: "Run", sweep_id: str | None = None) -> PromotableRun:
    """Return what is to be known of a run before it is promoted or registered.

    Raises
    ------
    SettingsError
        If the run is a sweep, or is not finished.
    """
    tags = run.data.tags
    if tags.get(KIND) == "sweep":
        raise SettingsError(f"the run {run.info.run_id} is a sweep; use --sweep")
    if run.info.status != "FINISHED":
        raise SettingsError(f"the run {run.info.run_id} is {run.info.status}, not FINISHED")
    diverged = tags.get(STATUS) == "diverged"
    params = dict(run.data.params) | json.loads(tags.get(DATA_LOCATION, "{}"))
    sweep_id = sweep_id or tags.get(PARENT)
    return PromotableRun(run.info.run_id, params, diverged, tags.get(MODEL_SHA256, ""), sweep_id, _warning(run))


def _warning(run: "Run") -> str:
    """Return a warning if a run is not better than its baseline; the test set plays no part in a sweep."""
    names = ("validation_accuracy", "validation_baseline_accuracy")
    if run.data.tags.get(KIND) != "configuration":
        names = ("test_accuracy", "baseline_accuracy")
    accuracy, baseline = map(run.data.metrics.get, names)
    if accuracy is None or baseline is None:
        return ""
    warning = baseline_warning(accuracy, baseline)
    return f"{names[0].removesuffix('_accuracy')} set: {warning}" if warning else ""


def find_run_by_id(connection: Connection, run_id: str | None, kind: str) -> "Run":
    """Return the run whose id begins with `run_id`; by default the one of its kind that finished last.

    `kind` is "result" or "sweep", or "run" for a run of any kind.
    """
    if run_id is not None and not (run_id.isalnum() and len(run_id) >= 4):
        raise SettingsError(f"{run_id!r} is not the id of a {kind}; expected 4 to 32 letters and digits, see make ui")
    conditions = [f"tags.`{KIND}` = '{kind}'"] if kind != "run" else []
    conditions += [f"attributes.run_id LIKE '{run_id}%'"] if run_id else []
    found = connection.client.search_runs(
        list(connection.experiment_ids.values()),
        filter_string=" AND ".join(conditions),
        order_by=["attributes.end_time DESC"],
        max_results=2,
    )
    if not found:
        which = f"{kind} {run_id}" if run_id else kind
        raise SettingsError(
            f"'{connection.store.place}' has no {which}; run one: make {'repro' if kind == 'result' else 'sweep'}"
        )
    if run_id and len(found) > 1:
        raise SettingsError(f"{run_id!r} begins the id of more than one {kind}; type more characters of it")
    return found[0]
