"""Stage `evaluate`: models/model.h5, data/prepared -> metrics/evaluate.json, plots/predictions.csv and plots/*.png."""

import sys

from one_neuron.system.command import run_command


def main() -> None:
    """Compare predictions with labels on the training and the test set."""
    import os
    from pathlib import Path

    # The user's own matplotlib settings must neither stop this stage nor change its plots.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    from one_neuron import neuron, plots
    from one_neuron.metrics import baseline_accuracy, evaluate, find_mistakes
    from one_neuron.settings.params import load_settings
    from one_neuron.storage.model import load_model
    from one_neuron.storage.prepared_set import load_prepared
    from one_neuron.system.files import read_costs, write_csv, write_json

    num_mistakes = load_settings().evaluate.num_mistakes
    model = load_model(Path("models/model.h5"))
    train, test = load_prepared(Path("data/prepared/train.h5")), load_prepared(Path("data/prepared/test.h5"))
    z_train, z_test = (neuron.compute_z(prepared.X, model.parameters) for prepared in (train, test))
    train_metrics = evaluate(z_train, train.Y, threshold=model.threshold)
    test_metrics = evaluate(z_test, test.Y, threshold=model.threshold)
    accuracies = {
        "train_accuracy": train_metrics.pop("accuracy"),
        "test_accuracy": test_metrics.pop("accuracy"),
        "baseline_accuracy": baseline_accuracy(test.Y),
    }
    write_json(Path("metrics/evaluate.json"), {**accuracies, "train": train_metrics, "test": test_metrics})

    folder = Path("plots")
    A = neuron.sigmoid(z_test)
    rows = zip(
        test.names,
        [test.classes[label] for label in test.Y],
        [test.classes[label] for label in (A > model.threshold).astype(int)],
        A.tolist(),
        strict=True,
    )
    write_csv(folder / "predictions.csv", ["name", "actual", "predicted", "probability"], rows)
    rate = float(model.trained_with["learning_rate"])
    plots.plot_costs(folder / "costs.png", read_costs(folder / "costs.csv"), learning_rate=rate)
    plots.plot_weights(folder / "weights.png", model)
    plots.plot_classes(folder / "classes.png", train, test)
    plots.plot_examples(folder / "examples.png", train)
    mistakes = find_mistakes(A, test.Y, threshold=model.threshold)[:num_mistakes]
    plots.plot_mistakes(folder / "mistakes.png", test, A, mistakes)


if __name__ == "__main__":
    sys.exit(run_command(main))
