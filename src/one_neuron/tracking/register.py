"""Put the model of a run into MLflow's registry, with a model card."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import SettingsError
from one_neuron.settings.fields import format_value
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.find_run import find_run_by_id, promotable
from one_neuron.tracking.links import link_run
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.store import hold_signals, store_lock
from one_neuron.tracking.tags import COMMIT, EXP_NAME, IS_DIRTY, MODEL_SHA256

if TYPE_CHECKING:
    from mlflow.entities import Run

REGISTERED_NAME = "one-neuron"
REMEDY = Remedy("register again")
_BASELINE = "The baseline is always to predict the most frequent class of the test set."
_LIMITS = (
    "One neuron adds up pixels with fixed weights and sees no shapes: a subject elsewhere in the picture, another size "
    "or another light can change the answer. Use it for pictures like those it was trained on."
)


@dataclass(frozen=True)
class Registered:
    """A version of the registered model; `created` is False if this model was registered before."""

    version: str
    run_id: str
    created: bool


def register(root: Path, *, run: str | None, alias: str, force: bool = False) -> Registered:
    """Register the model of a run, and have an alias point to it.

    Registering the same model again only moves the alias.

    Parameters
    ----------
    run : str or None
        The id of a run, or its first characters; by default the result that was recorded last.
    alias : str
        For example "champion": `models:/one-neuron@champion` then names this model.
    force : bool
        Accept a model that diverged or is not better than the baseline.

    Raises
    ------
    SettingsError
        If there is no such run, if it has no model, if the alias cannot be one, or if the model is not good enough.
    EnvironmentProblem
        If the store cannot be used.
    """
    _check_alias(alias)
    connection = connect(root, REMEDY)
    store = connection.store
    with mlflow_errors(store), store_lock(store), hold_signals(store):
        found = find_run_by_id(connection, run, "run" if run else "result")
        candidate = promotable(found)
        problem = "diverged" if candidate.diverged else candidate.warning
        if problem and not force:
            raise SettingsError(
                f"run {found.info.run_id}: {problem}; choose another one with --run, or accept it with --force"
            )
        outputs = found.outputs.model_outputs if found.outputs else []
        if not outputs:
            raise SettingsError(f"the run {found.info.run_id} has no model; name another one with --run, see make ui")
        version, created = _find_or_create(connection, found, str(outputs[0].model_id))
        connection.client.set_registered_model_alias(REGISTERED_NAME, alias, version)
    return Registered(version, found.info.run_id, created)


def _check_alias(alias: str) -> None:
    """Raise SettingsError for an alias that MLflow refuses; it does so only after the version exists."""
    if not re.fullmatch(r"[\w-]{1,255}", alias):
        raise SettingsError(f"{format_value(alias)} cannot be an alias; use letters and digits, for example champion")
    if re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE):
        raise SettingsError(
            f"{alias!r} cannot be an alias; MLflow keeps latest and v1, v2, ... for versions; use for example champion"
        )


def _find_or_create(connection: Connection, run: "Run", model_id: str) -> tuple[str, bool]:
    """Return the version of the registered model that is the model of a run, and whether it was created now."""
    from mlflow.exceptions import MlflowException

    client = connection.client
    try:
        client.get_registered_model(REGISTERED_NAME)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(
            REGISTERED_NAME, description="One neuron that finds a class in pictures: logistic regression on its pixels."
        )
    for version in client.search_model_versions(f"name = '{REGISTERED_NAME}' and run_id = '{run.info.run_id}'"):
        return str(version.version), False
    logged = client.get_logged_model(model_id)
    version = client.create_model_version(
        REGISTERED_NAME,
        source=logged.artifact_location,
        run_id=run.info.run_id,
        description=write_card(run),
        model_id=model_id,
    )
    return str(version.version), True


def write_card(run: "Run") -> str:
    """Return the model card of a run, in Markdown: what the model is for, its data, measures, limits and lineage."""
    metrics, params, tags = run.data.metrics, run.data.params, run.data.tags
    inputs = run.inputs.dataset_inputs if run.inputs else []
    measures = [
        f"| {name.replace('_', ' ')} | {metrics[name]:.4g} |"
        for name in ("train_accuracy", "test_accuracy", "baseline_accuracy", "cost", "test_cost", "test_roc_auc")
        if name in metrics
    ]
    data = [
        f"- {one.dataset.name}: {json.loads(one.dataset.profile or '{}').get('num_rows', '?')} pictures, "
        f"digest {one.dataset.digest}"
        for one in inputs
    ]
    changed = " with uncommitted changes" if tags.get(IS_DIRTY) == "true" else ""
    lineage = [f"- MLflow run [{run.info.run_id}]({link_run(run.info.experiment_id, run.info.run_id)})"]
    if COMMIT in tags:
        lineage.append(f"- commit {tags[COMMIT]}{changed}")
    if EXP_NAME in tags:
        lineage.append(f"- DVC experiment {tags[EXP_NAME]}")
    if MODEL_SHA256 in tags:
        lineage.append(f"- SHA-256 of the model {tags[MODEL_SHA256]}")
    positive, size = params.get("data.positive_class", "cat"), params.get("data.num_px", "?")
    parts = {
        "Use": f"The probability of '{positive}' in a picture. The model resizes each one to {size} x {size} pixels.",
        "Data": "\n".join(data),
        "Measures": "\n".join(["| measure | value |", "| --- | --- |", *measures, "", _BASELINE]),
        "Limits": _LIMITS,
        "Lineage": "\n".join(lineage),
    }
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts.items()) + "\n"
