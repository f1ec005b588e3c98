"""Kills at random moments: of everything, of the first process alone, of DVC alone, and while a stage starts."""

import random
import subprocess
import time
from collections import Counter
from pathlib import Path

from tests.faults.project import REPRO, STAGES, Case, Counts, Workshop, check_ended, kill, repair_plainly

_POLL_SECONDS = 0.002
_LONG = ("num_iterations: 200", "num_iterations: 10000000")


def kill_everything(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Kill all processes of `repro` at a random moment; every tenth time, while a stage starts."""
    return _kill_and_repair(workshop, number, chance, "everything")


def kill_parent(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Kill only the first process, or only DVC, at a random moment; every tenth time, while a stage starts."""
    return _kill_and_repair(workshop, number, chance, ("repro", "dvc")[(number + number // 10) % 2])


def _kill_and_repair(workshop: Workshop, number: int, chance: random.Random, target: str) -> Counts:
    """Start `repro`, kill the target, run `repro` again and check the result; return what was killed and when."""
    start = workshop.fresh if chance.random() < 0.3 else workshop.earlier
    case = workshop.copy(start, f"kill-{target}-{number}")
    part = chance.random()
    stage = (*STAGES, "train")[number // 10 % 6] if number % 10 == 0 else ""
    if stage == "train":  # an orphan would go on for minutes
        case.edit("params.yaml", *_LONG)
    while True:
        process = subprocess.Popen(
            REPRO,
            cwd=case.folder,
            env=case.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if _wait(case, process, part * workshop.seconds(start), stage):
            break
        # It had already ended: an earlier moment, on a new copy.
        case, part = workshop.copy(start, f"kill-{target}-{number}"), part * 0.8
    running = case.find_stage()
    if target == "everything":
        case.kill_all()
    else:
        kill(process.pid if target == "repro" else _find_dvc(case, process.pid))
    process.wait(60)
    assert process.returncode != 0 or target == "dvc"
    if stage == "train":
        check_ended(case)  # in the other cases the next run begins at once, and an orphan ends before or beside it
        case.edit("params.yaml", *reversed(_LONG))
    repair_plainly(case, workshop)
    workshop.remove(case)
    return Counter([f"{target} while {running[0] if running else 'no stage'} ran"])


def _wait(case: Case, process: "subprocess.Popen[bytes]", seconds: float, stage: str) -> bool:
    """Wait for a moment, or for the start of a stage; return whether the command was still running."""
    deadline = time.monotonic() + (60 if stage else seconds)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if stage and (found := case.find_stage()) and found[0] == stage:
            return True
        time.sleep(_POLL_SECONDS)
    return process.poll() is None


def _find_dvc(case: Case, first: int) -> int:
    """Return the process id of DVC; of the first process if DVC has not started."""
    for process in case.processes():
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"dvc.cli" in b" ".join(words[:4]):  # the program by which `one-neuron repro` starts it
            return process
    return first
