"""The HDF5 files between the stages: prepared sets and models. The only room that knows h5py."""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, OneNeuronError, one_line
from one_neuron.files import replacing
from one_neuron.neuron import Parameters

FORMAT_VERSION = 1
CHANNELS = 3  # RGB


@dataclass(frozen=True)
class PreparedSet:
    """Labelled pictures, ready for the neuron.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8
        One picture per row, n_x = num_px * num_px * 3 pixel values in [0, 255] (row, column, channel).
    Y : ndarray of shape (m,), uint8
        Labels in {0, 1}.
    names : sequence of m str
        Where each picture came from; for people, never read as a path.
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

    X: NDArray[np.uint8]
    Y: NDArray[np.uint8]
    names: tuple[str, ...]
    num_px: int
    classes: tuple[str, str]
    source: str = ""

    def __post_init__(self) -> None:
        n_x = self.num_px * self.num_px * CHANNELS
        if self.X.dtype != np.uint8 or self.X.ndim != 2 or self.X.shape[1] != n_x or len(self.X) == 0:
            raise DataError(
                f"X has shape {self.X.shape} and type {self.X.dtype}; expected (m, {n_x}) uint8 with m >= 1 "
                f"for num_px = {self.num_px}"
            )
        if self.Y.dtype != np.uint8 or self.Y.shape != (len(self.X),):
            raise DataError(
                f"Y has shape {self.Y.shape} and type {self.Y.dtype}; expected ({len(self.X)},) uint8, "
                "one label for each row of X"
            )
        wrong = np.flatnonzero(self.Y > 1)
        if wrong.size:
            raise DataError(f"Y[{wrong[0]}] is {self.Y[wrong[0]]}; labels are 0 or 1")
        if len(self.names) != len(self.X):
            raise DataError(f"there are {len(self.names)} names for {len(self.X)} pictures")

    @property
    def m(self) -> int:
        """Number of pictures."""
        return len(self.X)

    @property
    def sha256(self) -> str:
        """SHA-256 of pixels, labels, names, geometry, classes and source, as 64 hexadecimal digits."""
        header = {"num_px": self.num_px, "classes": self.classes, "names": self.names, "source": self.source}
        return _digest("prepared", header, self.X, self.Y)


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
        return _digest("model", header, self.parameters.w, np.float64(self.parameters.b))


def save_prepared(path: Path, prepared: PreparedSet) -> None:
    """Write `prepared` to `path`, whole or not at all."""
    with _new_hdf5(path) as file:
        file["X"] = prepared.X
        file["Y"] = prepared.Y
        file["names"] = np.array([os.fsencode(name) for name in prepared.names])
        _write_attributes(file, "prepared", prepared.num_px, prepared.classes, prepared.sha256)
        file.attrs["source"] = np.bytes_(json.dumps(prepared.source))


def load_prepared(path: Path) -> PreparedSet:
    """Read a prepared set and check all of it.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    """
    with open_hdf5(path, remedy="run `dvc repro` to make it again") as file:
        num_px, classes, sha256 = _read_attributes(file, "prepared")
        X = read_dataset(file, "X", dtype="uint8", ndim=2)
        Y = read_dataset(file, "Y", dtype="uint8", ndim=1)
        names = tuple(map(os.fsdecode, read_dataset(file, "names", dtype="bytes", ndim=1).tolist()))
        source = _read_json_attribute(file, "source", str)
        prepared = PreparedSet(X=X, Y=Y, names=names, num_px=num_px, classes=classes, source=source)
        _check_digest(prepared.sha256, sha256)
    return prepared


def save_model(path: Path, model: Model) -> None:
    """Write `model` to `path`, whole or not at all."""
    with _new_hdf5(path) as file:
        file["w"] = model.parameters.w
        file["b"] = np.float64(model.parameters.b)
        _write_attributes(file, "model", model.num_px, model.classes, model.sha256)
        file.attrs["threshold"] = model.threshold
        file.attrs["trained_with"] = np.bytes_(json.dumps(dict(model.trained_with)))


def load_model(path: Path) -> Model:
    """Read a model and check all of it.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    """
    with open_hdf5(path, remedy="run `dvc repro` to make it again") as file:
        num_px, classes, sha256 = _read_attributes(file, "model")
        w = read_dataset(file, "w", dtype="float64", ndim=1)
        b = read_dataset(file, "b", dtype="float64", ndim=0)
        model = Model(
            parameters=Parameters(w=w, b=float(b)),
            num_px=num_px,
            classes=classes,
            threshold=float(_attribute(file, "threshold", float)),
            trained_with=_read_json_attribute(file, "trained_with", dict),
        )
        _check_digest(model.sha256, sha256)
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
    values = dataset[()]
    return np.asarray(values, dtype=dataset.dtype.newbyteorder("="))


@contextmanager
def _new_hdf5(path: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file in memory; it becomes `path`, whole or not at all, when the block ends well.

    HDF5 itself does not survive a full disk: its clean-up fails again and the process dies of a segmentation fault.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    with replacing(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def _digest(kind: str, header: Mapping[str, Any], *arrays: NDArray[Any] | np.float64) -> str:
    """Return the SHA-256 of kind, header and the arrays' types, shapes and little-endian bytes."""
    shapes = [[array.dtype.name, list(array.shape)] for array in arrays]
    text = json.dumps([kind, FORMAT_VERSION, header, shapes], sort_keys=True)
    digest = hashlib.sha256(text.encode("ascii"))
    for array in arrays:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _write_attributes(file: h5py.File, kind: str, num_px: int, classes: Sequence[str], sha256: str) -> None:
    """Write what every file of ours carries.

    All text has a fixed length: HDF5 crashes or hangs on a damaged file with text of variable length.
    """
    file.attrs["format"] = np.bytes_(f"one-neuron {kind}")
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["num_px"] = num_px
    file.attrs["classes"] = np.bytes_(json.dumps(list(classes)))
    file.attrs["sha256"] = np.bytes_(sha256)


