"""From prepared pictures and settings to a model: for the stage `train`, and for the models that a sweep keeps."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from one_neuron.gradient_descent.optimize import TrainingResult, optimize
from one_neuron.gradient_descent.recorder import Checkpoint
from one_neuron.settings.params import TrainSettings
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet


def training_inputs(prepared: PreparedSet, settings: TrainSettings) -> dict[str, Any]:
    """Return all that determines a training, named as in params.yaml: parameters, source and SHA-256 of the data.

    The threshold is left out: it plays no part in training.
    """
    values = asdict(settings)
    del values["threshold"]
    return {**values, "source": prepared.source, "train_sha256": prepared.sha256}


def train_model(
    prepared: PreparedSet,
    settings: TrainSettings,
    *,
    on_progress: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Model, TrainingResult]:
    """Train the neuron exactly: the same settings and training set give the same bits.

    `on_progress` and `checkpoint` are those of `gradient_descent.optimize`.
    """
    values = asdict(settings)
    threshold = values.pop("threshold")
    result = optimize(prepared.X, prepared.Y, **values, on_progress=on_progress, checkpoint=checkpoint)
    model = Model(
        parameters=result.parameters,
        preprocessing=prepared.preprocessing,
        classes=prepared.classes,
        threshold=threshold,
        trained_with={**training_inputs(prepared, settings), "form": result.form},
    )
    return model, result
