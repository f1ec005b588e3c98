"""The uncommitted changes of the code that made a result, as an artifact of its run."""

import sys
from pathlib import Path

from one_neuron.layout import find_code
from one_neuron.system.git import ask_git, diff_files

CHANGES_FILE = "uncommitted.patch"  # the name of the artifact, for `git apply`
MAX_BYTES = 1_000_000  # larger changes are not stored: a person would not read them, and most are data
LOGGED_MODEL = "one_neuron/tracking/pyfunc_model.py"  # what MLflow runs to load a logged model


def read_changes(folder: Path, commit: str) -> bytes:
    """Return how the code in `folder` that a result depends on differs from a commit, as a patch.

    That is dvc.yaml, the locked requirements, the scripts of the stages, and every module that they import, untracked
    files included. params.yaml and dvc.lock are artifacts of their own.

    Returns
    -------
    bytes
        b"" if nothing differs, or, with a warning, if the patch is larger than `MAX_BYTES`.
    """
    # Reading the imports takes a moment, so first look whether anything changed at all.
    places = ("dvc.yaml", "requirements.txt", "pipeline", "src")
    changed = ask_git(folder, "diff", "--name-only", commit, "--", *places)
    if not changed and not ask_git(folder, "ls-files", "--others", "--exclude-standard", "--", *places):
        return b""
    stages = (folder / "dvc.yaml").read_text(encoding="utf-8")
    scripts = [path for path in sorted((folder / "pipeline").glob("*.py")) if f"pipeline/{path.name}" in stages]
    sources = sorted({Path(LOGGED_MODEL), *find_code(*scripts, LOGGED_MODEL)})
    names = ["dvc.yaml", "requirements.txt"]
    names += [f"pipeline/{path.name}" for path in scripts] + [f"src/{path.as_posix()}" for path in sources]
    patch = diff_files(folder, commit, names)
    if len(patch) <= MAX_BYTES:
        return patch
    print(
        f"one-neuron: warning: the uncommitted changes of the code are larger than {MAX_BYTES:,} bytes and are not "
        "stored with the run; commit them, so that it can be verified",
        file=sys.stderr,
    )
    return b""
