"""Check what DVC reads: entries in data.path that it cannot hash (it would block for ever on a FIFO), and dvc.lock."""

import json
import os
import re
import shlex
import stat
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from one_neuron.errors import DataError, SettingsError, one_line, quote_path
from one_neuron.layout import DVC_LOCK, WORK_FOLDER
from one_neuron.settings.params import DataSettings
from one_neuron.system.files import atomic_write
from one_neuron.system.git import ask_git
from one_neuron.unicode_forms import find_same

# The stages and tools write there, so a dependency cannot lie there.
_RESERVED_FOLDERS = {"data", "models", "metrics", "plots", "mlartifacts", ".dvc", ".git", ".one-neuron", ".venv"}
_EARLIER_LOCK = WORK_FOLDER / "dvc.lock"  # as it was before DVC ran; empty if there was none
# How archives at an address are unpacked into a folder. Python's tarfile trusts the names in an archive before 3.12.
_UNPACK = {
    ".zip": "python -m zipfile -e {archive} {folder}",
    **dict.fromkeys(
        (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"), "mkdir {folder} && tar -xf {archive} -C {folder}"
    ),
}
_HDF5 = (".h5", ".hdf5", ".hdf")


def check_data_path(data: DataSettings) -> None:
    """Check that DVC can hash everything at `data.path`. The current folder must be the root of the project.

    The check is needed for every `data.source`, because the stage `prepare` always depends on the path.

    Raises
    ------
    SettingsError
        If the path is a URL, contains the project, or lies where the stages write.
    DataError
        If the path does not exist, or holds an unreadable entry, one that is neither a file nor a folder, a link to a
        folder, or a name that is not UTF-8.
    """
    if "://" in data.path:
        if "@" in urlsplit(data.path).netloc:
            raise SettingsError(
                "data.path contains a name or password, which Git would store; use an address without one"
            )
        raise SettingsError(f"data.path is {data.path!r}, an address; {_fetch(data.path)}")
    path, root = Path(data.path), Path.cwd().resolve()
    resolved = _resolve(path)
    if resolved in (root, *root.parents) or (
        resolved.is_relative_to(root) and resolved.relative_to(root).parts[0] in _RESERVED_FOLDERS
    ):
        raise SettingsError(
            f"data.path is {data.path!r}, where the project itself writes; use another folder, for example pictures"
        )
    _check_entry(path, path)
    if not path.is_dir():
        return
    for folder, subfolders, files in os.walk(path, onerror=_refuse_folder):
        for name in [*subfolders, *files]:
            _check_entry(Path(folder, name), path)
        for entry in (Path(folder, name) for name in subfolders):
            if entry.is_symlink():
                raise DataError(
                    f"{quote_path(entry)} is a link to a folder, which is not followed; "
                    "replace the link by a copy of the folder"
                )


def _fetch(address: str) -> str:
    """Return how to get what is at an address: one line for a shell, which also sets data.path."""
    parts = urlsplit(address)
    name = re.sub(r"[^\w.-]+", "-", unquote(parts.path).rstrip("/").rpartition("/")[2]).lstrip("-.") or "downloaded"
    kind = next((suffix for suffix in (*_UNPACK, *_HDF5) if name.lower().endswith(suffix)), "")
    if parts.scheme in ("http", "https") and not kind:
        return (
            "no list of files can be had from a web server: name a zip or tar archive or an HDF5 file there, or "
            "download the pictures and set data.path to their folder"
        )
    copy = unpacked = _free_name(name[: len(name) - len(kind)], kind)
    steps = [] if parts.scheme != "s3" or find_spec("dvc_s3") else [".venv/bin/pip install -r requirements-extras.txt"]
    steps.append(f"dvc import-url {shlex.quote(address)} {copy}")
    if kind in _UNPACK:
        unpacked = copy.removesuffix(kind)
        steps += [_UNPACK[kind].format(archive=copy, folder=unpacked), f"dvc add {unpacked}"]
    steps.append(f"dvc exp run -S data.path={unpacked}")
    return f"to copy it here and train, run `{' && '.join(steps)}`"


def _free_name(stem: str, suffix: str) -> str:
    """Return the stem with the suffix; with a number as well if either is taken in the current folder."""
    number, name = 1, stem
    ends = ("", ".dvc", suffix, f"{suffix}.dvc")
    while name in _RESERVED_FOLDERS or any(os.path.lexists(name + end) for end in ends):
        number += 1
        name = f"{stem}-{number}"
    return name + suffix


def check_dvc_lock(root: Path) -> None:
    """Check that dvc.lock is what DVC writes. DVC refuses any other, but names no remedy.

    The check uses DVC's own schema, whose import takes half a second, so it is made after DVC has failed.

    Raises
    ------
    DataError
        If the file is not YAML, as with the marks of a merge conflict, or does not fit the schema.
    """
    import yaml
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    path = root / DVC_LOCK
    if not path.exists():
        return
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(path.read_bytes()))
        return
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        reason = f"is not YAML{line} ({one_line(error.problem)})"
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = f"is not YAML ({one_line(error)})"
    except Invalid as error:
        reason = f"is not what DVC writes ({one_line(error)})"
    raise DataError(f"'{DVC_LOCK}' {reason}; {_lock_remedy(root)}")


