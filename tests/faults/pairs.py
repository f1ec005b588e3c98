"""Two of everything at once: main jobs, sweeps, set-ups, and tracking beside MLflow's UI."""

import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.e2e import sweeps
from tests.faults.project import REPRO, Case, Counts, Workshop, check_nothing_left, check_result

_SWEEP = (sys.executable, "pipeline/sweep.py", "-m", "train.learning_rate=0.001,0.002,0.003")


def run_two(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Start two commands within a few seconds; the number of the case chooses which."""
    name, play = list(PAIRS.items())[number % len(PAIRS)]
    start = workshop.fresh if name != "two set-ups" and chance.random() < 0.5 else workshop.earlier
    case = workshop.copy(start, f"pair-{number}")
    play(case, workshop, chance.random() * workshop.seconds(start) if number >= len(PAIRS) else 0.0)
    workshop.remove(case)
    return Counter([name])


def _two_jobs(case: Case, workshop: Workshop, pause: float) -> None:
    """Run the main job twice: one waits for the other."""
    _run_both(case, REPRO, REPRO, pause)
    check_result(case, workshop)
    check_nothing_left(case, workshop.done)


def _job_and_sweep(case: Case, workshop: Workshop, pause: float) -> None:
    """Run the main job and a sweep, which needs the prepared pictures of the main job."""
    _run_both(case, REPRO, _SWEEP, pause)
    _check_sweep(case)
    check_result(case, workshop)


def _two_sweeps(case: Case, _: Workshop, pause: float) -> None:
    """Run the same sweep twice."""
    _run_both(case, _SWEEP, _SWEEP, pause)
    _check_sweep(case)


def _check_sweep(case: Case) -> None:
    """Check that each configuration has one finished run, in one finished sweep."""
    runs = sweeps.read_runs(case, "configuration") + sweeps.read_runs(case, "sweep")
    assert [run.status for run in runs] == ["FINISHED"] * 4, runs


def _two_setups(case: Case, _: Workshop, pause: float) -> None:
    """Set the project up twice: the second waits, and finds the work done."""
    setup = ("sh", "scripts/setup.sh")
    _run_both(case, setup, setup, pause, PYTHON=sys.executable, PATH="/usr/local/bin:/usr/bin:/bin")
    case.run(str(case.folder / ".venv/bin/python"), "-c", "import one_neuron, mlflow, dvc.cli", PYTHONPATH="")


def _track_and_ui(case: Case, workshop: Workshop, pause: float) -> None:
    """Run the main job while MLflow's UI starts and is asked for its page."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    job = case.start(*REPRO)
    time.sleep(pause)
    ui = case.start("one-neuron", "ui", "--port", str(port))
    try:
        printed, errors = job.communicate(timeout=180)
        assert job.returncode == 0, printed + errors
        deadline = time.monotonic() + 60
        page = b""
        while b"<html" not in page.lower() and time.monotonic() < deadline and ui.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                page = answer.read()
            time.sleep(0.1)
        assert b"<html" in page.lower(), "the UI shows no page"
    finally:
        ui.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            ui.communicate(timeout=20)
        if ui.poll() is None:
            ui.kill()
            ui.communicate()
    check_result(case, workshop)
    check_nothing_left(case, workshop.done)


PAIRS: dict[str, Callable[[Case, Workshop, float], None]] = {
    "repro and repro": _two_jobs,
    "repro and a sweep": _job_and_sweep,
    "two sweeps": _two_sweeps,
    "track and the UI": _track_and_ui,
    "two set-ups": _two_setups,
}


def _run_both(case: Case, one: tuple[str, ...], other: tuple[str, ...], pause: float, **variables: str) -> None:
    """Start two commands with a pause in between; both must succeed."""
    first = case.start(*one, **variables)
    time.sleep(pause)
    second = case.start(*other, **variables)
    for process, command in ((first, one), (second, other)):
        printed, errors = process.communicate(timeout=400)
        assert process.returncode == 0, f"{command} ended with {process.returncode}: {(printed + errors)[-2000:]}"
