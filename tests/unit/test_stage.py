"""What all stages have in common; the tests of the whole pipeline kill the DVC of a stage."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from one_neuron.errors import DataError
from one_neuron.stage import REPORT_VARIABLE, read_exit_codes, run_stage
from one_neuron.system.files import atomic_write
from tests.processes import AS_ON_MACOS

# A stage that replaces a file when another file appears
STAGE = """
import sys, time
from pathlib import Path
from one_neuron.stage import run_stage
from one_neuron.system.files import atomic_write
def main():
    Path("started").touch()
    with atomic_write(Path("output")) as temporary:
        while not Path("go").exists():
            time.sleep(0.01)
        temporary.write_text("new")
sys.exit(run_stage(main))
"""
# DVC as a stage sees it: a parent that has written its PID into the rwlock
DVC = """
import json, os, subprocess, sys, time
from pathlib import Path
Path(".dvc/tmp").mkdir(parents=True, exist_ok=True)
info = {"pid": os.getpid(), "cmd": "dvc repro"}
Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": {"/a/output": info}, "read": {}}))
sys.exit(subprocess.run(["/bin/sh", "-c", sys.argv[1]], env={**os.environ, "DVC_STAGE": "stage"}).returncode)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, where the lock of the stage is made."""
    monkeypatch.chdir(tmp_path)
    Path("stage.py").write_text(STAGE)
    Path("output").write_text("old")


def start_dvc(shell: str) -> subprocess.Popen[str]:
    """Start a process that runs a line of shell as DVC does."""
    return subprocess.Popen([sys.executable, "-c", DVC, shell], stderr=subprocess.PIPE, text=True)


def wait_for(name: str) -> None:
    """Wait until a file exists."""
    while not Path(name).exists():
        time.sleep(0.01)


def count_stages() -> int:
    """Return how many processes of the stage run in this folder."""
    listed = subprocess.run(["ps", "-eo", "pid,stat,args"], capture_output=True, text=True, check=True).stdout
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    found = [number for number, state, command in lines if command.endswith(" stage.py") and "Z" not in state]
    return sum(Path(psutil.Process(int(number)).cwd()) == Path.cwd() for number in found)


def test_a_stage_that_fails_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """As for every command."""

    def main() -> None:
        raise DataError(f"'{Path('a.h5')}' is missing")

    assert run_stage(main) == 3
    assert capsys.readouterr().err == "one-neuron: 'a.h5' is missing\n"


def test_a_stage_runs_below_its_dvc() -> None:
    """Directly, and with a shell between."""
    python = shlex.quote(sys.executable)
    Path("go").touch()
    for shell in (f"exec {python} stage.py", f"{python} stage.py; exit $?"):
        Path("output").write_text("old")
        with start_dvc(shell) as dvc:
            assert dvc.communicate()[1] == ""
        assert dvc.returncode == 0
        assert Path("output").read_text() == "new"


@pytest.mark.parametrize("system", ["", AS_ON_MACOS], ids=["here", "as on macOS"])
@pytest.mark.parametrize("shell", ["exec {} stage.py", "{} stage.py; exit $?"], ids=["direct", "a shell between"])
@pytest.mark.parametrize("early", [True, False], ids=["while it starts", "while it works"])
def test_a_stage_whose_dvc_was_killed_changes_nothing(shell: str, system: str, *, early: bool) -> None:
    """Whether it is killed before the stage looks for it or afterwards, and whether or not a shell is between."""
    Path("stage.py").write_text(f"{system}{STAGE}")
    line = shell.format(shlex.quote(sys.executable))
    with start_dvc(f"touch shell; while [ ! -f begin ]; do sleep 0.01; done; {line}") as dvc:
        wait_for("shell")
        if early:
            dvc.kill()
            dvc.wait()
            Path("begin").touch()
        else:
            Path("begin").touch()
            wait_for("started")
            dvc.kill()
        Path("go").touch()
        assert dvc.stderr is not None
        printed = dvc.stderr.read()  # until the last process that has it open has ended
    assert count_stages() == 0
    assert Path("output").read_text() == "old"
    assert not list(Path().glob(".partial-*"))
    ended = "the dvc that started this stage has ended; run `one-neuron repro`"
    terminated = "terminated; nothing half-written is left behind"
    assert printed in (
        [f"one-neuron: {ended}\n"] if early else [f"one-neuron: {each}\n" for each in (ended, terminated)]
    )
    assert early == (not Path("started").exists())


def test_the_same_stage_runs_once_at_a_time() -> None:
    """A second process waits and names the first. A killed process does not block it."""
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    with subprocess.Popen([sys.executable, "stage.py"], env=environment) as first:
        wait_for("started")
        Path("started").unlink()
        command = [sys.executable, "stage.py"]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as second:
            assert second.stderr is not None
            told = second.stderr.readline()
            assert not Path("started").exists()
            first.kill()
            wait_for("started")
            Path("go").touch()
            assert second.wait() == 0
    message = f"another process (PID {first.pid}) runs the stage 'stage' in this folder; waiting until it has ended"
    assert told == f"one-neuron: {message}\n"


def test_a_stage_that_lost_its_lock_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Another process could run the same stage by now."""

    def main() -> None:
        name = next(Path(".one-neuron/stages").glob("*.lock"))
        with atomic_write(Path("output")) as temporary:
            temporary.write_text("new")
            name.unlink()

    assert run_stage(main) == 4
    assert "was removed while the stage" in capsys.readouterr().err
    assert Path("output").read_text() == "old"


def test_a_broken_file_of_locks_stops_no_stage() -> None:
    """Another command of DVC may have been killed while it wrote the file."""
    breaks = DVC.replace(
        'Path(".dvc/tmp/rwlock").write_text(json', 'Path(".dvc/tmp/rwlock").write_text("{") if True else (json'
    )
    Path("go").touch()
    command = [sys.executable, "-c", breaks, f"exec {shlex.quote(sys.executable)} stage.py"]
    assert subprocess.run(command, check=False).returncode == 0
    assert Path("output").read_text() == "new"
    with pytest.raises(json.JSONDecodeError):
        json.loads(Path(".dvc/tmp/rwlock").read_text())


def test_stages_report_their_exit_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a mistake of the program, whose traceback is shown."""
    report = tmp_path / "report"
    report.write_text("12345\n")
    monkeypatch.setenv(REPORT_VARIABLE, str(report))
    monkeypatch.setattr("sys.argv", ["pipeline/draw.py"])
    assert run_stage(lambda: None) == 0
    monkeypatch.setattr("sys.argv", ["/elsewhere/pipeline/train.py"])

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(fail)
    assert read_exit_codes(report) == {"draw": 0, "train": 1}
    report.unlink()
    assert read_exit_codes(report) == {}
