"""What DVC would trip over: a list that a kill broke, and in the user's folder a FIFO, where it waits for ever."""

import fcntl
import json
import os
import stat
from pathlib import Path

from one_neuron.errors import DataError, SettingsError, quote_path
from one_neuron.settings.params import DataSettings

# What the stages and the tools write: a dependency cannot lie there.
_COPY = "copy what is in it"
_OURS = {"data", "models", "metrics", "plots", "mlartifacts", ".dvc", ".git", ".one-neuron", ".venv"}


def check_data_path(data: DataSettings) -> None:
    """Check that DVC can read all that lies at `data.path`. The current folder is the root of the project.

    Whatever `data.source` says: the stage `prepare` depends on the path in any case.

    Parameters
    ----------
    data : DataSettings

    Raises
    ------
    SettingsError
        If the path holds the project, or lies where the stages write.
    DataError
        If it does not exist, or holds something that is neither a file nor a folder, or a name that is not UTF-8.
    """
    if "://" in data.path:
        raise SettingsError(f"data.path is {data.path!r}; fetch it first: dvc import-url {data.path} pictures/NAME")
    path, root = Path(data.path), Path.cwd().resolve()
    resolved = _resolve(path)
    if resolved in (root, *root.parents) or (resolved.is_relative_to(root) and _first(resolved, root) in _OURS):
        raise SettingsError(
            f"data.path is {data.path!r}, where the project itself writes; name another folder, for instance pictures"
        )
    _check_entry(path, path)
    if not path.is_dir():
        return
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    _check_entry(folder / entry.name, path)
                    if entry.is_symlink() and entry.is_dir():
                        raise DataError(f"{quote_path(entry)} is a link to a folder, which is not followed; {_COPY}")
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(folder / entry.name)
        except OSError as error:
            raise DataError(
                f"{quote_path(folder)} cannot be read ({error.strerror}); allow it, or set data.path"
            ) from error


def repair_rwlock(root: Path) -> None:
    """Remove DVC's list of who reads and writes what, if a kill left it empty: every later command would refuse it.

    Parameters
    ----------
    root : Path
        The repository.
    """
    path = root / ".dvc/tmp/rwlock"
    if not path.is_file():
        return
    with path.with_name("rwlock.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as DVC does while it writes the list
            json.loads(path.read_bytes())
        except ValueError:
            path.unlink()
        except OSError:
            return  # DVC is at work on it


def _resolve(path: Path) -> Path:
    """Return the path without links; what leads in circles stays as it is, for the next check to name it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: Python 3.12 and earlier, of a loop
        return path.absolute()


def _first(path: Path, root: Path) -> str:
    """Return the name in `root` through which the way to `path` goes."""
    return path.relative_to(root).parts[0]


def _check_entry(entry: Path, place: Path) -> None:
    """Refuse what DVC cannot take the checksum of."""
    try:
        mode = entry.stat().st_mode
    except FileNotFoundError as error:
        if entry.is_symlink():
            raise DataError(f"{quote_path(entry)} is a link to nothing; remove it") from error
        if entry == place:
            raise DataError(
                f"{quote_path(entry)} does not exist; make it, or set data.path to your pictures"
            ) from error
        return  # it went while we looked
    except OSError as error:
        raise DataError(f"{quote_path(entry)} cannot be read ({error.strerror}); remove it") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{quote_path(entry)} is neither a file nor a folder; remove it")
    if not os.access(entry, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise DataError(f"{quote_path(entry)} may not be read (permission denied); allow it, or remove it")
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{quote_path(entry)} has a name that is not UTF-8, which DVC cannot keep; rename it") from None
