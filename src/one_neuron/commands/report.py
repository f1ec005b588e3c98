"""The command `one-neuron report`: a table of the last result."""

import argparse
import sys
from pathlib import Path
from typing import Any

from one_neuron.errors import DataError, EnvironmentProblem, SettingsError, one_line, quote_path
from one_neuron.layout import EVALUATE_METRICS, PREPARE_METRICS, TRAIN_METRICS, find_repository
from one_neuron.system.files import atomic_write
from one_neuron.system.outputs import read_json
from one_neuron.tracking.links import read_links

NO_RUN = "no MLflow run shows this result; `make track` makes it, and the same command again adds the page to it"
_SHOWN_CLASSES = 6


def run_report(options: argparse.Namespace) -> None:
    """Print the table, or write the HTML page."""
    if options.html is not None:
        write_html(options.html)
        return
    metrics = map(read_json, (PREPARE_METRICS, TRAIN_METRICS, EVALUATE_METRICS))
    for name, value in _report_rows(*metrics):
        print(f"  {name:<18}{value}")
    for line in read_links(find_repository()):
        print(f"  {line}")


def write_html(path: Path) -> None:
    """Write a page about the result in the current folder, and store it with the MLflow run of the result.

    The page is written without the run as well if there is none, or if the store cannot be used.

    Raises
    ------
    SettingsError
        If the name of the file does not end in .html, so another file could be overwritten, if it is a folder, or if
        the folder for it does not exist.
    DataError
        If a file of the result is missing, is damaged or does not fit the others.
    """
    from one_neuron.commands.report_page import write_page
    from one_neuron.tracking.result import read_result
    from one_neuron.tracking.result_run import REPORT_FILE, find_result_run

    if path.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"{quote_path(path)} does not end in .html; choose another name: --html report.html")
    if path.is_dir():
        raise SettingsError(f"{quote_path(path)} is a folder; choose another name: --html page.html")
    if not path.parent.is_dir():
        raise SettingsError(f"{quote_path(path.parent)} is not a folder; create it: mkdir -p {quote_path(path.parent)}")
    result = read_result(Path.cwd())
    try:
        recorded, problem = find_result_run(find_repository(), result.content_key), NO_RUN
    except EnvironmentProblem as error:
        recorded, problem = None, str(error)
    try:
        page = write_page(result, recorded)
    except (KeyError, TypeError) as error:
        raise _lacks(error) from error
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    print(f"wrote {quote_path(path)} ({len(page.encode()) / 1e6:.1f} MB); open it in a browser")
    if recorded is not None:
        try:
            recorded.log_report(page)
        except EnvironmentProblem as error:
            recorded, problem = None, str(error)
    if recorded is None:
        print(f"one-neuron: warning: {one_line(problem)}", file=sys.stderr)
        return
    print(f"also stored with the MLflow run {recorded.run.info.run_id}, as {REPORT_FILE}")


def _report_rows(prepared: dict[str, Any], train: dict[str, Any], evaluated: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the names and values of the table."""
    try:
        size = f"m = {train['m']} + {evaluated['test']['m']} test pictures"
        meaning = "(always the class that is more frequent in the test set)"
        return [
            ("source", f"{train['source']}, {size}, n_x = {train['n_x']:,} features"),
            *_data_rows(prepared),
            ("cost", f"{train['first_cost']:.6f} -> {train['last_cost']:.6f}"),
            *_warning_rows(train),
            *[(f"{split} accuracy", _show_accuracy(evaluated, split)) for split in ("train", "test")],
            ("baseline", f"{evaluated['baseline_accuracy']:8.3%}  {meaning}"),
            *_baseline_rows(evaluated),
            ("pictures", "plots/*.png: curves, evaluation, probabilities, weights, mistakes, examples, classes"),
            ("compare runs", "make ui"),
            ("one page", "one-neuron report --html"),
        ]
    except (KeyError, TypeError) as error:
        raise _lacks(error) from error


def _lacks(error: Exception) -> DataError:
    """Return the error for metrics that another version of the stages wrote."""
    return DataError(f"'metrics' lacks {error}; run `dvc repro` to make it again")


def _show_accuracy(evaluated: dict[str, Any], split: str) -> str:
    """Return an accuracy with its interval."""
    low, high = (100 * evaluated[split][f"accuracy_{end}"] for end in ("low", "high"))
    return f"{evaluated[f'{split}_accuracy']:8.3%}  (95 % interval {low:.1f} to {high:.1f} %)"


def _baseline_rows(evaluated: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the row for a model that is not better than the baseline, or not surely; none otherwise."""
    from one_neuron.metrics import baseline_warning  # imports NumPy, before which the memory is checked

    baseline, test = evaluated["baseline_accuracy"], evaluated["test"]
    if warning := baseline_warning(evaluated["test_accuracy"], baseline):
        return [("warning", warning)]
    if test["accuracy_low"] > baseline:
        return []
    return [("note", f"the interval includes the baseline: with {test['m']:,} test pictures, it may be chance")]


def _warning_rows(train: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the row for a training that diverged; none otherwise."""
    if not train["diverged"]:
        return []
    advice = f"lower train.learning_rate; up to {train['stability_bound']} the cost is sure to fall"
    return [("diverged", f"yes: the last costs lie above the first; {advice}")]


def _data_rows(prepared: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows for the classes, and for pictures that were skipped or occur twice."""
    classes = sorted(prepared["classes"], key=lambda one: -one["label"])  # the positive class comes first
    counts = [f"{one['name']} {one['train']:,} + {one['test']:,}" for one in classes]
    more = f" and {len(counts) - _SHOWN_CLASSES:,} more" if len(counts) > _SHOWN_CLASSES else ""
    rows = [("classes", ", ".join(counts[:_SHOWN_CLASSES]) + more)]
    for name, meaning in (
        ("skipped", "pictures that cannot be read"),
        ("copies", "test pictures that are in the training set as well"),
        ("contradictions", "pictures with the same pixels as another one and the other label"),
    ):
        count = prepared[f"num_{name}"]
        if count:
            rows.append((name, f"{count:,}  ({meaning}; metrics/prepare.json names them)"))
    if left_out := prepared.get("ignored"):
        counts = [f"{count:,} {suffix}" for suffix, count in left_out.items()]
        rows.append(("left out", f"{', '.join(counts)}  (formats that are not read, and files without a class)"))
    return rows