def _read_attributes(file: h5py.File, kind: str) -> tuple[int, tuple[str, str], str]:
    """Check format and version; return num_px, classes and the SHA-256 that was written."""
    found = _attribute(file, "format", str)
    if found != f"one-neuron {kind}":
        raise DataError(f"it is a file of the kind {found!r}; expected 'one-neuron {kind}'")
    version = int(_attribute(file, "format_version", int))
    if version != FORMAT_VERSION:
        raise DataError(f"its format version is {version}; this program reads version {FORMAT_VERSION}")
    classes = _read_json_attribute(file, "classes", list)
    if len(classes) != 2 or not all(isinstance(name, str) for name in classes):
        raise DataError(f"its classes are {classes}; expected two names")
    num_px = int(_attribute(file, "num_px", int))
    if num_px < 1:
        raise DataError(f"its num_px is {num_px}; expected at least 1")
    return num_px, (classes[0], classes[1]), str(_attribute(file, "sha256", str))


def _attribute(file: h5py.File, key: str, kind: type) -> Any:
    """Return the scalar attribute `key` of the given kind."""
    kinds = {int: (int, np.integer), float: (float, np.floating), str: (str,)}[kind]
    value = file.attrs.get(key)
    if isinstance(value, bytes):
        value = value.decode("ascii")
    if not isinstance(value, kinds):
        raise DataError(f"the attribute '{key}' is {value!r}; expected {kind.__name__}")
    return value


def _read_json_attribute(file: h5py.File, key: str, kind: type) -> Any:
    """Return an attribute that holds JSON of the given kind (list or dict)."""
    text = _attribute(file, key, str)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"the attribute '{key}' is not JSON") from error
    if not isinstance(value, kind):
        raise DataError(f"the attribute '{key}' is {text!r}; expected a JSON {kind.__name__}")
    return value


def _check_digest(computed: str, written: str) -> None:
    """Compare the content with the SHA-256 that was written beside it."""
    if computed != written:
        raise DataError(
            f"its content does not fit its SHA-256 ({computed[:12]} instead of {written[:12]}): it was changed"
        )
