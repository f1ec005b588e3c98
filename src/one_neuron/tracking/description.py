"""What people read of a result in MLflow: the name of its run, the description, and the saved views of all results."""

import tempfile
from pathlib import Path

from one_neuron.errors import SettingsError
from one_neuron.layout import PARAMS_FILE
from one_neuron.metrics import baseline_warning
from one_neuron.settings.params import Settings, flatten_settings, load_settings
from one_neuron.system.git import Origin, ask_git
from one_neuron.tracking.links import RESULT_CHARTS, RESULTS_VIEW
from one_neuron.tracking.names import join_values
from one_neuron.tracking.result import Result
from one_neuron.tracking.tags import KIND
from one_neuron.tracking.views import View, draw_curves, draw_images, metric, param

_NAMED = ("data.source", "train.num_iterations", "train.learning_rate")
# The columns of the table, the most important ones first: a page shows five or six.
_PARAMS = ("data.source", "train.learning_rate", "train.num_iterations")
_METRICS = ("test_accuracy", "baseline_accuracy", "train_accuracy", "cost", "test_cost", "test_roc_auc", "test_f1")


def name_result(result: Result, origin: Origin) -> str:
    """Return the name of a run: what differs from the committed params.yaml, then the source and the training.

    For an experiment of DVC, it is the name of the experiment and what the experiment changed.
    """
    values, changed = flatten_settings(result.settings), _find_changes(result.folder, origin, result.settings)
    if origin.exp_name:
        return f"{origin.exp_name} {join_values({key: values[key] for key in changed})}".strip()
    return join_values({key: values[key] for key in dict.fromkeys([*changed, *_NAMED])})


def _find_changes(folder: Path, origin: Origin, settings: Settings) -> list[str]:
    """Return the keys of the values that params.yaml has otherwise in the commit; none if there is no commit."""
    committed = ask_git(folder, "show", f"{origin.commit}:./{PARAMS_FILE}") if origin.commit else None
    if committed is None:
        return []
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
        path = Path(temporary, PARAMS_FILE)
        path.write_text(committed, encoding="utf-8")
        try:
            before = flatten_settings(load_settings(path))
        except SettingsError:  # of a version with other keys
            return []
    return [key for key, value in flatten_settings(settings).items() if value != before[key]]


def _describe_interval(result: Result) -> str:
    """Return the 95 % interval of the test accuracy, with a comma behind it, or "" if the metrics have none."""
    ends = [result.evaluate_metrics.get("test", {}).get(f"accuracy_{end}") for end in ("low", "high")]
    return "" if None in ends else f"95 % interval {100 * ends[0]:.1f} to {100 * ends[1]:.1f} %, "


def describe_result(result: Result, origin: Origin) -> str:
    """Return the description of a run, in Markdown: how good the result is, what it is, and how to make it again."""
    metrics, num_px = result.metrics, result.model.preprocessing.num_px
    negative, positive = result.model.classes
    if result.train_metrics.get("diverged"):
        lines = ["**The training diverged**: the last costs lie above the first. Lower train.learning_rate."]
    else:
        lines = []
    if {"train_accuracy", "test_accuracy", "baseline_accuracy"} <= metrics.keys():
        test, baseline = metrics["test_accuracy"], metrics["baseline_accuracy"]
        warning = baseline_warning(test, baseline)
        lines.append(
            f"Test accuracy **{100 * test:.1f} %** ({_describe_interval(result)}baseline {100 * baseline:.1f} %), "
            f"train accuracy {100 * metrics['train_accuracy']:.1f} %, cost {result.costs[-1][1]:.4f}."
            + (f" **{warning}**." if warning else "")
        )
    changed = " (other files had uncommitted changes)" if origin.dirty else ""
    checkout = f"git checkout {origin.commit}{changed}\n" if origin.commit else ""
    what = (
        f"One neuron that tells {positive} from {negative} in pictures of {num_px} x {num_px} pixels, trained on "
        f"{result.train.m:,} pictures (source {result.settings.data.source}), tested on {result.test.m:,}."
    )
    copy = f"cp <{PARAMS_FILE} among this run's artifacts> {PARAMS_FILE}"
    return "\n\n".join([*lines, what, f"To make it again:\n\n```\n{checkout}{copy}\ndvc repro\n```\n"])


def view_results(result: Result) -> dict[str, View]:
    """Return the saved views of the results, by key, with the metrics of one of them."""
    search, metrics = f"tags.`{KIND}` = 'result'", [*result.metrics, *result.curves]
    columns = [*map(param, _PARAMS), *(metric(name) for name in _METRICS if name in metrics)]
    charts = [
        draw_curves(*(name for name in ("cost", "test_cost") if name in metrics)),
        draw_curves("train_accuracy", "test_accuracy"),
        draw_images("weights", result.costs[-1][0]),
    ]
    return {
        RESULTS_VIEW: View("Results, newest first", search, columns),
        RESULT_CHARTS: View("Results, curves", search, columns, charts=charts, metrics=metrics),
    }
