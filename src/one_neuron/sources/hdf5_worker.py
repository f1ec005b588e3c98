"""The process that reads labelled pictures out of an untrusted HDF5 file, and sends them to `hdf5_stream`.

The HDF5 library crashes on some damaged files, never returns on others, and unpacks a megabyte to a gigabyte if the
file says so. This process therefore limits its own memory and time.
"""

import json
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, one_line
from one_neuron.storage.hdf5 import find_dataset, open_hdf5, read_dataset
from one_neuron.storage.header import check_classes
from one_neuron.storage.pixel_file import BLOCK_BYTES

if TYPE_CHECKING:
    import h5py

WHOLE_BYTES = 128 * 2**20  # of labels, which are read in one piece
REMEDY = "see data.path and the section hdf5 in params.yaml"
_MAX_NAME_BYTES = 1000
# Read at a time from a dataset in chunks: whole chunks, as many as possible, so that few are unpacked twice.
_PIECE_BYTES = 64 * 2**20
_FLOATS = ("float16", "float32", "float64")
_INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_MEMORY_BYTES = 400 * 2**20  # that the process may use beyond what it has at its start
_SECONDS = 4.0  # of computing, for each piece
_BYTES_PER_SECOND = 20e6  # that HDF5 unpacks on the slowest machine


def send_pictures(
    path: Path, x: str, y: str, classes: str, out: BinaryIO, *, allow: Callable[[int], None] = lambda _: None
) -> None:
    """Check a set of pictures and write it to `out`: a line of JSON, the labels, then the pixels, a byte each.

    Parameters
    ----------
    path, x, y, classes
        As in `hdf5_stream.open_pictures`, and so are the errors.
    allow : callable
        Called before each step with the number of bytes that HDF5 may have to unpack for it.
    """
    allow(0)
    with open_hdf5(path, remedy=REMEDY) as file:
        pictures = _find_pictures(file, x)
        labels = _read_labels(file, y)
        m = len(pictures)
        if len(labels) != m:
            raise DataError(f"'{x}' holds {m} pictures and '{y}' {len(labels)} labels; expected one for each")
        names = _read_classes(file, classes) if classes else None
        out.write(json.dumps({"shape": pictures.shape[:3], "classes": names}).encode() + b"\n")
        out.write(labels.data)
        del labels
        for piece, touched in _pieces(pictures.shape, pictures.chunks, pictures.dtype.itemsize):
            allow(touched)
            out.write(_to_bytes(pictures[piece], x, [part.start for part in piece]).data)


def _find_pictures(file: "h5py.File", x: str) -> "h5py.Dataset":
    """Return the dataset of pictures after checking its shape and type."""
    pictures = find_dataset(file, x, _INTEGERS, 4)
    if pictures.shape[3] != 3 or 0 in pictures.shape:
        raise DataError(f"'{x}' has shape {pictures.shape}; expected (m, height, width, 3) with at least one picture")
    return pictures


def _read_labels(file: "h5py.File", y: str) -> NDArray[np.uint8]:
    """Return the labels, (m,), from numbers or booleans of any type; numpy.zeros makes floats, which are exact here."""
    labels = read_dataset(file, y, dtype=("bool", *_INTEGERS, *_FLOATS), ndim=(1, 2), most_bytes=WHOLE_BYTES)
    if labels.ndim == 2 and 1 not in labels.shape:
        raise DataError(f"'{y}' has shape {labels.shape}; expected (m,), (1, m) or (m, 1)")
    # A stored boolean may be any byte.
    flat = labels.reshape(-1).view(np.uint8) if labels.dtype == np.bool_ else labels.reshape(-1)
    wrong = np.flatnonzero((flat != 0) & (flat != 1))  # NaN as well
    if wrong.size:
        raise DataError(
            f"'{y}'[{wrong[0]}] is {flat[wrong[0]]}; labels are 0 or 1: write for example (y == 1).astype('uint8')"
        )
    return flat.astype(np.uint8)


