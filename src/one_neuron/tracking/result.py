"""One result, read from the files of the stages: what an MLflow run shows, and the key by which the run is found."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from one_neuron import layout
from one_neuron.errors import DataError
from one_neuron.settings.params import Settings, load_settings
from one_neuron.sources.report import format_warning
from one_neuron.storage.model import Model, load_model
from one_neuron.storage.prepared_set import PreparedSet, load_prepared
from one_neuron.system.outputs import check_outputs, read_costs, read_curves, read_json
from one_neuron.tracking.parameters import run_parameters, to_text

# What a run shows of metrics/train.json as parameters: which form of training ran, on which shape of data, and the
# learning rate up to which the cost is sure to fall, which depends on the data alone.
_TRAINED = ("form", "m", "n_x", "stability_bound")
# What it shows as metrics, each of which is also the last point of its curve if there is one. The other measures are in
# the files, which are artifacts of the run.
_MEASURES = (
    "train_accuracy",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "baseline_accuracy",
    "test_cost",
    "train_roc_auc",
    "test_roc_auc",
    "train_average_precision",
    "test_average_precision",
    "test_precision",
    "test_recall",
    "test_f1",
)
# The columns of plots/curves.csv that a run shows; its cost on the training set is that of plots/costs.csv.
_CURVES = ("test_cost", "train_accuracy", "test_accuracy")


@dataclass(frozen=True)
class Result:
    """The outputs of the stages for one set of parameters.

    Parameters
    ----------
    folder : Path
        The folder of params.yaml and of the outputs of the stages.
    costs : sequence of (int, float)
        Pairs of an iteration and the cost after that many updates.
    snapshot_curves : mapping
        `test_cost`, `train_accuracy` and `test_accuracy` at the snapshots, as pairs of an iteration and a value.
    prepare_metrics, train_metrics, evaluate_metrics : mapping
        The contents of `metrics/prepare.json`, `metrics/train.json` and `metrics/evaluate.json`.
    """

    folder: Path
    settings: Settings
    train: PreparedSet
    test: PreparedSet
    model: Model
    costs: Sequence[tuple[int, float]]
    snapshot_curves: Mapping[str, Sequence[tuple[int, float]]]
    prepare_metrics: Mapping[str, Any]
    train_metrics: Mapping[str, Any]
    evaluate_metrics: Mapping[str, Any]

    @property
    def params(self) -> dict[str, str]:
        """The parameters that made the result, by their keys in params.yaml, and the shapes of the data."""
        shapes = {key: to_text(self.train_metrics[key]) for key in _TRAINED if key in self.train_metrics}
        return run_parameters(self.settings) | shapes | {"m_test": str(self.test.m)}

    @property
    def metrics(self) -> dict[str, float]:
        """The final measures: `train_accuracy`, `test_roc_auc` ...

        Raises
        ------
        DataError
            If a number of the metrics files is not finite: MLflow would store infinity as 1.797e308 without a warning.
        """
        for values, path in (
            (self.prepare_metrics, layout.PREPARE_METRICS),
            (self.train_metrics, layout.TRAIN_METRICS),
        ):
            _flatten(values, path)
        found = _flatten(self.evaluate_metrics, layout.EVALUATE_METRICS)
        return {name: found[name] for name in _MEASURES if name in found}

    @property
    def curves(self) -> dict[str, Sequence[tuple[int, float]]]:
        """The measures over the iterations, by the names of the metrics: pairs of an iteration and a value."""
        return {"cost": self.costs, **self.snapshot_curves}

    @property
    def points(self) -> dict[str, Sequence[tuple[int, float]]]:
        """Everything that a run shows as a metric: the final measures, at the last iteration, and the curves."""
        return {name: [(self.costs[-1][0], value)] for name, value in self.metrics.items()} | self.curves

    @property
    def warning(self) -> str:
        """A warning about test pictures that are copies of training pictures; "" if there are none.

        Raises
        ------
        DataError
            If `metrics/prepare.json` does not list the copies.
        """
        try:
            return format_warning(self.prepare_metrics)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"'{self.folder / layout.PREPARE_METRICS}' does not say which pictures are copies; run `dvc repro`"
            ) from error

    @property
    def content_key(self) -> str:
        """SHA-256 over parameters, data, model, curves and metrics, as 64 hexadecimal digits.

        It holds neither time nor place nor commit, so the same result has the same key wherever and whenever it is
        made. The metrics are part of the key because they depend on the code as well: after a corrected formula the
        old run no longer shows the files. Plots are not part of the key: restyling a plot does not make a new result.
        Of the skipped files only the number counts, because their reasons may name folders.
        """
        content = {
            "params": self.params,
            "train": self.train.sha256,
            "test": self.test.sha256,
            "model": self.model.sha256,
            "curves": {name: [list(pair) for pair in curve] for name, curve in self.curves.items()},
            "prepare_metrics": {key: value for key, value in self.prepare_metrics.items() if key != "skipped"},
            "train_metrics": dict(self.train_metrics),
            "evaluate_metrics": dict(self.evaluate_metrics),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def artifacts(self) -> list[tuple[Path, str]]:
        """The files to store with the run: pairs of a path and the artifact folder ("" for the top)."""
        # The page that compares runs shows files at the top beside each other.
        weights = self.folder / layout.PLOTS_FOLDER / "weights.png"
        files = [(path, "") for path in (self.folder / layout.PARAMS_FILE, self.folder / layout.DVC_LOCK, weights)]
        for folder, pattern in ((layout.METRICS_FOLDER, "*.json"), (layout.PLOTS_FOLDER, "*")):
            files += [(path, folder.name) for path in sorted((self.folder / folder).glob(pattern)) if path != weights]
        return [(path, kind) for path, kind in files if path.is_file() and not path.name.startswith(".")]


def read_result(folder: Path) -> Result:
    """Read the outputs of the stages in a folder, and check their digests and that they fit together.

    Raises
    ------
    DataError, SettingsError
        If a file is missing, is damaged or does not fit the others.
    """
    settings = load_settings(folder / layout.PARAMS_FILE)  # a wrong value is named before a file that it spoilt
    for path in (layout.PREPARE_DIGESTS, layout.TRAIN_DIGESTS, layout.EVALUATE_DIGESTS):
        check_outputs(path, folder)  # of the plots as well
    model_file, test_file = folder / layout.MODEL_FILE, folder / layout.TEST_FILE
    result = Result(
        folder=folder,
        settings=settings,
        train=load_prepared(folder / layout.TRAIN_FILE, on_disk=True),
        test=load_prepared(test_file, on_disk=True),
        model=load_model(model_file),
        costs=read_costs(folder),
        snapshot_curves=read_curves(layout.CURVES_FILE, _CURVES, folder),
        prepare_metrics=read_json(layout.PREPARE_METRICS, folder),
        train_metrics=read_json(layout.TRAIN_METRICS, folder),
        evaluate_metrics=read_json(layout.EVALUATE_METRICS, folder),
    )
    trained_on = result.model.trained_with.get("train_sha256")
    if trained_on not in (None, result.train.sha256):
        raise DataError(
            f"'{model_file}' was trained on other pictures than '{folder / layout.TRAIN_FILE}' holds; run `dvc repro`"
        )
    _check_made_with(result)
    model_px, test_px = result.model.preprocessing.num_px, result.test.preprocessing.num_px
    if model_px != test_px:
        raise DataError(f"'{model_file}' is for num_px = {model_px}, but '{test_file}' has {test_px}; run `dvc repro`")
    if not result.costs or not all(math.isfinite(cost) for _, cost in result.costs):
        raise DataError(f"'{folder / layout.COSTS_FILE}' must hold at least one cost, and finite ones; run `dvc repro`")
    for name, curve in result.snapshot_curves.items():
        if curve[-1][0] != result.costs[-1][0] or not all(math.isfinite(value) for _, value in curve):
            raise DataError(
                f"'{folder / layout.CURVES_FILE}': {name} is not finite or belongs to another training; run `dvc repro`"
            )
    return result


def _check_made_with(result: Result) -> None:
    """Raise an error if the model was made with other parameters than those in params.yaml."""
    model, settings = result.model, result.settings
    made_with = {"threshold": model.threshold, **asdict(model.preprocessing), **model.trained_with}
    asked = {"source": settings.data.source, **asdict(settings.data.preprocessing), **asdict(settings.train)}
    for key in asked.keys() & made_with.keys():
        if made_with[key] != asked[key]:
            raise DataError(
                f"'{result.folder / layout.MODEL_FILE}' was made with {key} = {made_with[key]}, "
                f"'{result.folder / layout.PARAMS_FILE}' says {asked[key]}; run `dvc repro`"
            )


def _flatten(values: Mapping[str, Any], path: Path, prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested sections, with their keys joined by `_`; True and False count as 1 and 0."""
    measures: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            measures |= _flatten(value, path, f"{prefix}{key}_")
        elif isinstance(value, int | float):
            if not math.isfinite(value):
                raise DataError(f"'{path}': {prefix}{key} is {value}; only finite numbers can be tracked")
            measures[f"{prefix}{key}"] = float(value)
    return measures
