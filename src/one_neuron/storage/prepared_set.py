"""Prepared sets: `PreparedSet`, labelled pictures as rows of pixels, and its HDF5 files data/prepared/*.h5."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import REMEDY, DataError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.rows import Pixels
from one_neuron.storage import header
from one_neuron.storage.hdf5 import find_dataset, open_hdf5, read_attributes, read_dataset
from one_neuron.storage.names import NamesOnDisk, StoredNames, names_as_bytes, store_names
from one_neuron.storage.pixel_file import PixelFile, memory_bound, row_blocks
from one_neuron.system.files import atomic_write


@dataclass(frozen=True)
class PreparedSet:
    """Labelled pictures, ready for training and prediction.

    Parameters
    ----------
    X : ndarray or RowsOnDisk of shape (m, n_x), uint8
        One picture per row, n_x = preprocessing.n_x pixel values in [0, 255] (row, column, channel). Not to be changed
        afterwards.
    Y : ndarray of shape (m,), uint8
        Labels in {0, 1}.
    names : sequence of m str
        Where each picture came from, for display; never used as a path. No name may end with a NUL character.
    preprocessing : Preprocessing
        How the pictures became rows of X.
    classes : (str, str)
        The names of label 0 and label 1.
    source : str
        The value of `data.source`.

    Raises
    ------
    DataError
        If shapes, types or ranges do not fit each other.
    """

    X: Any  # Pixels; callers also use it as an ndarray, which the type checker would refuse
    Y: NDArray[np.uint8]
    names: Sequence[str]
    preprocessing: Preprocessing
    classes: tuple[str, str]
    source: str

    def __post_init__(self) -> None:
        header.check_classes(self.classes)
        n_x = self.preprocessing.n_x
        if self.X.dtype != np.uint8 or len(self.X.shape) != 2 or self.X.shape[1] != n_x or self.X.shape[0] == 0:
            raise DataError(
                f"X has shape {self.X.shape} and type {self.X.dtype}; expected (m, {n_x}) uint8 with m >= 1 "
                f"for num_px = {self.preprocessing.num_px}"
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

        It does not depend on where X lies, and is computed once, in one pass over X.
        """
        fields = {**asdict(self.preprocessing), "classes": self.classes, "source": self.source}
        digest = header.new_digest("prepared", fields, self.X, self.Y)
        for block in row_blocks(self.X):
            digest.update(block.data)
        digest.update(np.ascontiguousarray(self.Y).data)
        for part in names_as_bytes(self.names):
            digest.update(part)
        return digest.hexdigest()


def save_prepared(path: Path, prepared: PreparedSet) -> None:
    """Write `prepared` to `path`, whole or not at all.

    Only a few blocks of X are in memory at a time: HDF5 builds the file without the pixels, with X declared last, and
    the pixels are then appended block by block.

    Parameters
    ----------
    path : Path
        The file to create or replace.
    prepared : PreparedSet
        Its X is read twice, the first time for its SHA-256.

    Raises
    ------
    DataError
        If reading X returns a block of the wrong shape.
    OSError
        If the disk is full or cannot be written.
    """
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["Y"] = prepared.Y
        file["names"] = store_names(prepared.names)
        header.write_header(file.attrs, "prepared", prepared.preprocessing, prepared.classes, prepared.sha256)
        file.attrs["source"] = np.bytes_(json.dumps(prepared.source))
        offset = _declare_pixels(file, prepared.X.shape)
    if image.getbuffer().nbytes > offset:
        raise RuntimeError("HDF5 wrote something after the pixels")
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        stream.write(image.getbuffer())
        stream.seek(offset)
        for block in row_blocks(prepared.X):
            stream.write(block.data)


def load_prepared(path: Path | str, *, on_disk: bool = False) -> PreparedSet:
    """Read a prepared set and check all of it.

    X is an ndarray and `names` a tuple, unless X takes more than `memory_bound()`: then they are a `PixelFile` and
    `StoredNames`, which stay in the file and are read where they are used.

    Parameters
    ----------
    path : Path or str
    on_disk : bool
        Whether pixels and names stay in the file whatever they take, for work that passes over them a few times.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    SettingsError
        As in `memory_bound`.
    """
    path, bound = Path(path), memory_bound()
    with open_hdf5(path, remedy=REMEDY) as file:
        attributes = read_attributes(file)
        preprocessing, classes, sha256 = header.read_header(attributes, "prepared")
        dataset = find_dataset(file, "X", "uint8", 2, contiguous=True)
        on_disk = on_disk or dataset.nbytes > bound
        X: Pixels = (
            PixelFile(path, offset=dataset.id.get_offset(), shape=dataset.shape)
            if on_disk
            else read_dataset(file, "X", dtype="uint8", ndim=2, contiguous=True)
        )
        stored = find_dataset(file, "names", "bytes", 1, contiguous=True)
        shape = (len(stored), stored.dtype.itemsize)
        names: Sequence[str] = (
            StoredNames(NamesOnDisk(PixelFile(path, offset=stored.id.get_offset(), shape=shape)))
            if on_disk
            else tuple(StoredNames(stored[()]))
        )
        prepared = PreparedSet(
            X=X,
            Y=read_dataset(file, "Y", dtype="uint8", ndim=1, contiguous=True),
            names=names,
            preprocessing=preprocessing,
            classes=classes,
            source=header.read_json_attribute(attributes, "source", str),
        )
    header.check_digest(path, prepared.sha256, sha256)
    return prepared


def _declare_pixels(file: h5py.File, shape: tuple[int, ...]) -> int:
    """Allocate X at the end of a new file without writing it; return the position of its first byte."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    return int(file.create_dataset("X", shape, np.uint8, dcpl=plan, fill_time="never").id.get_offset())
