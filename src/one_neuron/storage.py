"""The HDF5 files between the stages: prepared sets and models. The only room that knows h5py."""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, OneNeuronError, one_line
from one_neuron.file_header import new_digest, read_attribute, read_header, read_json_attribute, write_header
from one_neuron.files import replacing
from one_neuron.neuron import Parameters
from one_neuron.pixel_file import (
    MEMORY_VARIABLE,
    PixelFile,
    Pixels,
    StoredNames,
    memory_bound,
    names_as_bytes,
    row_blocks,
    store_names,
)

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
    source: str = ""

    def __post_init__(self) -> None:
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
        """SHA-256 of pixels, labels, names, geometry, classes and source, as 64 hexadecimal digits.

        It is the same wherever X lies, and is worked out once, in one pass over X.
        """
        header = {"num_px": self.num_px, "classes": self.classes, "source": self.source}
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
    trained_with: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_x = self.num_px * self.num_px * CHANNELS
        if self.parameters.w.shape != (n_x,):
            raise DataError(f"w has shape {self.parameters.w.shape}; expected ({n_x},) for num_px = {self.num_px}")
        if not (np.isfinite(self.parameters.w).all() and np.isfinite(self.parameters.b)):
            raise DataError("w or b is not finite")
        if not 0 < self.threshold < 1:
            raise DataError(f"threshold is {self.threshold}; expected a number between 0 and 1")

    @property
    def sha256(self) -> str:
        """SHA-256 of w, b, geometry, classes, threshold and training parameters, as 64 hexadecimal digits."""
        header = {
            "num_px": self.num_px,
            "classes": self.classes,
            "threshold": self.threshold,
            "trained_with": dict(self.trained_with),
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
        write_header(file.attrs, "prepared", num_px=prepared.num_px, classes=prepared.classes, sha256=prepared.sha256)
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
        num_px, classes, sha256 = read_header(file.attrs, "prepared")
        dataset = _find_dataset(file, "X", "uint8", 2)
        large = dataset.nbytes > bound
        X: Pixels = _open_pixels(path, dataset) if large else read_dataset(file, "X", dtype="uint8", ndim=2)
        Y = read_dataset(file, "Y", dtype="uint8", ndim=1)
        stored = StoredNames(read_dataset(file, "names", dtype="bytes", ndim=1))
        names = stored if large else tuple(stored)
        source = read_json_attribute(file.attrs, "source", str)
        prepared = PreparedSet(X=X, Y=Y, names=names, num_px=num_px, classes=classes, source=source)
    _check_digest(path, prepared.sha256, sha256)
    return prepared


def save_model(path: Path, model: Model) -> None:
    """Write `model` to `path`, whole or not at all."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["w"] = model.parameters.w
        file["b"] = np.float64(model.parameters.b)
        write_header(file.attrs, "model", num_px=model.num_px, classes=model.classes, sha256=model.sha256)
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
        num_px, classes, sha256 = read_header(file.attrs, "model")
        w = read_dataset(file, "w", dtype="float64", ndim=1)
        b = read_dataset(file, "b", dtype="float64", ndim=0)
        model = Model(
            parameters=Parameters(w=w, b=float(b)),
            num_px=num_px,
            classes=classes,
            threshold=float(read_attribute(file.attrs, "threshold", float)),
            trained_with=read_json_attribute(file.attrs, "trained_with", dict),
        )
    _check_digest(path, model.sha256, sha256)
    return model


@contextmanager
def open_hdf5(path: Path, *, remedy: str) -> Iterator[h5py.File]:
    """Open `path` for reading; every problem found in the block names the file and the remedy.

    Parameters
    ----------
    path : Path
        An HDF5 file.
    remedy : str
        What the user can do, for the end of the message.

    Raises
    ------
    DataError
        If the file is missing or not readable as HDF5, or if the block raises a DataError.
    """
    if not path.exists():
        raise DataError(f"'{path}' is missing; {remedy}")
    if not path.is_file():
        raise DataError(f"'{path}' is not a file; {remedy}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OneNeuronError as error:
        raise DataError(f"'{path}': {error}; {remedy}") from error
    except PermissionError as error:
        raise DataError(f"'{path}' may not be read (permission denied); {remedy}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"'{path}' is not a readable HDF5 file ({one_line(error)}); {remedy}") from error


def read_dataset(file: h5py.File, key: str, *, dtype: str | Sequence[str], ndim: int | Sequence[int]) -> NDArray[Any]:
    """Read the dataset `key` after checking that it is one, of the right type and dimensions, and really stored.

    Parameters
    ----------
    file : h5py.File
        An open file.
    key : str
        Name of the dataset.
    dtype : str or sequence of str
        Names of the accepted types, for instance "uint8".
    ndim : int or sequence of int
        The accepted numbers of dimensions.

    Returns
    -------
    ndarray
        The whole dataset.

    Raises
    ------
    DataError
        If the key is missing (the keys present are named) or the dataset does not fit.
    """
    dataset = _find_dataset(file, key, dtype, ndim)
    values = dataset[()]
    return np.asarray(values, dtype=dataset.dtype.newbyteorder("="))


def _find_dataset(file: h5py.File, key: str, dtype: str | Sequence[str], ndim: int | Sequence[int]) -> h5py.Dataset:
    """Return the dataset `key` after the checks of `read_dataset`, without reading it."""
    if key not in file:
        raise DataError(f"the key '{key}' is missing; present: {', '.join(sorted(file)) or 'none'}")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset):
        raise DataError(f"'{key}' is a group, not a dataset")
    dtypes, ndims = np.atleast_1d(dtype), np.atleast_1d(ndim)
    found = "bytes" if dataset.dtype.kind == "S" else dataset.dtype.newbyteorder("=").name  # text of any fixed length
    if found not in dtypes:
        raise DataError(f"'{key}' has type {dataset.dtype}; expected {' or '.join(dtypes)}")
    if dataset.ndim not in ndims:
        raise DataError(f"'{key}' has {dataset.ndim} dimensions; expected {' or '.join(map(str, ndims))}")
    # A file of two kilobytes can claim a terabyte of zeros: believe only what is stored.
    if dataset.chunks is None and dataset.id.get_storage_size() != dataset.nbytes:
        raise DataError(f"'{key}' claims {dataset.nbytes} bytes and stores {dataset.id.get_storage_size()}")
    return dataset


def _declare_pixels(file: h5py.File, shape: tuple[int, ...]) -> int:
    """Give X its place at the end of a new file and write nothing there; return where it begins."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return int(file.create_dataset("X", shape, np.uint8, dcpl=plan, fill_time="never").id.get_offset())


def _open_pixels(path: Path, dataset: h5py.Dataset) -> PixelFile:
    """Return the pixels of a dataset that is to stay on disk; check that they lie there one after the other."""
    plan, offset = dataset.id.get_create_plist(), dataset.id.get_offset()
    if plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_external_count() or offset is None:
        raise DataError(
            f"'X' takes {dataset.nbytes} bytes, more than {MEMORY_VARIABLE} allows in memory, and cannot stay on disk: "
            "it is not stored there in one piece"
        )
    if offset + dataset.nbytes > path.stat().st_size:
        raise DataError(f"'X' ends {offset + dataset.nbytes - path.stat().st_size} bytes behind the end of the file")
    return PixelFile(path, offset=offset, shape=dataset.shape)


def _check_digest(path: Path, computed: str, written: str) -> None:
    """Compare the content of `path` with the SHA-256 that was written beside it."""
    if computed != written:
        raise DataError(
            f"'{path}': its content does not fit its SHA-256 ({computed[:12]} instead of {written[:12]}): it was "
            f"changed; {_REMEDY}"
        )
