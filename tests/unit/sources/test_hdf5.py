"""Pictures in HDF5 files of users: what is accepted is the same in any layout, what is wrong is named."""

import hashlib
import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.layout import SOURCE_ROOT
from one_neuron.pictures import convert
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.rows import RowsOnDisk
from one_neuron.settings.params import DataSettings, Hdf5Settings
from one_neuron.sources import hdf5, hdf5_stream, hdf5_worker
from one_neuron.sources.hdf5_stream import open_pictures
from one_neuron.sources.hdf5_worker import send_pictures
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from tests.values import DATA

KEYS = Hdf5Settings(
    train_file="train.h5", test_file="test.h5", train_x="x", train_y="y", test_x="", test_y="", classes="c"
)
WITH_TEST = Hdf5Settings(
    train_file="train.h5", test_file="test.h5", train_x="x", train_y="y", test_x="x2", test_y="y2", classes="c"
)
X = np.random.default_rng(0).integers(0, 256, (5, 4, 6, 3), dtype=np.uint8)
Y = np.array([0, 1, 1, 0, 1])
CLASSES = np.array([b"non-cat", b"cat"])


def write(path: Path, *, options: dict[str, Any] | None = None, **datasets: Any) -> Path:
    """Write a file with the datasets x, y and c, or others; None leaves one out."""
    with h5py.File(path, "w") as file:
        for key, data in {"x": X, "y": Y, "c": CLASSES, **datasets}.items():
            if data is not None:
                file.create_dataset(key, data=data, **(options or {} if key == "x" else {}))
    return path


def sent(path: Path, classes: str = "c") -> tuple[dict[str, Any], bytes, bytes]:
    """Return what is sent of a set: header, labels and pixels."""
    stream = io.BytesIO()
    send_pictures(path, "x", "y", classes, stream)
    stream.seek(0)
    header = json.loads(stream.readline())
    return header, stream.read(header["shape"][0]), stream.read()


PLAIN = ({"shape": [5, 4, 6], "classes": ["non-cat", "cat"]}, bytes([0, 1, 1, 0, 1]), X.tobytes())
KINDS = [f"{order}{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8) for order in "<>"]


def test_the_plain_layout(tmp_path: Path) -> None:
    """That of the course: bytes, 64-bit labels, two names."""
    assert sent(write(tmp_path / "file.h5")) == PLAIN


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (1, 4, 6, 3)},
        {"chunks": (2, 3, 4, 2)},
        {"chunks": True},
        {"compression": "gzip"},
        {"compression": "lzf"},
        {"compression": "gzip", "shuffle": True},
        {"fletcher32": True},
        {"compression": "lzf", "shuffle": True, "fletcher32": True, "maxshape": (None, 4, 6, 3)},
    ],
)
def test_the_layout_does_not_matter(options: dict[str, Any], tmp_path: Path) -> None:
    """Chunks and compression change nothing."""
    assert sent(write(tmp_path / "file.h5", options=options)) == PLAIN


@pytest.mark.parametrize("kind", KINDS)
def test_the_type_does_not_matter(kind: str, tmp_path: Path) -> None:
    """Whole numbers of any size, sign and byte order, pixels and labels."""
    kept = X if kind[1:] != "i1" else X // 2
    assert sent(write(tmp_path / "file.h5", x=kept.astype(kind), y=Y.astype(kind))) == (*PLAIN[:2], kept.tobytes())


@pytest.mark.parametrize("y", [Y.astype(bool), Y[None], Y[:, None], Y[None].astype(bool), Y[:, None].astype(">u2")])
def test_the_shape_of_the_labels_does_not_matter(y: NDArray[Any], tmp_path: Path) -> None:
    """Truth values, and a dimension of length 1 more, as in the course's later notebooks."""
    assert sent(write(tmp_path / "file.h5", y=y)) == PLAIN


