"""Files between the stages that are compared with their digests."""

import hashlib
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from one_neuron import layout
from one_neuron.errors import DamagedFile, DataError
from one_neuron.system.files import write_csv, write_json
from one_neuron.system.outputs import (
    check_outputs,
    read_costs,
    read_curves,
    read_json,
    read_output,
    write_digests,
)

MEASURES = {"cost": 0.1 + 0.2, "name": "K\u00e4the"}
COSTS = [(0, math.log(2)), (100, 0.1 + 0.2), (150, 5e-324)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with what the stage `train` writes beside HDF5 files."""
    write_json(tmp_path / layout.TRAIN_METRICS, MEASURES)
    write_csv(tmp_path / layout.COSTS_FILE, ["iteration", "cost"], COSTS)
    write_digests(layout.TRAIN_DIGESTS, [layout.TRAIN_METRICS, layout.COSTS_FILE], tmp_path)
    return tmp_path


def seal_costs(folder: Path, content: bytes) -> None:
    """Write a table of costs with its digest."""
    (folder / layout.COSTS_FILE).write_bytes(content)
    write_digests(layout.TRAIN_DIGESTS, [layout.TRAIN_METRICS, layout.COSTS_FILE], folder)


def test_what_a_stage_wrote_comes_back(folder: Path) -> None:
    """To the bit."""
    assert read_json(layout.TRAIN_METRICS, folder) == MEASURES
    assert read_costs(folder) == COSTS
    assert read_output(layout.COSTS_FILE, folder) == (folder / layout.COSTS_FILE).read_bytes()
    check_outputs(layout.TRAIN_DIGESTS, folder)


def test_the_list_of_digests_is_as_sha256sum_writes_it(folder: Path) -> None:
    """Anyone can check the files with it; the last line is a digest of the others."""
    text = (folder / layout.TRAIN_DIGESTS).read_text()
    names = ["metrics/train.json", "plots/costs.csv"]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    own = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert text == "".join(lines) + f"# {own}  SHA-256 of the lines above\n"
    program = ["sha256sum"] if shutil.which("sha256sum") else ["shasum", "--algorithm", "256"]  # macOS
    done = subprocess.run(
        [*program, "--check", "--strict", layout.TRAIN_DIGESTS],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "".join(f"{name}: OK\n" for name in names)


READERS: dict[str, Callable[[Path], object]] = {
    "metrics/train.json": lambda folder: read_json(layout.TRAIN_METRICS, folder),
    "plots/costs.csv": read_costs,
    "data/digests/train.sha256": read_costs,
}


@pytest.mark.parametrize("name", READERS)
def test_every_flipped_bit_is_found(folder: Path, name: str) -> None:
    """One bit of each byte, through the reader and through the check of all files; the error names the file."""
    path, read = folder / name, READERS[name]
    sound = path.read_bytes()
    for position in range(len(sound)):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        for look in (read, lambda where: check_outputs(layout.TRAIN_DIGESTS, where)):
            with pytest.raises(DamagedFile, match="was changed") as caught:
                look(folder)
            assert path in caught.value.paths
            assert caught.value.exit_code == 3
    path.write_bytes(sound)
    read(folder)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("end", [b"", b"x", b"\n"])
def test_a_file_that_is_shorter_or_longer_is_found(folder: Path, name: str, end: bytes) -> None:
    """Cut at each position, or with something behind it."""
    path, read = folder / name, READERS[name]
    sound = path.read_bytes()
    cut = [sound[:length] for length in range(len(sound))] if not end else [sound + end]
    for content in cut:
        path.write_bytes(content)
        with pytest.raises(DamagedFile):
            read(folder)


def test_files_of_another_training_are_found(folder: Path) -> None:
    """A sound list of digests, but of other files: a stage that was started directly may have been killed."""
    write_csv(folder / layout.COSTS_FILE, ["iteration", "cost"], [(0, 1.0)])
    with pytest.raises(DamagedFile, match=r"plots/costs\.csv': its content does not fit its SHA-256 in") as caught:
        read_costs(folder)
    assert caught.value.paths == (folder / layout.COSTS_FILE, folder / layout.TRAIN_DIGESTS)


def test_a_file_that_is_not_listed_is_refused(folder: Path) -> None:
    """It has no digest."""
    write_digests(layout.TRAIN_DIGESTS, [layout.TRAIN_METRICS], folder)
    with pytest.raises(DataError, match=r"train\.sha256' does not list 'plots/costs\.csv'; run `dvc repro`"):
        read_costs(folder)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    """The message names the file and the remedy; nothing is damaged."""
    (folder / name).unlink()
    for look in (READERS[name], lambda where: check_outputs(layout.TRAIN_DIGESTS, where)):
        with pytest.raises(DataError, match=f"{name}' is missing; run `dvc repro`") as caught:
            look(folder)
        assert not isinstance(caught.value, DamagedFile)


def test_a_folder_in_the_place_of_a_file_is_named(folder: Path) -> None:
    """One line, as for any other file that cannot be read."""
    (folder / layout.COSTS_FILE).unlink()
    (folder / layout.COSTS_FILE).mkdir()
    with pytest.raises(DataError, match=r"plots/costs\.csv' cannot be read \(Is a directory\)"):
        read_costs(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"a": 1} x', "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[1]", "holds list instead of an object"),
        (b"null", "holds NoneType instead of an object"),
        (b'"text"', "holds str instead of an object"),
    ],
)
def test_a_wrong_json_file_is_named(folder: Path, content: bytes, message: str) -> None:
    """The message names the file and the remedy."""
    (folder / layout.TRAIN_METRICS).write_bytes(content)
    write_digests(layout.TRAIN_DIGESTS, [layout.TRAIN_METRICS], folder)
    with pytest.raises(DataError, match=message) as caught:
        read_json(layout.TRAIN_METRICS, folder)
    assert str(folder / layout.TRAIN_METRICS) in str(caught.value)
    assert "dvc repro" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"iteration,cost\n0,abc\n",
        b"iteration,cost\n1.5,0.1\n",
        b"iteration,cost\n0\n",
        b"iteration,cost\n,\n",
        b"step,cost\n0,0.1\n",
        b"iteration,cost\n0,0.1\n\xff,1\n",
        b"\x00PNG",
        b"iteration,cost\n",
        b"",
    ],
)
def test_a_wrong_table_of_costs_is_named(folder: Path, content: bytes) -> None:
    """The message names the file and the remedy."""
    seal_costs(folder, content)
    with pytest.raises(DataError, match=r"costs.csv' is not a table of iteration,cost .*dvc repro"):
        read_costs(folder)


def test_columns_by_their_names(folder: Path) -> None:
    """In any order; one that is missing is an error."""
    seal_costs(folder, b"iteration,a,b\n0,1,2\n5,3,4\n")
    assert read_curves(layout.COSTS_FILE, ["b", "a"], folder) == {"b": [(0, 2.0), (5, 4.0)], "a": [(0, 1.0), (5, 3.0)]}
    with pytest.raises(DataError, match="is not a table of iteration,c "):
        read_curves(layout.COSTS_FILE, ["c"], folder)


def test_all_damaged_files_are_found_at_once(folder: Path) -> None:
    """So that one `dvc repro` makes all of them again."""
    for name in (layout.TRAIN_METRICS, layout.COSTS_FILE):
        (folder / name).write_text("changed")
    with pytest.raises(DamagedFile, match=r"metrics/train\.json': its content") as caught:
        check_outputs(layout.TRAIN_DIGESTS, folder)
    assert set(caught.value.paths) == {
        folder / layout.TRAIN_METRICS,
        folder / layout.COSTS_FILE,
        folder / layout.TRAIN_DIGESTS,
    }
