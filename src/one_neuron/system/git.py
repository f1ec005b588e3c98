"""Git: the commit of the code in a folder, its uncommitted changes, and a copy of a commit elsewhere."""

import getpass
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, one_line, quote_path
from one_neuron.layout import DVC_LOCK, PARAMS_FILE

# Set inside Git hooks: they would lead a command for another repository to that of the hook.
LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
# A patch that `git apply` reads, whatever the user's own settings of Git are
_DIFF = ("--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
_PREFIXES = ("--src-prefix=a/", "--dst-prefix=b/")


@dataclass(frozen=True)
class Origin:
    """The user and the code that made a result; not part of its content.

    Parameters
    ----------
    commit : str or None
        The Git commit of the code; None without Git or before the first commit.
    dirty : bool
        Whether tracked files differ from the commit. params.yaml and dvc.lock do not count: the run holds both.
    exp_name : str or None
        DVC's name of the experiment.
    user : str
        Login name.
    """

    commit: str | None
    dirty: bool
    exp_name: str | None
    user: str

    @property
    def commit_label(self) -> str | None:
        """The commit, with `-dirty` appended if files differ, as `git describe --dirty` writes it."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit


def find_origin(folder: Path) -> Origin:
    """Return the origin of the code in `folder`: the repository, or the temporary copy of a queued experiment."""
    tracked = ask_git(folder, "ls-files", "--", str(PARAMS_FILE))
    # If params.yaml is not tracked, the commit belongs to a repository around this project and not to this code.
    commit = (os.environ.get("DVC_EXP_BASELINE_REV") or ask_git(folder, "rev-parse", "HEAD")) if tracked else None
    kept = [f":(exclude){name}" for name in (PARAMS_FILE, DVC_LOCK)]
    changes = ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *kept) if commit else None
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id without a name
        user = "unknown"
    return Origin(commit or None, bool(changes), os.environ.get("DVC_EXP_NAME") or None, user)


def ask_git(folder: Path, *arguments: str) -> str | None:
    """Run a Git command that changes nothing; return its output, or None if Git fails or is not installed."""
    # Without the variable, `status` writes the index, which DVC may be using.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def diff_files(folder: Path, commit: str, names: Sequence[str]) -> bytes:
    """Return the changes of some files in `folder` since a commit, untracked files included, for `git apply`.

    Parameters
    ----------
    folder : Path
        A folder of a repository.
    commit : str
        A commit of the repository.
    names : sequence of str
        Files, relative to `folder`.

    Returns
    -------
    bytes
        b"" if nothing changed, or if Git does not know the folder or the commit.
    """
    top, prefix = ask_git(folder, "rev-parse", "--show-toplevel"), ask_git(folder, "rev-parse", "--show-prefix")
    if top is None or prefix is None or ask_git(folder, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return b""
    patch = _run_diff(Path(top), commit, "--", *(f"{prefix}{name}" for name in names))
    untracked = ask_git(folder, "ls-files", "-z", "--others", "--", *names) or ""
    for name in filter(None, untracked.split("\0")):
        patch += _run_diff(Path(top), "--no-index", "--", os.devnull, f"{prefix}{name}")
    return patch


def _run_diff(folder: Path, *arguments: str) -> bytes:
    """Return the output of `git diff`, which ends with 1 if --no-index finds a difference; b"" if Git fails."""
    try:
        done = subprocess.run(
            ["git", "diff", *_DIFF, *_PREFIXES, *arguments],
            cwd=folder,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout if done.returncode in (0, 1) else b""


def check_out(root: Path, commit: str, target: Path) -> Path:
    """Check out a commit of the repository that holds `root` into a new repository, and return its copy of `root`.

    The new repository borrows the objects of the other one, as after `git clone --shared`, but has no branches. So it
    also finds a commit that no branch reaches (of an experiment, or after `git commit --amend`), and works in a shallow
    clone. Nothing is written into the other repository, and no hook runs.

    Parameters
    ----------
    root : Path
        A folder of a repository.
    commit : str
        40 or 64 hexadecimal digits.
    target : Path
        A folder that does not exist yet.

    Raises
    ------
    EnvironmentProblem
        If Git is not installed, if `root` is not in a repository, or if the repository does not have the commit.
    """
    prefix, objects = (ask_git(root, "rev-parse", *what) for what in (["--show-prefix"], ["--git-path", "objects"]))
    if prefix is None or objects is None:
        raise EnvironmentProblem(
            f"{quote_path(root)} is not in a Git repository, or git is not installed; run it in a clone of the project"
        )
    is_id = re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", commit)  # it comes from a store, and could be an option
    if not is_id or ask_git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise EnvironmentProblem(f"this repository does not have the commit {commit}; get it with `git fetch --all`")
    target.mkdir(parents=True)
    run_git(target, "init", "--quiet", "--template=")
    (target / ".git/objects/info").mkdir(parents=True, exist_ok=True)
    (target / ".git/objects/info/alternates").write_text(f"{(root / objects).resolve()}\n", encoding="utf-8")
    run_git(target, "-c", f"core.hooksPath={os.devnull}", "checkout", "--quiet", "--detach", commit)
    return target / prefix


def run_git(folder: Path, *arguments: str, text: bytes = b"") -> None:
    """Run a Git command in a repository of this process, with `text` as its input.

    Raises
    ------
    EnvironmentProblem
        If Git fails, with its message.
    """
    environment = {name: value for name, value in os.environ.items() if name not in LOCATIONS}
    try:
        subprocess.run(["git", *arguments], cwd=folder, env=environment, input=text, capture_output=True, check=True)
    except subprocess.CalledProcessError as error:
        reason = one_line(error.stderr.decode("utf-8", "replace"))
        raise EnvironmentProblem(f"`git {' '.join(arguments)}` failed ({reason})") from error
