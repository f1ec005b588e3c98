"""Prepared sets and models: what is written comes back, and nothing damaged is believed."""

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.model import Model, load_model, save_model
from one_neuron.storage.pixel_file import PixelFile
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared

MakePrepared = Callable[..., PreparedSet]
MakeModel = Callable[..., Model]
Kind = tuple[Path, Callable[[], Any], Any]
ODD_NAMES = ("a b.png", "new\nline.png", "tab\t.png", "Käthe 猫.png", "no-utf8-\udcff\udc80.png", "", "x" * 5000)


def same(one: PreparedSet | Model, other: PreparedSet | Model) -> bool:
    """Compare all that is stored, without the digest under test."""
    if isinstance(one, PreparedSet) and isinstance(other, PreparedSet):
        return (
            np.array_equal(one.X[:], other.X[:])
            and np.array_equal(one.Y, other.Y)
            and (tuple(one.names), one.preprocessing) == (tuple(other.names), other.preprocessing)
            and (one.source, one.classes) == (other.source, other.classes)
        )
    assert isinstance(one, Model)
    assert isinstance(other, Model)
    return one.parameters.w.tobytes() == other.parameters.w.tobytes() and (
        (one.parameters.b, one.preprocessing, one.classes, one.threshold, dict(one.trained_with))
        == (other.parameters.b, other.preprocessing, other.classes, other.threshold, dict(other.trained_with))
    )


