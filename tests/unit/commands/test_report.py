"""The table of the last result."""

import subprocess
from pathlib import Path

import pytest

from one_neuron.cli import main
from one_neuron.layout import EVALUATE_METRICS, PREPARE_METRICS, TRAIN_METRICS
from one_neuron.system.files import write_json
from one_neuron.system.outputs import read_json
from tests.results import seal
from tests.results import write_result as write_complete_result


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


def write_result(ignored: dict[str, int] | None = None, **more: object) -> None:
    """Write the metrics that `report` reads."""
    more = {"diverged": False, "stability_bound": 0.0036} | more
    counts = {"num_skipped": 0, "num_copies": 2, "num_contradictions": 0}
    classes = [
        {"name": "rest", "label": 0, "train": 137, "test": 17},
        {"name": "cat", "label": 1, "train": 72, "test": 33},
    ]
    write_json(PREPARE_METRICS, {"classes": classes, **counts, **({"ignored": ignored} if ignored else {})})
    write_json(
        TRAIN_METRICS,
        {"source": "drawn", "m": 209, "n_x": 12288, "first_cost": 0.693147, "last_cost": 0.135608, **more},
    )
    write_json(
        EVALUATE_METRICS,
        {
            "train_accuracy": 207 / 209,
            "test_accuracy": 0.7,
            "baseline_accuracy": 0.66,
            "train": {"m": 209, "accuracy_low": 0.9658, "accuracy_high": 0.9974},
            "test": {"m": 50, "accuracy_low": 0.5625, "accuracy_high": 0.8087},
        },
    )
    seal()


def test_report_shows_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    """Source, shapes, costs, accuracies beside the baseline, plots, and the command for the UI."""
    write_result()
    assert main(["report"]) == 0
    printed = capsys.readouterr().out
    assert "  train accuracy     99.043%  (95 % interval 96.6 to 99.7 %)\n" in printed
    assert "  test accuracy      70.000%  (95 % interval 56.2 to 80.9 %)\n" in printed
    for text in ("drawn", "209 + 50", "12,288", "0.693147 -> 0.135608", "99.043%", "70.000%", "66.000%", "make ui"):
        assert text in printed
    assert "  classes           cat 72 + 33, rest 137 + 17\n" in printed
    assert (
        "  copies            2  (test pictures that are in the training set as well; metrics/prepare.json names them)\n"
        in printed
    )
    assert "skipped" not in printed
    assert "left out" not in printed
    assert "diverged" not in printed


def test_report_counts_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """By suffix, because an iPhone's pictures may be most of a folder."""
    write_result(ignored={".heic": 1200, ".mov": 3})
    assert main(["report"]) == 0
    printed = capsys.readouterr().out
    assert (
        "  left out          1,200 .heic, 3 .mov  (formats that are not read, and files without a class)\n" in printed
    )


def test_report_says_that_training_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """Even if the result comes from DVC's cache and nothing was trained."""
    write_result(diverged=True)
    assert main(["report"]) == 0
    printed = capsys.readouterr().out
    assert (
        "diverged          yes: the last costs lie above the first; lower train.learning_rate; up to 0.0036" in printed
    )


@pytest.mark.parametrize(
    ("accuracy", "low", "said"),
    [
        (0.64, 0.5, "warning           NOT BETTER THAN THE BASELINE: "),
        (0.66, 0.52, "warning           NOT BETTER THAN THE BASELINE: "),
        (0.7, 0.56, "note              the interval includes the baseline: with 50 test pictures, it may be chance"),
        (0.9, 0.79, ""),
    ],
)
def test_report_compares_with_the_baseline(
    accuracy: float, low: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An equal accuracy is not better; a small advantage on few pictures may be none."""
    write_result()
    measured = read_json(EVALUATE_METRICS)
    measured["test"]["accuracy_low"] = low
    write_json(EVALUATE_METRICS, measured | {"test_accuracy": accuracy})
    seal()
    assert main(["report"]) == 0
    printed = capsys.readouterr().out
    assert f"\n  {said}" in printed
    assert ("BASELINE" in printed) is (accuracy <= 0.66)
    assert ("includes" in printed) is (accuracy == 0.7)


def test_report_without_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names a missing file or a missing number."""
    write_result()
    write_json(TRAIN_METRICS, {"source": "drawn", "m": 209})
    seal()
    assert main(["report"]) == 3
    assert "'n_x'" in capsys.readouterr().err
    TRAIN_METRICS.unlink()
    assert main(["report"]) == 3
    assert "'metrics/train.json' is missing; run `dvc repro`" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["params.yaml", "report", "report.html.txt"])
def test_another_file_is_not_overwritten(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A page has a name that ends in .html; the remedy names one."""
    Path(name).write_text("mine")
    assert main(["report", "--html", name]) == 2
    message = f"one-neuron: '{name}' does not end in .html; choose another name: --html report.html\n"
    assert capsys.readouterr().err == message
    assert Path(name).read_text() == "mine"


def test_the_page_needs_a_whole_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file or a number that is missing is one line, and no page is written."""
    complete = write_complete_result(tmp_path)
    assert main(["report", "--html"]) == 0
    Path("report.html").unlink()
    capsys.readouterr()
    for path, key in ((TRAIN_METRICS, "stability_bound"), (EVALUATE_METRICS, "test")):
        before = read_json(path)
        write_json(path, {name: value for name, value in before.items() if name != key})
        seal()
        assert main(["report", "--html"]) == 3
        assert capsys.readouterr().err == f"one-neuron: 'metrics' lacks '{key}'; run `dvc repro` to make it again\n"
        write_json(path, before)
        seal()
    (complete / "models/model.h5").unlink()
    assert main(["report", "--html"]) == 3
    assert "models/model.h5' is missing" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_the_page_cannot_be_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy names another file."""
    write_complete_result(tmp_path)
    Path("report.html").mkdir()
    assert main(["report", "--html"]) == 2
    message = "one-neuron: 'report.html' is a folder; choose another name: --html page.html\n"
    assert capsys.readouterr().err == message
    assert main(["report", "--html", "page.html"]) == 0


def test_a_page_in_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not created in silence; the remedy works as it stands."""
    write_complete_result(tmp_path)
    assert main(["report", "--html", "a folder/of/page.html"]) == 2
    assert capsys.readouterr().err == "one-neuron: 'a folder/of' is not a folder; create it: mkdir -p 'a folder/of'\n"
    subprocess.run(["sh", "-c", "mkdir -p 'a folder/of'"], check=True)
    assert main(["report", "--html", "a folder/of/page.html"]) == 0