@pytest.mark.parametrize("kind", ["f2", "<f4", ">f4", "<f8", ">f8"])
def test_labels_may_be_floats(kind: str, tmp_path: Path) -> None:
    """0.0 and 1.0, as numpy.zeros makes them, are exact; -0.0 is 0."""
    assert sent(write(tmp_path / "file.h5", y=np.where(Y == 1, 1.0, -0.0).astype(kind))) == PLAIN
    assert sent(write(tmp_path / "file.h5", y=Y[:, None].astype(kind))) == PLAIN


def test_one_picture_has_one_label(tmp_path: Path) -> None:
    """In each of the shapes."""
    for y in (Y[:1], Y[None, :1]):
        assert sent(write(tmp_path / "file.h5", x=X[:1], y=y))[1] == b"\0"


PIXELS = st.tuples(*(st.integers(1, most) for most in (5, 7, 7)), st.just(3)).flatmap(
    lambda shape: arrays(np.dtype("<i2"), shape, elements=st.integers(0, 255))
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(pixels=PIXELS, kind=st.sampled_from(KINDS[2:]), data=st.data())
def test_any_geometry(pixels: NDArray[Any], kind: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    """Of any number, height, width, type and chunk, read in pieces of any size: the bytes in their order."""
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, side) for side in pixels.shape)))
    pixels = pixels // 2 if kind[1:] == "i1" else pixels
    path = tmp_path_factory.mktemp("any") / "file.h5"
    write(path, options={"chunks": chunks}, x=pixels.astype(kind), y=np.zeros(len(pixels), np.uint8))
    most = data.draw(st.integers(1, 500))
    with patch.object(hdf5_worker, "_PIECE_BYTES", most), patch.object(hdf5_worker, "BLOCK_BYTES", most):
        header, _, sent_pixels = sent(path)
    assert header["shape"] == list(pixels.shape[:3])
    assert sent_pixels == pixels.astype(np.uint8).tobytes()


