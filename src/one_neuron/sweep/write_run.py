"""The MLflow run of one configuration: what it shows, and the calls that write it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry
from one_neuron.sweep.screening import Outcome
from one_neuron.tracking.connection import Connection
from one_neuron.tracking.parameters import data_location, data_location_tags, origin_tags, run_parameters
from one_neuron.tracking.tags import CONTENT_KEY, CONTEXT, DIVERGED_AT, HAS_DIVERGED, KIND, PARENT, REASON, STATUS

if TYPE_CHECKING:
    from mlflow.entities import Run

SCRIPT = "pipeline/sweep.py"
Item = TypeVar("Item")
CURVE_POINTS = 21  # the records of the course's 2,000 iterations, and every second one of 4,000


def write_run(
    connection: Connection,
    configuration: Configuration,
    outcome: Outcome | str,
    *,
    parent_id: str,
    sweep: SweepSettings,
    swept: Sequence[str],
    unfinished: "Run | None",
) -> Entry:
    """Write the run of a configuration and finish it. Writing it twice leaves the same as writing it once.

    This is the only function that writes such a run.

    Parameters
    ----------
    connection : Connection
    configuration : Configuration
    outcome : Outcome or str
        The outcome, or the reason why the training failed.
    parent_id : str
        The run of the sweep.
    sweep, swept
        As in `Plan`.
    unfinished : Run or None
        A run of the same configuration to complete; None makes a new one.
    """
    from mlflow.entities import Metric, Param, RunTag

    client, settings = connection.client, configuration.settings
    result = _tag_outcome(outcome)
    tags = {
        CONTENT_KEY: configuration.key,
        PARENT: parent_id,
        KIND: "configuration",
        CONTEXT: configuration.context,
        **origin_tags(connection.origin, SCRIPT),
        **data_location_tags(settings),
        **result,
    }
    params = {name: value for name, value in run_parameters(settings).items() if not name.startswith("evaluate")}
    run = unfinished
    if run is None:
        shown = params | data_location(settings)
        name = " ".join(f"{name.partition('.')[2]}={shown[name]}" for name in swept if name in shown)
        # The tags go with this call, because each call waits for the disk.
        run = client.create_run(connection.experiment_id, run_name=name or "configuration", tags=tags)
        tags = {}
    client.log_batch(
        run.info.run_id,
        # All points have the start of the run as their time, so that a second attempt adds no rows.
        metrics=[Metric(name, value, run.info.start_time, step) for name, value, step in _list_points(outcome)],
        params=[Param(name, value) for name, value in (params | fold_parameters(sweep)).items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )
    client.set_terminated(run.info.run_id, "FINISHED" if isinstance(outcome, Outcome) else "FAILED")
    metrics = outcome.measures if isinstance(outcome, Outcome) else {}
    return Entry(run.info.run_id, settings, result[STATUS], result[REASON], metrics)


def _tag_outcome(outcome: Outcome | str) -> dict[str, str]:
    """Return the tags with the status of a configuration and its reason."""
    if not isinstance(outcome, Outcome):
        return {STATUS: FAILED, REASON: outcome}
    if outcome.diverged_at is None:
        return {STATUS: FINISHED, REASON: ""}
    diverged = {HAS_DIVERGED: "true", DIVERGED_AT: str(outcome.diverged_at)}
    return {STATUS: DIVERGED, REASON: outcome.reason} | diverged


def _list_points(outcome: Outcome | str) -> list[tuple[str, float, int]]:
    """Return name, value and iteration of each point that a run shows as a metric; none where the training failed."""
    if not isinstance(outcome, Outcome):
        return []
    curves = {"cost": outcome.train_costs, "validation_cost": outcome.validation_costs}
    points = [
        (name, cost, iteration)
        for name, costs in curves.items()
        for iteration, cost in downsample_curve(outcome.iterations, costs)
    ]
    return points + [(name, value, outcome.iterations[-1]) for name, value in outcome.measures.items()]


def fold_parameters(sweep: SweepSettings) -> dict[str, str]:
    """Return the parameters of a run that name its folds; without folds the seed is left out."""
    seed = {"sweep.seed": str(sweep.seed)} if sweep.folds else {}
    return {"sweep.folds": str(sweep.folds)} | seed


def downsample_curve(iterations: Sequence[int], costs: Sequence[float]) -> list[tuple[int, float]]:
    """Return at most CURVE_POINTS finite points of a curve, evenly spread, both ends included; costs may be empty."""
    points = zip(iterations, costs, strict=False)
    return downsample([point for point in points if math.isfinite(point[1])], CURVE_POINTS)


def downsample(items: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` of the items, at least 2, evenly spread, both ends included."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
