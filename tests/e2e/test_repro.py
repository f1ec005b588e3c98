"""`one-neuron repro`: what kills leave behind is repaired, and two of them take turns."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.integration

REPRO = (sys.executable, "-m", "one_neuron.cli", "repro")
_PR_SET_CHILD_SUBREAPER = 36
LONG = ("num_iterations: 2000", "num_iterations: 10000000")


def wait_until(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until a test holds, at most a minute, while a process runs."""
    deadline = time.monotonic() + 60
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def find_processes(project: Project) -> list[str]:
    """Return the command lines of the processes that run in the folder of a project."""
    found = [process.info for process in psutil.process_iter(["cwd", "cmdline"])]
    commands = [" ".join(each["cmdline"] or ()) for each in found if each["cwd"] == str(project.folder)]
    return [command for command in commands if command]  # a zombie has none


def wait_for_training(project: Project, process: subprocess.Popen[str]) -> None:
    """Wait until the stage `train` works, which has written its PID by then."""
    lock = project.folder / ".one-neuron/stages/train.lock"
    wait_until(lambda: lock.exists() and psutil.pid_exists(int(lock.read_text().strip() or -1)), process)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has subreapers")
def test_a_zombie_does_not_block_the_next_repro(project: Project) -> None:
    """A killed DVC stays in its file of locks as a zombie if PID 1 does not wait for it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # this process never waits for what becomes its child
    try:
        process = project.start(sys.executable, "-m", "dvc", "repro", "prepare")
        wait_until(lambda: any("pipeline/prepare.py" in command for command in find_processes(project)), process)
        os.killpg(process.pid, signal.SIGKILL)
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert str(process.pid) in (project.folder / ".dvc/tmp/rwlock").read_text()
        (project.folder / "data/.partial-abc.h5").touch()
        project.run(*REPRO, "prepare", PYTHONPATH="src")
    finally:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 0)
    process.communicate()
    assert not list(project.folder.rglob(".partial-*"))


def test_a_killed_repro_takes_everything_with_it(project: Project) -> None:
    """`kill -9` of it alone: the stage ends as well, a second one takes over at once, and nothing is changed later."""
    project.run(*REPRO, "prepare", PYTHONPATH="src")
    project.edit("params.yaml", *LONG)
    process = project.start(*REPRO, "train", PYTHONPATH="src")
    wait_for_training(project, process)
    waiting = project.start(*REPRO, "train", PYTHONPATH="src")
    assert waiting.stderr is not None
    message = f"one-neuron: another command uses DVC in this folder (PID {process.pid})"
    assert waiting.stderr.readline() == f"{message}; waiting until it has ended\n"
    printed = project.run(*REPRO, "--no-wait", "train", code=4, PYTHONPATH="src")
    assert printed == f"{message}; run it again when that one has ended, or without --no-wait\n"
    project.edit("params.yaml", LONG[1], "num_iterations: 150")
    process.kill()
    out, errors = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, (out, errors)
    assert "Running stage 'train'" in out
    process.communicate()
    assert find_processes(project) == []
    assert json.loads((project.folder / "metrics/train.json").read_text())["iterations"] == 150


def test_the_exit_codes_are_those_of_the_stages(project: Project) -> None:
    """Not DVC's, which are 255 for all of them; and a signal ends everything."""
    project.edit("params.yaml", "learning_rate: 0.005", "learning_rate: -1")
    printed = project.run(*REPRO, code=2, PYTHONPATH="src")
    assert "train.learning_rate is -1" in printed
    assert len(printed.splitlines()) == 1
    project.edit("params.yaml", "learning_rate: -1", "learning_rate: 0.005")
    project.run(*REPRO, "prepare", PYTHONPATH="src")
    project.run(*REPRO, "--no-such-option", code=2, PYTHONPATH="src")
    project.edit("params.yaml", *LONG)
    process = project.start(*REPRO, "train", PYTHONPATH="src")
    wait_for_training(project, process)
    process.terminate()
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "one-neuron: interrupted; nothing half-written is left behind" in printed
    assert find_processes(project) == []
    assert not (project.folder / ".dvc/tmp/rwlock").exists() or (project.folder / ".dvc/tmp/rwlock").read_text() == "{}"
    prepared = project.folder / "data/prepared/train.h5"
    prepared.write_bytes(prepared.read_bytes()[:-100])
    printed = project.run(*REPRO, "--single-item", "train", code=3, PYTHONPATH="src")
    assert "'data/prepared/train.h5'" in printed


def test_a_result_that_could_not_be_tracked_is_printed(project: Project) -> None:
    """With exit code 4, and a last line that says so."""
    printed = project.run(*REPRO, code=4, PYTHONPATH="src", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    report, _, last = printed.rstrip().rpartition("\n")
    assert last == "one-neuron: this result is not in MLflow yet; `make track` records it"
    assert "test accuracy" in report.rpartition("failed to reproduce 'track'")[2]
