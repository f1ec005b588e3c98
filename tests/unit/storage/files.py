"""Changes to written files, and comparisons, for the tests of prepared sets and models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet

MakePrepared = Callable[..., PreparedSet]
MakeModel = Callable[..., Model]
Kind = tuple[Path, Callable[[], Any], Any]


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
    """Keep all pixels on disk, as if they exceeded the memory bound."""
    monkeypatch.setattr("one_neuron.storage.prepared_set.memory_bound", lambda: 0)


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
    (many_attributes, r"it has \d\d attributes; expected at most 32"),
]
