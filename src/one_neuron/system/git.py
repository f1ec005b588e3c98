"""What Git knows about the code in a folder."""

import getpass
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from one_neuron.layout import LOCK_FILE, PARAMS_FILE


@dataclass(frozen=True)
class Origin:
    """Who and what made a result; no part of its content.

    Parameters
    ----------
    commit : str or None
        The Git commit that the code was checked out from; None without Git or before the first commit.
    dirty : bool
        Whether tracked files differed from it. params.yaml and dvc.lock do not count: the run holds both.
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
        """The commit, with `-dirty` appended where files differed, as `git describe --dirty` writes it."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit


def find_origin(folder: Path) -> Origin:
    """Ask Git and DVC where the code in `folder` comes from; what cannot be had is left out.

    Parameters
    ----------
    folder : Path
        Where the stages ran: the repository, or the temporary copy of a queued experiment.
    """
    tracked = ask_git(folder, "ls-files", "--", str(PARAMS_FILE))
    # Without a tracked params.yaml the commit is that of a repository around ours, which knows nothing of this code.
    commit = (os.environ.get("DVC_EXP_BASELINE_REV") or ask_git(folder, "rev-parse", "HEAD")) if tracked else None
    kept = [f":(exclude){name}" for name in (PARAMS_FILE, LOCK_FILE)]
    changes = ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *kept) if commit else None
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = "unknown"
    return Origin(commit or None, bool(changes), os.environ.get("DVC_EXP_NAME") or None, user)


def ask_git(folder: Path, *arguments: str) -> str | None:
    """Ask Git, without changing anything.

    Parameters
    ----------
    folder : Path
        Where Git is asked.
    *arguments : str
        Of the command `git`.

    Returns
    -------
    str or None
        What Git prints, without white space around it; None where there is no Git, no repository or no commit.
    """
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # `status` would write the index, which DVC may be using
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
