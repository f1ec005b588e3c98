"""The file models/snapshots.h5: w and b of one training at some of its iterations, in HDF5."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from one_neuron.errors import REMEDY, DataError
from one_neuron.gradient_descent.snapshots import LIMIT
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage import header
from one_neuron.storage.hdf5 import open_hdf5, read_attributes, read_dataset
from one_neuron.storage.model import Model
from one_neuron.system.files import atomic_write

Snapshots = Mapping[int, Parameters]


def save_snapshots(path: Path, snapshots: Snapshots, model: Model) -> None:
    """Write w and b by their iterations, the last of which gave `model`, to `path`: whole or not at all."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["iterations"] = np.array(list(snapshots), np.int64)
        file["w"] = np.array([parameters.w for parameters in snapshots.values()])
        file["b"] = np.array([parameters.b for parameters in snapshots.values()])
        sha256 = _compute_sha256(snapshots, model.preprocessing, model.classes)
        header.write_header(file.attrs, "snapshots", model.preprocessing, model.classes, sha256)
        file.attrs["model_sha256"] = np.bytes_(model.sha256)
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def load_snapshots(path: Path, model: Model) -> Snapshots:
    """Read the snapshots of the training that gave `model`, and check all of them.

    Returns
    -------
    mapping of int to Parameters
        w and b after that many updates, at no more than `gradient_descent.snapshots.LIMIT` iterations in ascending
        order. The first is 0, and the last has the w and b of `model`.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, changed since it was written, or of
        another training.
    """
    with open_hdf5(path, remedy=REMEDY) as file:
        attributes = read_attributes(file)
        preprocessing, classes, sha256 = header.read_header(attributes, "snapshots")
        n_x = preprocessing.n_x
        if header.read_attribute(attributes, "model_sha256", str) != model.sha256:
            raise DataError("it belongs to another model")
        most = 8 * LIMIT
        iterations = read_dataset(file, "iterations", dtype="int64", ndim=1, contiguous=True, most_bytes=most)
        w = read_dataset(file, "w", dtype="float64", ndim=2, contiguous=True, most_bytes=most * n_x)
        b = read_dataset(file, "b", dtype="float64", ndim=1, contiguous=True, most_bytes=most)
        count = len(iterations)
        if not count or w.shape != (count, n_x) or b.shape != (count,):
            raise DataError(
                f"iterations, w and b have shapes {iterations.shape}, {w.shape} and {b.shape}; "
                f"expected ({count},), ({count}, {n_x}) and ({count},)"
            )
    rows = (Parameters(w=row, b=value) for row, value in zip(w, b.tolist(), strict=True))
    snapshots = dict(zip(iterations.tolist(), rows, strict=True))
    header.check_digest(path, _compute_sha256(snapshots, preprocessing, classes), sha256)
    return snapshots


def _compute_sha256(snapshots: Snapshots, preprocessing: Preprocessing, classes: Sequence[str]) -> str:
    """Return the SHA-256 of the snapshots and of what the header says about them."""
    digest = header.new_digest("snapshots", {**asdict(preprocessing), "classes": classes, "iterations": [*snapshots]})
    for parameters in snapshots.values():
        for value in (parameters.w, parameters.b):
            digest.update(np.ascontiguousarray(value, dtype="<f8").data)
    return digest.hexdigest()
