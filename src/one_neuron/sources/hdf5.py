"""Pictures in the user's own HDF5 files, with the course's names of datasets or others."""

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem, quote_path
from one_neuron.layout import WORK_FOLDER, find_repository
from one_neuron.pictures.convert import flatten_pictures, resize_pixels
from one_neuron.pictures.limits import MAX_PIXELS, MAX_SIDE
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.rows import Pixels
from one_neuron.settings.params import DataSettings, Hdf5Settings
from one_neuron.sources.hdf5_stream import PictureStream, open_pictures
from one_neuron.sources.hdf5_worker import REMEDY
from one_neuron.storage.names import StoredNames
from one_neuron.storage.pixel_file import BLOCK_BYTES, PixelFile, memory_bound
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.system.machine import count_cores
from one_neuron.unicode_forms import find_same

Split = Callable[[Sequence[bytes], NDArray[Any]], NDArray[np.bool_]]
_DEFAULT_CLASSES = ("0", "1")


def load(path: Path, data: DataSettings, keys: Hdf5Settings, *, split: Split) -> tuple[PreparedSet, PreparedSet]:
    """Read a training and a test set.

    Parameters
    ----------
    path : Path
        One file with everything, or the folder in which the two files lie.
    data : DataSettings
        The source and the preprocessing of the pictures.
    keys : Hdf5Settings
        The names of files and datasets. Without `test_x` all rows are split; without `classes` they are "0" and "1".
    split : callable
        Takes the SHA-256 of the pixels of each picture and its label, and returns True for the test set.

    Returns
    -------
    train, test : PreparedSet
        Pixels that take more than `memory_bound()` stay on disk.

    Raises
    ------
    DataError
        If a file is missing, damaged, or has other contents than expected; the message names file and dataset.
    """
    names = (keys.train_file, keys.test_file)
    train_file, test_file = (find_same(path / name) or path / name for name in names) if path.is_dir() else (path, path)
    if keys.test_x:
        return load_pair(train_file, test_file, data, keys)
    return _load_and_split(train_file, data, keys, split)


def load_pair(
    train_file: Path, test_file: Path, data: DataSettings, keys: Hdf5Settings
) -> tuple[PreparedSet, PreparedSet]:
    """Read a training and a test set that are stored separately.

    Parameters
    ----------
    train_file, test_file : Path
        May be the same.
    data, keys
        As in `load`.

    Raises
    ------
    DataError
        As in `load`, or if the two sets do not fit each other.
    """
    with (
        open_pictures(train_file, x=keys.train_x, y=keys.train_y, classes=keys.classes) as train,
        open_pictures(test_file, x=keys.test_x, y=keys.test_y, classes=keys.classes) as test,
    ):
        _check_pair(train, test)
        train_set, test_set = (
            _make_set(stream, key, _collect(stream, data), data, np.arange(stream.shape[0]))
            for stream, key in ((train, keys.train_x), (test, keys.test_x))
        )
    return train_set, test_set


def _load_and_split(
    path: Path, data: DataSettings, keys: Hdf5Settings, split: Split
) -> tuple[PreparedSet, PreparedSet]:
    """Read one set and divide it."""
    digests: list[bytes] = []
    with open_pictures(path, x=keys.train_x, y=keys.train_y, classes=keys.classes) as stream:
        X = _collect(stream, data, digests)
    held_out = split(digests, stream.labels)
    if held_out.all() or not held_out.any():
        raise DataError(
            f"'{path}': the {len(held_out)} pictures of '{keys.train_x}' cannot be divided into a training and a test "
            f"set: two different ones of each class are needed; {REMEDY}"
        )
    train, test = (
        _make_set(stream, keys.train_x, X[rows] if isinstance(X, np.ndarray) else X.take(rows), data, rows)
        for rows in (np.flatnonzero(~held_out), np.flatnonzero(held_out))
    )
    return train, test