@pytest.mark.slow
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 4),
    sides=st.none() | st.tuples(*[st.integers(1, 9)] * 4),
    itemsize=st.sampled_from([1, 8]),
    most=st.integers(1, 400),
)
def test_pieces_are_bounded_and_complete(
    shape: tuple[int, ...], sides: tuple[int, ...] | None, itemsize: int, most: int
) -> None:
    """Each value once, in the order of memory, no piece larger than the bound, and no chunk forgotten in the count."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    seen: list[int] = []
    with patch.object(hdf5_worker, "_PIECE_BYTES", most), patch.object(hdf5_worker, "BLOCK_BYTES", most):
        for piece, touched in hdf5_worker._pieces(shape, sides, itemsize):
            part = numbers[piece]
            assert 0 < part.size * itemsize <= max(most, itemsize)
            seen.extend(part.ravel().tolist())
            chunks = [
                len({i // side for i in range(cut.start, cut.stop)}) * side
                for cut, side in zip(piece, sides or (1, 1, 1, 1), strict=True)
            ]
            assert touched >= math.prod(chunks) * itemsize
    assert seen == list(range(numbers.size))


def test_pieces_take_whole_chunks() -> None:
    """No chunk is unpacked twice where it fits: with room for 10 rows, chunks of 4 are taken two at a time."""
    with patch.object(hdf5_worker, "_PIECE_BYTES", 100):
        starts = [piece[0].start for piece, _ in hdf5_worker._pieces((20, 10), (4, 10), 1)]
    assert starts == [0, 8, 16]


def changed(values: NDArray[Any], index: tuple[int, ...], value: float, kind: str) -> NDArray[Any]:
    """Return a copy of another type with one value changed."""
    copy = values.astype(kind)
    copy[index] = value
    return copy


EXPECTED = r"expected \(m, height, width, 3\) with at least one picture"
BAD: list[tuple[dict[str, Any], str]] = [
    ({"x": None}, "the key 'x' is missing; present: c, y;"),
    ({"y": None}, "the key 'y' is missing; present: c, x;"),
    ({"c": None}, "the key 'c' is missing; present: x, y; or set hdf5.classes to ''"),
    ({"x": X.astype(np.float32)}, "'x' has type float32; expected uint8 or"),
    ({"x": X.astype(complex)}, "'x' has type compound"),
    ({"x": X.astype("S1")}, r"'x' has type \|S1"),
    ({"x": X > 0}, "'x' has type bool"),
    ({"x": X[..., 0]}, "'x' has 3 dimensions; expected 4"),
    ({"x": X[..., :2]}, rf"'x' has shape \(5, 4, 6, 2\); {EXPECTED}"),
    ({"x": np.moveaxis(X, 3, 1)}, rf"'x' has shape \(5, 3, 4, 6\); {EXPECTED}"),
    ({"x": X[:0], "y": Y[:0]}, rf"'x' has shape \(0, 4, 6, 3\); {EXPECTED}"),
    ({"x": X[:, :0]}, rf"'x' has shape \(5, 0, 6, 3\); {EXPECTED}"),
    ({"x": changed(X, (3, 0, 1, 2), 256, ">u2")}, r"'x'\[3, 0, 1, 2\] is 256; pixel values .* from 0 to 255"),
    ({"x": changed(X, (4, 3, 5, 2), -1, "i2")}, r"'x'\[4, 3, 5, 2\] is -1; "),
    ({"x": changed(X, (0, 0, 0, 0), 2**64 - 1, "u8")}, r"'x'\[0, 0, 0, 0\] is 18446744073709551615; "),
    ({"x": changed(changed(X, (4, 0, 0, 0), -1, "i8"), (2, 3, 0, 0), 999, "i8")}, r"'x'\[2, 3, 0, 0\] is 999; "),
    ({"y": changed(Y, (3,), 0.5, "f8")}, r"'y'\[3\] is 0.5; labels are 0 or 1: write for example \(y == 1\)"),
    ({"y": changed(Y, (1,), np.nan, "f4")}, r"'y'\[1\] is nan; labels are 0 or 1: write"),
    ({"y": changed(Y, (0,), -np.inf, "f8")}, r"'y'\[0\] is -inf; labels are 0 or 1: write"),
    ({"y": changed(Y, (2,), 1 + 1e-15, "f8")}, r"'y'\[2\] is 1.000000000000001; labels are 0 or 1: write"),
    ({"y": Y.astype(complex)}, "'y' has type compound; expected bool or uint8 or"),
    ({"y": np.array([b"0"] * 5)}, r"'y' has type \|S1"),
    ({"y": np.uint8(1)}, "'y' has 0 dimensions; expected 1 or 2"),
    ({"y": Y[:1]}, "'x' holds 5 pictures and 'y' 1 labels; expected one for each"),
    ({"y": np.append(Y, 1)}, "'x' holds 5 pictures and 'y' 6 labels"),
    ({"y": np.zeros((5, 2), int)}, r"'y' has shape \(5, 2\); expected \(m,\), \(1, m\) or \(m, 1\)"),
    ({"y": np.array([0, 1, 2, 1, 3])}, r"'y'\[2\] is 2; labels are 0 or 1"),
    ({"y": np.array([[0, 1, 1, -1, 1]])}, r"'y'\[3\] is -1; labels are 0 or 1"),
    ({"c": ["non-cat", "cat"]}, r"'c' is text of variable length, .* dtype=\"S\"\); or set hdf5.classes to ''"),
    ({"c": np.array([b"a", b"b", b"c"])}, r"'c' has shape \(3,\) .*; expected two texts"),
    ({"c": np.array([b"a" * 1001, b"b"])}, r"'c' has shape \(2,\) and type \|S1001; expected two texts"),
    ({"c": np.array([0, 1])}, "'c' has type int64; expected bytes; or set hdf5.classes to ''"),
    ({"c": np.array([b"cat", b"cat"])}, r"'c' names the classes \['cat', 'cat'\]; expected two different names"),
    ({"c": np.array([b"", b"cat"])}, r"'c' names the classes \['', 'cat'\]; expected two different names"),
    ({"c": np.array([b"a\nb", b"cat"])}, "'c' names the classes .* expected two different names that can be printed"),
    ({"c": np.array([b"\xff", b"cat"])}, "'c' is not UTF-8"),
]


@pytest.mark.parametrize(("datasets", "message"), BAD)
def test_what_does_not_fit_is_named(datasets: dict[str, Any], message: str, tmp_path: Path) -> None:
    """File, dataset, index and value, what is expected, and where to change it, on one line."""
    path = write(tmp_path / "file.h5", **datasets)
    with patch.object(hdf5_worker, "BLOCK_BYTES", 200), pytest.raises(DataError, match=message) as caught:
        sent(path)
    assert str(caught.value).startswith(f"'{path}': ")
    assert str(caught.value).endswith("; see data.path and the section hdf5 in params.yaml")
    assert "\n" not in str(caught.value)


def test_a_truth_value_that_is_neither_is_named(tmp_path: Path) -> None:
    """It is stored as a byte, which may be any."""
    path = write(tmp_path / "file.h5", y=Y.astype(bool))
    with h5py.File(path) as file:
        place = file["y"].id.get_offset()
    raw = bytearray(path.read_bytes())
    raw[place + 1] = 7
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"'y'\[1\] is 7; labels are 0 or 1"):
        sent(path)


def test_labels_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    """The same packed megabyte of zeros, 129 times."""
    path = write(tmp_path / "file.h5", y=None)
    with h5py.File(path, "r+") as file:
        labels = file.create_dataset("y", (129 * 2**20,), np.uint8, chunks=(2**20,), compression="gzip")
        packed = zlib.compress(bytes(2**20))
        for i in range(129):
            labels.id.write_direct_chunk((i * 2**20,), packed)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match=f"'y' takes {129 * 2**20} bytes; at most {128 * 2**20} are read"):
        sent(path)


def by_name(digests: Sequence[bytes], labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Hold out the second and the last picture, known by their content; another content is a mistake."""
    known = [hashlib.sha256(picture.tobytes()).digest() for picture in X]
    assert list(digests) == known
    assert labels.tolist() == Y.tolist()
    return np.array([i in (1, 4) for i in range(len(digests))])


