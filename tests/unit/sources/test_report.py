"""What is said of the data: counts by hand, copies against a dictionary, names of any letters, one line on stderr."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_neuron.cli import main
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.sources.report import (
    ClassCount,
    Loaded,
    build_report,
    find_originals,
    format_warning,
    row_digests,
    warn,
)
from one_neuron.storage.pixel_file import PixelFile
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.system.files import write_json
from tests.results import seal

MakePrepared = Callable[..., PreparedSet]
CLASSES = [ClassCount("non-cat", 0, 3, 2), ClassCount("cat", 1, 2, 2)]


def make_set(levels: list[int], labels: list[int], folder: str) -> PreparedSet:
    """Return pictures of one pixel, each all of one grey, named "folder/0.png" ..."""
    X = np.repeat(np.array(levels, np.uint8)[:, np.newaxis], 3, axis=1)
    names = tuple(f"{folder}/{i}.png" for i in range(len(levels)))
    Y = np.array(labels, np.uint8)
    return PreparedSet(X, Y, names, Preprocessing(1), classes=("non-cat", "cat"), source="folder")


def report_on(train: PreparedSet, test: PreparedSet, **changes: Any) -> dict[str, Any]:
    """Return the report on two sets of which nothing was skipped."""
    return build_report(Loaded(train, test, **({"classes": CLASSES} | changes)))


@pytest.mark.parametrize("block_bytes", [2**22, 24, 1])
@pytest.mark.parametrize("on_disk", [False, True])
def test_digests_are_those_of_the_rows(
    block_bytes: int, on_disk: bool, make_prepared: MakePrepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashed here as one piece of bytes each; in blocks of any size, from memory and from disk, ends of zero kept."""
    monkeypatch.setattr("one_neuron.storage.pixel_file.BLOCK_BYTES", block_bytes)
    X = make_prepared(m=600).X
    (tmp_path / "pixels").write_bytes(X.tobytes())
    pixels = PixelFile(tmp_path / "pixels", offset=0, shape=X.shape) if on_disk else X
    expected = b"".join(hashlib.sha256(bytes(row)).digest() for row in X.tolist())
    assert expected[31::32].count(0)  # one of them ends with a zero, which NumPy's bytes may lose
    digests = row_digests(pixels)
    assert digests.shape == (600,)
    assert digests.tobytes() == expected


@given(st.lists(st.integers(0, 12), min_size=1, max_size=50))
def test_originals_are_the_first_ones_of_their_kind(levels: list[int]) -> None:
    """As a dictionary finds them that remembers where it saw each picture first."""
    X = np.repeat(np.array(levels, np.uint8)[:, np.newaxis], 3, axis=1)
    seen: dict[int, int] = {}
    expected = [seen.setdefault(level, index) for index, level in enumerate(levels)]
    assert find_originals(row_digests(X)).tolist() == expected


def test_the_report_by_hand() -> None:
    """Two copies across the sets, one repeated in training, three contradictions: in training, across, in the test."""
    train = make_set([5, 6, 5, 7, 6], [0, 1, 0, 0, 0], "train")
    test = make_set([7, 8, 5, 8], [0, 1, 1, 0], "test")
    skipped = [("train/cat/broken.jpg", "it is cut off")]
    assert report_on(train, test, skipped=skipped, ignored={".heic": 1, "": 2}) == {
        "train": {"m": 5, "num_positive": 1, "num_negative": 4},
        "test": {"m": 4, "num_positive": 2, "num_negative": 2},
        "classes": [
            {"name": "non-cat", "label": 0, "train": 3, "test": 2},
            {"name": "cat", "label": 1, "train": 2, "test": 2},
        ],
        "num_skipped": 1,
        "skipped": [{"file": "train/cat/broken.jpg", "reason": "it is cut off"}],
        "num_ignored": 3,
        "ignored": {"none": 2, ".heic": 1},
        "num_repeated": 2,
        "num_copies": 2,
        "copies": [["test/0.png", "train/3.png"], ["test/2.png", "train/0.png"]],
        "num_contradictions": 3,
        "contradictions": [
            ["train/4.png", "train/1.png"],
            ["test/2.png", "train/0.png"],
            ["test/3.png", "test/1.png"],
        ],
    }


def test_one_pixel_makes_another_picture() -> None:
    """The least difference, in the last channel."""
    train = make_set([5], [0], "train")
    test = make_set([5], [1], "test")
    test.X[0, 2] += 1
    report = report_on(train, test)
    assert (report["num_copies"], report["num_contradictions"], report["copies"]) == (0, 0, [])


def test_long_lists_are_cut_and_counted() -> None:
    """The numbers are those of all."""
    train, test = make_set([9] * 50, [0] * 50, "train"), make_set([9] * 70, [1] * 70, "test")
    report = report_on(train, test, skipped=[(f"{i}.png", "broken") for i in range(130)])
    counts = [report[key] for key in ("num_skipped", "num_repeated", "num_copies", "num_contradictions")]
    assert counts == [130, 49, 70, 70]
    assert [len(report[key]) for key in ("skipped", "copies", "contradictions")] == [100, 20, 20]
    assert report["copies"][-1] == ["test/19.png", "train/0.png"]
    assert report["skipped"][-1] == {"file": "99.png", "reason": "broken"}


