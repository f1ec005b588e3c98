"""Prepared sets: what is written comes back, and wrong values are refused."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.pixel_file import PixelFile
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from tests.unit.storage.files import (
    BOTH,
    MakePrepared,
    chunked,
    edit,
    leave_on_disk,
    put,
    same,
)

ODD_NAMES = ("a b.png", "new\nline.png", "tab\t.png", "Käthe 猫.png", "no-utf8-\udcff\udc80.png", "", "x" * 5000)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(("m", "num_px"), [(1, 1), (2, 3), (50, 16)])
def test_prepared_sets_come_back(
    m: int, num_px: int, on_disk: bool, make_prepared: MakePrepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels, labels, names, geometry and classes, with their types."""
    if on_disk:
        leave_on_disk(monkeypatch)
    prepared = make_prepared(m=m, num_px=num_px, seed=m, source="folder", resize="pad", decode="fast")
    save_prepared(tmp_path / "new folder" / "set.h5", prepared)
    loaded = load_prepared(tmp_path / "new folder" / "set.h5")
    assert same(loaded, prepared)
    assert [str(array.dtype) for array in (loaded.X, loaded.Y)] == ["uint8", "uint8"]
    assert isinstance(loaded.X, PixelFile if on_disk else np.ndarray)
    assert loaded.m == m
    assert loaded.sha256 == prepared.sha256


