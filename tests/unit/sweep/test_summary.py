"""The table of a sweep read back, and the lines that end it, word for word."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from one_neuron.settings.params import Settings, check_settings
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, is_held_out
from one_neuron.sweep.summary import (
    contender_lines,
    count_configurations,
    describe_configuration,
    list_parameters,
    run_lines,
    summary_lines,
    write_table,
)
from tests.values import DATA, VALUES

SETTINGS = check_settings(VALUES, origin="the test")
COURSE = check_settings({**VALUES, "data": {**DATA, "source": "catvnoncat", "num_px": 64}}, origin="the test")
SWEPT = ["train.learning_rate", "train.num_iterations"]


def make_entry(settings: Settings = SETTINGS, **changes: Any) -> Entry:
    """Return an entry; names that are neither its fields nor those of the section train are metrics."""
    names = ("status", "reason", "run_id", "model_sha256")
    fields: dict[str, Any] = {key: changes.pop(key) for key in names if key in changes}
    train = {key: changes.pop(key) for key in ("learning_rate", "num_iterations") if key in changes}
    tried = replace(settings, train=replace(settings.train, **train))
    made = Entry("a" * 32, tried, FINISHED, metrics=changes)
    return replace(made, **fields)


GOOD = make_entry(
    num_iterations=2000,
    validation_accuracy=0.785,
    validation_accuracy_std=0.031,
    validation_baseline_accuracy=0.655,
    validation_cost=0.5124,
    train_accuracy=0.935,
    cost=0.257441960001,
    test_accuracy=0.79,
    iterations=2000.0,
    model_sha256="b" * 64,
)
FAIR = make_entry(
    learning_rate=0.01,
    num_iterations=500,
    validation_accuracy=0.75,
    validation_cost=0.6,
    train_accuracy=1.0,
    cost=0.2,
    test_accuracy=0.8,
    iterations=500.0,
)
GONE = make_entry(
    learning_rate=0.5,
    status=DIVERGED,
    reason="the last costs\nlie above",
    validation_cost=1e300,
    diverged_at=100.0,
)
LOST = make_entry(learning_rate=0.001, status=FAILED, reason="'data' is gone, run it again")


def read(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_table_holds_everything_the_best_first(tmp_path: Path) -> None:
    """All columns in order; numbers in full, counts as integers, empty cells for missing values, one-line reasons."""
    write_table(tmp_path / "sweep.csv", [LOST, GONE, FAIR, GOOD])
    rows = read(tmp_path / "sweep.csv")
    assert rows[0] == {
        "rank": "1",
        "status": "finished",
        "reason": "",
        "draw.seed": "1",
        "draw.num_train": "8",
        "draw.num_test": "4",
        "data.source": "drawn",
        "data.num_px": "2",
        "data.resize": "stretch",
        "data.decode": "exact",
        "train.learning_rate": "0.005",
        "train.num_iterations": "2000",
        "train.record_every": "100",
        "train.tolerance": "0.0",
        "train.threshold": "0.5",
        "validation_accuracy": "0.785",
        "validation_accuracy_std": "0.031",
        "validation_cost": "0.5124",
        "train_accuracy": "0.935",
        "train_cost": "0.257441960001",
        "test_accuracy_for_information": "0.79",
        "iterations": "2000",
        "diverged_at": "",
        "run_id": "a" * 32,
        "model_sha256": "b" * 64,
    }
    assert list(rows[0])[:3] == ["rank", "status", "reason"]
    assert list(rows[0])[-4:] == ["iterations", "diverged_at", "run_id", "model_sha256"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["train.learning_rate"] for row in rows] == ["0.005", "0.01", "0.5", "0.001"]
    assert rows[2]["reason"] == "the last costs lie above"
    assert (rows[2]["validation_cost"], rows[2]["diverged_at"], rows[2]["train_cost"]) == ("1e+300", "100", "")
    assert (rows[3]["status"], rows[3]["reason"]) == ("failed", "'data' is gone, run it again")


def test_numbers_survive_the_table(tmp_path: Path) -> None:
    """The rate and the accuracy are read back as the same floats; nan is an empty cell."""
    rate, accuracy = 10**-2.3, 1 / 3
    entry = make_entry(learning_rate=rate, validation_accuracy=accuracy, cost=math.nan)
    write_table(tmp_path / "sweep.csv", [entry])
    (row,) = read(tmp_path / "sweep.csv")
    assert float(row["train.learning_rate"]) == rate
    assert float(row["validation_accuracy"]) == accuracy
    assert row["train_cost"] == ""


def test_drawing_is_left_out_where_nothing_was_drawn(tmp_path: Path) -> None:
    """The course's pictures have no draw.seed; in a table with drawn ones, their cells are empty."""
    write_table(tmp_path / "course.csv", [make_entry(COURSE)])
    (row,) = read(tmp_path / "course.csv")
    assert not [name for name in row if name.startswith(("draw.", "evaluate."))]
    assert row["data.source"] == "catvnoncat"
    write_table(tmp_path / "both.csv", [make_entry(COURSE, validation_accuracy=0.9), GOOD])
    assert [row["draw.seed"] for row in read(tmp_path / "both.csv")] == ["", "1"]