def _read_classes(file: "h5py.File", classes: str) -> tuple[str, str]:
    """Return the names of label 0 and label 1."""
    try:
        found = find_dataset(file, classes, "bytes", 1)
    except DataError as error:
        raise DataError(f"{error}; or set hdf5.classes to ''") from error
    if found.shape != (2,) or found.dtype.itemsize > _MAX_NAME_BYTES:
        raise DataError(
            f"'{classes}' has shape {found.shape} and type {found.dtype}; expected two texts of at most "
            f"{_MAX_NAME_BYTES} bytes"
        )
    try:
        first, second = (name.decode("utf-8") for name in found[:].tolist())
    except UnicodeDecodeError as error:
        raise DataError(f"'{classes}' is not UTF-8 ({one_line(error)}); expected two names") from error
    check_classes((first, second), place=f"'{classes}'")
    return first, second


def _to_bytes(values: NDArray[Any], x: str, start: Sequence[int]) -> NDArray[np.uint8]:
    """Return pixel values as uint8; a value out of range is an error and is never clipped."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    wrong = (values < 0) | (values > 255)
    if wrong.any():
        index = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        place = ", ".join(str(first + int(i)) for first, i in zip(start, index, strict=True))
        raise DataError(f"'{x}'[{place}] is {values[index]}; pixel values are whole numbers from 0 to 255")
    return values.astype(np.uint8)


def _pieces(
    shape: tuple[int, ...], chunks: tuple[int, ...] | None, itemsize: int
) -> Iterator[tuple[tuple[slice, ...], int]]:
    """Cut a dataset into consecutive pieces of bounded size.

    Parameters
    ----------
    shape : tuple of int
        Of the dataset; all at least 1.
    chunks : tuple of int, optional
        Shape of a chunk. A piece consists of whole chunks where possible.
    itemsize : int
        Bytes of a value.

    Yields
    ------
    piece : tuple of slice
        One slice for each dimension.
    touched : int
        An upper bound of the bytes in all chunks that HDF5 unpacks for the piece.
    """
    limit = max(1, (_PIECE_BYTES if chunks else BLOCK_BYTES) // itemsize)
    axis = next(axis for axis in range(len(shape)) if math.prod(shape[axis + 1 :]) <= limit)
    step = limit // math.prod(shape[axis + 1 :])
    sides = chunks or (1,) * len(shape)
    if step > sides[axis]:
        step -= step % sides[axis]
    extents = (*(1,) * axis, min(step, shape[axis]), *shape[axis + 1 :])
    touched = math.prod(extent + 2 * side for extent, side in zip(extents, sides, strict=True)) * itemsize
    whole = tuple(slice(0, length) for length in shape[axis + 1 :])
    for outer in product(*(range(length) for length in shape[:axis])):
        for start in range(0, shape[axis], step):
            inner = slice(start, min(start + step, shape[axis]))
            yield (*(slice(i, i + 1) for i in outer), inner, *whole), touched


def _limit_memory() -> None:
    """Limit the memory of this process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected; no core dumps
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, taken + _MEMORY_BYTES)


def _allow_time(touched: int) -> None:
    """Limit the CPU time of this process to what the next step can take; waiting for a disk does not count."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime + _SECONDS + touched / _BYTES_PER_SECOND
    _lower(resource.RLIMIT_CPU, math.ceil(seconds))


def _lower(kind: int, value: int) -> None:
    """Set a soft limit, at most the hard limit."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> int:
    """Send the pictures that the command line names to stdout; an error is one line on stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the reader of the pipe, which ends this process
    _limit_memory()
    path, x, y, classes = sys.argv[1:]
    try:
        send_pictures(Path(path), x, y, classes, sys.stdout.buffer, allow=_allow_time)
        sys.stdout.buffer.flush()
    except DataError as error:
        problem = one_line(error)
    except MemoryError:
        megabytes = _MEMORY_BYTES // 2**20
        problem = (
            f"'{path}' asks HDF5 for more than {megabytes} MB at a time; store it in smaller chunks, or get it again"
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    else:
        return 0
    sys.stderr.buffer.write(problem.encode("utf-8", "surrogateescape") + b"\n")
    return DataError.exit_code


if __name__ == "__main__":
    sys.exit(main())
