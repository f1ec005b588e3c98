"""Ctrl-C while a command is still importing what it needs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Runs a script as Python does, with a SIGINT at the n-th import after `end_on_interrupt`.
_INTERRUPTED = """
import os, runpy, signal, sys
from one_neuron.system import interrupts

class Interrupt:
    imports = -1
    def find_spec(self, *_):
        if self.imports >= 0 or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.imports += 1
        if self.imports == number:
            os.kill(os.getpid(), signal.SIGINT)

number, script, *arguments = sys.argv[1:]
number, sys.argv = int(number), [script, *arguments]
sys.meta_path.insert(0, Interrupt())
runpy.run_path(script, run_name="__main__")
"""
_SCRIPTS = {
    "stage": "pipeline/train.py",
    "sweep": "pipeline/sweep.py --multirun train.learning_rate=0.1,0.2",
    "command": "src/one_neuron/cli.py settings",
}


@pytest.mark.parametrize("number", [0, 1, 2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("script", _SCRIPTS)
def test_ctrl_c_during_the_imports_shows_no_traceback(
    script: str, number: int, repository: Path, tmp_path: Path
) -> None:
    """The process ends by the signal, which a shell shows as 130, or with that code and one line."""
    name, *arguments = _SCRIPTS[script].split()
    command = [sys.executable, "-c", _INTERRUPTED, str(number), str(repository / name), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    line = "one-neuron: interrupted; nothing half-written is left behind\n"
    assert (done.returncode, done.stderr) in [(-signal.SIGINT, ""), (130, line), (-signal.SIGINT, line)]
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) in ([], [tmp_path / ".one-neuron"])


def test_an_ignored_ctrl_c_stays_ignored(repository: Path) -> None:
    """As in a background job of a shell without job control."""
    ignoring = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n{_INTERRUPTED}"
    command = [sys.executable, "-c", ignoring, "20", "src/one_neuron/cli.py", "settings"]
    environment = {**os.environ, "PYTHONPATH": "src"}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "train.learning_rate = " in done.stdout
