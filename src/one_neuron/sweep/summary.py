"""What a sweep found, as a table in a file and as lines on the terminal."""

import math
from collections.abc import Sequence
from pathlib import Path

from one_neuron.errors import one_line
from one_neuron.settings.params import Settings, flatten_settings
from one_neuron.sweep.ranking import (
    DIVERGED,
    FAILED,
    FINISHED,
    Entry,
    find_best,
    find_contenders,
    find_simplest,
    is_held_out,
    is_useless,
    rank,
    standard_error,
)
from one_neuron.system.files import write_csv
from one_neuron.tracking.parameters import data_location, run_parameters

TABLE_ROWS = 10
_METRICS = {
    "validation_accuracy": "validation_accuracy",
    "validation_accuracy_std": "validation_accuracy_std",
    "validation_cost": "validation_cost",
    "train_accuracy": "train_accuracy",
    "train_cost": "cost",
    "test_accuracy_for_information": "test_accuracy",
}
_COUNTS = ("iterations", "diverged_at")


def list_parameters(settings: Settings) -> dict[str, object]:
    """Return the parameters of a training and the location of the user's own pictures, by their keys in params.yaml."""
    names = [*run_parameters(settings), *data_location(settings)]
    values = flatten_settings(settings)
    return {name: values[name] for name in names if not name.startswith("evaluate.")}


def name_configuration(settings: Settings, swept: Sequence[str]) -> str:
    """Return the values of the swept keys, in full, so that they can be copied as overrides."""
    values = flatten_settings(settings)
    return " ".join(f"{name}={values[name]}" for name in swept) or "the only configuration"


def write_table(path: Path, entries: Sequence[Entry]) -> None:
    """Write all configurations as a CSV file, the best first.

    The columns: rank, status, reason, the parameters, the metrics (fractions and costs; the test accuracy is called
    "test_accuracy_for_information"), iterations, diverged_at, run_id, model_sha256. A missing value is an empty cell.
    """
    ranked = rank(entries)
    parameters = [list_parameters(entry.settings) for entry in ranked]
    names = list(dict.fromkeys(name for values in parameters for name in values))
    header = ["rank", "status", "reason", *names, *_METRICS, *_COUNTS, "run_id", "model_sha256"]
    rows = [
        [
            place,
            entry.status,
            one_line(entry.reason),
            *(values.get(name, "") for name in names),
            *(_cell(entry.get_metric(name)) for name in _METRICS.values()),
            *(_cell(entry.get_metric(name), whole=True) for name in _COUNTS),
            entry.run_id,
            entry.model_sha256,
        ]
        for place, (entry, values) in enumerate(zip(ranked, parameters, strict=True), start=1)
    ]
    write_csv(path, header, rows)


def _cell(value: float, *, whole: bool = False) -> float | str:
    """Return a number for the table, or "" for nan; MLflow keeps counts as floats as well."""
    if math.isnan(value):
        return ""
    return int(value) if whole else value


def summary_lines(
    entries: Sequence[Entry], *, reused: int, swept: Sequence[str], folds: int, place: str, sweep_id: str
) -> list[str]:
    """Return the lines that end a sweep: the best configurations, the counts, the best one and how to promote it.

    Parameters
    ----------
    entries : sequence of Entry
        At least one.
    reused : int
        How many of them were finished before the sweep began.
    swept : sequence of str
        The parameters that were varied, such as "train.learning_rate"; empty for a single configuration.
    folds : int
        The number of folds, 0 for none.
    place : str
        The MLflow store, as a file or an address.
    sweep_id : str
        The run of the sweep, for `one-neuron promote`.
    """
    columns = tabulate(rank(entries)[:TABLE_ROWS], swept)
    widths = [max(map(len, [head, *cells])) for head, cells in columns.items()]
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
    lines += [count_line(entries, reused), best_line(entries, swept), *contender_lines(entries, swept, folds)]
    lines.append(f"tracked: sweep {sweep_id} in {place}")
    best = find_best(entries)
    return [*lines, *([f"promote it: one-neuron promote --sweep {sweep_id}"] if best and not is_useless(best) else [])]


def run_lines(entry: Entry, *, named: Sequence[str], place: str) -> list[str]:
    """Return the lines that end a single run: its scores, and the next steps.

    Parameters
    ----------
    entry : Entry
    named : sequence of str
        The parameters that the command line names.
    place : str
        The MLflow store, as a file or an address.
    """
    if entry.status == FINISHED:
        train, test = (_percent(entry.get_metric(f"{name}_accuracy")) for name in ("train", "test"))
        said = f"train accuracy {train}, test accuracy {test} (for information)"
        lines = [best_line([entry], named).removeprefix("best: "), said]
    else:
        lines = [f"{name_configuration(entry.settings, named)} {entry.status}: {one_line(entry.reason)}"]
    lines.append(f"tracked: run {entry.run_id} in {place}")
    if entry.status == FINISHED and not is_useless(entry):
        lines.append(f"promote it: one-neuron promote --run {entry.run_id}")
    return lines


