"""The attributes of our own HDF5 files: kind, version, preprocessing, classes and SHA-256.

All text has a fixed length: HDF5 crashes or hangs on a damaged file with text of variable length.
"""

import hashlib
import json
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DamagedFile, DataError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.rows import RowsOnDisk

FORMAT_VERSION = 3
_Kind = TypeVar("_Kind", int, float, str)


def new_digest(kind: str, fields: Mapping[str, Any], *arrays: NDArray[Any] | RowsOnDisk) -> "hashlib._Hash":
    """Return a SHA-256 of everything about a content but its bytes, which the caller adds.

    Parameters
    ----------
    kind : str
        "prepared" or "model".
    fields : mapping
        Small values that JSON can represent.
    *arrays : ndarray or RowsOnDisk
        Their types and shapes are hashed, so that bytes cannot move from one array to the next unnoticed.
    """
    shapes = [[array.dtype.name, list(array.shape)] for array in arrays]
    return hashlib.sha256(json.dumps([kind, FORMAT_VERSION, fields, shapes], sort_keys=True).encode("ascii"))


def write_header(
    attributes: MutableMapping[str, Any], kind: str, preprocessing: Preprocessing, classes: tuple[str, str], sha256: str
) -> None:
    """Write the attributes that prepared sets and models have in common.

    Parameters
    ----------
    attributes : mutable mapping
        Of an open HDF5 file.
    kind : str
        "prepared" or "model".
    preprocessing : Preprocessing
        How pictures become rows of pixels.
    classes : (str, str)
        The names of label 0 and label 1.
    sha256 : str
        Of the content, 64 hexadecimal digits.
    """
    attributes["format"] = np.bytes_(f"one-neuron {kind}")
    attributes["format_version"] = FORMAT_VERSION
    attributes["num_px"] = preprocessing.num_px
    attributes["classes"] = np.bytes_(json.dumps(classes))
    attributes["resize"] = np.bytes_(preprocessing.resize)
    attributes["decode"] = np.bytes_(preprocessing.decode)
    attributes["sha256"] = np.bytes_(sha256)


def read_header(attributes: Mapping[str, Any], kind: str) -> tuple[Preprocessing, tuple[str, str], str]:
    """Check kind and version; return preprocessing, classes and SHA-256, as `write_header` takes them.

    Raises
    ------
    DataError
        If the file is of another kind or version, or a value is missing or out of range.
    """
    found = read_attribute(attributes, "format", str)
    if found != f"one-neuron {kind}":
        raise DataError(f"it is a file of the kind {found!r}; expected 'one-neuron {kind}'")
    version = read_attribute(attributes, "format_version", int)
    if version != FORMAT_VERSION:
        raise DataError(f"its format version is {version}; this program reads version {FORMAT_VERSION}")
    classes = read_json_attribute(attributes, "classes", list)
    check_classes(classes)
    preprocessing = Preprocessing(
        num_px=read_attribute(attributes, "num_px", int),
        resize=read_attribute(attributes, "resize", str),
        decode=read_attribute(attributes, "decode", str),
    )
    return preprocessing, (classes[0], classes[1]), read_attribute(attributes, "sha256", str)


def check_classes(classes: Sequence[object], *, place: str = "it") -> None:
    """Raise a DataError unless there are two different names, each printable on one line.

    Parameters
    ----------
    classes : sequence
        Of any length and type.
    place : str
        Where the names come from, for the message.
    """
    fit = [name for name in classes if isinstance(name, str) and name and name.isprintable()]
    if len(classes) != 2 or len(set(fit)) != 2:
        raise DataError(f"{place} names the classes {list(classes)}; expected two different names that can be printed")


def read_attribute(attributes: Mapping[str, Any], key: str, kind: type[_Kind]) -> _Kind:
    """Return the scalar attribute `key` of the given kind: int, float or str.

    Raises
    ------
    DataError
        If it is missing or of another kind.
    """
    kinds: Any = {int: (int, np.integer), float: (float, np.floating), str: str}[kind]
    value = attributes.get(key)
    if isinstance(value, bytes):
        value = value.decode("ascii")
    if not isinstance(value, kinds):
        raise DataError(f"the attribute '{key}' is {value!r}; expected {kind.__name__}")
    return kind(value)


def read_json_attribute(attributes: Mapping[str, Any], key: str, kind: type) -> Any:
    """Return an attribute that holds JSON of the given kind: list, dict or str.

    Raises
    ------
    DataError
        If it is missing, not JSON, or JSON of another kind.
    """
    text = read_attribute(attributes, key, str)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"the attribute '{key}' is not JSON") from error
    if not isinstance(value, kind):
        raise DataError(f"the attribute '{key}' is {text!r}; expected a JSON {kind.__name__}")
    return value


def check_digest(path: Path, computed: str, written: str) -> None:
    """Compare the SHA-256 of the content of `path` with the one that the file states."""
    if computed != written:
        raise DamagedFile(
            f"'{path}': its content does not fit its SHA-256 ({computed[:12]} instead of {written[:12]}): "
            "it was changed",
            path,
        )
