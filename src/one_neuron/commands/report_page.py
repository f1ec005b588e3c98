"""One HTML page about a result, to hand over: all in one file, without scripts; nothing is loaded from elsewhere."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from one_neuron import layout, neuron
from one_neuron.commands.comparison import MAX_ITERATIONS, Comparison, compare
from one_neuron.commands.lineage import find_lineage
from one_neuron.errors import escape_control_characters
from one_neuron.metrics import Confusion, baseline_warning, find_mistakes, wilson_interval
from one_neuron.pictures.convert import encode_picture
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.tracking.parameters import data_location, run_parameters
from one_neuron.tracking.result import Result
from one_neuron.tracking.result_run import ResultRun

TEMPLATE = "report.html"
MOST_MISTAKES = 24  # pictures on the page
MOST_PLOT_BYTES = 1_300_000  # of all plots together; a page is then below 2 MB

# The plots in the order of the page, with their titles; others follow under the names of their files.
PLOTS = {
    "curves": "Cost and accuracy over the iterations",
    "evaluation": "Ranking, calibration and threshold",
    "probabilities": "Predictions and probabilities by class",
    "weights": "The weights w as a picture",
    "weights_over_time": "The weights w while training",
    "classes": "Mean picture and examples of each class",
}
LEFT_OUT = {"mistakes", "examples"}  # the mistakes are shown with text, and the examples are those of the classes


def write_page(result: Result, recorded: ResultRun | None) -> str:
    """Return the page about a result; `recorded` is its MLflow run, if there is one.

    scikit-learn's LogisticRegression is trained for it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of files and classes may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "plain": escape_control_characters}
    peer = compare(result.train, result.test, threshold=result.model.threshold)
    plots, left_out = _read_plots(result.folder / layout.PLOTS_FOLDER)
    content = {
        "result": result,
        "training": {name: result.train_metrics[name] for name in ("first_cost", "last_cost", "stability_bound")},
        "classes": sorted(result.prepare_metrics["classes"], key=lambda one: -one["label"]),
        "warnings": _list_warnings(result),
        "scores": _list_scores(result, peer),
        "peer": peer,
        "max_iterations": MAX_ITERATIONS,
        "params": {**run_parameters(result.settings), **data_location(result.settings)},
        "plots": plots,
        "left_out": left_out,
        "mistakes": _list_mistakes(result),
        "lineage": find_lineage(result, recorded),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }
    page = environment.get_template(TEMPLATE).render(content)
    return page.encode("utf-8", "backslashreplace").decode("utf-8")  # a name may hold bytes that are not UTF-8


def _list_scores(result: Result, peer: Comparison | None) -> list[dict[str, Any]]:
    """Return the measures of both sets, the test set first: of the neuron, of scikit-learn and of the baseline."""
    scores = []
    for split, prepared in (("test", result.test), ("train", result.train)):
        measured = {**result.evaluate_metrics[split], "accuracy": result.evaluate_metrics[f"{split}_accuracy"]}
        positives = int(np.count_nonzero(prepared.Y))
        most = max(positives, prepared.m - positives)
        low, high = wilson_interval(most, prepared.m)
        baseline = {"accuracy": most / prepared.m, "accuracy_low": low, "accuracy_high": high, "roc_auc": 0.5}
        scores.append(
            {
                "split": split,
                "m": prepared.m,
                "neuron": measured,
                "peer": getattr(peer, split) if peer else None,
                "baseline": baseline,
                "most_frequent": prepared.classes[positives > prepared.m - positives],
                "is_tie": 2 * positives == prepared.m,
                "warning": baseline_warning(measured["accuracy"], baseline["accuracy"]),
                "confusion": Confusion(**{name: measured[name] for name in Confusion.__dataclass_fields__}),
            }
        )
    return scores


def _list_mistakes(result: Result) -> list[dict[str, Any]]:
    """Return the wrong predictions on the test set to show, the most confident first."""
    test, threshold = result.test, result.model.threshold
    A = neuron.predict_probability(test.X, result.model.parameters)
    wrong = find_mistakes(A, test.Y, threshold=threshold)
    shown = wrong[: min(MOST_MISTAKES, result.settings.evaluate.num_mistakes)]
    return [
        {
            "picture": _data_uri(_as_png(test, i)),
            "name": test.names[i],
            "true": test.classes[test.Y[i]],
            "predicted": test.classes[1 - test.Y[i]],
            "probability": float(A[i]),
        }
        for i in shown.tolist()
    ]


def _as_png(prepared: PreparedSet, i: int) -> bytes:
    """Return a picture as the neuron sees it, as the bytes of a PNG file."""
    num_px = prepared.preprocessing.num_px
    return encode_picture(np.asarray(prepared.X[i]).reshape(num_px, num_px, -1))


def _list_warnings(result: Result) -> list[str]:
    """Return what a reader must know about training and data, a sentence each."""
    prepared, train = result.prepare_metrics, result.train_metrics
    warnings = [result.warning] if result.warning else []
    if train["diverged"]:
        advice = f"up to a learning rate of {train['stability_bound']} the cost is sure to fall"
        warnings.insert(0, f"TRAINING DIVERGED: the last costs lie above the first; {advice}")
    for name, one, many in (
        ("skipped", "1 unreadable picture was left out", "{:,} unreadable pictures were left out"),
        (
            "contradictions",
            "1 picture has the same pixels as another one and the other label",
            "{:,} pictures have the same pixels as another one and the other label",
        ),
        (
            "repeated",
            "1 training picture has the same pixels as an earlier one",
            "{:,} training pictures have the same pixels as an earlier one",
        ),
    ):
        if count := prepared[f"num_{name}"]:
            warnings.append(one if count == 1 else many.format(count))
    if left_out := prepared.get("ignored"):
        counts = ", ".join(f"{count:,} {suffix}" for suffix, count in left_out.items())
        warnings.append(f"files that are not read, or belong to no class, were left out: {counts}")
    return warnings


def _read_plots(folder: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the plots in a folder as data URIs with their titles, and the names of those that are too large."""
    paths = {path.stem: path for path in sorted(folder.glob("*.png")) if path.stem not in LEFT_OUT}
    if "curves" in paths:  # it shows the cost as well
        paths.pop("costs", None)
    plots, left_out, total = [], [], 0
    for stem in [*(name for name in PLOTS if name in paths), *(name for name in paths if name not in PLOTS)]:
        content = paths[stem].read_bytes()
        if total + len(content) > MOST_PLOT_BYTES:
            left_out.append(paths[stem].name)
            continue
        total += len(content)
        title = PLOTS.get(stem, stem.replace("_", " ").capitalize())
        plots.append({"name": stem, "title": title, "picture": _data_uri(content)})
    return plots, left_out


def _data_uri(png: bytes) -> str:
    """Return the bytes of a PNG file as an address that holds them."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def _percent(share: float) -> str:
    """Return a share in percent, with a space that does not break the line."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
