"""The kinds of errors, and texts that are safe on one line of a terminal."""

import pickle
from pathlib import Path

import pytest

from one_neuron.errors import (
    DamagedFile,
    DataError,
    EnvironmentProblem,
    OneNeuronError,
    SettingsError,
    escape_control_characters,
    one_line,
    quote_path,
    report_error,
)


def test_report_error_prints_and_returns_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    """For commands that continue after an unreadable file; no name reaches the terminal as a command."""
    assert report_error(DataError("'a'\nis bad")) == 3
    assert capsys.readouterr().err == "one-neuron: 'a' is bad\n"
    assert report_error(DataError("present: \x1b]0;title\x07")) == 3
    assert capsys.readouterr().err == "one-neuron: present: \\x1b]0;title\\x07\n"


@pytest.mark.parametrize("kind", [SettingsError, DataError, EnvironmentProblem])
def test_all_errors_of_ours_have_one_base(kind: type[OneNeuronError]) -> None:
    """One except clause is enough, and each kind has its own code."""
    assert issubclass(kind, OneNeuronError)
    assert kind.exit_code in (2, 3, 4)


@pytest.mark.parametrize(
    ("text", "line"), [("a", "a"), (" a \n\n b\t c ", "a b c"), (ValueError("x\ny"), "x y"), ("", "")]
)
def test_one_line(text: object, line: str) -> None:
    """White space is folded."""
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a  b.png", "a  b.png"),
        ("caf\u00e9 \U0001f408", "caf\u00e9 \U0001f408"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\udce9", r"a\xe9"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_names_are_shown_as_they_are_or_as_escapes(name: str, shown: str) -> None:
    """Always on one line; `one_line` does not change them."""
    assert escape_control_characters(name) == one_line(escape_control_characters(name)) == shown
    assert quote_path(name) == f"'{shown}'"


def test_a_damaged_file_comes_back_from_another_process() -> None:
    """Pools pickle the errors of their processes."""
    error = DamagedFile("it was changed", Path("a.csv"), Path("b"), remedy="get it again")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason, again.paths) == ("it was changed; get it again", error.reason, error.paths)
    assert str(DamagedFile("it was changed", Path("a.csv"))) == "it was changed; run `dvc repro` to make it again"
