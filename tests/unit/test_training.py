"""From prepared pictures and settings to a model: a loop by hand, and what the model says it was trained with."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from one_neuron import training
from one_neuron.errors import EnvironmentProblem
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.settings.params import TrainSettings
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.system.memory_limits import Limit
from one_neuron.training import train_model, training_inputs

SETTINGS = TrainSettings(learning_rate=0.05, num_iterations=30, record_every=8, tolerance=0.0, threshold=0.75)
MakePrepared = Callable[..., PreparedSet]


def test_the_model_is_that_of_a_loop_by_hand(make_prepared: MakePrepared) -> None:
    """Parameters, recorded costs, and all that goes with the model."""
    prepared = make_prepared(9, source="drawn")
    model, result = train_model(prepared, SETTINGS)
    X, Y, w, b = prepared.X / 255, prepared.Y.astype(float), np.zeros(12), 0.0
    costs = []
    for iteration in range(31):
        a = 1 / (1 + np.exp(-(X @ w + b)))
        if iteration in (0, 8, 16, 24, 30):
            costs.append(float(-np.mean(Y * np.log(a) + (1 - Y) * np.log(1 - a))))
        if iteration < 30:
            w, b = w - 0.05 * X.T @ (a - Y) / 9, b - 0.05 * float(np.mean(a - Y))
    assert model.parameters.w == pytest.approx(w, abs=1e-13)
    assert model.parameters.b == pytest.approx(b, abs=1e-13)
    assert result.iterations.tolist() == [0, 8, 16, 24, 30]
    assert result.costs == pytest.approx(costs, abs=1e-12)
    assert (model.preprocessing.num_px, model.classes, model.threshold) == (2, ("non-cat", "cat"), 0.75)


@pytest.mark.parametrize(("resize", "decode"), [("crop", "exact"), ("pad", "fast"), ("stretch", "fast")])
def test_a_new_picture_is_treated_as_those_of_the_training_set(
    make_prepared: MakePrepared, resize: str, decode: str
) -> None:
    """The model says how."""
    model, _ = train_model(make_prepared(resize=resize, decode=decode), SETTINGS)
    assert (model.preprocessing.resize, model.preprocessing.decode) == (resize, decode)


def test_what_a_model_says_it_was_trained_with(make_prepared: MakePrepared) -> None:
    """The words of params.yaml, the pictures, and the form of the arithmetic."""
    prepared = make_prepared(source="catvnoncat")
    described = {
        "learning_rate": 0.05,
        "num_iterations": 30,
        "record_every": 8,
        "tolerance": 0.0,
        "source": "catvnoncat",
        "train_sha256": prepared.sha256,
    }
    assert training_inputs(prepared, SETTINGS) == described
    model, result = train_model(prepared, SETTINGS)
    assert dict(model.trained_with) == {**described, "form": result.form}


def test_the_threshold_has_no_part_in_the_training(make_prepared: MakePrepared) -> None:
    """Another one gives another model with the same parameters; a checkpoint serves both."""
    prepared, other = make_prepared(), replace(SETTINGS, threshold=0.25)
    one, two = train_model(prepared, SETTINGS)[0], train_model(prepared, other)[0]
    assert training_inputs(prepared, SETTINGS) == training_inputs(prepared, other)
    assert (one.parameters.w.tobytes(), one.parameters.b) == (two.parameters.w.tobytes(), two.parameters.b)
    assert (one.threshold, two.threshold) == (0.75, 0.25)
    assert one.sha256 != two.sha256


def test_the_same_settings_and_pictures_give_the_same_bits(make_prepared: MakePrepared) -> None:
    """And the same SHA-256."""
    assert train_model(make_prepared(), SETTINGS)[0].sha256 == train_model(make_prepared(), SETTINGS)[0].sha256


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 0.06}, {"num_iterations": 31}, {"record_every": 9}, {"tolerance": 1e-6}],
)
def test_other_settings_are_another_training(make_prepared: MakePrepared, change: dict[str, Any]) -> None:
    """A checkpoint of one never serves the other."""
    prepared = make_prepared()
    assert training_inputs(prepared, replace(SETTINGS, **change)) != training_inputs(prepared, SETTINGS)


def test_other_pictures_are_another_training(make_prepared: MakePrepared) -> None:
    """Told by their SHA-256."""
    assert training_inputs(make_prepared(seed=1), SETTINGS) != training_inputs(make_prepared(seed=2), SETTINGS)


def test_a_tolerance_stops_early(make_prepared: MakePrepared) -> None:
    """At the first record whose cost differs by less from the one before."""
    costs = train_model(make_prepared(), SETTINGS)[1].costs
    steps = np.abs(np.diff(costs))
    tolerance = float((steps[0] + steps[1]) / 2)  # between the first step and the second
    _, result = train_model(make_prepared(), replace(SETTINGS, tolerance=tolerance))
    assert steps[0] > tolerance > steps[1]
    assert result.iterations.tolist() == [0, 8, 16]


def test_progress_is_told(make_prepared: MakePrepared) -> None:
    """After each iteration, with a cost."""
    told: list[tuple[int, float]] = []
    _, result = train_model(make_prepared(), SETTINGS, on_progress=lambda *now: told.append(now))
    assert [iteration for iteration, _ in told][-30:] == list(range(1, 31))
    assert told[-1][1] == result.costs[-1]


def test_a_checkpoint_is_handed_to_the_descent(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which keeps the state there, where it takes long."""
    handed: list[object] = []

    def note(*arguments: Any, checkpoint: Any, **options: Any) -> Any:
        handed.append(checkpoint)
        return optimize(*arguments, checkpoint=checkpoint, **options)

    class Nowhere:
        """A checkpoint that keeps nothing."""

        def load(self) -> None:
            """Return nothing."""

        def offer(self, state: object) -> None:
            """Take no notice."""

    monkeypatch.setattr(training, "optimize", note)
    checkpoint = Nowhere()
    train_model(make_prepared(), SETTINGS, checkpoint=checkpoint)
    train_model(make_prepared(), SETTINGS)
    assert handed == [checkpoint, None]


