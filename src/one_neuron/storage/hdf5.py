"""Reading untrusted HDF5 files: the HDF5 library sees a dataset only after the checks in this module.

A file of two kilobytes can claim a terabyte, point into other files, ask for plug-ins, or unpack to a thousand times
its size. The checks bound memory and keep the library inside the file. A damaged file can still crash the library, so
users' files are read in a separate process (`sources.hdf5_worker`).
"""

import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DamagedFile, DataError, OneNeuronError
from one_neuron.file_kind import explain_hdf5
from one_neuron.unicode_forms import encode_forms

MAX_CHUNK_BYTES = 64 * 2**20  # HDF5 unpacks a chunk as a whole
_MAX_ATTRIBUTES = 32
_MAX_ATTRIBUTE_BYTES = 2**20
_MAX_KEYS_NAMED = 20  # in a message
# The filters built into HDF5 and h5py; for any other filter HDF5 would load a plug-in.
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_CLASSES = {  # the names of other types, for messages
    h5py.h5t.ARRAY: "array",
    h5py.h5t.BITFIELD: "bit field",
    h5py.h5t.COMPOUND: "compound",
    h5py.h5t.OPAQUE: "opaque",
    h5py.h5t.REFERENCE: "reference",
    h5py.h5t.TIME: "time",
    h5py.h5t.VLEN: "sequences of variable length",
}


