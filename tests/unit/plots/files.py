"""What the tests of plots share: reading a plot, and the functions that make sets and models."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet

MakePrepared = Callable[..., PreparedSet]
MakeModel = Callable[..., Model]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels(path: Path) -> NDArray[np.int64]:
    """Return a plot as RGB pixels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)
