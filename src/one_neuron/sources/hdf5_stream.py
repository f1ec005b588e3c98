"""Labelled pictures from an untrusted HDF5 file, received from a process with limits (`hdf5_worker`) and checked."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError
from one_neuron.layout import SOURCE_ROOT
from one_neuron.sources import hdf5_worker
from one_neuron.storage.pixel_file import BLOCK_BYTES


@dataclass(frozen=True)
class PictureStream:
    """Pictures of one set, to be read once, in order.

    Parameters
    ----------
    path : Path
        The file they come from.
    shape : (int, int, int)
        Number, height and width of the pictures.
    labels : ndarray of shape (m,), uint8
        0 or 1 for each picture.
    classes : (str, str) or None
        The names of label 0 and label 1, if the file has them.
    process : Popen
        Sends the pixels.
    errors : binary file
        Where the process writes its error message.
    """

    path: Path
    shape: tuple[int, int, int]
    labels: NDArray[np.uint8]
    classes: tuple[str, str] | None
    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pictures in blocks of some megabytes.

        Yields
        ------
        ndarray of shape (k, height, width, 3), uint8
            Together all pictures.

        Raises
        ------
        DataError
            If the file is damaged, or a value is not in [0, 255]; the message names it.
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
        The dataset of the two names; empty if there is none.

    Yields
    ------
    PictureStream

    Raises
    ------
    DataError
        If the file cannot be used; the message names it, the dataset and what is expected.
    """
    places = os.pathsep.join([str(SOURCE_ROOT), *filter(None, sys.path)])
    # BLAS would reserve memory for each of its threads.
    environment = {**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", hdf5_worker.__name__, os.fspath(path), x, y, classes],
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
    """Raise the error that ended the process too early."""
    code = process.wait()
    errors.seek(0)
    message = errors.read().decode("utf-8", "surrogateescape").strip()
    if code == DataError.exit_code:
        raise DataError(message)
    if code == -signal.SIGXCPU:
        raise DataError(f"'{path}' is damaged: HDF5 does not finish reading it; get the file again")
    if code < 0:
        raise DataError(f"'{path}' is damaged: HDF5 crashed on it (signal {-code}); get the file again")
    raise RuntimeError(f"reading '{path}' ended with {code}: {message}")
