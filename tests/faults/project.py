"""A small copy of the project for each case, and what must hold after a fault and a plain run."""

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.e2e.conftest import Project, make_project

OUTPUTS = ("data", "models", "metrics", "plots")
Counts = Counter[str]  # what happened in a case, in a few words, and how often
STAGES = ("draw", "prepare", "train", "evaluate", "track")
MARK = "ONE_NEURON_FAULT_CASE"  # an environment variable that all processes of a case have
REPRO = ("one-neuron", "repro")
_SMALL = {
    "num_train: 40": "num_train: 16",
    "num_test: 20": "num_test: 8",
    "num_iterations: 2000": "num_iterations: 200",
}
OTHER = ("seed: 1 # another seed draws", "seed: 2 # another seed draws")  # of the result that is there before
CHANGE = ("learning_rate: 0.005", "learning_rate: 0.004")


@dataclass(frozen=True)
class Case(Project):
    """A copy of the project in which one fault happens; `fresh` says that there was no result before."""

    fresh: bool = False

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command: the copy's own library, and nothing shared with other copies."""
        own = {"PYTHONPATH": str(self.folder / "src"), "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site")}
        own |= {MARK: str(self.folder), "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
        return super().environment(**own | variables)

    def processes(self) -> list[int]:
        """Return the process ids of all living processes of this case, the oldest first."""
        mark = f"{MARK}={self.folder}".encode()
        found = []
        for entry in sorted((path.name for path in Path("/proc").iterdir() if path.name.isdigit()), key=int):
            try:
                if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0") and _is_alive(entry):
                    found.append(int(entry))
            except OSError:  # ended meanwhile, or not ours
                continue
        return found

    def kill_all(self) -> None:
        """Kill all processes of this case with SIGKILL, as a cut of the power would."""
        while found := self.processes():
            for process in found:
                kill(process)
            time.sleep(0.005)

    def find_stage(self) -> tuple[str, int] | None:
        """Return the stage that is running and its process id."""
        for process in self.processes():
            try:
                words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if len(words) > 1 and re.fullmatch(r"pipeline/\w+\.py", words[1]):
                return Path(words[1]).stem, process
        return None


def kill(process: int) -> None:
    """Kill one process with SIGKILL, if it still exists."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _is_alive(process: str) -> bool:
    """Return whether a process is more than an entry that its parent has not read yet."""
    return Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


@dataclass(frozen=True)
class Workshop:
    """The folders from which cases are copied, and what an undisturbed run makes of them."""

    folder: Path

    @property
    def fresh(self) -> Case:
        """The project without any output."""
        return Case(self.folder / "fresh" / "project", fresh=True)

    @property
    def earlier(self) -> Case:
        """The project with the complete result of another parameter, which is set back: every stage has to run."""
        return Case(self.folder / "earlier" / "project")

    @property
    def done(self) -> Case:
        """The project after an undisturbed run."""
        return Case(self.folder / "done" / "project")

    @property
    def changed(self) -> Case:
        """The same after another run with another learning rate."""
        return Case(self.folder / "changed" / "project")

    def make(self) -> None:
        """Make the folders."""
        shutil.rmtree(self.folder, ignore_errors=True)
        small = make_project(self.fresh.folder)
        for old, new in _SMALL.items():
            small.edit("params.yaml", old, new)
        small.run("git", "commit", "--quiet", "--all", "--message", "small")
        _copy(self.fresh, self.earlier)
        self.earlier.edit("params.yaml", *OTHER)
        first = run_timed(self.earlier)
        # The bytecode that this run wrote belongs to the sources: a case must not spend its time on it.
        for cached in self.earlier.folder.glob("**/__pycache__"):
            shutil.copytree(cached, self.fresh.folder / cached.relative_to(self.earlier.folder), dirs_exist_ok=True)
        self.earlier.edit("params.yaml", *reversed(OTHER))
        _copy(self.earlier, self.done)
        seconds = {"fresh": first, "earlier": run_timed(self.done)}
        self.done.run("git", "add", "dvc.lock")
        self.done.run("git", "commit", "--quiet", "--message", "a result")
        _copy(self.done, self.changed)
        self.changed.edit("params.yaml", *CHANGE)
        self.changed.run(*REPRO)
        (self.folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")

    def is_made(self) -> bool:
        """Return whether everything that cases start from is there."""
        return (self.folder / "made").exists()

    def mark_made(self) -> None:
        """Write that everything is there."""
        (self.folder / "made").touch()

    def seconds(self, start: Case) -> float:
        """Return how long an undisturbed run takes from one of the two starts."""
        found = json.loads((self.folder / "seconds.json").read_text(encoding="utf-8"))
        return float(found["fresh" if start.fresh else "earlier"])

    def copy(self, start: Case, name: str) -> Case:
        """Return a copy of one of the projects for a case; an earlier copy of that name is replaced."""
        copy = Case(self.folder / "cases" / name / "one neuron", fresh=start.fresh)
        shutil.rmtree(copy.folder.parent, ignore_errors=True)
        _copy(start, copy)
        return copy

    def remove(self, case: Case) -> None:
        """Delete the copy of a case."""
        shutil.rmtree(case.folder.parent)


def run_timed(case: Case) -> float:
    """Run the main job; return the seconds."""
    started = time.monotonic()
    case.run(*REPRO)
    return time.monotonic() - started


def _copy(start: Case, copy: Case) -> None:
    """Copy a project with the times of its files, which Python compares with those in its bytecode."""
    shutil.copytree(start.folder, copy.folder, symlinks=True)


def hash_outputs(case: Project) -> dict[str, str]:
    """Return the SHA-256 of every file that the stages wrote, by its path."""
    files = [path for name in OUTPUTS for path in (case.folder / name).rglob("*") if path.is_file()]
    return {
        path.relative_to(case.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def read_lock(case: Project) -> dict[str, str]:
    """Return the hash of every output in dvc.lock, by its path."""
    stages = yaml.safe_load((case.folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def read_runs(case: Project) -> list[tuple[str, str]]:
    """Return the content key and the status of every run of a result in the store that is not deleted."""
    with closing(sqlite3.connect(f"file:{case.folder}/mlflow.db?mode=ro", uri=True)) as store:
        return store.execute(
            "SELECT coalesce(t.value, ''), r.status FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid "
            "AND t.key = 'one_neuron.keys' LEFT JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'one_neuron.kind' "
            "WHERE r.lifecycle_stage = 'active' AND coalesce(k.value, 'result') = 'result' ORDER BY 1, 2"
        ).fetchall()


def check_result(case: Case, workshop: Workshop, expected: Case | None = None, *, runs_of: Case | None = None) -> None:
    """Check that a case has what an undisturbed run makes.

    That is: all files, dvc.lock, sound objects in DVC's cache, and exactly one finished run for each result.

    Parameters
    ----------
    case : Case
    workshop : Workshop
    expected : Case, optional
        What an undisturbed run makes; by default, `workshop.done`.
    runs_of : Case, optional
        Has the runs that the store must have; by default, `expected`.
    """
    expected = expected or workshop.done
    wanted, found = hash_outputs(expected), hash_outputs(case)
    different = [name for name in wanted if found.get(name) not in (None, wanted[name])]
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    assert found == wanted, f"other bytes: {different}; missing: {missing}; not expected: {more}"
    assert read_lock(case) == read_lock(expected), "dvc.lock has other hashes"
    for path in (case.folder / ".dvc/cache/files/md5").glob("??/*"):
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        assert digest == path.parent.name + path.name.removesuffix(".dir"), f"{path} is not what its name says"
    runs = read_runs(runs_of or expected)
    if case.fresh:
        before = read_runs(workshop.earlier)
        runs = [run for run in runs if run not in before]
    assert read_runs(case) == runs, f"the store has {read_runs(case)}; expected {runs}"


def check_ended(case: Case) -> None:
    """Check that no process of a case is left, or ends within seconds."""
    deadline = time.monotonic() + 20
    while (alive := case.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive, f"still running: {[_describe(process) for process in alive]}"


def check_nothing_left(case: Case, expected: Case) -> None:
    """Check that no process and no file is left that an undisturbed run does not leave."""
    check_ended(case)
    more = _list_files(case) - _list_files(expected)
    assert not more, f"left behind: {sorted(more)[:8]}"


def _describe(process: int) -> str:
    """Return the command line of a process."""
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")


def _list_files(case: Case) -> Counter[str]:
    """Return how often there is a file of each name, with the same sign for all random names.

    Sources, their bytecode, Git's objects, the objects of DVC's cache and the locks of a spool are left out. After some
    kills DVC 3.67 keeps the list of a folder in its cache's old layout as well, `.dvc/cache/fc`.
    """
    found: Counter[str] = Counter()
    for path in case.folder.rglob("*"):
        name = path.relative_to(case.folder).as_posix()
        if path.is_file() and not re.match(r"(src|pipeline|\.git)/", name):
            found[re.sub(r"timestamp\+[\w+-]*|[0-9a-f]{16,}", "#", name)] += 1
    for name in list(found):
        if re.fullmatch(r"\.dvc/cache/((files/md5/)?../#(\.dir)?|runs/../#/#)|\.one-neuron/spool/#\.(lock|use)", name):
            del found[name]
    return found


def run_to_the_end(case: Case, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command, by default the main job, as a user would after a fault; it must end within five minutes."""
    return case.finish(*(command or REPRO), **variables)


def repair_plainly(case: Case, workshop: Workshop) -> None:
    """Run the main job once more without any fault, and check everything."""
    again = run_to_the_end(case)
    assert again.returncode == 0, f"the plain run ended with {again.returncode}: {again.stdout[-1500:]}"
    check_result(case, workshop)
    check_nothing_left(case, workshop.done)
