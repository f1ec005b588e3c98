"""The files of a small result, as the stages write them, made without DVC."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from one_neuron import layout, neuron
from one_neuron.metrics import baseline_accuracy, evaluate
from one_neuron.neuron import Parameters
from one_neuron.pictures.convert import encode_picture
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.sources.report import ClassCount, Loaded, build_report
from one_neuron.storage.model import Model, save_model
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.system.files import write_csv, write_json
from one_neuron.system.outputs import write_digests

NUM_PX = 4
PARAMS = """\
draw: {seed: 1, num_train: 40, num_test: 20}
data: {source: folder, num_px: 4, resize: stretch, decode: exact, path: pictures, positive_class: cat,
  test_fraction: 0.2, seed: 1, on_error: stop, max_skipped: 10}
hdf5: {train_file: a.h5, test_file: b.h5, train_x: x, train_y: y, test_x: x, test_y: y, classes: ''}
train: {learning_rate: 0.005, num_iterations: 2000, record_every: 100, tolerance: 0, threshold: 0.5}
evaluate: {num_mistakes: 12}
"""


def seal(folder: Path = Path()) -> None:
    """Write the digests of the metrics, tables and plots in a folder, as the stages do."""
    trained = [layout.TRAIN_METRICS, layout.COSTS_FILE]
    plots = [path.relative_to(folder) for path in (folder / layout.PLOTS_FOLDER).rglob("*.*")]
    evaluated = [layout.EVALUATE_METRICS, *plots]
    for path, files in (
        (layout.PREPARE_DIGESTS, [layout.PREPARE_METRICS]),
        (layout.TRAIN_DIGESTS, trained),
        (layout.EVALUATE_DIGESTS, [file for file in evaluated if file not in trained]),
    ):
        write_digests(path, [file for file in files if (folder / file).is_file()], folder)


def write_result(
    folder: Path,
    *,
    classes: tuple[str, str] = ("non-cat", "cat"),
    names: Sequence[str] = ("0.png",),
    wrong: int = 3,
    test_positives: int = 8,
) -> Path:
    """Write a result of 40 + 20 pictures, bright ones of label 1 and dark ones of label 0; return the folder.

    The neuron takes bright for label 1. `wrong` pictures of label 0 in the test set are bright. The pictures of each
    set have the given names, in turn.
    """
    rng = np.random.default_rng(1)

    def prepare(m: int, positives: int, wrong: int) -> PreparedSet:
        bright = np.arange(m) < positives + wrong
        X = (rng.integers(0, 100, (m, NUM_PX * NUM_PX * 3)) + 150 * bright[:, np.newaxis]).astype(np.uint8)
        Y = (np.arange(m) < positives).astype(np.uint8)
        return PreparedSet(X, Y, [names[i % len(names)] for i in range(m)], Preprocessing(NUM_PX), classes, "folder")

    train, test = prepare(40, 20, 0), prepare(20, test_positives, wrong)
    save_prepared(folder / layout.TRAIN_FILE, train)
    save_prepared(folder / layout.TEST_FILE, test)
    w = np.full(NUM_PX * NUM_PX * 3, 0.125)
    model = Model(Parameters(w, -3.0), Preprocessing(NUM_PX), classes, 0.5, {"train_sha256": train.sha256})
    save_model(folder / layout.MODEL_FILE, model)
    costs = [(100 * i, 0.7 / (1 + i)) for i in range(21)]
    write_csv(folder / layout.COSTS_FILE, ["iteration", "cost"], costs)
    for number, stem in enumerate(("curves", "weights", "roc_curve")):
        picture = np.full((30, 40, 3), 80 * number, np.uint8)
        (folder / layout.PLOTS_FOLDER / f"{stem}.png").write_bytes(encode_picture(picture))
    scores = {
        split: evaluate(neuron.compute_z(one.X, model.parameters), one.Y, threshold=0.5)
        for split, one in (("train", train), ("test", test))
    }
    accuracies = {f"{split}_accuracy": one.pop("accuracy") for split, one in scores.items()}
    write_json(
        folder / layout.EVALUATE_METRICS, {**accuracies, "baseline_accuracy": baseline_accuracy(test.Y), **scores}
    )
    last = (accuracies["train_accuracy"], accuracies["test_accuracy"])
    rows = [(iteration, cost, 2 * cost, *last) for iteration, cost in costs]
    header = ["iteration", "train_cost", "test_cost", "train_accuracy", "test_accuracy"]
    write_csv(folder / layout.CURVES_FILE, header, rows)
    counts = [
        ClassCount(classes[label], label, int((train.Y == label).sum()), int((test.Y == label).sum()))
        for label in (0, 1)
    ]
    write_json(folder / layout.PREPARE_METRICS, build_report(Loaded(train, test, counts)))
    measured = {"first_cost": costs[0][1], "last_cost": costs[-1][1], "diverged": False, "stability_bound": 0.0036}
    write_json(folder / layout.TRAIN_METRICS, {"source": "folder", "form": "gram", "m": 40, "n_x": 48, **measured})
    (folder / layout.PARAMS_FILE).write_text(PARAMS, encoding="utf-8")
    seal(folder)
    return folder
