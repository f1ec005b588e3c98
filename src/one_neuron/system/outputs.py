"""Read the files between the stages that cannot hold a digest of their own: JSON, CSV and pictures.

Each stage lists its files of these kinds in one file under data/digests, which it writes last. `sha256sum --check`
reads such a list, in the root of the project. The last line is a digest of the lines above it.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from one_neuron import layout
from one_neuron.errors import REMEDY, DamagedFile, DataError, one_line
from one_neuron.system.files import atomic_write

_NOTE = "SHA-256 of the lines above"
_OF_STAGES = {
    layout.PREPARE_METRICS: layout.PREPARE_DIGESTS,
    layout.TRAIN_METRICS: layout.TRAIN_DIGESTS,
    layout.COSTS_FILE: layout.TRAIN_DIGESTS,
}


def write_digests(path: Path, files: Iterable[Path], folder: Path = Path()) -> None:
    """Write the digests of files that a stage has written.

    Parameters
    ----------
    path : Path
        The list: `layout.DRAW_DIGESTS`, `PREPARE_DIGESTS`, `TRAIN_DIGESTS` or `EVALUATE_DIGESTS`.
    files : iterable of Path
        Relative to `folder`, in any order.
    folder : Path
        The folder that holds the outputs of the stages; by default the current one.
    """
    names = sorted(file.as_posix() for file in files)
    lines = [f"{_hash_file(folder / name)}  {name}\n" for name in names]
    with atomic_write(folder / path) as temporary:
        temporary.write_bytes(_seal("".join(lines)))


def read_output(name: Path, folder: Path = Path()) -> bytes:
    """Return the content of a JSON or CSV file or a plot that a stage wrote, after comparing it with its digest.

    Parameters
    ----------
    name : Path
        Relative to `folder`, for example `layout.EVALUATE_METRICS`.
    folder : Path
        The folder that holds the outputs of the stages; by default the current one.

    Raises
    ------
    DamagedFile
        If the content does not fit the digest, or if the list of digests was changed.
    DataError
        If the file or the list is missing.
    """
    path = _OF_STAGES.get(name, layout.EVALUATE_DIGESTS)
    digests = _read_digests(path, folder)
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise _unreadable(folder / name, error) from error
    _check(name, folder, path, digests, hashlib.sha256(content).hexdigest())
    return content


def check_outputs(path: Path, folder: Path = Path()) -> None:
    """Compare all files that a stage listed in `path` with their digests.

    Raises
    ------
    DamagedFile, DataError
        As `read_output`.
    """
    digests = _read_digests(path, folder)
    damaged = []
    for name in digests:
        try:
            _check(Path(name), folder, path, digests, _hash_file(folder / name))
        except DamagedFile as error:
            damaged.append(error)
    if damaged:
        paths = dict.fromkeys(one for error in damaged for one in error.paths)
        raise DamagedFile(str(damaged[0].reason), *paths)


def read_json(name: Path, folder: Path = Path()) -> dict[str, Any]:
    """Read a dictionary that a stage wrote with `write_json`, after comparing the file with its digest.

    Parameters
    ----------
    name, folder : Path
        As in `read_output`.

    Raises
    ------
    DamagedFile
        If the file does not fit its digest.
    DataError
        If the file or its digest is missing, or if it does not hold a JSON object.
    """
    content = read_output(name, folder)
    try:
        value = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"'{folder / name}' is not JSON ({one_line(error)}); {REMEDY}") from error
    if not isinstance(value, dict):
        raise DataError(f"'{folder / name}' holds {type(value).__name__} instead of an object; {REMEDY}")
    return value


def read_costs(folder: Path = Path()) -> list[tuple[int, float]]:
    """Read `plots/costs.csv`: pairs of an iteration and the cost after that many updates.

    Raises
    ------
    DamagedFile, DataError
        As `read_curves`.
    """
    return read_curves(layout.COSTS_FILE, ["cost"], folder)["cost"]


def read_curves(name: Path, columns: Sequence[str], folder: Path = Path()) -> dict[str, list[tuple[int, float]]]:
    """Read columns of a table over the iterations: for each one, pairs of an iteration and a number.

    Parameters
    ----------
    name, folder : Path
        As in `read_output`.
    columns : sequence of str
        The columns to read beside `iteration`.

    Raises
    ------
    DamagedFile
        If the file does not fit its digest.
    DataError
        If the file or its digest is missing, or a line does not hold an integer and the numbers.
    """
    content = read_output(name, folder)
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline="")))
        if not rows:
            raise ValueError("it has no rows")
        return {column: [(int(row["iteration"]), float(row[column])) for row in rows] for column in columns}
    except (UnicodeDecodeError, KeyError, TypeError, ValueError, csv.Error) as error:
        table = ",".join(["iteration", *columns])
        raise DataError(f"'{folder / name}' is not a table of {table} ({one_line(error)}); {REMEDY}") from error


def _hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, of which little is in memory at a time."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _check(name: Path, folder: Path, path: Path, digests: dict[str, str], computed: str) -> None:
    """Compare the digest of the content of a file with that from the list in `path`."""
    expected = digests.get(name.as_posix())
    if expected is None:
        raise DataError(f"'{folder / path}' does not list '{name}'; run `dvc repro` to make both again")
    if computed != expected:
        raise DamagedFile(
            f"'{folder / name}': its content does not fit its SHA-256 in '{path}' ({computed[:12]} instead of "
            f"{expected[:12]}): it was changed",
            folder / name,
            folder / path,
        )


def _read_digests(path: Path, folder: Path) -> dict[str, str]:
    """Return the digests that a stage wrote, by the names of the files."""
    try:
        content = (folder / path).read_bytes()
    except OSError as error:
        raise _unreadable(folder / path, error) from error
    body = content[: content.rfind(b"\n", 0, -1) + 1]
    try:
        lines = body.decode("utf-8")
    except UnicodeDecodeError:
        lines = ""
    if not lines or content != _seal(lines):
        raise DamagedFile(f"'{folder / path}' does not fit its SHA-256: it was changed", folder / path)
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines.splitlines())}


def _seal(lines: str) -> bytes:
    """Return the content of a list: the lines, and their digest as a comment, which `sha256sum --check` skips."""
    content = lines.encode("utf-8")
    return content + f"# {hashlib.sha256(content).hexdigest()}  {_NOTE}\n".encode("ascii")


def _unreadable(path: Path, error: OSError) -> DataError:
    """Return the error for a file that is missing or cannot be read."""
    reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return DataError(f"'{path}' {reason}; run `dvc repro` to make it")
