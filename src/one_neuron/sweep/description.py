"""What MLflow shows of a sweep: the name of its run, the description, and the saved views of the last sweep."""

from collections.abc import Collection, Sequence
from typing import Any

from one_neuron.settings.params import KEYS
from one_neuron.sweep.configuration_runs import ConfigurationRuns
from one_neuron.sweep.plan import Plan
from one_neuron.sweep.ranking import FINISHED, Entry, find_best, is_held_out, rank
from one_neuron.sweep.summary import TABLE_ROWS, best_line, contender_lines, count_configurations, tabulate
from one_neuron.tracking.links import BEST_VIEW, SWEEP_CHARTS, SWEEPS_VIEW, link_run
from one_neuron.tracking.parameters import run_parameters
from one_neuron.tracking.tags import MAX_TAG, PARENT, STATUS
from one_neuron.tracking.views import View, draw_contour, draw_curves, draw_parallel, draw_scatter, metric, param, tag

_RATE, _LOG_RATE = "train.learning_rate", "log10_learning_rate"  # MLflow's charts have no log axes
_UNSWEPT = ("train.num_iterations", _RATE)  # shown if nothing is swept
_WORDS = {_RATE: "lr", "train.num_iterations": "iterations"}
# The run of a sweep shows them of its best configuration, so that the columns are the same.
MEASURES = (
    "validation_accuracy",
    "validation_baseline_accuracy",
    "validation_accuracy_std",
    "validation_cost",
    "train_accuracy",
    "cost",
    "test_accuracy",
)
_MOST_IDS = 100  # in a search: MLflow's UI loads no more runs at once


def name_sweep(runs: ConfigurationRuns, plan: Plan) -> str:
    """Return a name that shows what is tried, such as "grid: lr x iterations, drawn"."""
    source = next(iter(runs.requested.values())).settings.data.source
    words = " x ".join(_WORDS.get(key, key.partition(".")[2]) for key in plan.swept) or "one configuration"
    kind = " ".join(filter(None, [plan.committed.removeprefix("sweep="), "search" if plan.space else ""]))
    return f"{kind}{': ' if kind else ''}{words}, {source}"


def describe_sweep(runs: ConfigurationRuns, parent_id: str, plan: Plan) -> str:
    """Return the description of a sweep, in Markdown, with the best first, because MLflow folds it after a few lines.

    `parent_id` is the run of the sweep.
    """
    entries, experiment_id = rank(runs.entries.values()), runs.connection.experiment_id
    parts = [_describe_plan(runs, plan)]
    if entries:
        best, line = find_best(entries), best_line(entries, plan.swept)
        if best is not None:
            line = f"[**best**]({link_run(experiment_id, best.run_id)}){line.removeprefix('best')}"
        shown = entries[:TABLE_ROWS]
        columns = tabulate(shown, plan.swept)
        columns["rank"] = [f"[{i}]({link_run(experiment_id, entry.run_id)})" for i, entry in enumerate(shown, start=1)]
        rows = [tuple(columns), ("---:",) * len(columns), *zip(*columns.values(), strict=True)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        picture = f"![Heat map](get-artifact?path=heat_map.png&run_uuid={parent_id})"
        parts = [line, *contender_lines(entries, plan.swept, plan.sweep.folds), table, picture, *parts]
    if lenders := find_lenders(runs, parent_id):
        links = [f"[{lender[:8]}]({link_run(experiment_id, lender)})" for lender in sorted(lenders)[:TABLE_ROWS]]
        parts.append(f"Some or all of the runs were reused; they are nested in the sweeps {', '.join(links)}.")
    promotion = f"Promote the best: `one-neuron promote --sweep {parent_id}`, then `dvc repro`."
    return "\n\n".join([*parts, f"```\n{plan.command}\n```", promotion])[:MAX_TAG]


def find_lenders(runs: ConfigurationRuns, parent_id: str) -> set[str]:
    """Return the runs of the other sweeps whose configurations this one reused."""
    lenders = runs.keys_by_sweep.items()
    return {lender for lender, keys in lenders if lender not in ("", parent_id) and keys & runs.requested.keys()}


def _describe_plan(runs: ConfigurationRuns, plan: Plan) -> str:
    """Return how many configurations there are, what they share, and how the best is chosen."""
    chosen = (
        f"The best is chosen by {plan.sweep.folds}-fold cross-validation on the training set (accuracy, ties by cost)."
        if plan.sweep.folds
        else "Nothing was held out (sweep.folds = 0): the best is the one with the lowest training cost."
    )
    # Shared values are not parameters of the run: MLflow cannot remove one that a larger grid sweeps.
    shared = run_parameters(next(iter(runs.requested.values())).settings).items()
    words = ", ".join(f"{key}={value}" for key, value in shared if key not in plan.swept and "evaluate." not in key)
    number = plan.sweep.trials if plan.space else len(runs.requested)
    counted = f"{count_configurations(number)}, {'all ' if number > 1 else ''}with {words}."
    return f"{counted} {chosen} Test accuracy is for information and plays no part."


def view_sweep(runs: ConfigurationRuns, parent_id: str, plan: Plan) -> dict[str, View]:
    """Return the saved views of a sweep, by key: its configurations as a table and as charts, and all sweeps."""
    ranked = rank(runs.entries.values())
    known, held_out = {name for entry in ranked for name in entry.metrics}, is_held_out(ranked)
    params = list(plan.swept or _UNSWEPT)
    columns = [*map(param, params), *(metric(name) for name in MEASURES if name in known)]
    search = _find_own(runs, parent_id, ranked)
    if ranked and ranked[0].status == FINISHED:  # a diverged one may have a high accuracy
        search += f" AND tags.`{STATUS}` = '{FINISHED}'"
    order = metric("validation_accuracy" if held_out else "cost")
    charts = _draw_charts(params, known, order)
    return {
        BEST_VIEW: View("Last sweep, best first", search, columns, order, not held_out),
        SWEEP_CHARTS: View("Last sweep, charts", search, columns, order, not held_out, charts, known),
        SWEEPS_VIEW: View("All sweeps, configurations nested", "", [*columns, tag(STATUS)]),
    }


def _find_own(runs: ConfigurationRuns, parent_id: str, ranked: Sequence[Entry]) -> str:
    """Return MLflow's search for the configurations of a sweep: its children or, if it reused others, the best."""
    if not find_lenders(runs, parent_id):
        return f"tags.{PARENT} = '{parent_id}'"
    return f"attributes.run_id IN ({', '.join(repr(entry.run_id) for entry in ranked[:_MOST_IDS])})"


def _draw_charts(params: Sequence[str], known: Collection[str], score: str) -> list[dict[str, Any]]:
    """Return the charts of a sweep over `params`, for the metrics that there are; `score` is the column that ranks."""
    axes = {key: metric(_LOG_RATE) if key == _RATE else param(key) for key in params if KEYS[key] in (int, float)}
    charts = [draw_parallel(params, [score.partition(".")[2].strip("`")])]  # labels of more axes would overlap
    if len(axes) > 1:
        x, y = sorted(axes, key=lambda key: key != _RATE)[:2]
        charts.append(draw_contour(axes[x], axes[y], score))
    first = min(axes or params, key=lambda key: key != _RATE)
    charts.append(draw_scatter(axes.get(first, param(first)), score))
    return charts + [draw_curves(name) for name in ("cost", "validation_cost") if name in known]
