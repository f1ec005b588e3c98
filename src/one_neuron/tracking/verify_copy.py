"""A temporary copy of the project at the commit of a run, for `one-neuron verify`.

The user's workspace, DVC's cache, lock and state, and the store are only read. The copy keeps DVC's cache and state in
the temporary folder.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, one_line, quote_path
from one_neuron.layout import DVC_LOCK, PARAMS_FILE
from one_neuron.sources.catvnoncat import FOLDER_VARIABLE
from one_neuron.system.git import LOCATIONS, check_out, run_git
from one_neuron.system.process import run_program
from one_neuron.tracking.verify_lock import Lock, find_other_code


@dataclass(frozen=True)
class ProjectCopy:
    """The copy.

    Parameters
    ----------
    root : Path
        The user's workspace.
    temporary : Path
        The temporary folder, which holds the copy and what DVC keeps.
    folder : Path
        The copy of `root`.
    commit : str
        What is checked out there.
    """

    root: Path
    temporary: Path
    folder: Path
    commit: str

    def dvc(self, *arguments: str) -> int:
        """Run a command of DVC in the copy, with its errors on stderr; return its exit code."""
        return run_program([sys.executable, "-P", "-m", "dvc", *arguments], self.folder, self._environment())

    def python(self, module: str, *arguments: str) -> str:
        """Run a module of the copy as a program, and return what it prints.

        Raises
        ------
        EnvironmentProblem
            If it fails, with the last line of its message.
        """
        return self._ask(module, *arguments, folder=self.folder, PYTHONPATH="src")

    def find_cache(self) -> Path:
        """Return the folder of DVC's cache of the user's workspace.

        Raises
        ------
        EnvironmentProblem
            If DVC does not tell.
        """
        return Path(self._ask("dvc", "cache", "dir", folder=self.root).strip())

    def _ask(self, module: str, *arguments: str, folder: Path, **variables: str) -> str:
        """Run a module as a program in a folder, and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            cwd=folder,
            env=self._environment() | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise EnvironmentProblem(one_line(lines[-1]).removeprefix("one-neuron: "))
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Return the environment of commands there: that of this process, without what leads Git or DVC elsewhere."""
        left_out = {*LOCATIONS, "DVC_ROOT", "DVC_STAGE", "PYTHONPATH"}
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        kept = {name: value for name, value in kept.items() if not name.startswith("DVC_EXP_")}
        # The stages call `python`, and the environment need not be activated.
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
        if course := kept.get(FOLDER_VARIABLE):
            kept[FOLDER_VARIABLE] = str(self.root.absolute() / Path(course).expanduser())
        return kept | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(self.temporary / "dvc-state")}


def make_copy(
    root: Path, temporary: Path, *, commits: Sequence[str], params: Path, changes: Path, stored: Lock
) -> ProjectCopy:
    """Check out the code of a run with its uncommitted changes, and restore its params.yaml and pictures.

    Parameters
    ----------
    root : Path
        The user's workspace.
    temporary : Path
        An existing folder.
    commits : sequence of str
        The commit of the run, then others that gave the same result. The first with the code in `stored` is used.
    params, changes : Path
        Artifacts of the run: params.yaml, and a patch for the first commit, which need not exist.
    stored : Lock
        The dvc.lock of the run.

    Raises
    ------
    EnvironmentProblem
        If the code or the pictures cannot be had.
    """
    problems = []
    for number, commit in enumerate(commits):
        try:
            folder = _check_out_code(root, temporary / str(number), commit, changes if number == 0 else None, stored)
        except EnvironmentProblem as problem:
            problems.append(problem)
        else:
            break
    else:
        raise problems[0]
    shutil.copyfile(params, folder / PARAMS_FILE)
    (folder / DVC_LOCK).unlink(missing_ok=True)  # DVC writes a new one
    configure_dvc(folder, f'[cache]\n    dir = "{temporary / "dvc-cache"}"\n')
    copy = ProjectCopy(root, temporary, folder, commit)
    _place_pictures(copy, stored)
    return copy


def _check_out_code(root: Path, place: Path, commit: str, changes: Path | None, stored: Lock) -> Path:
    """Return a copy of `root` at a commit, after checking that it has the code of a run."""
    # A path such as ../pictures leads out of the copy, but not out of the temporary folder.
    top = place.joinpath(*["level"] * stored.data_path.parts.count(".."), "project")
    folder = check_out(root, commit, top)
    if changes and changes.is_file():
        run_git(top, "apply", "--whitespace=nowarn", "-", text=changes.read_bytes())
    if other := find_other_code(stored, folder):
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        raise EnvironmentProblem(
            f"the run was made with another {quote_path(other[0])}{more} than commit {commit[:12]} has, and does not "
            "carry the change; commit the change, run `make track`, and verify again"
        )
    return folder


def configure_dvc(folder: Path, text: str) -> None:
    """Append to the settings of DVC in the copy that go before those of the commit and of the user."""
    with (folder / ".dvc/config.local").open("a", encoding="utf-8") as stream:
        stream.write(text)


def _place_pictures(copy: ProjectCopy, stored: Lock) -> None:
    """Put at data.path what the stage `prepare` depends on: the user's own pictures, or at least a folder."""
    there = Path(os.path.normpath(copy.folder / stored.data_path))
    if not there.is_relative_to(copy.temporary):
        return  # an absolute path, which leads to the same pictures
    if there in (copy.folder, *copy.folder.parents) or ".git" in there.parts:
        raise EnvironmentProblem(f"data.path of the run is {quote_path(stored.data_path)}, which holds the project")
    tracked = [*there.parent.glob(f"{there.name}.dvc"), *there.rglob("*.dvc")]
    here = (copy.root / stored.data_path).resolve()
    if stored.source not in ("folder", "hdf5"):
        if not there.exists():
            there.mkdir(parents=True)
    elif tracked:
        # Copied from the cache of the workspace, as they were at the commit. A link into the workspace would let DVC
        # write there.
        configure_dvc(copy.folder, f'[\'remote "workspace"\']\n    url = "{copy.find_cache()}"\n')
        copy.dvc("pull", "--quiet", "--remote", "workspace", *(os.path.relpath(path, copy.folder) for path in tracked))
    elif here.exists():
        if there.is_dir():
            shutil.rmtree(there)
        there.unlink(missing_ok=True)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(here)
