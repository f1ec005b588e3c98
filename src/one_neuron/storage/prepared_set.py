"""The HDF5 files between the stages: prepared sets and models."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError
from one_neuron.neuron import Parameters
from one_neuron.storage.hdf5 import find_dataset, open_hdf5, read_attributes, read_dataset
from one_neuron.storage.header import (
    Header,
    check_classes,
    check_treatment,
    new_digest,
    read_attribute,
    read_header,
    read_json_attribute,
    write_header,
)
from one_neuron.storage.pixel_file import (
    PixelFile,
    Pixels,
    StoredNames,
    memory_bound,
    names_as_bytes,
    row_blocks,
    store_names,
)
from one_neuron.system.files import replacing

CHANNELS = 3  # RGB
_REMEDY = "run `dvc repro` to make it again"


@dataclass(frozen=True)
class PreparedSet:
    """Labelled pictures, ready for the neuron.

    Parameters
    ----------
    X : Pixels of shape (m, n_x), uint8
        One picture per row, n_x = num_px * num_px * 3 pixel values in [0, 255] (row, column, channel): an ndarray, or
        what gives blocks of rows, as a `PixelFile` does. Not to be changed afterwards.
    Y : ndarray of shape (m,), uint8
        Labels in {0, 1}.
    names : sequence of m str
        Where each picture came from; for people, never read as a path. None ends with a NUL character.
    num_px : int
        Height and width of the pictures.
    classes : (str, str)
        The names of label 0 and label 1.
    source : str
        The value of `data.source`.
    resize, decode : str
        The values of `data.resize` and `data.decode`: how pictures are brought to num_px and read.

    Raises
    ------
    DataError
        If shapes, types or ranges do not fit each other.
    """

    X: Any  # Pixels; what else is asked of an ndarray, the type checker cannot know
    Y: NDArray[np.uint8]
    names: Sequence[str]
    num_px: int
    classes: tuple[str, str]
    source: str
    resize: str
    decode: str

    def __post_init__(self) -> None:
        check_classes(self.classes)
        check_treatment(self.resize, self.decode)
        n_x = self.num_px * self.num_px * CHANNELS
        if self.X.dtype != np.uint8 or len(self.X.shape) != 2 or self.X.shape[1] != n_x or self.X.shape[0] == 0:
            raise DataError(
                f"X has shape {self.X.shape} and type {self.X.dtype}; expected (m, {n_x}) uint8 with m >= 1 "
                f"for num_px = {self.num_px}"
            )
        if self.Y.dtype != np.uint8 or self.Y.shape != self.X.shape[:1]:
            raise DataError(
                f"Y has shape {self.Y.shape} and type {self.Y.dtype}; expected {self.X.shape[:1]} uint8, "
                "one label for each row of X"
            )
        wrong = np.flatnonzero(self.Y > 1)
        if wrong.size:
            raise DataError(f"Y[{wrong[0]}] is {self.Y[wrong[0]]}; labels are 0 or 1")
        if len(self.names) != self.m:
            raise DataError(f"there are {len(self.names)} names for {self.m} pictures")

    @property
    def m(self) -> int:
        """Number of pictures."""
        return len(self.Y)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of pixels, labels and all other fields, as 64 hexadecimal digits.

        It is the same wherever X lies, and is worked out once, in one pass over X.
        """
        header = {
            "num_px": self.num_px,
            "classes": self.classes,
            "source": self.source,
            "resize": self.resize,
            "decode": self.decode,
        }
        digest = new_digest("prepared", header, self.X, self.Y)
        for block in row_blocks(self.X):
            digest.update(block.data)
        digest.update(np.ascontiguousarray(self.Y).data)
        for part in names_as_bytes(self.names):
            digest.update(part)
        return digest.hexdigest()


@dataclass(frozen=True)
class Model:
    """A trained neuron with all that is needed to use it on a new picture.

    Parameters
    ----------
    parameters : Parameters
        w of shape (n_x,) and b.
    num_px : int
        Height and width that a picture is resized to.
    classes : (str, str)
        The names of label 0 and label 1.
    threshold : float
        A probability above it means label 1; in (0, 1).
    resize, decode : str
        As in the training set: a new picture is treated the same.
    trained_with : mapping of str to str, int or float
        The parameters that made it and the SHA-256 of the training set.

    Raises
    ------
    DataError
        If shapes, types or ranges do not fit each other.
    """

    parameters: Parameters
    num_px: int
    classes: tuple[str, str]
    threshold: float
    resize: str
    decode: str
    trained_with: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_classes(self.classes)
        check_treatment(self.resize, self.decode)
        n_x = self.num_px * self.num_px * CHANNELS
        if self.parameters.w.shape != (n_x,):
            raise DataError(f"w has shape {self.parameters.w.shape}; expected ({n_x},) for num_px = {self.num_px}")
        if not (np.isfinite(self.parameters.w).all() and np.isfinite(self.parameters.b)):
            raise DataError("w or b is not finite")
        if not 0 < self.threshold < 1:
            raise DataError(f"threshold is {self.threshold}; expected a number between 0 and 1")

    @property
    def sha256(self) -> str:
        """SHA-256 of w, b and all other fields, as 64 hexadecimal digits."""
        header = {
            "num_px": self.num_px,
            "classes": self.classes,
            "threshold": self.threshold,
            "trained_with": dict(self.trained_with),
            "resize": self.resize,
            "decode": self.decode,
        }
        arrays = [np.asarray(value, dtype=np.float64) for value in (self.parameters.w, self.parameters.b)]
        digest = new_digest("model", header, *arrays)
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype="<f8").data)
        return digest.hexdigest()