def load(
    path: Path, keys: Hdf5Settings, num_px: int = 2, split: hdf5.Split = by_name, **options: Any
) -> tuple[PreparedSet, PreparedSet]:
    """Load with the split above."""
    data = DataSettings(**{**DATA, "source": "hdf5", "num_px": num_px, **options})
    return hdf5.load(path, data, keys, split=split)


def resized(pictures: NDArray[np.uint8], num_px: int, resize: str = "stretch") -> NDArray[np.uint8]:
    """Return rows, one picture after the other."""
    return np.stack([convert.resize_pixels(picture, Preprocessing(num_px, resize)).reshape(-1) for picture in pictures])


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder, in which no repository of DVC is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_one_file_with_both_sets(resize: str, in_folder: Path) -> None:
    """Rows, labels, names, classes, and how they were resized."""
    path = write(in_folder / "all.h5", x2=X[::-1], y2=Y[::-1] == 1)
    train, test = load(path, WITH_TEST, resize=resize)
    assert (train.X == resized(X, 2, resize)).all()
    assert (test.X == resized(X[::-1], 2, resize)).all()
    assert (train.Y.tolist(), test.Y.tolist()) == ([0, 1, 1, 0, 1], [1, 0, 1, 1, 0])
    assert (train.names[4], test.names, train.classes) == ("x[4]", tuple(f"x2[{i}]" for i in range(5)), test.classes)
    assert (test.classes, test.source, test.preprocessing) == (("non-cat", "cat"), "hdf5", Preprocessing(2, resize))


@pytest.mark.slow
def test_two_files(in_folder: Path) -> None:
    """In one folder; the same sets as out of one file. Without names of classes they are 0 and 1."""
    write(in_folder / "train.h5", c=None)
    write(in_folder / "test.h5", x=None, y=None, c=None, x2=X[:2], y2=Y[:2])
    both = write(in_folder / "all.h5", x2=X[:2], y2=Y[:2], c=None)
    keys = Hdf5Settings(**{**vars(WITH_TEST), "classes": ""})
    assert [one.sha256 for one in load(in_folder, keys)] == [one.sha256 for one in load(both, keys)]
    assert load(in_folder, keys)[1].classes == ("0", "1")