def leave_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all pixels be more than may be in memory."""
    monkeypatch.setattr("one_neuron.storage.prepared_set.memory_bound", lambda: 0)


@pytest.fixture(params=["prepared", "on disk", "model"])
def written(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_prepared: MakePrepared,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> Kind:
    """Return a written file of either kind, a function that loads it, and what was written.

    Prepared sets are loaded in both ways, into memory and with the pixels left on disk.
    """
    path = tmp_path / f"{request.param}.h5"
    if request.param == "on disk":
        leave_on_disk(monkeypatch)
    if request.param != "model":
        prepared = make_prepared(m=3, names=("a b", "\udcff\n", "ü"))
        save_prepared(path, prepared)
        return path, lambda: load_prepared(path), prepared
    model = make_model()
    save_model(path, model)
    return path, lambda: load_model(path), model


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
    """Spaces, line ends, other scripts, bytes that are no UTF-8, no name at all and a very long one."""
    prepared = make_prepared(m=len(ODD_NAMES), names=ODD_NAMES)
    save_prepared(tmp_path / "set.h5", prepared)
    assert load_prepared(tmp_path / "set.h5").names == ODD_NAMES


def test_a_name_that_hdf5_would_cut_is_refused(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """HDF5 pads names with NUL: one at the end would be lost without a word."""
    prepared = make_prepared(m=2, names=("a\0b", "c\0"))
    with pytest.raises(DataError, match=r"the name 'c\\x00' ends with a NUL character"):
        save_prepared(tmp_path / "set.h5", prepared)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("w", "b"),
    [([0.0] * 12, 0.0), ([-0.0, 5e-324, 1e308, -1e308] * 3, -5e-324), ([0.1] * 12, 1 / 3)],
)
def test_models_come_back_to_the_bit(w: list[float], b: float, make_model: MakeModel, tmp_path: Path) -> None:
    """The smallest, the largest and the negative zero too."""
    model = make_model(parameters=Parameters(w=np.array(w), b=b), threshold=0.25, classes=("Hund", "Katze 猫"))
    model = replace(model, preprocessing=replace(model.preprocessing, resize="crop", decode="fast"))
    save_model(tmp_path / "model.h5", model)
    loaded = load_model(tmp_path / "model.h5")
    assert same(loaded, model)
    assert loaded.sha256 == model.sha256
    assert {key: type(value) for key, value in loaded.trained_with.items()} == {
        "learning_rate": float,
        "num_iterations": int,
        "form": str,
    }


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


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": Parameters(w=np.zeros(12), b=-0.25)},
        {"parameters": Parameters(w=np.random.default_rng(0).normal(size=12), b=0.25)},
        {"threshold": 0.75},
        {"classes": ("a", "b")},
        {"trained_with": {}},
        {"resize": "pad"},
        {"decode": "fast"},
    ],
)
def test_the_digest_covers_all_of_a_model(change: dict[str, Any], make_model: MakeModel) -> None:
    """Another content, another SHA-256."""
    assert make_model(**change).sha256 != make_model().sha256


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


FLIPS = 300  # positions tried in each kind of file


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
    """Text, a folder, nothing: the message names the path and the way out."""
    path, load, _ = written
    path.write_text("iteration,cost\n" * 200)
    with pytest.raises(DataError, match=rf"{path.name}' is not a readable HDF5 file .*dvc repro"):
        load()
    path.unlink()
    with pytest.raises(DataError, match=rf"{path.name}' is missing; .*dvc repro"):
        load()
    path.mkdir()
    with pytest.raises(DataError, match=rf"{path.name}' is not a file"):
        load()


def chunked(key: str) -> Callable[[h5py.File], None]:
    """Return a change that stores a dataset in chunks."""

    def change(file: h5py.File) -> None:
        data = file[key][()]
        del file[key]
        file.create_dataset(key, data=data, chunks=data.shape)

    return change


def many_attributes(file: h5py.File) -> None:
    """Add more attributes than anyone needs."""
    for i in range(32):
        file.attrs[f"more {i}"] = i


def edit(path: Path, change: Callable[[h5py.File], None]) -> None:
    """Change a written file."""
    with h5py.File(path, "r+") as file:
        change(file)


def put(key: str, data: object) -> Callable[[h5py.File], None]:
    """Return a change that replaces a dataset."""

    def change(file: h5py.File) -> None:
        del file[key]
        if data is not None:
            file[key] = data

    return change


def put_attribute(key: str, value: object) -> Callable[[h5py.File], None]:
    """Return a change that replaces an attribute."""

    def change(file: h5py.File) -> None:
        del file.attrs[key]
        if value is not None:
            file.attrs[key] = np.bytes_(value) if isinstance(value, str) else value

    return change


BOTH = [
    (put_attribute("format", None), "the attribute 'format' is None"),
    (put_attribute("format", 5), "the attribute 'format' is"),
    (put_attribute("format", "something else"), "kind 'something else'; expected 'one-neuron "),
    (put_attribute("format_version", 2), "format version is 2; this program reads version 3"),
    (put_attribute("format_version", "1"), "the attribute 'format_version' is '1'; expected int"),
    (put_attribute("num_px", 0), "num_px is 0; expected a whole number from 1 to 1,024"),
    (put_attribute("num_px", 3), r"expected \(.*27"),
    (put_attribute("num_px", 2**31), "num_px is 2147483648; expected a whole number from 1 to 1,024"),
    (put_attribute("num_px", np.array([2, 2])), "the attribute 'num_px' is not a single value"),
    (put_attribute("num_px", np.array("2", dtype=object)), "'num_px' is neither a number nor text of a fixed length"),
    (put_attribute("num_px", np.array((1, 2), dtype="u1,u1")), "'num_px' is neither a number nor text"),
    (put_attribute("resize", "bend"), "resize is 'bend'; expected stretch or crop or pad"),
    (put_attribute("resize", "crop"), "does not fit its SHA-256"),
    (put_attribute("resize", None), "the attribute 'resize' is None"),
    (put_attribute("decode", "slow"), "decode is 'slow'; expected exact or fast"),
    (put_attribute("decode", "fast"), "does not fit its SHA-256"),
    (put_attribute("classes", '["cat"]'), r"it names the classes \['cat'\]; expected two different names"),
    (put_attribute("classes", "[1, 2]"), "expected two different names"),
    (put_attribute("classes", '["cat", "cat"]'), "expected two different names"),
    (put_attribute("classes", '["", "cat"]'), "expected two different names"),
    (put_attribute("classes", '["non-cat", "cat\\nfake.png"]'), "names that can be printed"),
    (put_attribute("classes", '["non-cat", "\\u001b[31mcat"]'), "names that can be printed"),
    (put_attribute("classes", "{}"), "expected a JSON list"),
    (put_attribute("classes", "[cat"), "is not JSON"),
    (put_attribute("classes", "[" * 60_000), "is not"),
    (put_attribute("classes", '["cat", "non-cat"]'), "does not fit its SHA-256"),
    (put_attribute("sha256", None), "the attribute 'sha256' is None"),
    (put_attribute("sha256", "0" * 64), "does not fit its SHA-256"),
]
BOTH += [(many_attributes, r"it has \d\d attributes; expected at most 32")]
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
MODEL = [
    (chunked("w"), "'w' is not stored in one piece"),
    (put("w", None), "the key 'w' is missing; present: b"),
    (put("b", None), "the key 'b' is missing; present: w"),
    (put("w", np.zeros(12, dtype=np.float32)), "'w' has type float32; expected float64"),
    (put("w", np.zeros(13)), r"'w' takes 104 bytes; at most 96 are read"),  # before they fill the memory
    (put("w", np.zeros(11)), r"w has shape \(11,\); expected \(12,\)"),
    (put("w", np.full(12, np.nan)), "w or b is not finite"),
    (put("b", np.inf), "w or b is not finite"),
    (put("b", np.zeros(1)), "'b' has 1 dimensions; expected 0"),
    (put("b", np.float64(5)), "does not fit its SHA-256"),
    (put_attribute("threshold", None), "the attribute 'threshold' is None"),
    (put_attribute("threshold", 1.5), "threshold is 1.5; expected a number between 0 and 1"),
    (put_attribute("threshold", np.nan), "threshold is nan"),
    (put_attribute("threshold", 0.25), "does not fit its SHA-256"),
    (put_attribute("trained_with", "[]"), "expected a JSON dict"),
    (put_attribute("trained_with", "{}"), "does not fit its SHA-256"),
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


@pytest.mark.parametrize(("change", "message"), BOTH + MODEL)
def test_a_wrong_model_is_refused(
    change: Callable[[h5py.File], None], message: str, tmp_path: Path, make_model: MakeModel
) -> None:
    """File, key, what was found and what is expected."""
    path = tmp_path / "model.h5"
    save_model(path, make_model())
    edit(path, change)
    with pytest.raises(DataError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_odd_names_of_datasets_do_not_break_the_message(tmp_path: Path, make_prepared: MakePrepared) -> None:
    """A flipped bit can leave a name that is no UTF-8."""
    path = tmp_path / "set.h5"
    save_prepared(path, make_prepared())

    def rename(file: h5py.File) -> None:
        file.move("X", b"\xff")

    edit(path, rename)
    with pytest.raises(DataError, match=r"set\.h5': the key 'X' is missing; present: Y, \\xff, names"):
        load_prepared(path)


def test_one_kind_is_not_taken_for_the_other(written: Kind) -> None:
    """A model is no prepared set and the other way round."""
    path, _, content = written
    load: Callable[[Path], object] = load_model if isinstance(content, PreparedSet) else load_prepared
    with pytest.raises(DataError, match="it is a file of the kind 'one-neuron "):
        load(path)


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
    """So that no wrong one can be written."""
    with pytest.raises(DataError, match=message):
        make_prepared(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": Parameters(w=np.zeros(11), b=0.0)}, r"w has shape \(11,\)"),
        ({"parameters": Parameters(w=np.zeros((12, 1)), b=0.0)}, r"w has shape \(12, 1\)"),
        ({"parameters": Parameters(w=np.full(12, np.nan), b=0.0)}, "not finite"),
        ({"parameters": Parameters(w=np.full(12, np.inf), b=0.0)}, "not finite"),
        ({"parameters": Parameters(w=np.zeros(12), b=np.nan)}, "not finite"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"resize": ""}, "resize is ''"),
        ({"decode": "exactly"}, "decode is 'exactly'"),
    ],
)
def test_a_model_cannot_be_made_wrong(changes: dict[str, Any], message: str, make_model: MakeModel) -> None:
    """No nan above all: a diverged training must not become a model."""
    with pytest.raises(DataError, match=message):
        make_model(**changes)


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
    """Permission denied is told apart from damage (tests may run as root, so the refusal is played)."""
    path, load, _ = written

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("h5py.File", deny)
    with pytest.raises(DataError, match=rf"{path.name}' may not be read \(permission denied\)"):
        load()
