"""What the MLflow run of one configuration shows: its name, its state, its folds and its curves."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from one_neuron.settings.params import flatten_settings
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED
from one_neuron.sweep.screening import Outcome
from one_neuron.tracking import tags as tag_names
from one_neuron.tracking.names import name_runs

CURVE_POINTS = 21  # the records of the course's 2,000 iterations, and every second one of 4,000
_NAMED = ("train.num_iterations", "train.learning_rate")  # in the name of a configuration where nothing is swept
Item = TypeVar("Item")


def outcome_tags(outcome: Outcome | str) -> dict[str, str]:
    """Return the tags with the status of a configuration and, if it did not finish, the reason."""
    if isinstance(outcome, str):
        return {tag_names.STATUS: FAILED, tag_names.REASON: outcome}
    if outcome.diverged_at is None:
        return {tag_names.STATUS: FINISHED}
    return {tag_names.STATUS: DIVERGED, tag_names.REASON: outcome.reason}


def name_configurations(configurations: Iterable[Configuration], swept: Sequence[str]) -> dict[str, str]:
    """Return a short name for the run of each configuration, by content key; `swept` are the keys that vary."""
    values = {each.key: flatten_settings(each.settings) for each in configurations}
    names = name_runs([{key: flat[key] for key in swept or _NAMED} for flat in values.values()])
    return dict(zip(values, names, strict=True))


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