@contextmanager
def open_hdf5(path: Path, *, remedy: str) -> Iterator[h5py.File]:
    """Open `path` for reading; every error raised in the block names the file and the remedy.

    Parameters
    ----------
    path : Path
        Anything but a regular file is refused before it is opened: opening a FIFO waits for ever.
    remedy : str
        The end of the message: what the user can do.

    Raises
    ------
    DataError
        If the file is missing; a DamagedFile if it is not readable as HDF5, or if the block raises a DataError.
    """
    _check_regular(path, remedy)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OneNeuronError as error:
        raise DamagedFile(f"'{path}': {error}", path, remedy=remedy) from error
    except PermissionError as error:
        raise DataError(f"'{path}' may not be read (permission denied); {remedy}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = explain_hdf5(path, error)
        raise DamagedFile(f"'{path}' is not a readable HDF5 file{why}", path, remedy=remedy) from error


def _check_regular(path: Path, remedy: str) -> None:
    """Refuse anything but a regular file, without opening it."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"'{path}' is missing; {remedy}") from error
    except OSError as error:  # a loop of links, no permission, too long a name
        raise DataError(f"'{path}' cannot be read ({error.strerror}); {remedy}") from error
    if not stat.S_ISREG(mode):
        raise DataError(f"'{path}' is not a file; {remedy}")


def read_dataset(
    file: h5py.File,
    key: str,
    *,
    dtype: str | Sequence[str],
    ndim: int | Sequence[int],
    contiguous: bool = False,
    most_bytes: int | None = None,
) -> NDArray[Any]:
    """Read the whole dataset `key` after the checks of `find_dataset`.

    Parameters
    ----------
    file, key, dtype, ndim, contiguous
        As in `find_dataset`.
    most_bytes : int, optional
        The most memory it may take. Needed for untrusted files: 1 MB of chunks can unpack to 1 GB.

    Returns
    -------
    ndarray
        In the machine's own byte order.

    Raises
    ------
    DataError
        As in `find_dataset`, or if it is larger.
    """
    dataset = find_dataset(file, key, dtype, ndim, contiguous=contiguous)
    if most_bytes is not None and _declared_bytes(dataset.id) > most_bytes:
        raise DataError(f"'{key}' takes {_declared_bytes(dataset.id)} bytes; at most {most_bytes} are read")
    return np.asarray(dataset[()], dtype=dataset.dtype.newbyteorder("="))


def find_dataset(
    file: h5py.File, key: str, dtype: str | Sequence[str], ndim: int | Sequence[int], *, contiguous: bool = False
) -> h5py.Dataset:
    """Find the dataset `key` without reading it, and check that it has the right type and is stored in this file.

    Parameters
    ----------
    file : h5py.File
    key : str
        Name of the dataset, with the names of its groups before it, separated by slashes.
    dtype : str or sequence of str
        Names of the accepted types, such as "uint8"; "bytes" is text of any fixed length.
    ndim : int or sequence of int
        The accepted numbers of dimensions.
    contiguous : bool
        Whether it has to be stored in one piece, as all datasets of our own files are.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    DataError
        If the key is missing (the message names the keys present) or the dataset does not fit.
    """
    found = _follow(file, key)
    if not isinstance(found, h5py.h5d.DatasetID):
        raise DataError(f"'{key}' is a {_kind_of(found)}, not a dataset")
    _check_layout(found, key, contiguous=contiguous)
    _check_type(found, key, list(np.atleast_1d(dtype)))
    ndims = np.atleast_1d(ndim)
    if found.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        raise DataError(f"'{key}' is empty")
    if found.rank not in ndims:
        raise DataError(f"'{key}' has {found.rank} dimensions; expected {' or '.join(map(str, ndims))}")
    _check_stored(file, found, key)
    return h5py.Dataset(found)


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """Read all attributes of one of our own files: single numbers and text of fixed length.

    HDF5 crashes or hangs on damaged text of variable length.

    Returns
    -------
    dict of str to NumPy scalar or bytes

    Raises
    ------
    DataError
        If there are too many attributes, or one is of another kind or too large.
    """
    count = h5py.h5a.get_num_attrs(file.id)
    if count > _MAX_ATTRIBUTES:
        raise DataError(f"it has {count} attributes; expected at most {_MAX_ATTRIBUTES}")
    names: list[bytes] = []
    h5py.h5a.iterate(file.id, names.append)
    values = {}
    for name in names:
        key = name.decode("utf-8", "backslashreplace")
        attribute = h5py.h5a.open(file.id, name)
        kind, space = attribute.get_type(), attribute.get_space()
        if kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING) or _is_variable(kind):
            raise DataError(f"the attribute '{key}' is neither a number nor text of a fixed length")
        if space.get_simple_extent_type() != h5py.h5s.SCALAR or kind.get_size() > _MAX_ATTRIBUTE_BYTES:
            raise DataError(f"the attribute '{key}' is not a single value, or too large")
        values[key] = file.attrs[name]
    return values


def _follow(file: h5py.File, key: str) -> Any:
    """Return the low-level object `key`, following only hard links: other links may point out of the file."""
    place: Any = file.id
    for part in [part for part in key.split("/") if part] or [""]:
        if not isinstance(place, h5py.h5g.GroupID | h5py.h5f.FileID):
            raise DataError(f"'{key}' cannot be reached: what lies before '{part}' is a {_kind_of(place)}, not a group")
        name = next((form for form in encode_forms(part) if place.links.exists(form)), b"")
        if not name:
            raise DataError(f"the key '{key}' is missing; present: {_present(place)}")
        if place.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise DataError(f"'{key}' is a link ('{part}'), which is not followed; store the data in the file itself")
        place = h5py.h5o.open(place, name)
    return place


def _present(place: Any) -> str:
    """Return the names in a group, as many as fit into a message."""
    names: list[str] = []

    def take(name: bytes) -> bool | None:
        names.append(name.decode("utf-8", "backslashreplace"))
        return True if len(names) > _MAX_KEYS_NAMED else None

    place.links.iterate(take)
    listed = sorted(names[:_MAX_KEYS_NAMED]) + ["..."] * (len(names) > _MAX_KEYS_NAMED)
    return ", ".join(listed) or "none"


def _kind_of(found: Any) -> str:
    """Return the name of a kind of HDF5 object."""
    kinds = {h5py.h5g.GroupID: "group", h5py.h5d.DatasetID: "dataset"}
    return next((name for kind, name in kinds.items() if isinstance(found, kind)), "named type")


def _check_layout(found: Any, key: str, *, contiguous: bool) -> None:
    """Refuse data in other files, filters that need plug-ins, and chunks too large for memory."""
    plan = found.get_create_plist()
    layout = plan.get_layout()
    if layout == h5py.h5d.VIRTUAL or plan.get_external_count():
        raise DataError(f"'{key}' lies in other files, which are not opened; store the data in the file itself")
    if contiguous and layout != h5py.h5d.CONTIGUOUS:
        raise DataError(f"'{key}' is not stored in one piece")
    filters = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    for code, _, _, name in filters:
        if code not in _FILTERS:
            raise DataError(
                f"'{key}' is packed with the filter {code} ({name.decode('ascii', 'replace') or 'no name'}); known are "
                f"{', '.join(_FILTERS.values())}: pack it again (h5repack -f GZIP=4)"
            )
    if len({code for code, *_ in filters}) < len(filters):
        raise DataError(f"'{key}' is packed with the same filter twice")
    if layout == h5py.h5d.CHUNKED:
        chunk_bytes = math.prod(map(int, plan.get_chunk())) * int(found.get_type().get_size())
        if chunk_bytes > MAX_CHUNK_BYTES:
            raise DataError(
                f"'{key}' is stored in chunks of {chunk_bytes} bytes; at most {MAX_CHUNK_BYTES} are read: "
                "store it in smaller ones (h5repack -l CHUNK=...)"
            )


def _check_type(found: Any, key: str, dtypes: Sequence[str]) -> None:
    """Check the type of a dataset, without following references."""
    kind = found.get_type()
    if kind.committed():
        raise DataError(f"'{key}' has a named type; store it with a plain one")
    if _is_variable(kind):
        raise DataError(
            f"'{key}' is text of variable length, which is not read; store it with a fixed length: "
            'numpy.array([...], dtype="S")'
        )
    if kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.STRING):
        dtype = kind.dtype
        name = "bytes" if dtype.kind == "S" else dtype.newbyteorder("=").name
        if h5py.check_enum_dtype(dtype) is not None:
            name = dtype = "enum"
    else:
        name = dtype = _CLASSES.get(kind.get_class(), "unknown")
    if name not in dtypes:
        raise DataError(f"'{key}' has type {dtype}; expected {' or '.join(dtypes)}")


def _is_variable(kind: Any) -> bool:
    """Return whether a type is text of variable length."""
    return kind.get_class() == h5py.h5t.STRING and bool(kind.is_variable_str())


def _declared_bytes(found: Any) -> int:
    """Return how many bytes a dataset would take in memory; NumPy's product would overflow."""
    return math.prod(map(int, found.shape)) * int(found.get_type().get_size())


def _check_stored(file: h5py.File, found: Any, key: str) -> None:
    """Refuse a dataset that claims more than it stores: a file of two kilobytes can claim a terabyte of zeros."""
    declared, plan = _declared_bytes(found), found.get_create_plist()
    if plan.get_layout() != h5py.h5d.CHUNKED:
        stored = int(found.get_storage_size())
        if stored != declared:
            raise DataError(f"'{key}' claims {declared} bytes and stores {stored}")
        return  # HDF5 itself checks that they lie within the file
    sides = zip(map(int, found.shape), map(int, plan.get_chunk()), strict=True)
    chunks = math.prod(-(-length // side) for length, side in sides)
    file_bytes = os.fstat(file.id.get_vfd_handle()).st_size
    # Each chunk takes at least a byte; more chunks than bytes need not be counted.
    stored = int(found.get_num_chunks()) if chunks <= file_bytes else 0
    if stored != chunks:
        raise DataError(f"'{key}' claims {declared} bytes in {chunks} chunks and stores {stored} of them")
    if found.get_storage_size() > file_bytes:
        raise DataError(f"'{key}' stores {found.get_storage_size()} bytes in a file of {file_bytes}")
