"""Single flipped bits in the files that the project keeps, DVC's cache included, before the main job and its report."""

import os
import random
import re
import shutil
from collections import Counter
from pathlib import Path

from tests.faults.flips import read_prepared
from tests.faults.project import (
    CHANGE,
    OTHER,
    OUTPUTS,
    REPRO,
    Case,
    Counts,
    Workshop,
    check_result,
    hash_outputs,
    run_to_the_end,
)

# What happens between the flip and the run; each needs other files.
_STEPS = ("nothing", "another learning rate", "outputs deleted", "earlier parameters")
_PLACES = {
    "nothing": ("outputs", "outputs", "rows"),
    "another learning rate": ("outputs", "inputs", "inputs"),
    "outputs deleted": ("cache",),
    "earlier parameters": ("cache",),
}
_LOCK_REMEDY = "git checkout dvc.lock"


def flip_a_bit(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Flip one bit of a kept file, and run the main job as a user would, until it has done its work.

    At each run: what is shown and tracked is right, or there is an error. The second run at the latest ends well.
    """
    step = _STEPS[number % len(_STEPS)]
    case = workshop.copy(workshop.done, f"flip-{number}")
    run_to_the_end(case)  # from now on, DVC hashes only files whose time or size changes
    path = _choose(case, chance.choice(_PLACES[step]), chance)
    at = f"{_flip(path, chance)} of {path.relative_to(case.folder)}, then {step}"
    expected = _prepare(case, workshop, step)
    first = _run_and_check(case, expected, at)
    if first:
        second = _run_and_check(case, expected, at)
        assert not second, f"{at}: two runs were not enough: {first}\n{second}"
    latent = _hash_drawn(case) != _hash_drawn(expected)
    if latent:  # no stage has read the picture, because DVC's cache has what comes of it
        run_to_the_end(case, *REPRO, "--force", "--single-item", "prepare")
        _run_and_check(case, expected, at)
    unused = _replace_unused(case, expected)
    _check_end(case, workshop, expected, at, path)
    workshop.remove(case)
    if unused:
        return Counter(["prepared set: harmless, in bytes that nothing reads"])
    if latent:
        return Counter(["drawn picture: found when it was read"])
    place = path.relative_to(case.folder).parts[0]
    return Counter([f"{place}: right at the {'second' if first else 'first'} run"])


def flip_lock(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Flip one bit of dvc.lock, or cut it off: the job ends well, or in one line that names the remedy, which works."""
    case = workshop.copy(workshop.done, f"lock-{number}")
    run_to_the_end(case)
    path = case.folder / "dvc.lock"
    if number % 4 == 0:
        size = chance.randrange(path.stat().st_size)
        os.truncate(path, size)
        at = f"dvc.lock cut to {size} bytes"
    else:
        at = f"{_flip(path, chance)} of dvc.lock"
    first = _run_and_check(case, workshop.done, at)
    if first:
        ours = [line for line in first.splitlines() if line.startswith("one-neuron: ")]  # below DVC's message
        assert len(ours) == 1, f"{at}: {first}"
        assert _LOCK_REMEDY in ours[0], f"{at}: the remedy is missing: {first}"
        case.run(*_LOCK_REMEDY.split())
        second = _run_and_check(case, workshop.done, at)
        assert not second, f"{at}: the remedy did not help: {second}"
    _check_end(case, workshop, workshop.done, at, path)
    workshop.remove(case)
    return Counter(["found, and the remedy works" if first else "right at the first run"])


def _choose(case: Case, place: str, chance: random.Random) -> Path:
    """Return a file of a case; each kind of file is equally probable, not each of the many pictures."""
    folder = case.folder
    if place == "cache":
        found = [path for path in (folder / ".dvc/cache").rglob("*") if path.is_file() and path.stat().st_size]
        return chance.choice(sorted(found))
    if place == "inputs":
        names = ("data/prepared/train.h5", "data/prepared/test.h5", "metrics/prepare.json")
        return folder / chance.choice(names)
    top = [folder / name for name in OUTPUTS] if place == "outputs" else [folder / ".one-neuron/rows"]
    kinds: dict[str, list[Path]] = {}
    for path in sorted(path for one in top for path in one.rglob("*") if path.is_file() and path.stat().st_size):
        kinds.setdefault(re.sub(r"\d+", "#", str(path.parent / path.name)), []).append(path)
    return chance.choice(chance.choice(list(kinds.values())))


def _flip(path: Path, chance: random.Random) -> str:
    """Flip a bit of a file as a failing disk does: the times of the file stay. Return its number."""
    content, times = bytearray(path.read_bytes()), path.stat()
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.chmod(0o644)
    with path.open("rb+") as stream:  # the same inode
        stream.write(content)
    path.chmod(times.st_mode)
    if chance.random() < 0.5:  # in the other half, a program wrote the file
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return f"bit {bit}"
    return f"bit {bit} (with a new time)"


def _prepare(case: Case, workshop: Workshop, step: str) -> Case:
    """Do what happens before the run; return the project with the right result."""
    if step == "another learning rate":
        case.edit("params.yaml", *CHANGE)
        return workshop.changed
    if step == "earlier parameters":
        case.edit("params.yaml", *OTHER)
        return workshop.earlier
    if step == "outputs deleted":
        for name in OUTPUTS:
            shutil.rmtree(case.folder / name)
    return workshop.done


def _run_and_check(case: Case, expected: Case, at: str) -> str:
    """Run the main job and the report; return what was printed if there was an error, else ''.

    Whatever is shown and tracked must be right.
    """
    for command in (None, ("one-neuron", "report")):
        done = run_to_the_end(case, *command or ())
        assert "Traceback" not in done.stdout, f"{at}: {done.stdout[-2000:]}"
        if done.returncode:
            assert done.returncode > 0, f"{at}: ended by signal {-done.returncode}"
            _check_runs(case, expected, at)
            return done.stdout
    shown = done.stdout.replace(str(case.folder), "PROJECT")
    right = read_report(expected).replace(str(expected.folder), "PROJECT")
    assert shown == right, f"{at}: the report shows\n{shown}\ninstead of\n{right}"
    _check_runs(case, expected, at)
    return ""


def read_report(expected: Case) -> str:
    """Return the report of an undisturbed result, which is written once."""
    path = expected.folder.parent / "report.txt"
    if not path.exists():
        done = run_to_the_end(expected, "one-neuron", "report")
        assert done.returncode == 0, done.stdout
        path.write_text(done.stdout, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _hash_drawn(case: Case) -> dict[str, str]:
    """Return the SHA-256 of each drawn picture."""
    return {name: digest for name, digest in hash_outputs(case).items() if name.startswith("data/drawn/")}


def _check_runs(case: Case, expected: Case, at: str) -> None:
    """Check that every file that MLflow shows of the runs is one that undisturbed runs have."""
    right = _list_artifacts(expected) | _list_artifacts(Case(expected.folder.parents[1] / "done/project"))
    more = _list_artifacts(case) - right
    assert not more, f"{at}: tracked with other content: {sorted(name for name, _ in more)}"


def _replace_unused(case: Case, expected: Case) -> bool:
    """Replace a prepared set if a byte that HDF5 leaves unused is still wrong; return whether there was one."""
    for name in ("data/prepared/train.h5", "data/prepared/test.h5"):
        path, right = case.folder / name, expected.folder / name
        if path.read_bytes() != right.read_bytes() and read_prepared(path) == read_prepared(right):
            path.unlink()  # it may be a link into DVC's cache
            shutil.copyfile(right, path)
            return True
    return False


def _list_artifacts(case: Case) -> Counter[tuple[str, int]]:
    """Return the names and the contents of the tables, plots and models of all runs."""
    found: Counter[tuple[str, int]] = Counter()
    for path in (case.folder / "mlartifacts").rglob("*"):
        if path.suffix in (".png", ".webp", ".csv", ".h5", ".npz", ".json") and path.is_file():
            found[re.sub(r"timestamp\+[^.]*", "#", path.name), hash(path.read_bytes())] = 1
    return found


def _check_end(case: Case, workshop: Workshop, expected: Case, at: str, path: Path) -> None:
    """Check the result at the end. The copy started with the runs of `done`; `earlier` has one fewer.

    A damaged object that DVC's cache holds for another result may still be there: it is found when it is needed.
    """
    if path.is_relative_to(case.folder / ".dvc/cache"):
        path.unlink(missing_ok=True)
    try:
        check_result(case, workshop, expected, runs_of=workshop.done if expected == workshop.earlier else expected)
    except AssertionError as error:
        raise AssertionError(f"{at}: {error}") from error
