"""Labelled pictures out of an HDF5 file that anyone may have written, read by a process of its own.

The HDF5 library crashes on some damaged files, loops for ever on others, and unpacks a megabyte to a gigabyte where the
file says so. The process has limits of memory and time, and what it sends is checked, so none of this goes further.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, one_line
from one_neuron.layout import SOURCE_ROOT
from one_neuron.storage.hdf5 import find_dataset, open_hdf5, read_dataset
from one_neuron.storage.header import check_classes
from one_neuron.storage.pixel_file import BLOCK_BYTES

if TYPE_CHECKING:
    import h5py

WHOLE_BYTES = 128 * 2**20  # of labels, which are read in one piece
REMEDY = "see data.path and the section hdf5 in params.yaml"
_MAX_NAME_BYTES = 1000
# Read at a time from a dataset in chunks: as many of them as possible, so that few are read twice.
_PIECE_BYTES = 64 * 2**20
_INTEGERS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_MEMORY_BYTES = 400 * 2**20  # that the process may take beyond what it has when it starts
_SECONDS = 4.0  # of computing, for each piece
_BYTES_PER_SECOND = 20e6  # that HDF5 unpacks, at the very least


@dataclass(frozen=True)
class PictureStream:
    """Pictures of one set, to be taken once, in their order.

    Parameters
    ----------
    path : Path
        The file they come from.
    shape : (int, int, int)
        Number, height and width of the pictures.
    labels : ndarray of shape (m,), uint8
        0 or 1 for each.
    classes : (str, str) or None
        The names of label 0 and label 1, where the file has them.
    process : Popen
        Sends the pixels.
    errors : binary file
        Where the process says what is wrong.
    """

    path: Path
    shape: tuple[int, int, int]
    labels: NDArray[np.uint8]
    classes: tuple[str, str] | None
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Give the pictures in blocks of some megabytes.

        Yields
        ------
        ndarray of shape (k, height, width, 3), uint8
            Together all pictures.

        Raises
        ------
        DataError
            If the file is damaged, or a value lies out of [0, 255]; the message names it.
        """
        m, height, width = self.shape
        rows = max(1, BLOCK_BYTES // (height * width * 3))
        for start in range(0, m, rows):
            block = np.empty((min(rows, m - start), height, width, 3), dtype=np.uint8)
            _receive(self.path, self.process, self.errors, block)
            yield block


@contextmanager
def open_pictures(path: Path, *, x: str, y: str, classes: str) -> Iterator[PictureStream]:
    """Start to read a set of pictures.

    Parameters
    ----------
    path : Path
        An HDF5 file.
    x, y : str
        The datasets of pictures, (m, height, width, 3), and of labels.
    classes : str
        The dataset of the two names; empty where there is none.

    Yields
    ------
    PictureStream

    Raises
    ------
    DataError
        If the file cannot be used; the message names it, the dataset and what is expected.
    """
    places = os.pathsep.join([str(SOURCE_ROOT), *filter(None, sys.path)])
    # BLAS would set memory aside for each of its threads
    environment = {**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, os.fspath(path), x, y, classes],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            header = json.loads(_output(process).readline() or _fail(path, process, errors))
            labels = np.empty(header["shape"][0], dtype=np.uint8)
            _receive(path, process, errors, labels)
            names = (header["classes"][0], header["classes"][1]) if header["classes"] else None
            yield PictureStream(path, tuple(header["shape"]), labels, names, process, errors)
        finally:
            process.kill()
            _output(process).close()
            process.wait()


def _output(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    """Return the end of the pipe that the process writes to."""
    assert process.stdout is not None
    return process.stdout


def _receive(path: Path, process: "subprocess.Popen[bytes]", errors: IO[bytes], out: NDArray[np.uint8]) -> None:
    """Fill `out` with the next bytes."""
    if _output(process).readinto(out.reshape(-1).data) != out.size:  # type: ignore[attr-defined]
        _fail(path, process, errors)


def _fail(path: Path, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> NoReturn:
    """Say why the process ended too early."""
    code = process.wait()
    errors.seek(0)
    said = errors.read().decode("utf-8", "surrogateescape").strip()
    if code == DataError.exit_code:
        raise DataError(said)
    if code == -signal.SIGXCPU:
        raise DataError(f"'{path}' is damaged: HDF5 does not come to an end with it; get the file again")
    if code < 0:
        raise DataError(f"'{path}' is damaged: HDF5 crashed on it (signal {-code}); get the file again")
    raise RuntimeError(f"reading '{path}' ended with {code}: {said}")


def send_pictures(
    path: Path, x: str, y: str, classes: str, out: BinaryIO, *, allow: Callable[[int], None] = lambda _: None
) -> None:
    """Check a set of pictures and write it: a line of JSON, the labels, then the pixels, a byte each.

    Parameters
    ----------
    path, x, y, classes
        As in `open_pictures`.
    out : binary stream
    allow : callable
        Is told before each step how many bytes HDF5 may have to unpack for it.

    Raises
    ------
    DataError
        As in `open_pictures`.
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
    """Return the dataset of pictures after the checks of its shape and type."""
    pictures = find_dataset(file, x, _INTEGERS, 4)
    if pictures.shape[3] != 3 or 0 in pictures.shape:
        raise DataError(f"'{x}' has shape {pictures.shape}; expected (m, height, width, 3) with at least one picture")
    return pictures


def _read_labels(file: "h5py.File", y: str) -> NDArray[np.uint8]:
    """Return the labels, (m,), whole numbers or truth values of any type."""
    labels = read_dataset(file, y, dtype=("bool", *_INTEGERS), ndim=(1, 2), most_bytes=WHOLE_BYTES)
    if labels.ndim == 2 and 1 not in labels.shape:
        raise DataError(f"'{y}' has shape {labels.shape}; expected (m,), (1, m) or (m, 1)")
    # A stored truth value may be any byte
    flat = labels.reshape(-1).view(np.uint8) if labels.dtype == np.bool_ else labels.reshape(-1)
    wrong = np.flatnonzero((flat < 0) | (flat > 1))
    if wrong.size:
        raise DataError(f"'{y}'[{wrong[0]}] is {flat[wrong[0]]}; labels are 0 or 1")
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
    """Return pixel values as uint8; the first one out of range is named, never cut to fit."""
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
    """Cut a dataset into pieces of bounded size that follow each other in memory.

    Parameters
    ----------
    shape : tuple of int
        Of the dataset; all at least 1.
    chunks : tuple of int, optional
        Of a chunk. A piece takes whole chunks where it can.
    itemsize : int
        Bytes of a value.

    Yields
    ------
    piece : tuple of slice
        One for each dimension.
    touched : int
        No fewer bytes than all the chunks take that HDF5 unpacks for it.
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
    """Let this process take no more memory than it needs."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected, and nobody wants its memory on disk
    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, taken + _MEMORY_BYTES)


def _allow_time(touched: int) -> None:
    """Let this process compute for as long as the next step can take: a slow disk takes none of it, a loop all."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime + _SECONDS + touched / _BYTES_PER_SECOND
    _lower(resource.RLIMIT_CPU, math.ceil(seconds))


def _lower(kind: int, value: int) -> None:
    """Set a limit within the one that cannot be exceeded."""
    import resource

    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def main() -> int:
    """Send the pictures that the command line names to stdout; what is wrong with them goes to stderr, in one line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the reader of the pipe, and that ends this process
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