def tabulate(shown: Sequence[Entry], swept: Sequence[str]) -> dict[str, list[str]]:
    """Return the cells of the table for people, by the heads of its columns; a row for each entry."""
    columns = {"rank": [str(place) for place in range(1, len(shown) + 1)]}
    columns |= {name: [short_value(flatten_settings(entry.settings)[name]) for entry in shown] for name in swept}
    accuracies = {"train": "train_accuracy", "test (information)": "test_accuracy"}
    costs = {"train cost": "cost"}
    if is_held_out(shown):
        accuracies = {"validation": "validation_accuracy"} | accuracies
        costs = {"validation cost": "validation_cost"}
    if any("validation_accuracy_std" in entry.metrics for entry in shown):
        accuracies = {"validation": "validation_accuracy", "+-": "validation_accuracy_std"} | accuracies
    columns |= {head: [_percent(entry.get_metric(name)) for entry in shown] for head, name in accuracies.items()}
    columns |= {head: [_cost(entry.get_metric(name)) for entry in shown] for head, name in costs.items()}
    if any(entry.status != FINISHED for entry in shown):
        columns["status"] = ["" if entry.status == FINISHED else entry.status for entry in shown]
    return columns


def count_configurations(number: int) -> str:
    """Return a number of configurations in words."""
    return f"{number:,} {'configuration' if number == 1 else 'configurations'}"


def count_line(entries: Sequence[Entry], reused: int) -> str:
    """Return the line with the number of configurations that ran, were reused, diverged or failed."""
    diverged, failed = (sum(entry.status == status for entry in entries) for status in (DIVERGED, FAILED))
    noun = "configuration" if len(entries) == 1 else "configurations"
    counts = {"ran": len(entries) - reused, "reused": reused, "diverged": diverged, "failed": failed}
    return f"{len(entries):,} {noun}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items())


def best_line(entries: Sequence[Entry], swept: Sequence[str]) -> str:
    """Return the line about the best configuration or, if none finished, about what to try."""
    best = find_best(entries)
    if best is None:
        rates = [entry.settings.train.learning_rate for entry in entries if entry.status == DIVERGED]
        smaller = f"try smaller learning rates, below train.learning_rate={min(rates)}" if rates else ""
        return f"no configuration finished: {smaller or one_line(rank(entries)[0].reason)}"
    line = f"best: {name_configuration(best.settings, swept)}"
    if not is_held_out([best]):
        return f"{line}, training cost {_cost(best.get_metric('cost'))} (nothing was held out)"
    accuracy, baseline = (best.get_metric(f"validation_{name}") for name in ("accuracy", "baseline_accuracy"))
    line += f", validation accuracy {_percent(accuracy)} (cost {_cost(best.get_metric('validation_cost'))}, "
    line += f"baseline {_percent(baseline)})"
    return f"{line}: NO BETTER than one class for all" if is_useless(best) else line


def contender_lines(entries: Sequence[Entry], swept: Sequence[str], folds: int) -> list[str]:
    """Return lines about the configurations that cannot be told apart from the best one; none without folds."""
    contenders = find_contenders(entries, folds)
    if not contenders or len(entries) == 1:
        return []
    points = f"{100 * standard_error(contenders[0], folds):.1f} points"
    if len(contenders) == 1:
        return [f"no other one is within one standard error of it ({points} over {folds} folds)"]
    error = f"one standard error over {folds} folds, {points}"
    number = len(contenders) - 1
    line, simplest = (
        f"{number:,} other{'s' * (number > 1)} cannot be told apart from it ({error})",
        find_simplest(contenders),
    )
    if simplest is None:
        return [line]
    if simplest is contenders[0]:
        return [f"{line}; the best is the simplest"]
    accuracy = _percent(simplest.get_metric("validation_accuracy"))
    chosen = f"{name_configuration(simplest.settings, swept)}, validation accuracy {accuracy}"
    return [line, f"the simplest of them is a fair choice, too: {chosen}: one-neuron promote --run {simplest.run_id}"]


def describe_configuration(entry: Entry) -> str:
    """Return the description of the run of a configuration, in Markdown: its scores and how it was trained."""
    words = name_configuration(entry.settings, ("train.learning_rate", "train.num_iterations"))
    if entry.status != FINISHED:
        return f"**{entry.status}**: {one_line(entry.reason)}\n\n{words}"
    train, test = (_percent(entry.get_metric(f"{name}_accuracy")) for name in ("train", "test"))
    scores = f"train accuracy {train}, test accuracy {test} (for information)"
    if is_held_out([entry]):
        names = ("accuracy", "accuracy_std", "baseline_accuracy")
        accuracy, spread, baseline = (_percent(entry.get_metric(f"validation_{name}")) for name in names)
        known = f"standard deviation over the folds {spread}, baseline {baseline}"
        scores = f"Validation accuracy **{accuracy}** ({known}), {scores}"
    return f"{scores}\n\n{words}"


def short_value(value: object) -> str:
    """Return a value with at most six significant digits, for tables and legends."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _percent(accuracy: float) -> str:
    """Return an accuracy in percent, or "-" for nan."""
    return "-" if math.isnan(accuracy) else f"{100 * accuracy:.1f} %"


def _cost(cost: float) -> str:
    """Return a cost, or "-" for nan; a diverged one may have hundreds of digits."""
    if math.isnan(cost):
        return "-"
    return f"{cost:.3f}" if cost < 1000 else f"{cost:.3g}"
