"""The course's cat / non-cat photographs: two HDF5 files with known SHA-256, from a folder or downloaded."""

import hashlib
import os
from pathlib import Path

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.file_kind import HDF5, HEAD_BYTES, find_kind
from one_neuron.settings.params import DataSettings, Hdf5Settings
from one_neuron.sources import hdf5
from one_neuron.storage.prepared_set import PreparedSet

FOLDER_VARIABLE = "ONE_NEURON_CATVNONCAT_DIR"
SHA256 = {
    "train_catvnoncat.h5": "fbe56ab67c3ae28d564e3a644189117976d6b31af0a3ce9bb17dbf22908af242",
    "test_catvnoncat.h5": "6a9d39ce52fa85953c5834695b8534a30ed8cfd54971fb2f080b5a24d002b951",
}
_KEYS = Hdf5Settings(
    train_file="train_catvnoncat.h5",
    test_file="test_catvnoncat.h5",
    train_x="train_set_x",
    train_y="train_set_y",
    test_x="test_set_x",
    test_y="test_set_y",
    classes="list_classes",
)
# Public copies of the same bytes, tried in turn. The pictures have no licence, so they are not part of this project.
ADDRESSES = (
    "https://raw.githubusercontent.com/ramakris/coursera-deeplearning/HEAD/Improving-DeepNN/datasets/{name}",
    "https://raw.githubusercontent.com/lalxyy/NEU-MCM-Training-4/HEAD/code/datasets/{name}",
    "https://raw.githubusercontent.com/Hiren2002/Logistic-Regression/HEAD/datasets/{name}",
)
_TIMEOUT = (3.0, 20.0)  # seconds to connect, and to wait for the next bytes


def load(data: DataSettings) -> tuple[PreparedSet, PreparedSet]:
    """Read the course's 209 training and 50 test pictures.

    Parameters
    ----------
    data : DataSettings
        With num_px = 64 the pixels are the course's, otherwise they are resized.

    Raises
    ------
    DataError
        If a file is missing from the folder that ONE_NEURON_CATVNONCAT_DIR names, or has another SHA-256.
    EnvironmentProblem
        If the variable is not set and the files can neither be found in the cache nor downloaded.
    """
    train, test = _find(_KEYS.train_file), _find(_KEYS.test_file)
    return hdf5.load_pair(train, test, data, _KEYS)


def _find(name: str) -> Path:
    """Return the checked file `name` from the user's folder or else from the cache, downloaded if it is missing."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return _download(name)
    path = Path(folder).expanduser() / name
    if not path.is_file():
        raise DataError(f"'{path}' does not exist; {FOLDER_VARIABLE} must name the folder that holds {name}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        kind = find_kind(content[:HEAD_BYTES])
        if kind is not None and kind.what != HDF5:
            raise DataError(f"'{path}' is not the course's HDF5 file: it is {kind.what}; {kind.remedy}")
        raise DataError(
            f"'{path}' has the SHA-256 {found}; expected {SHA256[name]}: it is another or a damaged file; "
            f"get it again, or unset {FOLDER_VARIABLE} to download it"
        )
    return path


def _download(name: str) -> Path:
    """Return the file from the user's cache; if it is missing, download it from the first copy that works."""
    import pooch  # takes 0.3 s; only this source needs it
    import requests

    pooch.get_logger().setLevel("WARNING")  # the progress bar is enough
    reasons = []
    for address in ADDRESSES:
        try:
            downloader = pooch.HTTPDownloader(timeout=_TIMEOUT, progressbar=True)
            file = pooch.retrieve(
                address.format(name=name),
                known_hash=f"sha256:{SHA256[name]}",
                fname=name,
                path=pooch.os_cache("one-neuron"),
                downloader=downloader,
            )
            return Path(file)
        except (requests.RequestException, ValueError) as error:  # ValueError: another SHA-256
            reasons.append(type(error).__name__)
        except OSError as error:
            raise EnvironmentProblem(f"'{pooch.os_cache('one-neuron')}' cannot be written: {error}") from error
    raise EnvironmentProblem(
        f"{name} could not be downloaded from {len(ADDRESSES)} addresses ({', '.join(reasons)}); "
        f"get it by hand and set {FOLDER_VARIABLE} to its folder, or use data.source: drawn"
    )