def test_parameters_keep_their_types() -> None:
    """Keys are those of params.yaml, values those of the settings."""
    assert list_parameters(COURSE) == {
        "data.source": "catvnoncat",
        "data.num_px": 64,
        "data.resize": "stretch",
        "data.decode": "exact",
        "train.learning_rate": 0.005,
        "train.num_iterations": 200,
        "train.record_every": 100,
        "train.tolerance": 0.0,
        "train.threshold": 0.5,
    }


def test_the_lines_of_a_sweep() -> None:
    """The table, the counts, the best configuration, and the next steps."""
    lines = summary_lines(
        [LOST, GONE, FAIR, GOOD], reused=1, swept=SWEPT, folds=5, place="mlflow.db", sweep_id="c0ffee"
    )
    assert lines == [
        (
            "rank  train.learning_rate  train.num_iterations  validation     +-    train  test (information)"
            "  validation cost    status"
        ),
        (
            "   1                0.005                  2000      78.5 %  3.1 %   93.5 %              79.0 %"
            "            0.512"
        ),
        (
            "   2                 0.01                   500      75.0 %      -  100.0 %              80.0 %"
            "            0.600"
        ),
        (
            "   3                  0.5                   200           -      -        -                   -"
            "           1e+300  diverged"
        ),
        (
            "   4                0.001                   200           -      -        -                   -"
            "                -    failed"
        ),
        "4 configurations: 3 ran, 1 reused, 1 diverged, 1 failed",
        (
            "best: train.learning_rate=0.005 train.num_iterations=2000, "
            "validation accuracy 78.5 % (cost 0.512, baseline 65.5 %)"
        ),
        "no other one is within one standard error of it (1.6 points over 5 folds)",
        "tracked: sweep c0ffee in mlflow.db",
        "promote it: one-neuron promote --sweep c0ffee",
    ]


@pytest.mark.parametrize(("number", "words"), [(1, "1 configuration"), (2, "2 configurations"), (1000, "1,000 config")])
def test_a_number_of_configurations(number: int, words: str) -> None:
    """In the first line of a sweep and in its description."""
    assert count_configurations(number).startswith(words)
    assert count_configurations(number).endswith("s") == (number > 1)


