"""Make a result again with DVC in a temporary copy of the project, for `one-neuron verify`."""

import shutil
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, quote_path
from one_neuron.layout import DVC_LOCK, PREPARE_METRICS, TEST_FILE, TRAIN_FILE
from one_neuron.tracking.verify_copy import ProjectCopy
from one_neuron.tracking.verify_lock import Lock, hash_file, read_lock

# Stage by stage, whatever DVC remembers. --no-commit: nothing is copied into the cache, which is thrown away.
REPRO = ("repro", "--force", "--no-run-cache", "--no-commit")
FAILED = "the result cannot be made again here: `dvc repro` failed, see its messages above"


def rebuild(copy: ProjectCopy, stored: Lock, lock_file: Path) -> tuple[Lock, str]:
    """Make the result again; without its pictures, from the prepared sets in the cache of the user's workspace.

    Parameters
    ----------
    stored, lock_file : Lock and Path
        The dvc.lock of the run, read and as a file.

    Returns
    -------
    Lock, str
        The dvc.lock of the copy, and a note about the pictures or "".

    Raises
    ------
    EnvironmentProblem
        If a stage fails, or if neither the pictures nor the prepared sets can be had.
    """
    note = ""
    if problem := _rebuild_from_pictures(copy, stored):
        _restore_prepared(copy, stored, lock_file, problem)
        note = f"{problem}; the prepared sets come from DVC's cache, and the rest was made again from them"
        if copy.dvc(*REPRO, "--single-item", "train", "evaluate"):
            raise EnvironmentProblem(FAILED)
    return read_lock(copy.folder / DVC_LOCK), note


def _rebuild_from_pictures(copy: ProjectCopy, stored: Lock) -> str:
    """Make the result again from its pictures; return "", or why the pictures cannot be had."""
    try:
        copy.python("one_neuron.cli", "settings")  # as `make repro`: DVC would wait for ever for a pipe
    except EnvironmentProblem as problem:
        return str(problem)
    if copy.dvc(*REPRO, "evaluate"):
        if (copy.folder / TEST_FILE).exists():
            raise EnvironmentProblem(FAILED)
        return "the pictures cannot be prepared here"
    return "the pictures have changed since the run" if _has_other_pictures(copy, stored) else ""


def _has_other_pictures(copy: ProjectCopy, stored: Lock) -> bool:
    """Return whether the user's own pictures have changed since the run."""
    path = str(stored.data_path)
    if stored.source not in ("folder", "hdf5"):
        return False
    return read_lock(copy.folder / DVC_LOCK).deps.get(path) != stored.deps.get(path)


def _restore_prepared(copy: ProjectCopy, stored: Lock, lock_file: Path, problem: str) -> None:
    """Copy the prepared sets of the run from DVC's cache of the user's workspace, and their lock.

    `problem` says why the pictures cannot be had.
    """
    cache = copy.find_cache() / "files/md5"
    for path in (TRAIN_FILE, TEST_FILE, PREPARE_METRICS):
        md5 = stored.outs.get(path.as_posix(), "")
        source, target = cache / md5[:2] / md5[2:], copy.folder / path
        if not md5.isalnum() or hash_file(source) != md5:
            raise EnvironmentProblem(
                f"{problem}; nor does DVC's cache have the prepared sets of the run ({quote_path(source)}); "
                "bring the pictures back and verify again"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(lock_file, copy.folder / DVC_LOCK)
