"""The Git commit of the code in a folder, and the user who runs it."""

import getpass
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from one_neuron.layout import DVC_LOCK, PARAMS_FILE


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
