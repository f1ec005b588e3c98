"""Stage `train`: data/prepared/train.h5 -> models/{model,snapshots}.h5, plots/costs.csv, metrics/train.json."""

import sys

from one_neuron.system.interrupts import end_on_interrupt


def main() -> None:
    """Train the neuron."""
    from one_neuron.layout import COSTS_FILE, MODEL_FILE, SNAPSHOTS_FILE, TRAIN_DIGESTS, TRAIN_FILE, TRAIN_METRICS
    from one_neuron.settings.params import load_settings
    from one_neuron.storage.checkpoint import CheckpointFile
    from one_neuron.storage.model import save_model
    from one_neuron.storage.prepared_set import load_prepared
    from one_neuron.storage.snapshots import save_snapshots
    from one_neuron.system.files import write_csv, write_json
    from one_neuron.system.outputs import write_digests
    from one_neuron.system.progress import training_bar
    from one_neuron.training import train_model, training_inputs

    settings = load_settings().train
    TRAIN_DIGESTS.unlink(missing_ok=True)
    prepared = load_prepared(TRAIN_FILE)
    checkpoint = CheckpointFile(training_inputs(prepared, settings))
    with training_bar(settings.num_iterations) as bar:
        model, result = train_model(prepared, settings, on_progress=bar, checkpoint=checkpoint)

    costs, iterations = result.costs.tolist(), result.iterations.tolist()
    save_model(MODEL_FILE, model)
    save_snapshots(SNAPSHOTS_FILE, result.snapshots, model)
    write_csv(COSTS_FILE, ["iteration", "cost"], zip(iterations, costs, strict=True))
    m, n_x = prepared.X.shape
    measured = {"iterations": iterations[-1], "first_cost": costs[0], "last_cost": costs[-1]}
    measured |= {"diverged": result.diverged, "stability_bound": result.stability_bound}
    write_json(
        TRAIN_METRICS,
        {"source": prepared.source, "form": result.form, "m": m, "n_x": n_x, **measured},
    )
    write_digests(TRAIN_DIGESTS, [COSTS_FILE, TRAIN_METRICS])
    checkpoint.remove()
    course = f"{iterations[-1]:,} iterations: cost {costs[0]:.6f} -> {costs[-1]:.6f}"
    print(f"{result.form} form, m = {m:,}, n_x = {n_x:,}, {course}")
    if result.diverged:
        rate, bound = settings.learning_rate, result.stability_bound
        print(
            f"one-neuron: TRAINING DIVERGED: the last costs lie above the first ({costs[0]:.6f}); lower "
            f"train.learning_rate ({rate}); up to {bound} the cost is sure to fall",
            file=sys.stderr,
        )


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.stage import run_stage

    sys.exit(run_stage(main))
