"""The content key and what a run shows, from results made in memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.metrics import evaluate
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.settings.params import check_settings
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.tracking.result import Result
from tests.values import DATA, HDF5, VALUES


def _prepared(m: int) -> PreparedSet:
    X = np.arange(m * 12, dtype=np.uint8).reshape(m, 12)
    Y = np.arange(m, dtype=np.uint8) % 2
    names, classes = tuple(map(str, range(m))), ("non-cat", "cat")
    return PreparedSet(X=X, Y=Y, names=names, preprocessing=Preprocessing(2), classes=classes, source="drawn")


@pytest.fixture
def result(tmp_path: Path) -> Result:
    """Return a result that was never written to files."""
    return Result(
        folder=tmp_path,
        settings=check_settings(VALUES, origin="the test"),
        train=_prepared(8),
        test=_prepared(4),
        model=Model(Parameters(w=np.zeros(12), b=0.0), Preprocessing(2), ("non-cat", "cat"), threshold=0.5),
        costs=[(0, 0.75), (100, 0.5), (200, 0.25)],
        snapshot_curves={"test_cost": [(0, 0.75), (200, 0.5)], "test_accuracy": [(0, 0.25), (200, 0.5)]},
        prepare_metrics={
            "train": {"m": 8, "num_positive": 3, "num_negative": 5},
            "test": {"m": 4, "num_positive": 2, "num_negative": 2},
            "classes": [{"name": "cat", "label": 1, "train": 3, "test": 2}],
            "num_skipped": 1,
            "skipped": [{"file": "a.png", "reason": "'/home/somebody/pictures/a.png' is no picture"}],
            "num_copies": 1,
            "copies": [["test/a.png", "train/b.png"]],
        },
        train_metrics={"form": "gram", "m": 8, "n_x": 12, "first_cost": 0.75, "last_cost": 0.25},
        evaluate_metrics={"test_accuracy": 0.5, "test": {"m": 4, "cost": 0.5, "accuracy": 0.5, "true_positives": 1}},
    )


def test_params_use_the_words_of_params_yaml(result: Result) -> None:
    """Sections and keys, joined by a dot, and the shapes."""
    assert result.params == {
        "draw.seed": "1",
        "draw.num_train": "8",
        "draw.num_test": "4",
        "data.source": "drawn",
        "data.num_px": "2",
        "data.resize": "stretch",
        "data.decode": "exact",
        "train.learning_rate": "0.005",
        "train.num_iterations": "200",
        "train.record_every": "100",
        "train.tolerance": "0.0",
        "train.threshold": "0.5",
        "evaluate.num_mistakes": "12",
        "form": "gram",
        "m": "8",
        "n_x": "12",
        "m_test": "4",
    }


def test_metrics_are_measures_of_quality_each_once(result: Result) -> None:
    """`test: {cost}` becomes `test_cost`; the last cost is that of the curve, and counts stay in the files."""
    assert result.metrics == {"test_accuracy": 0.5, "test_cost": 0.5}
    assert result.curves == {"cost": [(0, 0.75), (100, 0.5), (200, 0.25)], **result.snapshot_curves}


def test_a_run_has_at_most_fifteen_metrics(result: Result) -> None:
    """With all that the evaluation can measure."""
    split = evaluate(np.array([-1.0, 2.0, 0.5]), np.array([0, 1, 0]), threshold=0.5)
    accuracies = {"train_accuracy": 0.9, "test_accuracy": 0.8, "baseline_accuracy": 0.5}
    whole = replace(result, evaluate_metrics={**accuracies, "train": split, "test": split})
    assert 12 <= len(whole.metrics.keys() | whole.curves.keys()) <= 15


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_metric_that_is_not_finite_is_named(result: Result, value: float) -> None:
    """MLflow would store infinity as 1.797e308."""
    broken = replace(result, evaluate_metrics={"test": {"cost": value}})
    with pytest.raises(DataError, match=r"evaluate\.json.*test_cost is"):
        _ = broken.metrics


def test_a_count_that_is_not_finite_is_named(result: Result) -> None:
    """Counts of the data included."""
    with pytest.raises(DataError, match=r"prepare\.json.*num_skipped is inf"):
        _ = replace(result, prepare_metrics={"num_skipped": float("inf")}).metrics


def test_copies_are_a_warning(result: Result) -> None:
    """One line if there are copies, nothing if there are none, and an error if the file does not list them."""
    assert "1 test picture is a copy of a training picture, 'test/a.png' of 'train/b.png'" in result.warning
    assert replace(result, prepare_metrics={"num_copies": 0}).warning == ""
    for broken in ({}, {"num_copies": 1}, {"num_copies": 1, "copies": []}, {"num_copies": "1", "copies": [["a", "b"]]}):
        with pytest.raises(DataError, match=r"metrics/prepare\.json' does not say .* run `dvc repro`"):
            _ = replace(result, prepare_metrics=broken).warning


def test_key_is_the_same_for_the_same_content(result: Result, tmp_path: Path) -> None:
    """The folder does not matter."""
    again = replace(result, folder=tmp_path / "elsewhere", train=_prepared(8), test=_prepared(4))
    assert again.content_key == result.content_key
    assert len(result.content_key) == 64


def test_key_differs_for_one_changed_pixel(result: Result) -> None:
    """In either set, the last pixel included."""

    def change(prepared: PreparedSet) -> PreparedSet:
        X = prepared.X.copy()
        X[-1, -1] ^= 1
        return replace(prepared, X=X)

    assert replace(result, train=change(result.train)).content_key != result.content_key
    assert replace(result, test=change(result.test)).content_key != result.content_key


def test_key_differs_for_another_weight_cost_metric_or_parameter(result: Result) -> None:
    """For the smallest change of anything that a run shows."""
    w = np.zeros(12)
    w[3] = np.nextafter(0.0, 1.0)
    others = [
        replace(result, model=replace(result.model, parameters=Parameters(w=w, b=0.0))),
        replace(result, costs=[*result.costs[:2], (200, float(np.nextafter(0.25, 1)))]),
        replace(result, snapshot_curves={**result.snapshot_curves, "test_accuracy": [(0, 0.5), (200, 0.5)]}),
        replace(result, evaluate_metrics={"test_accuracy": 0.75}),
        replace(result, train_metrics={**result.train_metrics, "form": "primal"}),
        replace(result, prepare_metrics={**result.prepare_metrics, "num_skipped": 2}),
        replace(result, prepare_metrics={**result.prepare_metrics, "classes": []}),
    ]
    for section, key, value in (("train", "learning_rate", 0.01), ("draw", "seed", 2), ("evaluate", "num_mistakes", 3)):
        values = {**VALUES, section: {**VALUES[section], key: value}}
        others.append(replace(result, settings=check_settings(values, origin="the test")))
    assert len({other.content_key for other in [result, *others]}) == len(others) + 1


def test_key_is_the_same_for_pictures_skipped_in_another_place(result: Result) -> None:
    """Only their reasons name the folder."""
    moved = [{"file": "a.png", "reason": "'/elsewhere/a.png' is no picture"}]
    assert replace(result, prepare_metrics={**result.prepare_metrics, "skipped": moved}).content_key == (
        result.content_key
    )


def test_parameters_of_drawing_do_not_belong_to_another_source(result: Result) -> None:
    """They do not change such a result."""

    def settings_of(seed: int) -> Result:
        data, draw = {**DATA, "source": "catvnoncat"}, {**VALUES["draw"], "seed": seed}
        values = {**VALUES, "data": data, "draw": draw}
        return replace(result, settings=check_settings(values, origin="the test"))

    assert settings_of(1).content_key == settings_of(2).content_key
    assert "draw.seed" not in settings_of(1).params


@pytest.mark.parametrize("source", ["drawn", "catvnoncat", "folder", "hdf5"])
def test_where_and_how_pictures_are_read_is_not_a_parameter(result: Result, source: str) -> None:
    """The SHA-256 of the data covers the outcome; the choice of the test set is for the user's own pictures only."""

    def with_other(section: str, key: str, value: object) -> Result:
        values = {**VALUES, "data": {**DATA, "source": source}}
        values[section] = {**values[section], key: value}
        return replace(result, settings=check_settings(values, origin="the test"))

    plain = with_other("data", "source", source)
    location = [("data", "path", "elsewhere"), ("data", "on_error", "skip"), ("data", "max_skipped", 3)]
    location += [("hdf5", key, "other") for key in HDF5]
    assert {with_other(*change).content_key for change in location} == {plain.content_key}
    own = [("data", "positive_class", "dog"), ("data", "test_fraction", 0.5), ("data", "seed", 2)]
    changed = {with_other(*choice).content_key != plain.content_key for choice in own}
    assert changed == {source in ("folder", "hdf5")}
    geometry = [("data", "num_px", 3), ("data", "resize", "pad"), ("data", "decode", "fast")]
    assert len({with_other(*choice).content_key for choice in geometry} | {plain.content_key}) == 4


def test_artifacts_are_the_files_worth_a_look(result: Result) -> None:
    """Existing files, without half-written ones."""
    plots = ("costs.csv", "curves.png", "weights.png", ".partial-x.png")
    for name in ("params.yaml", "metrics/train.json", *(f"plots/{name}" for name in plots)):
        path = result.folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    found = [(path.relative_to(result.folder).as_posix(), kind) for path, kind in result.artifacts]
    assert found == [
        ("params.yaml", ""),
        ("plots/weights.png", ""),
        ("metrics/train.json", "metrics"),
        ("plots/costs.csv", "plots"),
        ("plots/curves.png", "plots"),
    ]
