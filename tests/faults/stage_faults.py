"""A kill, a full disk or a failing disk at every k-th write, rename and fsync of a stage that is run directly."""

import random
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import yaml

from tests.faults.calls import Fault, Outcome, run_with_fault
from tests.faults.project import Case, Counts, Workshop, hash_outputs

STAGES = ("draw", "prepare", "train", "evaluate")


def kill_at(workshop: Workshop, number: int, _: random.Random) -> Counts:
    """Kill a stage at its k-th call; the number of the case stands for the stage and k."""
    return _fail_and_repair(workshop, number, "kill")


def fill_disk_at(workshop: Workshop, number: int, _: random.Random) -> Counts:
    """Let the disk be full from the k-th call of a stage on."""
    return _fail_and_repair(workshop, number, "ENOSPC")


def fail_at(workshop: Workshop, number: int, _: random.Random) -> Counts:
    """Let the k-th call of a stage fail with an I/O error."""
    return _fail_and_repair(workshop, number, "EIO")


def count_cases(workshop: Workshop) -> int:
    """Return the number of calls of all stages together."""
    return sum(len(_calls(workshop, stage)) for stage in STAGES)


def check_order(workshop: Workshop, number: int, _: random.Random) -> Counts:
    """Check that a stage syncs every file before it renames it to an output, and the folder afterwards.

    The drawn pictures are not synced: `prepare` compares them with their digests.
    """
    stage = STAGES[1:][number]
    folder = _starts(workshop, stage).folder
    synced: set[str] = set()
    waiting: dict[str, str] = {}  # folders to sync, and the file that was renamed there
    renamed = 0
    for name, path, new in _calls(workshop, stage):
        if name in ("fsync", "fdatasync"):
            synced.add(path)
            waiting.pop(path, None)
        elif new:
            if any(Path(new).is_relative_to(folder / output) for output in list_outputs(folder, stage)):
                renamed += 1
                assert path in synced, f"{stage} renames {path} to {new} before it is synced"
                waiting[str(Path(new).parent)] = new
        else:
            synced.discard(path)
    assert not waiting, f"{stage} does not sync the folders of {sorted(waiting.values())}"
    assert renamed, f"{stage} renames nothing"
    return Counter({stage: renamed})


def list_outputs(folder: Path, stage: str) -> list[str]:
    """Return the paths of what a stage writes, as dvc.yaml lists them."""
    found = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]
    return [*found.get("outs", []), *found.get("metrics", [])]


def make_starts(workshop: Workshop) -> None:
    """Make the folders in which the stages start: the outputs of the earlier result, and new inputs."""
    before = workshop.earlier
    for stage in STAGES:
        start = _starts(workshop, stage)
        shutil.copytree(before.folder, start.folder, symlinks=True)
        shutil.copytree(start.folder, _ends(workshop, stage).folder, symlinks=True)
        outcome = _run(_ends(workshop, stage), stage)
        assert outcome.code == 0, outcome.printed
        lines = [f"{call.name}\t{call.path}\t{call.new}" for call in outcome.calls]
        text = "\n".join(lines).replace(str(_ends(workshop, stage).folder), str(start.folder))
        (start.folder.parent / "calls.txt").write_text(text, encoding="utf-8")
        before = _ends(workshop, stage)


def _starts(workshop: Workshop, stage: str) -> Case:
    """Return the folder in which a stage starts."""
    return Case(workshop.folder / "stages" / stage / "before")


def _ends(workshop: Workshop, stage: str) -> Case:
    """Return the same folder after the stage."""
    return Case(workshop.folder / "stages" / stage / "after")


def _calls(workshop: Workshop, stage: str) -> list[tuple[str, str, str]]:
    """Return the calls of an undisturbed run: name, path, new path."""
    lines = (_starts(workshop, stage).folder.parent / "calls.txt").read_text(encoding="utf-8").split("\n")
    return [(name, path, new) for name, path, new in (line.split("\t") for line in lines)]


def _run(case: Case, stage: str, fault: Fault | None = None) -> Outcome:
    """Run a stage as DVC does."""
    environment = case.environment(PYTHONPATH="src")
    return run_with_fault(
        [sys.executable, f"pipeline/{stage}.py"], case.folder, environment, fault=fault, kill=case.kill_all
    )


def _fail_and_repair(workshop: Workshop, number: int, action: str) -> Counts:
    """Let a fault happen to a stage, check its outputs, run it again, and check them again."""
    k = number + 1
    for stage in STAGES:
        if k <= (count := len(_calls(workshop, stage))):
            break
        k -= count
    case = workshop.copy(_starts(workshop, stage), f"stage-{action}-{number}")
    what = f"{action} at {k} of {count} in {stage}"
    outcome = _run(case, stage, Fault(k, action))
    assert outcome.hit, f"{what}: the stage made only {len(outcome.calls)} calls"
    at = f"{what} ({outcome.calls[k - 1].name} {Path(outcome.calls[k - 1].path).name})"
    before, after = (hash_outputs(end(workshop, stage)) for end in (_starts, _ends))
    _check_outputs(hash_outputs(case), before, after, at)
    if action == "kill":
        assert outcome.code == -9, f"{at}: exit code {outcome.code}"
    elif outcome.code:
        assert outcome.code == 4, f"{at}: exit code {outcome.code}: {outcome.printed}"
        assert re.fullmatch(r"one-neuron: [^\n]+\n", outcome.printed), f"{at}: {outcome.printed}"
    again = _run(case, stage)
    assert again.code == 0, f"{at}: the next run ended with {again.code}: {again.printed}"
    found = hash_outputs(case)
    if action == "kill":  # the next `repro` deletes temporary files
        found = {name: digest for name, digest in found.items() if "/.partial-" not in name}
    assert found == after, f"{at}: the next run made {_differences(found, after)}"
    workshop.remove(case)
    return Counter([stage + (", no error" if outcome.code == 0 else "")])


def _check_outputs(found: dict[str, str], before: dict[str, str], after: dict[str, str], at: str) -> None:
    """Check that each file is as it was or as the stage makes it; temporary files do not count after a kill."""
    for name, digest in found.items():
        if "/.partial-" in name and at.startswith("kill"):
            continue
        assert digest in (before.get(name), after.get(name)), f"{at}: '{name}' is neither old nor new"
    # A stage removes its list of digests first and writes it last, so that a mixture of old and new files is found.
    lost = [name for name in before if name in after and name not in found and "/digests/" not in name]
    if "kill" in at and "(rename " in at:  # draw has moved its old folder away, and its new one not yet there
        lost = [name for name in lost if not name.startswith("data/drawn/")]
    assert not lost, f"{at}: lost {lost[:5]}"
    folder = {name: digest for name, digest in found.items() if name.startswith("data/drawn/")}
    ends = [{name: one[name] for name in one if name.startswith("data/drawn/")} for one in (before, after, {})]
    assert folder in ends, f"{at}: data/drawn is a mixture"


def _differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Return the names of files that differ."""
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
