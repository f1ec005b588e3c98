"""Stage `evaluate`: models/model.h5, data/prepared -> metrics/evaluate.json, plots/predictions.csv and plots/*.png."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron import neuron, plots
from one_neuron.errors import run_command
from one_neuron.files import read_costs, write_csv, write_json
from one_neuron.metrics import baseline_accuracy, count_confusion, roc_auc
from one_neuron.settings import load_settings
from one_neuron.storage import Model, PreparedSet, load_model, load_prepared

PLOTS = Path("plots")


def main() -> None:
    """Compare predictions with labels on the training and the test set."""
    num_mistakes = load_settings().evaluate.num_mistakes
    model = load_model(Path("models/model.h5"))
    train, test = load_prepared(Path("data/prepared/train.h5")), load_prepared(Path("data/prepared/test.h5"))
    train_metrics, _ = measure(model, train)
    test_metrics, A = measure(model, test)
    write_json(
        Path("metrics/evaluate.json"),
        {
            "train_accuracy": train_metrics["accuracy"],
            "test_accuracy": test_metrics["accuracy"],
            "baseline_accuracy": baseline_accuracy(test.Y),
            "train": train_metrics,
            "test": test_metrics,
        },
    )
    predicted = model.threshold < A
    write_predictions(PLOTS / "predictions.csv", test, A, predicted)
    plots.plot_costs(
        PLOTS / "costs.png", read_costs(PLOTS / "costs.csv"), learning_rate=float(model.trained_with["learning_rate"])
    )
    plots.plot_weights(PLOTS / "weights.png", model)
    plots.plot_examples(PLOTS / "examples.png", train)
    wrong = np.flatnonzero(predicted != test.Y)
    worst = wrong[np.argsort(-np.abs(A - test.Y)[wrong], kind="stable")]
    plots.plot_mistakes(PLOTS / "mistakes.png", test, A, worst[:num_mistakes])


def measure(model: Model, prepared: PreparedSet) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Return the metrics of one set and the probability of label 1 for each picture."""
    z = neuron.compute_z(prepared.X, model.parameters)
    A = neuron.sigmoid(z)
    confusion = count_confusion(prepared.Y, model.threshold < A)
    metrics = {
        "m": prepared.m,
        "cost": neuron.cost(z, prepared.Y),
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "roc_auc": roc_auc(prepared.Y, z),
        "true_positives": confusion.true_positives,
        "false_positives": confusion.false_positives,
        "true_negatives": confusion.true_negatives,
        "false_negatives": confusion.false_negatives,
    }
    return metrics, A


def write_predictions(path: Path, test: PreparedSet, A: NDArray[np.float64], predicted: NDArray[np.bool_]) -> None:
    """Write one line for each test picture, for DVC's confusion matrix and for the curious."""
    rows = [
        (name, test.classes[label], test.classes[guess], probability)
        for name, label, guess, probability in zip(
            test.names, test.Y.tolist(), predicted.astype(int).tolist(), A.tolist(), strict=True
        )
    ]
    write_csv(path, ["name", "actual", "predicted", "probability"], rows)


if __name__ == "__main__":
    sys.exit(run_command(main))
