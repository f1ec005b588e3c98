"""A kill, a full disk or a failing disk at random writes, renames and fsyncs of the main job, with DVC and track."""

import random
from collections import Counter
from pathlib import Path

from tests.faults.calls import Fault, run_with_fault
from tests.faults.project import REPRO, Case, Counts, Workshop, hash_outputs, repair_plainly


def kill_at(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Kill all processes at a random call."""
    return _fail_and_repair(workshop, number, chance, "kill")


def fill_disk_at(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Let the disk be full from a random call on."""
    return _fail_and_repair(workshop, number, chance, "ENOSPC")


def fail_at(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Let a random call fail with an I/O error."""
    return _fail_and_repair(workshop, number, chance, "EIO")


def count_calls(workshop: Workshop) -> None:
    """Count the calls of an undisturbed run."""
    case = workshop.copy(workshop.earlier, "count")
    outcome = run_with_fault(REPRO, case.folder, case.environment())
    assert outcome.code == 0, outcome.printed
    (workshop.folder / "calls.txt").write_text(str(len(outcome.calls)), encoding="utf-8")
    workshop.remove(case)


def _fail_and_repair(workshop: Workshop, number: int, chance: random.Random, action: str) -> Counts:
    """Let a fault happen to the main job, check the outputs, run it again, and check everything."""
    k = chance.randint(1, int((workshop.folder / "calls.txt").read_text(encoding="utf-8")))
    case = workshop.copy(workshop.earlier, f"pipeline-{action}-{number}")
    outcome = run_with_fault(
        REPRO, case.folder, case.environment(), fault=Fault(k, action), kill=case.kill_all, timeout=180
    )
    at = f"{action} at {k}"
    if outcome.hit:
        call = outcome.calls[k - 1]
        at += f" ({call.name} {(call.new or call.path).removeprefix(f'{case.folder}/')})"
    assert "Traceback" not in outcome.printed, f"{at}: {outcome.printed}"
    assert outcome.hit or outcome.code == 0, f"{at}: not reached, and exit code {outcome.code}: {outcome.printed}"
    _check_outputs(case, workshop, at)
    try:
        repair_plainly(case, workshop)
    except AssertionError as error:
        raise AssertionError(f"{at}: {error}\nbefore, exit code {outcome.code}: {outcome.printed[-1500:]}") from error
    workshop.remove(case)
    if not outcome.hit:
        return Counter(["not reached"])
    return Counter([_owner(call.path, case) + (", no error" if outcome.code == 0 else "")])


def _check_outputs(case: Case, workshop: Workshop, at: str) -> None:
    """Check that each output that is there is one that the earlier or the new run makes. DVC removes old ones."""
    before, after = hash_outputs(workshop.earlier), hash_outputs(workshop.done)
    for name, digest in hash_outputs(case).items():
        # A drawn picture is an output as a part of its folder, which the next run makes again.
        whole = not name.startswith("data/drawn/") and not Path(name).name.startswith(".")
        left = at.startswith("kill") and "/.partial-" in name  # the next run deletes it
        if whole and not left:
            assert digest in (before.get(name), after.get(name)), f"{at}: '{name}' is neither old nor new"


def _owner(path: str, case: Case) -> str:
    """Return whose file this is."""
    top = Path(path).relative_to(case.folder).parts[0] if Path(path).is_relative_to(case.folder) else ""
    owners = {".dvc": "DVC's files", "dvc.lock": "DVC's files", "mlflow.db": "the store", "mlartifacts": "the store"}
    return owners.get(top, "the store" if top.startswith("mlflow.db") else "our files")