@pytest.mark.slow
def test_pixels_of_the_right_size_are_not_touched(in_folder: Path) -> None:
    """As they lie in the file, in any way of resizing."""
    square = np.ascontiguousarray(X[:, :, :4])
    path = write(in_folder / "all.h5", x=square, x2=square, y2=Y)
    for resize in ("stretch", "crop", "pad"):
        assert (load(path, WITH_TEST, 4, resize=resize)[0].X == square.reshape(5, -1)).all()


def test_without_a_test_set_all_rows_are_split(in_folder: Path) -> None:
    """By the SHA-256 of the raw bytes, whatever the type; the order stays, names keep the row of the file."""
    path = write(in_folder / "train.h5", x=X.astype(">i8"))
    for place in (path, in_folder):
        train, test = load(place, KEYS)
        assert (train.names, test.names) == (("x[0]", "x[2]", "x[3]"), ("x[1]", "x[4]"))
        assert (train.Y.tolist(), test.Y.tolist()) == ([0, 1, 0], [1, 1])
        assert (train.X == resized(X[[0, 2, 3]], 2)).all()
        assert (test.X == resized(X[[1, 4]], 2)).all()


@pytest.mark.slow
@pytest.mark.parametrize("keys", [KEYS, WITH_TEST])
def test_what_does_not_fit_into_memory_stays_on_disk(
    keys: Hdf5Settings, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same sets, from a file that is gone from its folder at once."""
    path = write(in_folder / "all.h5", x2=X[::-1], y2=Y)
    expected = [one.sha256 for one in load(path, keys)]
    assert not (in_folder / ".one-neuron").exists()
    monkeypatch.setattr("one_neuron.sources.hdf5.memory_bound", lambda: 0)
    sets = load(path, keys)
    assert all(isinstance(one.X, RowsOnDisk) for one in sets)
    assert list((in_folder / ".one-neuron").iterdir()) == []
    assert [one.sha256 for one in sets] == expected
    save_prepared(in_folder / "set.h5", sets[0])
    assert load_prepared(in_folder / "set.h5").names == sets[0].names[:]


def test_many_pictures_come_in_blocks(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in its own row, though no more than two are in a block."""
    monkeypatch.setattr(hdf5_stream, "BLOCK_BYTES", 2 * X[0].size)
    with open_pictures(write(in_folder / "all.h5"), x="x", y="y", classes="c") as stream:
        blocks = list(stream.blocks())
    assert [len(block) for block in blocks] == [2, 2, 1]
    assert (np.concatenate(blocks) == X).all()


def test_small_pictures_that_become_large_do_not_fill_the_memory(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block is as small when it is resized: ten kilobytes of pictures of one pixel took five gigabytes."""
    pictures = np.arange(50 * 3, dtype=np.uint8).reshape(50, 1, 1, 3)
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", 2 * 8 * 8 * 3)
    path = write(in_folder / "all.h5", x=pictures, y=np.arange(50) % 2)
    with open_pictures(path, x="x", y="y", classes="c") as stream:
        blocks = list(hdf5._resized(stream, Preprocessing(8), None))
    assert [len(block) for block in blocks] == [2] * 25
    assert (np.concatenate(blocks) == np.tile(pictures.reshape(50, 3), 64)).all()


def test_rows_on_disk_have_no_name_while_they_are_written(in_folder: Path) -> None:
    """So a kill leaves nothing behind."""

    def give() -> Iterator[NDArray[np.uint8]]:
        for block in (X[:3], X[3:]):
            assert list((in_folder / ".one-neuron").iterdir()) == []
            yield block.reshape(len(block), -1)

    rows = hdf5._spool(give(), (5, X[0].size))
    assert (rows[0:5] == X.reshape(5, -1)).all()


def test_rows_that_do_not_fit_on_the_disk_are_refused_first(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is full."""
    monkeypatch.setattr("one_neuron.sources.hdf5.memory_bound", lambda: 0)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=119))
    with pytest.raises(EnvironmentProblem, match=r"'\.one-neuron' has 0\.0 GB of free space; the rows of 5"):
        load(write(in_folder / "all.h5"), KEYS)
    assert list((in_folder / ".one-neuron").iterdir()) == []