def save_dvc_lock(root: Path) -> None:
    """Copy dvc.lock before DVC runs, after `restore_dvc_lock`."""
    restore_dvc_lock(root)
    with atomic_write(root / _EARLIER_LOCK) as temporary:
        temporary.write_bytes(_read(root / DVC_LOCK))


def restore_dvc_lock(root: Path) -> None:
    """Put the copy back if DVC has left dvc.lock half written, because it was killed or the disk was full.

    DVC writes the file in place. What it had recorded is found again in its run cache.
    """
    copy, lock = root / _EARLIER_LOCK, root / DVC_LOCK
    present, earlier = _read(lock), _read(copy)
    if not copy.exists() or present == earlier or b"<<<<<<<" in present:  # a merge conflict is for the user to resolve
        return
    try:
        check_dvc_lock(root)
    except DataError:
        if earlier:
            copy.replace(lock)
        else:
            lock.unlink()
        what = "the earlier one is back" if earlier else "it is removed"
        print(f"one-neuron: '{DVC_LOCK}' was left half written; {what}", file=sys.stderr)


def _read(path: Path) -> bytes:
    """Return the content of a file, b"" if there is none."""
    return path.read_bytes() if path.exists() else b""


def forget_dvc_lock(root: Path) -> None:
    """Delete the copy, after a DVC that was not killed and whose dvc.lock is whole."""
    (root / _EARLIER_LOCK).unlink(missing_ok=True)


def _lock_remedy(root: Path) -> str:
    """Return how to get a sound dvc.lock."""
    if ask_git(root, "ls-files", "--unmerged", "--", str(DVC_LOCK)):  # Git would refuse without --ours
        return f"run `git checkout --ours {DVC_LOCK}`, which takes the version of your branch"
    if ask_git(root, "ls-files", "--", str(DVC_LOCK)):
        return f"run `git checkout {DVC_LOCK}`, which restores the committed version"
    return "delete it; the next run makes it again"


def _resolve(path: Path) -> Path:
    """Return the path with links resolved; a loop of links is left for the next check to report."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: a loop, in Python 3.12 and earlier
        return path.absolute()


def _refuse_folder(error: OSError) -> None:
    """Raise the error for a folder that cannot be listed."""
    folder = quote_path(error.filename)
    raise DataError(f"{folder} cannot be read ({error.strerror}); allow reading, or set data.path") from error


def _check_entry(entry: Path, data_path: Path) -> None:
    """Raise the error for an entry that DVC cannot hash."""
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError as error:
        if entry.is_symlink():
            raise DataError(f"{quote_path(entry)} is a link to nothing; remove it") from error
        if entry == data_path:
            same = find_same(entry)  # DVC takes a path as it is typed
            remedy = (
                "there is one that looks the same, with its letters and accents stored otherwise: in params.yaml write "
                f"path: {json.dumps(str(same))}"
                if same
                else "create it, or set data.path to your pictures"
            )
            raise DataError(f"{quote_path(entry)} does not exist; {remedy}") from error
        return  # deleted meanwhile
    except OSError as error:
        raise DataError(f"{quote_path(entry)} cannot be read ({error.strerror}); remove it") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{quote_path(entry)} is neither a file nor a folder; remove it")
    if not os.access(entry, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise DataError(f"{quote_path(entry)} cannot be read (permission denied); allow reading, or remove it")
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"{quote_path(entry)} has a name that is not UTF-8, which DVC cannot store; rename it"
        ) from None
