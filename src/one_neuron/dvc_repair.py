"""Move damaged files out of the workspace and out of DVC's cache, so that the next `dvc repro` makes them again.

DVC restores a file from its cache without looking at the content: a damaged object would come back with every
`dvc repro`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from one_neuron.errors import DamagedFile, DataError, EnvironmentProblem
from one_neuron.layout import DVC_LOCK, WORK_FOLDER, find_repository

DAMAGED_FOLDER = WORK_FOLDER / "damaged"
_JOURNAL = DAMAGED_FOLDER / "journal.txt"  # the old path of each file that was moved, one a line
_FORCE = "DVC has recorded the changed file; run `dvc repro --force`, which makes all files again"


@contextmanager
def damage_set_aside() -> Iterator[None]:
    """If a `DamagedFile` ends the block, move away what is damaged, and say so in the message.

    The file is compared with its MD5 in dvc.lock, and its object in DVC's cache with its own name, which is the MD5 of
    its content. What differs is moved to `.one-neuron/damaged`. Nothing is moved if dvc.lock does not know the file.

    Raises
    ------
    DataError
        With the reason of the `DamagedFile`, what was moved, and the remedy.
    EnvironmentProblem
        If something damaged cannot be moved.
    """
    try:
        yield
    except DamagedFile as error:
        outputs = _read_outputs()
        known = [path for path in error.paths if _find_output(path, outputs)]
        moved = [place for path in known for place in _set_aside(path, outputs)]
        if moved:
            names = " and ".join(f"'{name}'" for name in moved)
            folder = _show(find_repository() / DAMAGED_FOLDER)
            what = f"moved {names} to '{folder}'; run `dvc repro`, which makes the file again"
        elif len(known) == len(error.paths):
            what = _FORCE
        else:
            raise
        raise DataError(f"{error.reason}; {what}") from error


def count_moved(root: Path) -> int:
    """Return how many damaged files have been moved away in the repository `root`."""
    try:
        return len((root / _JOURNAL).read_bytes().splitlines())
    except OSError:
        return 0


def set_aside_listings() -> None:
    """Move away the objects in DVC's cache that list the files of a folder and are damaged.

    DVC reads such a listing before a stage could find the damage, and then runs the stage every time.
    """
    for digest in _read_outputs().values():
        if digest.endswith(".dir") and _is_damaged(_find_object(digest), digest):
            _move(_find_object(digest))


def _read_outputs() -> dict[str, str]:
    """Return the MD5 of each output in dvc.lock, by its path; {} if the file is missing or damaged."""
    import yaml

    try:
        stages = yaml.load(DVC_LOCK.read_bytes(), Loader=yaml.CSafeLoader)["stages"].values()
        found = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
        return {path: digest for path, digest in found.items() if isinstance(digest, str)}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}


def _find_output(path: Path, outputs: dict[str, str]) -> str | None:
    """Return the output in dvc.lock that a file is, or that is the folder of the file; None if there is none."""
    name = Path(os.path.relpath(path))
    return next((place.as_posix() for place in (name, *name.parents) if place.as_posix() in outputs), None)


def _set_aside(path: Path, outputs: dict[str, str]) -> Iterator[str]:
    """Move away a file, its object in DVC's cache, or both, if they are damaged; yield their old paths."""
    out, name = str(_find_output(path, outputs)), Path(os.path.relpath(path))
    expected: str | None = outputs[out]
    if outputs[out].endswith(".dir"):
        listing = _find_object(outputs[out])
        if _is_damaged(listing, outputs[out]):
            yield _move(listing)
        try:
            members = {one["relpath"]: one["md5"] for one in json.loads(listing.read_bytes())}
            expected = members.get(name.relative_to(out).as_posix())
        except FileNotFoundError:
            expected = None
    if expected and _is_damaged(_find_object(expected), expected):
        yield _move(_find_object(expected))
    if path.is_symlink() and not path.exists():
        path.unlink()  # it pointed to the object that was moved
    elif path.exists() and _hash(path) != expected:
        yield _move(name)


def _find_object(digest: str) -> Path:
    """Return where DVC's cache keeps the content with an MD5."""
    from dvc.repo import Repo

    with Repo(".") as repo:
        return Path(repo.cache.local.oid_to_path(digest))


def _is_damaged(path: Path, digest: str) -> bool:
    """Return whether there is an object whose content is not that of its name."""
    return path.is_file() and _hash(path) != digest.removesuffix(".dir")


def _hash(path: Path) -> str:
    """Return the MD5 of a file, by which DVC knows it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _show(path: Path) -> str:
    """Return a path for a message: relative if it lies in the current folder."""
    return os.path.relpath(path) if path.absolute().is_relative_to(Path.cwd()) else str(path)


def _move(path: Path) -> str:
    """Move a file to the folder of damaged ones; return its old path."""
    root, name = find_repository(), _show(path)
    target = root / DAMAGED_FOLDER / Path(name).relative_to(Path(name).anchor)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        with (root / _JOURNAL).open("a", encoding="utf-8") as stream:
            stream.write(f"{name}\n")
    except OSError as error:
        raise EnvironmentProblem(
            f"'{name}' is damaged and cannot be moved away ({error.strerror}); delete it and run `dvc repro`"
        ) from error
    return name
