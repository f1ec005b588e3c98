"""Labelled pictures from an untrusted HDF5 file, received from a process with limits (`hdf5_worker`) and checked."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError
from one_neuron.layout import SOURCE_ROOT
from one_neuron.sources import hdf5_worker
from one_neuron.storage.pixel_file import BLOCK_BYTES


class PictureStream:
    """Pictures of one set, to be read once, in order.

    Parameters
    ----------
    path : Path
        The file they come from.
    process : Popen
        Runs `hdf5_worker` and sends header, labels and pixels.
    errors : binary file
        Where the process writes its error message.

    Attributes
    ----------
    shape : (int, int, int)
        Number, height and width of the pictures.
    classes : (str, str) or None
        The names of label 0 and label 1, if the file has them.
    labels : ndarray of shape (m,), uint8
        0 or 1 for each picture.
    """

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        self.path, self.process, self._errors = path, process, errors
        assert process.stdout is not None
        self._pipe = process.stdout
        header = json.loads(self._pipe.readline() or self._fail())
        self.shape: tuple[int, int, int] = tuple(header["shape"])
        self.classes: tuple[str, str] | None = tuple(header["classes"]) if header["classes"] else None
        self.labels = self._receive(self.shape[0])

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
            yield self._receive(min(rows, m - start), height, width, 3)

    def _receive(self, *shape: int) -> NDArray[np.uint8]:
        """Return the next bytes as an array."""
        out = np.empty(shape, dtype=np.uint8)
        if self._pipe.readinto(out.reshape(-1).data) != out.size:  # type: ignore[attr-defined]
            self._fail()
        return out

    def _fail(self) -> NoReturn:
        """Raise the error that ended the process too early."""
        code = self.process.wait()
        self._errors.seek(0)
        message = self._errors.read().decode("utf-8", "surrogateescape").strip()
        if code == DataError.exit_code:
            raise DataError(message)
        if code == -signal.SIGXCPU:
            raise DataError(f"'{self.path}' is damaged: HDF5 does not finish reading it; get the file again")
        if code < 0:
            raise DataError(f"'{self.path}' is damaged: HDF5 crashed on it (signal {-code}); get the file again")
        raise RuntimeError(f"reading '{self.path}' ended with {code}: {message}")


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

    Raises
    ------
    DataError
        If the file cannot be used; the message names it, the dataset and what is expected.
    """
    places = os.pathsep.join([str(SOURCE_ROOT), *filter(None, sys.path)])
    # BLAS would reserve memory for each of its threads.
    environment = {**os.environ, "PYTHONPATH": places, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", hdf5_worker.__name__, os.fspath(path), x, y, classes]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment
        ) as process,  # at its end it closes the pipe and waits for the process
    ):
        try:
            yield PictureStream(path, process, errors)
        finally:
            process.kill()
