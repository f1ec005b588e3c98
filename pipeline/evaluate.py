"""Stage `evaluate`: models/model.h5, data/prepared -> metrics/evaluate.json, plots/predictions.csv and plots/*.png."""

import sys

from one_neuron.system.command import run_command


def main() -> None:
    """Compare predictions with labels on the training and the test set."""
    import os

    # The user's own matplotlib settings must neither stop this stage nor change its plots.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    from one_neuron import layout, neuron
    from one_neuron.metrics import baseline_accuracy, evaluate, find_mistakes
    from one_neuron.plots.costs import plot_costs
    from one_neuron.plots.evaluation import ScoredSet, plot_evaluation, plot_probabilities
    from one_neuron.plots.pictures import plot_classes, plot_examples, plot_mistakes
    from one_neuron.plots.weights import plot_weights
    from one_neuron.settings.params import load_settings
    from one_neuron.storage.model import load_model
    from one_neuron.storage.prepared_set import load_prepared
    from one_neuron.system.files import read_costs, write_csv, write_json

    num_mistakes = load_settings().evaluate.num_mistakes
    model = load_model(layout.MODEL_FILE)
    train, test = load_prepared(layout.TRAIN_FILE), load_prepared(layout.TEST_FILE)
    z_train, z_test = (neuron.compute_z(prepared.X, model.parameters) for prepared in (train, test))
    train_metrics = evaluate(z_train, train.Y, threshold=model.threshold)
    test_metrics = evaluate(z_test, test.Y, threshold=model.threshold)
    accuracies = {
        "train_accuracy": train_metrics.pop("accuracy"),
        "test_accuracy": test_metrics.pop("accuracy"),
        "baseline_accuracy": baseline_accuracy(test.Y),
    }
    write_json(layout.EVALUATE_METRICS, {**accuracies, "train": train_metrics, "test": test_metrics})

    of_train = ScoredSet("train", train.Y, z_train, neuron.sigmoid(z_train))
    of_test = ScoredSet("test", test.Y, z_test, neuron.sigmoid(z_test))
    rows = zip(
        test.names,
        [test.classes[label] for label in test.Y],
        [test.classes[label] for label in (of_test.A > model.threshold).astype(int)],
        of_test.A.tolist(),
        strict=True,
    )
    write_csv(layout.PREDICTIONS_FILE, ["name", "actual", "predicted", "probability"], rows)
    folder, threshold = layout.PLOTS_FOLDER, model.threshold
    rate = float(model.trained_with["learning_rate"])
    plot_costs(folder / "costs.png", read_costs(layout.COSTS_FILE), learning_rate=rate)
    plot_weights(folder / "weights.png", model)
    plot_evaluation(folder / "evaluation.png", [of_train, of_test], threshold=threshold)
    plot_probabilities(folder / "probabilities.png", [of_train, of_test], test.classes, threshold=threshold)
    plot_classes(folder / "classes.png", train, test)
    plot_examples(folder / "examples.png", train, of_train.A, threshold=threshold)
    mistakes = find_mistakes(of_test.A, test.Y, threshold=threshold)[:num_mistakes]
    plot_mistakes(folder / "mistakes.png", test, of_test.A, mistakes, threshold=threshold)


if __name__ == "__main__":
    sys.exit(run_command(main))
