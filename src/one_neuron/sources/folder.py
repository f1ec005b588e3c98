"""Pictures as files: `train/<class>/*` and `test/<class>/*`."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from one_neuron.errors import DataError
from one_neuron.images import SUFFIXES, flatten_pictures, load_picture
from one_neuron.storage import PreparedSet


def load(folder: Path, *, classes: tuple[str, str], num_px: int) -> tuple[PreparedSet, PreparedSet]:
    """Read a training and a test set.

    Parameters
    ----------
    folder : Path
        Holds `train` and `test`, each with a folder for each class.
    classes : (str, str)
        The folders of label 0 and label 1.
    num_px : int
        Height and width that every picture is resized to.

    Returns
    -------
    train, test : PreparedSet
        Sorted by class, then by name: the order of the file system does not matter.

    Raises
    ------
    DataError
        If a folder is missing or empty, or a picture cannot be read.
    """
    return _load_split(folder, "train", classes, num_px), _load_split(folder, "test", classes, num_px)


def _load_split(folder: Path, split: str, classes: tuple[str, str], num_px: int) -> PreparedSet:
    """Read the pictures of one split, on all cores (Pillow decodes without the interpreter's lock)."""
    labelled = [(path, label) for label in (0, 1) for path in list_pictures(folder / split / classes[label])]
    paths = [path for path, _ in labelled]
    X = np.empty((len(paths), num_px, num_px, 3), dtype=np.uint8)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for i, picture in enumerate(pool.map(lambda path: load_picture(path, num_px), paths)):
            X[i] = picture
    return PreparedSet(
        X=flatten_pictures(X),
        Y=np.array([label for _, label in labelled], dtype=np.uint8),
        names=tuple(path.relative_to(folder).as_posix() for path in paths),
        num_px=num_px,
        classes=classes,
        source="drawn",
    )


def list_pictures(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the picture files of one folder, sorted by path; hidden files and other suffixes are left out.

    Parameters
    ----------
    folder : Path
    recursive : bool
        Whether the folders inside count, too.

    Raises
    ------
    DataError
        If the folder is missing, may not be read or holds no picture.
    """
    try:
        if not folder.is_dir():
            raise DataError(f"'{folder}' is not a folder; expected one with pictures of one class")
        found = folder.rglob("*") if recursive else folder.iterdir()
        paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    except OSError as error:
        raise DataError(f"'{folder}' cannot be read ({error.strerror})") from error
    if not paths:
        raise DataError(f"'{folder}' holds no picture; put some there ({', '.join(sorted(SUFFIXES))})")
    return paths