def test_names_of_any_letters_fit_into_the_file_and_on_a_line(
    make_prepared: MakePrepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are not UTF-8, line ends and escape sequences are backslash escapes; other letters stay."""
    odd = "caf\udce9\n\x1b[31m \N{CAT FACE} é.png"
    plain = r"caf\xe9\n\x1b[31m " + "\N{CAT FACE} é.png"
    prepared = make_prepared(m=1, names=(odd,))
    report = report_on(prepared, prepared, classes=[ClassCount(odd, 0, 1, 1)], skipped=[(odd, odd)])
    write_json(tmp_path / "prepare.json", report)
    read = json.loads((tmp_path / "prepare.json").read_text(encoding="utf-8"))
    assert read == report
    assert read["classes"][0]["name"] == plain
    assert read["skipped"] == [{"file": plain, "reason": plain}]
    assert read["copies"] == [[plain, plain]]
    warn(read)
    assert capsys.readouterr().err.count("\n") == 1


def test_notes_are_printed_on_a_line_each(make_prepared: MakePrepared, capsys: pytest.CaptureFixture[str]) -> None:
    """They name the user's folders, so they are not part of the file."""
    prepared = make_prepared(m=1)
    report = report_on(prepared, prepared, notes=["'a' is left out", "'b\n' holds 2 .heic"])
    assert "left out" not in json.dumps(report)
    capsys.readouterr()
    warn(report | {"num_copies": 0}, ["'a' is left out", "'b\n' holds 2 .heic"])
    assert capsys.readouterr().err == "one-neuron: note: 'a' is left out\none-neuron: note: 'b\\n' holds 2 .heic\n"


def test_copies_are_told_on_stderr_with_number_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    """One line; one copy is called one; nothing is said where there are none."""
    train = make_set(list(range(8)), [0] * 8, "train")
    warn(report_on(train, make_set([9, 10], [0, 1], "test")))
    assert capsys.readouterr() == ("", "")
    warn(report_on(train, make_set([9, 4], [0, 1], "test")))
    assert capsys.readouterr().err == (
        "one-neuron: warning: 1 test picture is a copy of a training picture, 'test/1.png' of 'train/4.png': "
        "the test accuracy is too good by it\n"
    )
    report = report_on(train, make_set([9, 4, 2], [0, 1, 0], "test"))
    warn(report)
    told = capsys.readouterr().err
    assert told == (
        "one-neuron: warning: 2 test pictures are copies of training pictures, for instance 'test/1.png' of "
        "'train/4.png': the test accuracy is too good by them\n"
    )
    assert told == f"one-neuron: warning: {format_warning(report)}\n"


# --- what `one-neuron report` says of it -----------------------------------------------


@pytest.fixture
def print_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that writes metrics with a report on the data, and returns what the command prints."""
    monkeypatch.chdir(tmp_path)
    costs = {"first_cost": 0.7, "last_cost": 0.1, "diverged": False, "stability_bound": 0.01}
    write_json(Path("metrics/train.json"), {"source": "folder", "m": 5, "n_x": 3, **costs})
    accuracies = {"train_accuracy": 1.0, "test_accuracy": 0.5, "baseline_accuracy": 0.5}
    write_json(
        Path("metrics/evaluate.json"),
        {
            **accuracies,
            "train": {"accuracy_low": 0.9, "accuracy_high": 1.0},
            "test": {"m": 4, "accuracy_low": 0.5, "accuracy_high": 0.9},
        },
    )

    def run(report: dict[str, Any], code: int = 0) -> str:
        write_json(Path("metrics/prepare.json"), report)
        seal()
        assert main(["report"]) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return run


def test_the_command_shows_classes_and_what_is_wrong(print_report: Any) -> None:
    """The class that is looked for first, and rows of trouble where there is some."""
    train, test = make_set([5, 6, 5, 7, 6], [0, 1, 0, 0, 0], "train"), make_set([7, 8], [0, 1], "test")
    printed = print_report(report_on(train, test, skipped=[("a.png", "broken")] * 1200))
    assert "  classes           cat 2 + 2, non-cat 3 + 2\n" in printed
    assert "  skipped           1,200  (pictures that cannot be read; metrics/prepare.json names them)\n" in printed
    assert "  copies            1  (test pictures that are in the training set as well; " in printed
    assert "  contradictions    1  (pictures with the same pixels as another one and the other label; " in printed


def test_the_command_does_not_mention_what_is_fine(print_report: Any) -> None:
    """No rows of zeros; of many classes the first ones."""
    train, test = make_set([5, 6], [0, 1], "train"), make_set([7, 8], [0, 1], "test")
    classes = [ClassCount(f"class {i}", int(i == 4), 1000 + i, i) for i in range(8)]
    printed = print_report(report_on(train, test, classes=classes))
    assert "  classes           class 4 1,004 + 4, class 0 1,000 + 0, class 1 1,001 + 1, class 2" in printed
    assert "class 5 1,005 + 5 and 2 more\n" in printed
    assert not [word for word in ("skipped", "copies", "contradictions") if word in printed]


@pytest.mark.parametrize("key", ["classes", "num_skipped", "num_copies", "num_contradictions"])
def test_the_command_names_what_the_file_lacks(print_report: Any, key: str) -> None:
    """One line and exit code 3."""
    report = report_on(make_set([5, 6], [0, 1], "train"), make_set([7, 8], [0, 1], "test"))
    del report[key]
    assert print_report(json.loads(json.dumps(report)), code=3).startswith(f"one-neuron: 'metrics' lacks '{key}'; run")
