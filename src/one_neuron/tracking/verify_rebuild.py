"""Make a result again with DVC in a temporary copy of the project, for `one-neuron verify`."""

import shutil
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, quote_path
from one_neuron.layout import DVC_LOCK, PREPARE_METRICS, TEST_FILE, TRAIN_FILE
from one_neuron.tracking.verify_copy import ProjectCopy
from one_neuron.tracking.verify_lock import Lock, hash_file, read_lock

# Stage by stage, whatever DVC remembers. --no-commit: nothing is copied into the cache, which is thrown away.
REPRO = ("repro", "--force", "--no-run-cache", "--no-commit")
FROM_CACHE = "the pictures are not those of the run any more; the prepared sets come from DVC's cache"


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
    code, note = copy.dvc(*REPRO, "evaluate"), ""
    no_pictures = code != 0 and not (copy.folder / TEST_FILE).exists()
    if no_pictures or (code == 0 and _has_other_pictures(copy, stored)):
        note = FROM_CACHE
        _restore_prepared(copy, stored, lock_file)
        code = copy.dvc(*REPRO, "--single-item", "train", "evaluate")
    if code:
        raise EnvironmentProblem("the result cannot be made again here: `dvc repro` failed, see its messages above")
    return read_lock(copy.folder / DVC_LOCK), note


def _has_other_pictures(copy: ProjectCopy, stored: Lock) -> bool:
    """Return whether the user's own pictures have changed since the run."""
    path = str(stored.data_path)
    if stored.source not in ("folder", "hdf5"):
        return False
    return read_lock(copy.folder / DVC_LOCK).deps.get(path) != stored.deps.get(path)


def _restore_prepared(copy: ProjectCopy, stored: Lock, lock_file: Path) -> None:
    """Copy the prepared sets of the run from DVC's cache of the user's workspace, and their lock."""
    cache = copy.find_cache() / "files/md5"
    for path in (TRAIN_FILE, TEST_FILE, PREPARE_METRICS):
        md5 = stored.outs.get(path.as_posix(), "")
        source, target = cache / md5[:2] / md5[2:], copy.folder / path
        if not md5.isalnum() or hash_file(source) != md5:
            raise EnvironmentProblem(
                f"the pictures of the run are neither at {quote_path(stored.data_path)} nor, prepared, in DVC's cache "
                f"({quote_path(cache)}); bring them back and run it again"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(lock_file, copy.folder / DVC_LOCK)
