"""Check before DVC runs: entries in data.path that DVC cannot hash. It would block for ever on a FIFO."""

import json
import os
import stat
from pathlib import Path

from one_neuron.errors import DataError, SettingsError, quote_path
from one_neuron.settings.params import DataSettings
from one_neuron.unicode_forms import find_same

# The stages and tools write there, so a dependency cannot lie there.
_RESERVED_FOLDERS = {"data", "models", "metrics", "plots", "mlartifacts", ".dvc", ".git", ".one-neuron", ".venv"}


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
        raise SettingsError(f"data.path is {data.path!r}; download it first: dvc import-url {data.path} pictures/NAME")
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
