"""Exit codes and messages: one line for an error that a user can cause, a traceback for a mistake of the program."""

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from one_neuron.errors import (
    DataError,
    EnvironmentProblem,
    SettingsError,
)
from one_neuron.system.command import defer_signals, no_garbage_collection, run_command


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """Return a command that fails."""

    def command() -> NoReturn:
        raise error

    return command


@pytest.fixture(autouse=True)
def keep_warnings() -> object:
    """Undo the filter that a command sets."""
    with warnings.catch_warnings():
        yield


EXPECTED = [
    (SettingsError("params.yaml: train.x is 5"), 2, "params.yaml: train.x is 5"),
    (DataError("'a.png' is damaged"), 3, "'a.png' is damaged"),
    (EnvironmentProblem("no store"), 4, "no store"),
    (DataError("two\nlines\r\n\tand more"), 3, "two lines and more"),
    (MemoryError(), 4, "memory"),
    (ImportError("Numba needs NumPy 2.4 or less"), 4, "a library cannot be loaded (Numba needs NumPy 2.4 or less)"),
    (RuntimeError("can't start new thread"), 4, "no thread can be started"),
    (OSError(28, "No space left on device", "out.h5"), 4, "'out.h5': No space left on device"),
    (PermissionError(13, "Permission denied", "/x y"), 4, "'/x y': Permission denied"),
    (OSError("odd\nthing"), 4, "odd thing"),
    (BlockingIOError(11, "Resource temporarily unavailable"), 4, "allow this user more processes (ulimit -u)"),
    (KeyboardInterrupt(), 130, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "text"), EXPECTED, ids=lambda value: type(value).__name__)
def test_one_line_and_an_exit_code(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 usage, 3 data, 4 environment, 130 interrupted; nothing on stdout, no traceback."""
    monkeypatch.delenv("ONE_NEURON_DEBUG", raising=False)
    assert run_command(raising(error)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("one-neuron: ")
    assert printed.err.count("\n") == 1
    assert text in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_that_ends_well(result: int | None, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """None means 0, other codes are returned as they are, and nothing is printed."""
    assert run_command(lambda: result) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [error for error, *_ in EXPECTED[:-1]], ids=lambda value: type(value).__name__)
def test_debug_lets_the_traceback_through(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """By argument and by environment variable."""
    with pytest.raises(type(error)):
        run_command(raising(error), debug=True)
    monkeypatch.setenv("ONE_NEURON_DEBUG", "1")
    with pytest.raises(type(error)):
        run_command(raising(error))


@pytest.mark.parametrize("value", ["", "0"])
def test_debug_is_off_where_the_variable_says_so(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONE_NEURON_DEBUG=0 means no."""
    monkeypatch.setenv("ONE_NEURON_DEBUG", value)
    assert run_command(raising(DataError("x"))) == 3


def test_the_argument_beats_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """debug=False wins over ONE_NEURON_DEBUG=1."""
    monkeypatch.setenv("ONE_NEURON_DEBUG", "1")
    assert run_command(raising(DataError("x")), debug=False) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), KeyError("a bug"), AssertionError("a bug")])
def test_bugs_are_not_hidden(error: Exception) -> None:
    """An error that a user cannot cause keeps its traceback."""
    with pytest.raises(type(error)):
        run_command(raising(error), debug=False)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_not_an_error(lines: int) -> None:
    """`one-neuron ... | head -1` ends with 141 and prints no error, even if all output fits into the buffer."""
    program = (
        "import sys; from one_neuron.system.command import run_command\n"
        "def command():\n"
        "    sys.stdin.read()\n"
        f"    for _ in range({lines}): print('a line of output')\n"
        "sys.exit(run_command(command))"
    )
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe, env=buffered
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.close()
        assert process.wait(timeout=30) == 141
        assert process.stderr.read() == b""


def test_an_odd_file_name_can_be_printed() -> None:
    """A name that is not UTF-8 does not cause a UnicodeEncodeError."""
    program = (
        "import sys; from one_neuron.errors import DataError; from one_neuron.system.command import run_command\n"
        "def command(): raise DataError('caf\\udce9.png is damaged')\n"
        "sys.exit(run_command(command))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=30)
    assert done.returncode == 3
    assert done.stderr == b"one-neuron: caf\\xe9.png is damaged\n"


def test_a_missing_library_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As when the system's Python runs the script instead of the one in .venv."""

    def command() -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    assert run_command(command) == 4
    printed = capsys.readouterr().err
    assert f"numpy is not installed for {sys.executable}" in printed
    assert ". .venv/bin/activate" in printed


def test_commands_run_in_any_thread() -> None:
    """Only the main thread may handle signals."""
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_command(lambda: None)))
    thread.start()
    thread.join()
    assert codes == [0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_can_wait_for_the_end_of_a_block(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    """The block finishes first; then the command ends as without it. The old handlers are restored."""
    done: list[str] = []
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def command() -> None:
        with defer_signals():
            signal.raise_signal(number)
            signal.raise_signal(number)
            done.append("block")
        done.append("more")

    try:
        assert run_command(command) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert signal.getsignal(signal.SIGINT) == before[0]
    finally:
        signal.signal(signal.SIGTERM, before[1])
    assert done == ["block"]
    assert capsys.readouterr().err.count("nothing half-written") == 1


def test_signals_wait_in_any_thread() -> None:
    """Only the main thread may handle signals."""
    done: list[str] = []

    def work() -> None:
        with defer_signals():
            done.append("block")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["block"]


def test_garbage_is_not_looked_for_in_a_block() -> None:
    """After it, and after an error, it is as before."""
    for before in (True, False):
        (gc.enable if before else gc.disable)()
        try:
            states = []
            with suppress(KeyError), no_garbage_collection():
                states.append(gc.isenabled())
                raise KeyError
            assert [*states, gc.isenabled()] == [False, before]
        finally:
            gc.enable()


def test_a_command_exits_without_a_last_look_for_garbage(tmp_path: Path) -> None:
    """What it imported is moved where Python does not look; what it wrote at exit is still written."""
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit, gc, sys\n"
        "from one_neuron.system.command import run_command\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 1000, gc.get_threshold()[0]))\n"
        "sys.exit(run_command(lambda: 3))\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "True 100000\n", "")