@pytest.mark.parametrize("held_out", [True, False])
def test_a_split_without_one_side_is_refused(held_out: bool, in_folder: Path) -> None:
    """Nothing to learn from, or nothing to test with."""
    path = write(in_folder / "all.h5")
    with pytest.raises(DataError, match=rf"{path}': the 5 pictures of 'x' cannot be divided .* two different ones of"):
        load(path, KEYS, split=lambda digests, _: np.full(len(digests), held_out))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x2": X[:, :3]}, r"pictures of height and width \(4, 6\) for training, .* \(3, 6\) for testing"),
        ({"c": CLASSES[::-1]}, r"classes \('non-cat', 'cat'\) for training, .* \('cat', 'non-cat'\) for testing"),
    ],
)
def test_sets_that_do_not_fit_each_other_are_refused(changes: dict[str, Any], message: str, in_folder: Path) -> None:
    """Both files and both values are named."""
    write(in_folder / "train.h5")
    write(in_folder / "test.h5", **{"x2": X, "y2": Y, **changes})
    with pytest.raises(DataError, match=message) as caught:
        load(in_folder, WITH_TEST)
    assert str(in_folder / "train.h5") in str(caught.value)
    assert str(in_folder / "test.h5") in str(caught.value)


@pytest.mark.slow
def test_the_error_of_the_other_process_is_ours(in_folder: Path) -> None:
    """One line, at the beginning and in the middle of the pixels, and for a file that is not there."""
    path = write(in_folder / "caf\udce9.h5", x=changed(X, (4, 0, 0, 0), 256, "i8"))
    with pytest.raises(DataError, match=r"^'.*caf\udce9\.h5': 'x'\[4, 0, 0, 0\] is 256; .*params.yaml$"):
        load(path, KEYS)
    with pytest.raises(
        DataError, match=r"^'.*caf\udce9\.h5': the key 'z' is missing; present: c, x, y; .*params.yaml$"
    ):
        load(path, Hdf5Settings(**{**vars(KEYS), "train_x": "z"}))
    with pytest.raises(DataError, match=r"train\.h5' is missing; see data\.path and the section hdf5 in params\.yaml$"):
        load(in_folder, KEYS)


