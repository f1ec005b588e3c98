"""Trained neurons: `Model`, and its HDF5 file models/model.h5."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import h5py
import numpy as np

from one_neuron.errors import REMEDY, DataError
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage import header
from one_neuron.storage.hdf5 import open_hdf5, read_attributes, read_dataset
from one_neuron.system.files import atomic_write


@dataclass(frozen=True)
class Model:
    """A trained neuron with everything that is needed to apply it to a new picture.

    Parameters
    ----------
    parameters : Parameters
        w of shape (n_x,) and b.
    preprocessing : Preprocessing
        That of the training set; new pictures need the same.
    classes : (str, str)
        The names of label 0 and label 1.
    threshold : float
        A probability above it means label 1; in (0, 1).
    trained_with : mapping of str to str, int or float
        The parameters of the training and the SHA-256 of the training set.

    Raises
    ------
    DataError
        If shapes, types or ranges do not fit each other.
    """

    parameters: Parameters
    preprocessing: Preprocessing
    classes: tuple[str, str]
    threshold: float
    trained_with: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        header.check_classes(self.classes)
        num_px, n_x = self.preprocessing.num_px, self.preprocessing.n_x
        if self.parameters.w.shape != (n_x,):
            raise DataError(f"w has shape {self.parameters.w.shape}; expected ({n_x},) for num_px = {num_px}")
        if not (np.isfinite(self.parameters.w).all() and np.isfinite(self.parameters.b)):
            raise DataError("w or b is not finite")
        if not 0 < self.threshold < 1:
            raise DataError(f"threshold is {self.threshold}; expected a number between 0 and 1")

    @property
    def sha256(self) -> str:
        """SHA-256 of w, b and all other fields, as 64 hexadecimal digits."""
        fields = {
            **asdict(self.preprocessing),
            "classes": self.classes,
            "threshold": self.threshold,
            "trained_with": dict(self.trained_with),
        }
        arrays = [np.asarray(value, dtype=np.float64) for value in (self.parameters.w, self.parameters.b)]
        digest = header.new_digest("model", fields, *arrays)
        for array in arrays:
            digest.update(np.ascontiguousarray(array, dtype="<f8").data)
        return digest.hexdigest()


def save_model(path: Path, model: Model) -> None:
    """Write `model` to `path`, whole or not at all."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        file["w"] = model.parameters.w
        file["b"] = np.float64(model.parameters.b)
        header.write_header(file.attrs, "model", model.preprocessing, model.classes, model.sha256)
        file.attrs["threshold"] = model.threshold
        file.attrs["trained_with"] = np.bytes_(json.dumps(dict(model.trained_with)))
    with atomic_write(path) as temporary:
        temporary.write_bytes(image.getbuffer())


def load_model(path: Path | str) -> Model:
    """Read a model and check all of it.

    Raises
    ------
    DataError
        If the file is missing, not HDF5, of another kind or version, incomplete, out of range, or changed since it
        was written.
    """
    path = Path(path)
    with open_hdf5(path, remedy=REMEDY) as file:
        attributes = read_attributes(file)
        preprocessing, classes, sha256 = header.read_header(attributes, "model")
        most = 8 * preprocessing.n_x
        w = read_dataset(file, "w", dtype="float64", ndim=1, contiguous=True, most_bytes=most)
        b = read_dataset(file, "b", dtype="float64", ndim=0, contiguous=True)
        model = Model(
            parameters=Parameters(w=w, b=float(b)),
            preprocessing=preprocessing,
            classes=classes,
            threshold=header.read_attribute(attributes, "threshold", float),
            trained_with=header.read_json_attribute(attributes, "trained_with", dict),
        )
    header.check_digest(path, model.sha256, sha256)
    return model