def test_a_matrix_that_does_not_fit_is_refused(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4,096 pictures it takes 4096 * 4096 * 8 bytes, 128 MB; with the other arrays and an eighth, 181 MB.

    The other arrays: 4096 * 256 * 4 bytes four times, 16 MB, and 12288 * 8 bytes 180 times, 17 MB.
    """
    many = {"X": np.broadcast_to(np.uint8(0), (4096, 64 * 64 * 3)), "Y": np.zeros(4096, np.uint8)}
    prepared = make_prepared(num_px=64, names=("a",) * 4096, **many)
    limit = Limit("resident", 100 * 2**20, 0, "this machine", "end other programs")
    monkeypatch.setattr("one_neuron.system.memory.find_limits", lambda _: [limit])
    message = (
        "training with 4,096 pictures needs 181 MB of memory; this machine allows 100 MB: use fewer pictures, or end"
    )
    with pytest.raises(EnvironmentProblem, match=message):
        train_model(prepared, SETTINGS)


def test_other_forms_need_no_matrix(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,001 pictures of few pixels are trained in blocks, for which 191 MB are enough, most of them for a compiler."""
    limit = Limit("resident", 191 * 2**20, 0, "this machine", "end other programs")
    monkeypatch.setattr("one_neuron.system.memory.find_limits", lambda _: [limit])
    _, result = train_model(make_prepared(1001, num_px=1), replace(SETTINGS, num_iterations=1))
    assert result.form == "blocks"
    monkeypatch.setattr("one_neuron.system.memory.find_limits", lambda _: [replace(limit, total=190 * 2**20)])
    with pytest.raises(EnvironmentProblem, match="`train` with 1,001 pictures needs 191 MB of memory; this machine"):
        train_model(make_prepared(1001, num_px=1), SETTINGS)