def save_prepared(path: Path, prepared: PreparedSet) -> None:
    """Write `prepared` to `path`, whole or not at all.

    Never more than a few blocks of X are in memory: HDF5 puts all else together, with X declared last, and the pixels
    are written behind it, one block of rows after the other.

    Parameters
    ----------
    path : Path
        The file to make or replace.
    prepared : PreparedSet
        Its X is read twice, the first time for its SHA-256.

    Raises
    ------
    DataError
        If X gives another block of rows than was asked for.
    OSError
        If the disk is full or cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["Y"] = prepared.Y
        file["names"] = store_names(prepared.names)
        write_header(file.attrs, "prepared", _header_of(prepared))
        file.attrs["source"] = np.bytes_(json.dumps(prepared.source))
        offset = _declare_pixels(file, prepared.X.shape)
    if image.getbuffer().nbytes > offset:
        raise RuntimeError("HDF5 has put something behind the pixels")
    with replacing(path) as temporary, temporary.open("wb") as stream:
        stream.write(image.getbuffer())
        stream.seek(offset)
        for block in row_blocks(prepared.X):
            stream.write(block.data)


def load_prepared(path: Path) -> PreparedSet:
    """Read a prepared set and check all of it.

    X is an ndarray and `names` a tuple; where X takes more than `memory_bound()`, a `PixelFile` and `StoredNames`.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    SettingsError
        As in `memory_bound`.
    """
    bound = memory_bound()
    with open_hdf5(path, remedy=_REMEDY) as file:
        attributes = read_attributes(file)
        header = read_header(attributes, "prepared")
        dataset = find_dataset(file, "X", "uint8", 2, contiguous=True)
        large = dataset.nbytes > bound
        X: Pixels = (
            PixelFile(path, offset=dataset.id.get_offset(), shape=dataset.shape)
            if large
            else read_dataset(file, "X", dtype="uint8", ndim=2, contiguous=True)
        )
        stored = StoredNames(read_dataset(file, "names", dtype="bytes", ndim=1, contiguous=True))
        prepared = PreparedSet(
            X=X,
            Y=read_dataset(file, "Y", dtype="uint8", ndim=1, contiguous=True),
            names=stored if large else tuple(stored),
            num_px=header.num_px,
            classes=header.classes,
            source=read_json_attribute(attributes, "source", str),
            resize=header.resize,
            decode=header.decode,
        )
    _check_digest(path, prepared.sha256, header.sha256)
    return prepared


def save_model(path: Path, model: Model) -> None:
    """Write `model` to `path`, whole or not at all."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["w"] = model.parameters.w
        file["b"] = np.float64(model.parameters.b)
        write_header(file.attrs, "model", _header_of(model))
        file.attrs["threshold"] = model.threshold
        file.attrs["trained_with"] = np.bytes_(json.dumps(dict(model.trained_with)))
    with replacing(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def load_model(path: Path) -> Model:
    """Read a model and check all of it.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    """
    with open_hdf5(path, remedy=_REMEDY) as file:
        attributes = read_attributes(file)
        header = read_header(attributes, "model")
        n_x = header.num_px * header.num_px * CHANNELS
        w = read_dataset(file, "w", dtype="float64", ndim=1, contiguous=True, most_bytes=8 * n_x)
        b = read_dataset(file, "b", dtype="float64", ndim=0, contiguous=True)
        model = Model(
            parameters=Parameters(w=w, b=float(b)),
            num_px=header.num_px,
            classes=header.classes,
            threshold=float(read_attribute(attributes, "threshold", float)),
            trained_with=read_json_attribute(attributes, "trained_with", dict),
            resize=header.resize,
            decode=header.decode,
        )
    _check_digest(path, model.sha256, header.sha256)
    return model


def _header_of(content: PreparedSet | Model) -> Header:
    """Return what a file says about its content in any case."""
    return Header(content.num_px, content.classes, content.resize, content.decode, content.sha256)


def _declare_pixels(file: h5py.File, shape: tuple[int, ...]) -> int:
    """Give X its place at the end of a new file and write nothing there; return where it begins."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return int(file.create_dataset("X", shape, np.uint8, dcpl=plan, fill_time="never").id.get_offset())


def _check_digest(path: Path, computed: str, written: str) -> None:
    """Compare the content of `path` with the SHA-256 that was written beside it."""
    if computed != written:
        raise DataError(
            f"'{path}': its content does not fit its SHA-256 ({computed[:12]} instead of {written[:12]}): it was "
            f"changed; {_REMEDY}"
        )