def _check_pair(train: PictureStream, test: PictureStream) -> None:
    """Refuse a test set whose pictures or classes differ in kind from those of the training set."""
    for what, one, other in (
        ("pictures of height and width", train.shape[1:], test.shape[1:]),
        ("the classes", train.classes, test.classes),
    ):
        if one != other:
            raise DataError(
                f"'{train.path}' has {what} {one} for training, '{test.path}' {other} for testing; "
                f"expected the same; {REMEDY}"
            )


def _make_set(stream: PictureStream, key: str, X: Pixels, data: DataSettings, rows: NDArray[np.intp]) -> PreparedSet:
    """Return the prepared set of some pictures, whose pixels are X."""
    names = _names(key, rows)
    return PreparedSet(
        X=X,
        Y=stream.labels[rows],
        names=tuple(names) if isinstance(X, np.ndarray) else names,
        preprocessing=data.preprocessing,
        classes=stream.classes or _DEFAULT_CLASSES,
        source=data.source,
    )


def _names(key: str, rows: NDArray[np.intp]) -> StoredNames:
    """Return the names of the pictures, in compact form: there may be millions."""
    longest = len(os.fsencode(f"{key}[{rows[-1]}]"))
    names = (os.fsencode(f"{key}[{row}]") for row in rows.tolist())
    return StoredNames(np.fromiter(names, dtype=f"S{longest}", count=len(rows)))


def _collect(stream: PictureStream, data: DataSettings, digests: list[bytes] | None = None) -> Pixels:
    """Return the rows of all pictures: an array, or an unlinked temporary file if they take too much memory."""
    m, n_x = stream.shape[0], data.preprocessing.n_x
    blocks = _resized(stream, data.preprocessing, digests)
    if m * n_x > memory_bound():
        return _spool(blocks, (m, n_x))
    X = np.empty((m, n_x), dtype=np.uint8)
    start = 0
    for block in blocks:
        X[start : start + len(block)] = block
        start += len(block)
    return X


def _spool(blocks: Iterator[NDArray[np.uint8]], shape: tuple[int, int]) -> PixelFile:
    """Write rows to an unlinked temporary file, freed when its last reader closes it or is killed."""
    folder = find_repository() / WORK_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = 2 * math.prod(shape), shutil.disk_usage(folder).free  # the prepared set takes the same again
    if needed > free:
        raise EnvironmentProblem(
            f"{quote_path(folder)} has {free / 1e9:.1f} GB of free space; the rows of {shape[0]:,} pictures take "
            f"{needed / 1e9:.1f} GB: free some space, or lower data.num_px"
        )
    handle, name = tempfile.mkstemp(dir=folder, prefix="rows-")
    with os.fdopen(handle, "wb") as file:
        rows = PixelFile(Path(name), offset=0, shape=shape)
        Path(name).unlink()
        for block in blocks:
            file.write(block.data)
    return rows


def _resized(
    stream: PictureStream, preprocessing: Preprocessing, digests: list[bytes] | None
) -> Iterator[NDArray[np.uint8]]:
    """Yield blocks of resized rows; append the SHA-256 of each original picture to `digests`."""
    _, height, width = stream.shape
    if height * width > MAX_PIXELS or max(height, width) > MAX_SIDE:
        raise DataError(
            f"'{stream.path}' holds pictures of {height} x {width} pixels; at most {MAX_PIXELS:,} are read, and "
            f"{MAX_SIDE:,} a side: make the pictures smaller"
        )
    most = max(1, BLOCK_BYTES // preprocessing.n_x)  # rows of a block: small pictures may grow
    with ThreadPoolExecutor(count_cores()) as pool:  # Pillow releases the GIL
        for block in stream.blocks():
            if digests is not None:
                digests.extend(hashlib.sha256(picture.data).digest() for picture in block)
            if height == width == preprocessing.num_px:
                yield flatten_pictures(block)
                continue
            for start in range(0, len(block), most):
                resized = pool.map(partial(resize_pixels, preprocessing=preprocessing), block[start : start + most])
                yield np.stack([pixels.reshape(-1) for pixels in resized])