def test_pictures_that_are_too_large_are_refused(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same bounds as files of pictures."""
    path = write(in_folder / "all.h5")
    for bound, most in (("MAX_PIXELS", 23), ("MAX_SIDE", 5)):
        with monkeypatch.context() as patched:
            patched.setattr(hdf5, bound, most)
            with pytest.raises(DataError, match=r"holds pictures of 4 x 6 pixels; at most"):
                load(path, KEYS)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_a_chunk_that_unpacks_to_gigabytes_is_refused(in_folder: Path) -> None:
    """360 bytes are declared, and HDF5 unpacks what comes: here 800 MB out of 800 KB, a sound stream with its sum."""
    path = write(in_folder / "all.h5", x=None)
    packer = zlib.compressobj(9)
    first, again = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    end = b"\x03\x00" + struct.pack(">HH", 800 * 2**20 % 65521, 1)  # Adler's checksum of that many zeros
    with h5py.File(path, "r+") as file:
        pictures = file.create_dataset("x", X.shape, np.uint8, chunks=X.shape, compression="gzip")
        pictures.id.write_direct_chunk((0, 0, 0, 0), first + 799 * again + end)
    with pytest.raises(DataError, match=r"all\.h5.*(more than 400 MB|not a readable HDF5 file)"):
        load(path, KEYS)


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ("kill -SEGV $$", DataError, r"all\.h5' is damaged: HDF5 crashed on it \(signal 11\); get the file again"),
        ("kill -XCPU $$", DataError, r"all\.h5' is damaged: HDF5 does not finish reading it; get the file again"),
        ("echo 'what happened' >&2; exit 1", RuntimeError, r"all\.h5' ended with 1: what happened"),
        ("""echo '{"shape": [5, 4, 6], "classes": null}'; printf abc""", RuntimeError, r"all\.h5' ended with 0"),
    ],
)
def test_a_crash_of_hdf5_is_a_line(
    script: str, kind: type[Exception], message: str, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It affects only the other process, here replaced by another program."""
    program = in_folder / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(kind, match=message):
        load(write(in_folder / "all.h5"), KEYS)


def test_the_process_ends_with_its_reader(in_folder: Path) -> None:
    """Also when not all was taken."""
    path = write(in_folder / "all.h5", x=np.zeros((200, 64, 64, 3), np.uint8), y=np.zeros(200, np.uint8))
    with open_pictures(path, x="x", y="y", classes="") as stream:
        assert stream.process.poll() is None
    assert stream.process.returncode == -signal.SIGKILL


def run_limited(program: str) -> int:
    """Run a program that may limit itself; return how it ended."""
    program = f"from one_neuron.sources import hdf5_worker as limits\n{program}"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE_ROOT)}
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=60, env=environment).returncode


@pytest.mark.slow
def test_a_loop_comes_to_an_end() -> None:
    """The system ends the process when it computes for longer than the step can take, whatever was allowed before."""
    assert run_limited("limits._SECONDS = 0\nlimits._allow_time(10**9)\nlimits._allow_time(0)\nwhile True: pass") == (
        -signal.SIGXCPU
    )


@pytest.mark.slow
def test_a_large_step_has_more_time() -> None:
    """A second for 20 MB: here the limit of one second is raised to three."""
    busy = "import time\nwhile time.process_time() < 1.5: pass"
    assert run_limited(f"limits._SECONDS = 0\nlimits._allow_time(0)\nlimits._allow_time(4 * 10**7)\n{busy}") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
@pytest.mark.parametrize(("megabytes", "code"), [(300, 0), (401, 7)])
def test_memory_has_a_limit(megabytes: int, code: int) -> None:
    """Beyond what the process had at its start."""
    take = f"try: bytes({megabytes} * 2**20)\nexcept MemoryError: raise SystemExit(7)"
    assert run_limited(f"limits._limit_memory()\n{take}") == code


def test_too_little_memory_is_a_line(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When Python or NumPy gets no memory; HDF5 has its own message."""

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    for name, what in (("send_pictures", refuse), ("_limit_memory", lambda: None)):
        monkeypatch.setattr(hdf5_worker, name, what)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["-", "all.h5", "x", "y", ""])
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(stream := io.BytesIO()))
    assert hdf5_worker.main() == DataError.exit_code
    assert stream.getvalue().startswith(b"'all.h5' asks HDF5 for more than 400 MB at a time; ")


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda raw: b"", r"is not a readable HDF5 file: it is empty \(0 bytes\); get it again"),
    (
        lambda raw: raw[: len(raw) // 2],
        "is not a readable HDF5 file: it is cut off at 1,231 of 2,462 bytes; get it again",
    ),
    (lambda raw: raw[:-1], "is not a readable HDF5 file: it is cut off at 2,461 of 2,462 bytes; get it again"),
    (
        lambda raw: b"no HDF5" * 100,
        "is not a readable HDF5 file: it is a text that begins with 'no HDF5.*'; get the file again",
    ),
    (lambda raw: raw[:96] + bytes(range(256)) + raw[352:], r"is not a readable HDF5 file \("),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_file_is_named(damage: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    """Empty, cut, another thing, overwritten."""
    path = write(tmp_path / "all.h5")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"^'{path}' {message}.*params\.yaml$"):
        sent(path)
