"""Standard streams that are closed or cannot be written: one line and exit code 4, and no file is written instead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from one_neuron.system.streams import open_closed_streams

NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
# Prints something, and opens a file while it may still get the number of a closed stream.
PROGRAM = """
import os, sys
from one_neuron.system.command import run_command

def command():
    with open("file", "w", encoding="utf-8") as file:
        print("a line of output", *sys.argv[1:])
        os.write(2, b"a message of a library\\n")
        file.write("content")

sys.exit(run_command(command))
"""


def run(
    folder: Path, redirections: str, *, unbuffered: bool = False, lines: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run PROGRAM in a shell with some redirections, such as `>&-`."""
    (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment |= {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    shell = f'exec "$0" program.py {lines} {redirections}'
    return subprocess.run(
        ["bash", "-c", shell, sys.executable], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("unbuffered", [True, False])
@pytest.mark.parametrize(
    ("redirections", "out", "err"),
    [
        (">&-", "", "one-neuron: standard output is closed; to discard what is printed, use >/dev/null\n"),
        ("2>&-", "one-neuron: standard error is closed; to discard what is printed, use 2>/dev/null\n", ""),
        (">&- 2>&-", "", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_a_command_without_its_output_does_not_start(
    tmp_path: Path, redirections: str, out: str, err: str, *, unbuffered: bool
) -> None:
    """The message goes to the other stream; without any, only the exit code is left."""
    done = run(tmp_path, redirections, unbuffered=unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (4, out, err)
    assert not (tmp_path / "file").exists()


def test_the_remedy_works(tmp_path: Path) -> None:
    """What the message recommends: the output is discarded, and the command runs."""
    done = run(tmp_path, ">/dev/null 2>/dev/null")
    assert (done.returncode, (tmp_path / "file").read_text(encoding="utf-8")) == (0, "content")


def test_a_closed_input_is_empty(tmp_path: Path) -> None:
    """A file that the command opens does not become its input, and nothing else changes."""
    done = run(tmp_path, "<&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a line of output\n", "a message of a library\n")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "content"


@NEEDS_FULL
@pytest.mark.parametrize(("lines", "unbuffered"), [("", False), ("{1..9999}", False), ("", True)])
def test_a_full_disk_is_reported(tmp_path: Path, lines: str, *, unbuffered: bool) -> None:
    """Whether Python's buffer holds the output or not. Python prints nothing of its own when it exits."""
    done = run(tmp_path, ">/dev/full", lines=lines, unbuffered=unbuffered)
    assert done.returncode == 4
    reported = done.stderr.removeprefix("a message of a library\n")
    assert reported.startswith("one-neuron: ")
    assert (reported.count("\n"), "No space left on device" in reported) == (1, True)
    if not lines and not unbuffered:
        problem = "standard output cannot be written (No space left on device)"
        assert reported == f"one-neuron: {problem}; write it to another place\n"


ERROR = """
import sys
from one_neuron.errors import DataError
from one_neuron.system.command import run_command

def command():
    {}

sys.exit(run_command(command))
"""


@NEEDS_FULL
@pytest.mark.parametrize(
    ("work", "code", "out"),
    [
        ('raise DataError("a.png is damaged")', 3, "one-neuron: a.png is damaged\n"),
        ('print("a warning", file=sys.stderr)', 4, "one-neuron: No space left on device"),
    ],
)
def test_a_message_that_stderr_does_not_take(work: str, code: int, out: str) -> None:
    """It is printed on stdout; the exit code is that of the first error."""
    command = ["bash", "-c", 'exec "$0" -c "$1" 2>/dev/full', sys.executable, ERROR.format(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert done.stdout.startswith(out)
    assert done.stdout.count("\n") == 1


def test_open_streams_are_left_alone() -> None:
    """Nothing is closed in a test."""
    before = [os.fstat(number) for number in range(3)]
    assert open_closed_streams() == []
    assert [os.fstat(number).st_ino for number in range(3)] == [status.st_ino for status in before]


def test_python_without_its_objects_is_closed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a start by `pythonw`."""
    monkeypatch.setattr(sys, "stdout", None)
    assert open_closed_streams() == ["standard output"]
