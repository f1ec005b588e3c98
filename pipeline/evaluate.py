"""Stage `evaluate`: models/model.h5, data/prepared -> metrics/evaluate.json, plots/predictions.csv and plots/*.png."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from one_neuron.system.interrupts import end_on_interrupt

if TYPE_CHECKING:
    from one_neuron.neuron import Parameters
    from one_neuron.storage.prepared_set import PreparedSet
    from one_neuron.training_curves import TrainingCurve


def main() -> None:
    """Compare predictions with labels on the training and the test set."""
    import os
    from concurrent.futures import wait

    # The user's own matplotlib settings must neither stop this stage nor change its plots.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    from one_neuron import layout, neuron
    from one_neuron.metrics import baseline_accuracy, evaluate, find_mistakes
    from one_neuron.plots.curves import plot_curves
    from one_neuron.plots.evaluation import ScoredSet, plot_evaluation, plot_probabilities
    from one_neuron.plots.pictures import plot_classes, plot_examples, plot_mistakes
    from one_neuron.plots.snapshots import draw_snapshots
    from one_neuron.plots.weights import plot_weights
    from one_neuron.settings.params import load_settings
    from one_neuron.storage.model import load_model
    from one_neuron.storage.prepared_set import load_prepared
    from one_neuron.storage.snapshots import load_snapshots
    from one_neuron.system.files import write_csv, write_json
    from one_neuron.system.memory import check_pictures
    from one_neuron.system.outputs import read_costs, write_digests
    from one_neuron.system.workers import worker_processes

    layout.EVALUATE_DIGESTS.unlink(missing_ok=True)
    num_mistakes = load_settings().evaluate.num_mistakes
    model = load_model(layout.MODEL_FILE)
    train, test = (load_prepared(path, on_disk=True) for path in (layout.TRAIN_FILE, layout.TEST_FILE))
    check_pictures("evaluate", train.m + test.m)
    snapshots = load_snapshots(layout.SNAPSHOTS_FILE, model)
    train_curve, test_curve = (
        _measure(prepared, list(snapshots.values()), threshold=model.threshold) for prepared in (train, test)
    )
    train_metrics = evaluate(train_curve.z, train.Y, threshold=model.threshold)
    test_metrics = evaluate(test_curve.z, test.Y, threshold=model.threshold)
    accuracies = {
        "train_accuracy": train_metrics.pop("accuracy"),
        "test_accuracy": test_metrics.pop("accuracy"),
        "baseline_accuracy": baseline_accuracy(test.Y),
    }
    columns = train_curve.costs, test_curve.costs, train_curve.accuracies, test_curve.accuracies
    write_csv(
        layout.CURVES_FILE,
        ["iteration", "train_cost", "test_cost", "train_accuracy", "test_accuracy"],
        zip(snapshots, *columns, strict=True),
    )
    write_json(layout.EVALUATE_METRICS, {**accuracies, "train": train_metrics, "test": test_metrics})

    of_train, of_test = sets = [
        ScoredSet(name, prepared.Y, curve.z, neuron.sigmoid(curve.z))
        for name, prepared, curve in (("train", train, train_curve), ("test", test, test_curve))
    ]
    labels = test.Y, (of_test.A > model.threshold).astype("uint8")
    write_csv(
        layout.PREDICTIONS_FILE,
        ["name", "actual", "predicted", "probability"],
        zip(test.names, *(map(test.classes.__getitem__, one) for one in labels), map(float, of_test.A), strict=True),
    )
    folder, threshold = layout.PLOTS_FOLDER, model.threshold
    curves = read_costs(), list(snapshots), train_curve, test_curve
    marks = {"baseline": accuracies["baseline_accuracy"], "learning_rate": float(model.trained_with["learning_rate"])}
    mistakes = find_mistakes(of_test.A, test.Y, threshold=threshold)[:num_mistakes]
    with worker_processes() as pool:  # Matplotlib uses one core; pixels, which may be many, stay in this process
        drawing = [
            pool.submit(plot_probabilities, folder / "probabilities.png", sets, test.classes, threshold=threshold),
            pool.submit(plot_evaluation, folder / "evaluation.png", sets, threshold=threshold),
            pool.submit(plot_curves, folder / "curves.png", *curves, **marks),
            pool.submit(plot_weights, folder / "weights.png", model),
            pool.submit(draw_snapshots, layout.WEIGHTS_FOLDER, folder / "weights_over_time.png", snapshots, model),
        ]
        try:
            plot_classes(folder / "classes.png", train, test)
            plot_examples(folder / "examples.png", train, of_train.A, threshold=threshold)
            plot_mistakes(folder / "mistakes.png", test, of_test.A, mistakes, threshold=threshold)
        finally:
            wait(drawing)  # the pool kills its processes after an error, which would leave half-written files behind
        for plot in drawing:
            plot.result()
    write_digests(layout.EVALUATE_DIGESTS, [*layout.EVALUATED, *layout.WEIGHTS_FOLDER.glob("*.png")])


def _measure(prepared: "PreparedSet", parameters: "Sequence[Parameters]", *, threshold: float) -> "TrainingCurve":
    """Return cost and accuracy of a set with each of the parameters, computed on all cores."""
    from one_neuron.storage.pixel_file import row_blocks
    from one_neuron.system.machine import count_cores, one_blas_thread
    from one_neuron.training_curves import measure_curve

    with one_blas_thread():
        return measure_curve(row_blocks(prepared.X), prepared.Y, parameters, threshold=threshold, threads=count_cores())


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.stage import run_stage

    sys.exit(run_stage(main))
