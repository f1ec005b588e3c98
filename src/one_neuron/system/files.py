"""Write files whole or not at all; JSON and CSV."""

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from one_neuron.errors import SettingsError, quote_path


def find_root() -> Path:
    """Return the current folder; raise SettingsError if it is not the root of the project."""
    root = Path.cwd()
    if not (root / "dvc.yaml").is_file():
        raise SettingsError(f"{quote_path(root)} is not the root of the project; go there and run it again")
    return root


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside `path`, and rename it to `path` when the block succeeds.

    The bytes reach the disk (fsync) before the name does (`os.replace`), so a kill or a power cut at any moment leaves
    either the old file or the new one. If the block fails, the temporary file is deleted and `path` stays as it was.

    Parameters
    ----------
    path : Path
        The file to create or replace; its folder is created if needed.

    Yields
    ------
    Path
        An empty file in the same folder, with the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".partial-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # for a full disk, the system does not name the file
        raise
    _sync_folder(path.parent)


def _umask() -> int:
    """Return the umask of the process, which can only be read by setting it. `mkstemp` ignores it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Write the names in `folder` to the disk, so that they survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a dictionary as indented JSON. Floats keep their full precision; ValueError if one is not finite."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file with one header line and Unix line ends.

    Floats keep their full precision. In a text, bytes that are not UTF-8 are written as backslash escapes.
    """
    with (
        atomic_write(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