def test_names_of_any_bytes_come_back(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """Spaces, line ends, other scripts, bytes that are not UTF-8, an empty name and a very long one."""
    prepared = make_prepared(m=len(ODD_NAMES), names=ODD_NAMES)
    save_prepared(tmp_path / "set.h5", prepared)
    assert load_prepared(tmp_path / "set.h5").names == ODD_NAMES


def test_a_name_that_hdf5_would_cut_is_refused(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """HDF5 pads names with NUL: one at the end would be lost silently."""
    prepared = make_prepared(m=2, names=("a\0b", "c\0"))
    with pytest.raises(DataError, match=r"the name 'c\\x00' ends with a NUL character"):
        save_prepared(tmp_path / "set.h5", prepared)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"X": np.zeros((6, 12), dtype=np.uint8)},
        {"Y": np.array([1, 0, 0, 1, 0, 1], dtype=np.uint8)},
        {"names": tuple("abcdef")},
        {"names": ("train/000.pngtrain/001.png", "", *(f"train/{i:03}.png" for i in range(2, 6)))},
        {"classes": ("cat", "non-cat")},
        {"source": "folder"},
        {"resize": "crop"},
        {"decode": "fast"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_covers_all_of_a_prepared_set(change: dict[str, Any], make_prepared: MakePrepared) -> None:
    """Another content, another SHA-256."""
    assert make_prepared(**change).sha256 != make_prepared().sha256


def test_the_digest_is_fixed() -> None:
    """Worked out by hand from the description: a change of it makes all files of today unreadable."""
    X, Y = np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([0, 1], dtype=np.uint8)
    prepared = PreparedSet(
        X=X, Y=Y, names=("a\udcff", "bü"), preprocessing=Preprocessing(1), classes=("n", "y"), source=""
    )
    values = '{"classes": ["n", "y"], "decode": "exact", "num_px": 1, "resize": "stretch", "source": ""}'
    header = f'["prepared", 3, {values}, [["uint8", [2, 3]], ["uint8", [2]]]]'
    lengths = (2).to_bytes(8, "little") + (3).to_bytes(8, "little")
    content = header.encode() + bytes(range(6)) + b"\0\1" + lengths + b"a\xffb\xc3\xbc"
    assert prepared.sha256 == hashlib.sha256(content).hexdigest()


PREPARED = [
    *((chunked(key), f"'{key}' is not stored in one piece") for key in ("X", "Y", "names")),
    (put("X", None), "the key 'X' is missing; present: Y, names"),
    (put("Y", None), "the key 'Y' is missing; present: X, names"),
    (put("names", None), "the key 'names' is missing; present: X, Y"),
    (put("X", np.zeros((6, 12))), "'X' has type float64; expected uint8"),
    (put("X", np.zeros(72, dtype=np.uint8)), "'X' has 1 dimensions; expected 2"),
    (put("X", np.zeros((6, 11), dtype=np.uint8)), r"X has shape \(6, 11\)"),
    (put("X", np.zeros((0, 12), dtype=np.uint8)), r"X has shape \(0, 12\)"),
    (put("X", np.zeros((6, 12), dtype=np.uint8)), "does not fit its SHA-256"),
    (put("Y", np.zeros(6, dtype=np.int64)), "'Y' has type int64; expected uint8"),
    (put("Y", np.zeros((6, 1), dtype=np.uint8)), "'Y' has 2 dimensions; expected 1"),
    (put("Y", np.zeros(5, dtype=np.uint8)), r"Y has shape \(5,\)"),
    (put("Y", np.array([0, 1, 2, 1, 0, 1], dtype=np.uint8)), r"Y\[2\] is 2; labels are 0 or 1"),
    (put("names", np.array([b"a"] * 5)), "there are 5 names for 6 pictures"),
    (put("names", np.zeros(6)), "'names' has type float64; expected bytes"),
]


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize(("change", "message"), BOTH + PREPARED)
def test_a_wrong_prepared_set_is_refused(
    change: Callable[[h5py.File], None],
    message: str,
    on_disk: bool,
    tmp_path: Path,
    make_prepared: MakePrepared,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """File, key, what was found and what is expected."""
    if on_disk:
        leave_on_disk(monkeypatch)
    path = tmp_path / "set.h5"
    save_prepared(path, make_prepared())
    edit(path, change)
    with pytest.raises(DataError, match=message) as caught:
        load_prepared(path)
    assert str(path) in str(caught.value)
    assert "dvc repro" in str(caught.value)


def test_odd_names_of_datasets_do_not_break_the_message(tmp_path: Path, make_prepared: MakePrepared) -> None:
    """A flipped bit can leave a name that is not UTF-8."""
    path = tmp_path / "set.h5"
    save_prepared(path, make_prepared())

    def rename(file: h5py.File) -> None:
        file.move("X", b"\xff")

    edit(path, rename)
    with pytest.raises(DataError, match=r"set\.h5': the key 'X' is missing; present: Y, \\xff, names"):
        load_prepared(path)


@pytest.mark.parametrize(
    ("key", "shape", "dtype"), [("X", (2**40, 12), "uint8"), ("Y", (2**40,), "uint8"), ("names", (2**30,), "S1000")]
)
def test_a_small_file_that_claims_terabytes_is_refused_at_once(
    key: str, shape: tuple[int, ...], dtype: str, tmp_path: Path, make_prepared: MakePrepared
) -> None:
    """Only what is stored is believed: nothing is allocated for the claim."""
    path = tmp_path / "set.h5"
    save_prepared(path, make_prepared())

    def claim(file: h5py.File) -> None:
        del file[key]
        file.create_dataset(key, shape=shape, dtype=dtype)

    edit(path, claim)
    assert path.stat().st_size < 100_000
    started = time.process_time()
    with pytest.raises(
        DataError, match=f"'{key}' claims {np.prod(shape) * np.dtype(dtype).itemsize} bytes and stores 0"
    ):
        load_prepared(path)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": np.zeros((6, 12))}, "X has shape"),
        ({"X": np.zeros((6, 2, 2, 3), dtype=np.uint8)}, "X has shape"),
        ({"X": np.zeros((6, 13), dtype=np.uint8)}, r"expected \(m, 12\) uint8"),
        ({"X": np.zeros((0, 12), dtype=np.uint8), "Y": np.zeros(0, dtype=np.uint8), "names": ()}, "m >= 1"),
        ({"Y": np.zeros((6, 1), dtype=np.uint8)}, r"Y has shape \(6, 1\)"),
        ({"Y": np.zeros(6)}, "type float64"),
        ({"Y": np.full(6, 255, dtype=np.uint8)}, r"Y\[0\] is 255"),
        ({"names": ("a",)}, "there are 1 names for 6 pictures"),
        ({"resize": "Stretch"}, "resize is 'Stretch'; expected stretch or crop or pad"),
        ({"decode": ""}, "decode is ''; expected exact or fast"),
    ],
)
def test_a_prepared_set_cannot_be_made_wrong(
    changes: dict[str, Any], message: str, make_prepared: MakePrepared
) -> None:
    """So an invalid set is never written."""
    with pytest.raises(DataError, match=message):
        make_prepared(**changes)
