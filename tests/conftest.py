"""Fixtures for several tests: the repository, the course's pictures, small sets and models."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet

ROOT = Path(__file__).resolve().parents[1]
settings.register_profile("no deadline", deadline=None)  # a slow machine is not a failure
settings.load_profile("no deadline")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell script starts what ends with &
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests interrupt programs, which would inherit that
COURSE_FILES = ("train_catvnoncat.h5", "test_catvnoncat.h5")
# Warnings are errors, but for these of MLflow 3.17: it uses what SQLAlchemy 2.1 and pandas 4 have deprecated, and warns
# of a type hint of its own.
_IGNORED = (
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",
    "ignore:Operation with range is deprecated:DeprecationWarning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Ignore what MLflow warns of."""
    for line in _IGNORED:
        config.addinivalue_line("filterwarnings", line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip a test if the file system refuses a name that is not UTF-8, as that of macOS does."""
    try:
        return (yield)
    except OSError as error:
        if sys.platform == "darwin" and error.errno == errno.EILSEQ:
            pytest.skip("the names in this file system are UTF-8")
        raise


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def course_folder() -> Path:
    """Return the folder of the course's two files, or skip: the project may not include them, for lack of a licence."""
    named = os.environ.get("ONE_NEURON_CATVNONCAT_DIR")
    folder = Path(named).expanduser() if named else ROOT.parent / "shared" / "data"
    if not all((folder / name).is_file() for name in COURSE_FILES):
        pytest.skip("the course's pictures are not at hand; set ONE_NEURON_CATVNONCAT_DIR to their folder")
    return folder


@pytest.fixture(scope="session")
def course(course_folder: Path) -> dict[str, NDArray[Any]]:
    """Return the course's arrays, one picture per row."""
    arrays = {}
    for split in ("train", "test"):
        with h5py.File(course_folder / f"{split}_catvnoncat.h5") as file:
            pictures = file[f"{split}_set_x"][:]
            arrays[f"{split}_X"] = pictures.reshape(len(pictures), -1)
            arrays[f"{split}_Y"] = file[f"{split}_set_y"][:]
    return arrays


@pytest.fixture
def make_prepared() -> Callable[..., PreparedSet]:
    """Return a function that makes a small set of random pictures, the same at each call."""

    def make(
        m: int = 6, num_px: int = 2, *, seed: int = 0, resize: str = "stretch", decode: str = "exact", **changes: object
    ) -> PreparedSet:
        rng = np.random.default_rng(seed)
        values: dict[str, object] = {
            "X": rng.integers(0, 256, size=(m, num_px * num_px * 3), dtype=np.uint8),
            "Y": (np.arange(m) % 2).astype(np.uint8),
            "names": tuple(f"train/{i:03}.png" for i in range(m)),
            "preprocessing": Preprocessing(num_px, resize, decode),
            "classes": ("non-cat", "cat"),
            "source": "drawn",
        }
        return PreparedSet(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def make_model() -> Callable[..., Model]:
    """Return a function that makes a small model, the same at each call."""

    def make(
        num_px: int = 2, *, seed: int = 0, resize: str = "stretch", decode: str = "exact", **changes: object
    ) -> Model:
        rng = np.random.default_rng(seed)
        values: dict[str, object] = {
            "parameters": Parameters(w=rng.normal(size=num_px * num_px * 3), b=-0.25),
            "preprocessing": Preprocessing(num_px, resize, decode),
            "classes": ("non-cat", "cat"),
            "threshold": 0.5,
            "trained_with": {"learning_rate": 0.005, "num_iterations": 2000, "form": "gram"},
        }
        return Model(**{**values, **changes})  # type: ignore[arg-type]

    return make
