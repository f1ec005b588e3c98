"""Files of both kinds: reproducible, whole or not at all, and refused when anything in them was changed."""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.storage.model import load_model, save_model
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from tests.unit.storage.files import (
    Kind,
    MakeModel,
    MakePrepared,
    same,
)


def test_the_same_content_gives_the_same_file(
    tmp_path: Path, make_prepared: MakePrepared, make_model: MakeModel
) -> None:
    """Byte for byte, a while later, over an existing file and in another memory layout."""
    paths = [tmp_path / "set.h5", tmp_path / "model.h5"]

    def write(order: Literal["C", "F"]) -> list[str]:
        prepared = make_prepared(m=3)
        save_prepared(paths[0], replace(prepared, X=np.asarray(prepared.X, order=order)))
        save_model(paths[1], make_model())
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]

    before = write("C")
    time.sleep(1.1)  # a time stamp in the file would show
    assert write("F") == before


def test_the_files_are_as_documented(tmp_path: Path, make_prepared: MakePrepared, make_model: MakeModel) -> None:
    """Dataset names, types and attributes that other programs may rely on."""
    save_prepared(tmp_path / "set.h5", make_prepared(m=4))
    with h5py.File(tmp_path / "set.h5") as file:
        assert {key: (file[key].dtype.kind, file[key].shape) for key in file} == {
            "X": ("u", (4, 12)),
            "Y": ("u", (4,)),
            "names": ("S", (4,)),
        }
        assert set(file.attrs) == {
            *("format", "format_version", "num_px", "classes", "source", "resize", "decode", "sha256")
        }
    save_model(tmp_path / "model.h5", make_model())
    with h5py.File(tmp_path / "model.h5") as file:
        assert {key: (str(file[key].dtype), file[key].shape) for key in file} == {
            "w": ("float64", (12,)),
            "b": ("float64", ()),
        }
        assert file.attrs["threshold"] == 0.5
        assert json.loads(file.attrs["trained_with"])["num_iterations"] == 2000


FLIPS = 300  # positions tried in each kind of file


@pytest.mark.slow
def test_no_flipped_bit_is_believed(written: Kind) -> None:
    """Either refused, with the file's name, or of no effect: never other content, a crash, a hang or another error."""
    path, load, content = written
    raw = path.read_bytes()
    dice = random.Random(0)
    messages = []
    for _ in range(FLIPS):
        damaged = bytearray(raw)
        damaged[dice.randrange(len(raw))] ^= dice.choice([0x01, 0x08, 0x80, 0xFF])
        path.write_bytes(damaged)
        try:
            loaded = load()
        except DataError as error:
            messages.append(str(error))
        else:
            assert same(loaded, content)
    assert FLIPS / 10 < len(messages) < FLIPS
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("kind", ["prepared", "model"])
def test_all_text_has_a_fixed_length(
    kind: str, tmp_path: Path, make_prepared: MakePrepared, make_model: MakeModel
) -> None:
    """Text of variable length makes HDF5 hang or crash on some flipped bits."""
    path = tmp_path / "file.h5"
    if kind == "prepared":
        save_prepared(path, make_prepared())
    else:
        save_model(path, make_model())
    with h5py.File(path) as file:
        types = [dataset.dtype for dataset in file.values()] + [file.attrs.get_id(key).dtype for key in file.attrs]
    assert all(dtype.kind in "uifS" for dtype in types)
    assert b"GCOL" not in path.read_bytes()  # the signature of HDF5's heap for variable lengths


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file_is_refused(written: Kind, part: float) -> None:
    """Down to zero bytes."""
    path, load, _ = written
    raw = path.read_bytes()
    path.write_bytes(raw[: int(part * len(raw))])
    with pytest.raises(DataError, match=path.name):
        load()


def test_other_things_than_a_file_are_refused(written: Kind, tmp_path: Path) -> None:
    """Text, a folder, nothing: the message names the path and the remedy."""
    path, load, _ = written
    path.write_text("iteration,cost\n" * 200)
    with pytest.raises(DataError, match=rf"{path.name}' is not a readable HDF5 file: .*dvc repro"):
        load()
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}' is missing; .*dvc repro"):
        load()
    path.mkdir()
    with pytest.raises(DataError, match=rf"{path.name}' is not a file"):
        load()


def test_one_kind_is_not_taken_for_the_other(written: Kind) -> None:
    """A model is not read as a prepared set, nor a prepared set as a model."""
    path, _, content = written
    load: Callable[[Path], object] = load_model if isinstance(content, PreparedSet) else load_prepared
    with pytest.raises(DataError, match="it is a file of the kind 'one-neuron "):
        load(path)


def test_a_failed_write_leaves_the_old_file(written: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all."""
    path, load, content = written
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        save_prepared(path, content) if isinstance(content, PreparedSet) else save_model(path, content)
    assert path.read_bytes() == before
    assert same(load(), content)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


FULL_DISK = """if True:
    import resource, signal, sys
    from pathlib import Path
    import numpy as np
    from one_neuron.neuron import Parameters
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.storage.model import Model, save_model
    from one_neuron.storage.prepared_set import PreparedSet, save_prepared
    path, limit = Path(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        if path.name == "model.h5":
            save_model(path, Model(Parameters(np.zeros(3 * 64 * 64), 0.0), Preprocessing(64), ("a", "b"), 0.5))
        else:
            X, Y = np.zeros((800, 3 * 64 * 64), np.uint8), np.zeros(800, np.uint8)
            save_prepared(path, PreparedSet(X, Y, ("name",) * 800, Preprocessing(64), ("a", "b"), ""))
    except OSError as error:
        sys.exit(f"refused: {error.strerror}")
"""


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("model.h5", 5000),
        ("set.h5", 1000),  # before the pixels begin
        ("set.h5", 6000),
        ("set.h5", 5 * 2**20),  # in the second block of pixels
        ("set.h5", 800 * 3 * 64 * 64),
    ],
)
def test_a_full_disk_is_an_error_and_no_crash(name: str, limit: int, tmp_path: Path) -> None:
    """HDF5 writing to a full disk itself ends in a segmentation fault; a file-size limit stands for the full disk."""
    path = tmp_path / name
    path.write_bytes(b"the file before")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, str(path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "refused: File too large\n")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the file before"


def test_an_unreadable_file_says_so(written: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is told apart from damage (tests may run as root, so the refusal is simulated)."""
    path, load, _ = written

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("h5py.File", deny)
    with pytest.raises(DataError, match=rf"{path.name}' may not be read \(permission denied\)"):
        load()