def test_without_folds_the_training_cost_is_named() -> None:
    """The line says that nothing was held out, and there is no validation column."""
    entries = [
        make_entry(learning_rate=0.001, train_accuracy=0.9, cost=0.4, test_accuracy=0.7),
        make_entry(learning_rate=0.005, train_accuracy=0.95, cost=0.25, test_accuracy=0.6),
    ]
    lines = summary_lines(entries, reused=0, swept=SWEPT[:1], folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert lines[:5] == [
        "rank  train.learning_rate   train  test (information)  train cost",
        "   1                0.005  95.0 %              60.0 %       0.250",
        "   2                0.001  90.0 %              70.0 %       0.400",
        "2 configurations: 2 ran, 0 reused, 0 diverged, 0 failed",
        "best: train.learning_rate=0.005, training cost 0.250 (nothing was held out)",
    ]


def test_at_most_ten_are_shown() -> None:
    """The best ten of sixty are shown, all sixty are counted."""
    entries = [
        make_entry(learning_rate=i / 1000, validation_accuracy=i / 100, validation_cost=0.5) for i in range(1, 61)
    ]
    lines = summary_lines(entries, reused=20, swept=SWEPT[:1], folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert [line.split()[1] for line in lines[1:11]] == [f"{rate / 1000:g}" for rate in range(60, 50, -1)]
    assert lines[11] == "60 configurations: 40 ran, 20 reused, 0 diverged, 0 failed"
    assert lines[12].startswith("best: train.learning_rate=0.06, validation accuracy 60.0 %")


def test_the_best_line_can_be_copied() -> None:
    """It has all digits of a rate that the table rounds."""
    entry = make_entry(learning_rate=0.0031622776601683794, validation_accuracy=0.5, validation_cost=0.6)
    lines = summary_lines([entry], reused=0, swept=SWEPT[:1], folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert lines[1].split()[:2] == ["1", "0.00316228"]
    assert "train.learning_rate=0.0031622776601683794," in lines[3]


def test_words_are_swept_too() -> None:
    """Texts can be swept as well as numbers."""
    entries = [make_entry(COURSE, validation_accuracy=0.7, validation_cost=0.5), GOOD]
    lines = summary_lines(entries, reused=0, swept=["data.source"], folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert [line.split()[1] for line in lines[1:3]] == ["drawn", "catvnoncat"]
    assert lines[4] == "best: data.source=drawn, validation accuracy 78.5 % (cost 0.512, baseline 65.5 %)"


def test_what_cannot_be_told_apart_is_counted_and_the_simplest_named() -> None:
    """0.785 with a standard error of 0.031 / 2: 0.770 is within it, 0.769 is not."""
    scores: dict[str, Any] = {"validation_accuracy_std": 0.031, "validation_cost": 0.5}
    others = [
        make_entry(learning_rate=0.02, num_iterations=100, validation_accuracy=0.77, run_id="c" * 32, **scores),
        make_entry(learning_rate=0.01, num_iterations=500, validation_accuracy=0.78, **scores),
        make_entry(learning_rate=0.01, num_iterations=50, validation_accuracy=0.769, **scores),
    ]
    assert contender_lines([GOOD, *others], SWEPT, 5) == [
        "2 others cannot be told apart from it (one standard error over 5 folds, 1.6 points)",
        (
            "the simplest of them is a fair choice, too: train.learning_rate=0.02 train.num_iterations=100, "
            f"validation accuracy 77.0 %: one-neuron promote --run {'c' * 32}"
        ),
    ]
    longer = make_entry(num_iterations=5000, validation_accuracy=0.78, **scores)
    assert contender_lines([GOOD, longer], SWEPT, 5) == [
        "1 other cannot be told apart from it (one standard error over 5 folds, 1.6 points); the best is the simplest"
    ]
    assert contender_lines([GOOD, *others], SWEPT, 0) == []
    no_better = [replace(entry, metrics={**entry.metrics, "validation_baseline_accuracy": 0.8}) for entry in others]
    assert contender_lines(no_better, SWEPT, 5) == [  # none is a fair choice
        "2 others cannot be told apart from it (one standard error over 5 folds, 1.6 points)"
    ]
    assert contender_lines([GONE, LOST], SWEPT, 5) == []


@pytest.mark.parametrize(("accuracy", "useless"), [(0.64, True), (0.65, True), (0.66, False)])
def test_what_is_no_better_than_one_class_for_all_says_so(accuracy: float, useless: bool) -> None:
    """An equal accuracy is not better, and `one-neuron promote` would refuse it."""
    entry = make_entry(validation_accuracy=accuracy, validation_baseline_accuracy=0.65, validation_cost=0.6)
    lines = summary_lines([entry], reused=0, swept=[], folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert lines[3].endswith(": NO BETTER than one class for all") == useless
    assert lines[-1].startswith("tracked: " if useless else "promote it: ")
    lines = run_lines(entry, named=[], place="mlflow.db")
    assert lines[-1].startswith("tracked: " if useless else "promote it: ")


def test_a_single_configuration() -> None:
    """Nothing was swept."""
    lines = summary_lines([GOOD], reused=0, swept=[], folds=5, place="http://host:5000", sweep_id="c0ffee")
    assert lines == [
        "rank  validation     +-   train  test (information)  validation cost",
        "   1      78.5 %  3.1 %  93.5 %              79.0 %            0.512",
        "1 configuration: 1 ran, 0 reused, 0 diverged, 0 failed",
        "best: the only configuration, validation accuracy 78.5 % (cost 0.512, baseline 65.5 %)",
        "tracked: sweep c0ffee in http://host:5000",
        "promote it: one-neuron promote --sweep c0ffee",
    ]


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        (
            [GONE, make_entry(learning_rate=0.3, status=DIVERGED), LOST],
            "no configuration finished: try smaller learning rates, below train.learning_rate=0.3",
        ),
        ([LOST], "no configuration finished: 'data' is gone, run it again"),
    ],
)
def test_nothing_finished(entries: list[Entry], line: str) -> None:
    """The remedy replaces the line of the best, and nothing can be promoted."""
    lines = summary_lines(entries, reused=0, swept=SWEPT, folds=5, place="mlflow.db", sweep_id="c0ffee")
    assert lines[-2:] == [line, "tracked: sweep c0ffee in mlflow.db"]
    assert not [found for found in lines if found.startswith(("best", "promote"))]


@pytest.mark.parametrize(("entries", "expected"), [([GOOD, LOST], True), ([LOST, GONE], False), ([], False)])
def test_whether_pictures_were_held_out(entries: list[Entry], *, expected: bool) -> None:
    """One configuration with a validation accuracy is enough."""
    assert is_held_out(entries) is expected


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        (
            GOOD,
            [
                (
                    "Validation accuracy **78.5 %** (standard deviation over the folds 3.1 %, baseline 65.5 %), "
                    "train accuracy 93.5 %, test accuracy 79.0 % (for information)"
                ),
                "train.learning_rate=0.005 train.num_iterations=2000",
            ],
        ),
        (
            make_entry(train_accuracy=0.9, test_accuracy=0.7),
            [
                "train accuracy 90.0 %, test accuracy 70.0 % (for information)",
                "train.learning_rate=0.005 train.num_iterations=200",
            ],
        ),
        (GONE, ["**diverged**: the last costs lie above", "train.learning_rate=0.5 train.num_iterations=200"]),
    ],
)
def test_the_description_of_a_configuration(entry: Entry, lines: list[str]) -> None:
    """Its scores beside the baseline and its training; for a diverged one, the reason."""
    assert describe_configuration(entry).split("\n\n") == lines
