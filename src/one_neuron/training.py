"""From prepared pictures and settings to a model: for the stage `train`, and for the models that a sweep keeps."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from one_neuron.gradient_descent.optimize import TrainingResult, choose_form, optimize
from one_neuron.gradient_descent.recorder import Checkpoint
from one_neuron.settings.params import TrainSettings
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.system.memory import check_free, check_pictures


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

    Raises
    ------
    EnvironmentProblem
        If the matrix of the form "gram", or what the other form keeps for each picture, does not fit into memory.
    """
    if choose_form(prepared.X) == "gram":
        _check_gram_matrix(*prepared.X.shape)
    else:
        check_pictures("train", prepared.m)
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


def _check_gram_matrix(m: int, n_x: int) -> None:
    """Raise EnvironmentProblem if there is too little memory for the form "gram".

    It takes the matrix, m * m of float64; a strip of 256 columns of float32 with its copy and two products; and at the
    end three arrays of n_x float64 for each of the three digits of 20 snapshots. An eighth is added.
    """
    needed = 8 * m * m + 4 * 256 * 4 * m + 3 * 60 * 8 * n_x
    check_free(needed * 9 // 8, f"training with {m:,} pictures", "use fewer pictures")
