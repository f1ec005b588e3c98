"""Stage `train`: data/prepared/train.h5 -> models/model.h5, plots/costs.csv, metrics/train.json."""

import sys

from one_neuron.errors import run_command


def main() -> None:
    """Train the neuron."""
    from pathlib import Path

    from one_neuron.files import write_csv, write_json
    from one_neuron.gradient_descent import optimize
    from one_neuron.settings import load_settings
    from one_neuron.storage import Model, load_prepared, save_model

    settings = load_settings().train
    prepared = load_prepared(Path("data/prepared/train.h5"))
    result = optimize(
        prepared.X,
        prepared.Y,
        learning_rate=settings.learning_rate,
        num_iterations=settings.num_iterations,
        record_every=settings.record_every,
    )
    model = Model(
        parameters=result.parameters,
        num_px=prepared.num_px,
        classes=prepared.classes,
        threshold=settings.threshold,
        trained_with={
            "source": prepared.source,
            "learning_rate": settings.learning_rate,
            "num_iterations": settings.num_iterations,
            "form": result.form,
            "train_sha256": prepared.sha256,
        },
    )
    costs = result.costs.tolist()
    measured = {"form": result.form, "m": prepared.m, "n_x": prepared.X.shape[1]}
    measured |= {"first_cost": costs[0], "last_cost": costs[-1]}
    save_model(Path("models/model.h5"), model)
    write_csv(Path("plots/costs.csv"), ["iteration", "cost"], zip(result.iterations.tolist(), costs, strict=True))
    write_json(Path("metrics/train.json"), {"source": prepared.source, **measured})


if __name__ == "__main__":
    sys.exit(run_command(main))
