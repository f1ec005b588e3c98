"""The classes and picture files of a folder: `train/<class>/*` and `test/<class>/*`, or `<class>/*`. None is opened."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, SettingsError, quote_path
from one_neuron.layout import find_repository
from one_neuron.pictures.reader import SUFFIXES

SPLITS = ("test", "train")  # alphabetical
_REMEDY_ADD = f"put some there ({', '.join(sorted(SUFFIXES))})"
_REMEDY_LAYOUT = "expected the folders train/<class> and test/<class>, or <class> alone, with pictures in them"


@dataclass(frozen=True)
class Listing:
    """All picture files of a folder, ordered by label, class and name.

    Parameters
    ----------
    is_split : bool
        Whether the user has the folders `train` and `test`.
    classes : sequence of str
    names : sequence of m str
        Paths relative to the folder.
    groups, splits : ndarray of shape (m,), int
        Index of each picture's class in `classes` and of its set in SPLITS (0 if the folder is not split).
    ignored : int
        Number of files whose suffix is not that of a picture.
    """

    is_split: bool
    classes: Sequence[str]
    names: Sequence[str]
    groups: NDArray[np.intp]
    splits: NDArray[np.intp]
    ignored: int


def list_folder(folder: Path, positive: str) -> Listing:
    """Find the classes of a folder and the pictures of each.

    Parameters
    ----------
    folder : Path
    positive : str
        The class of label 1.

    Raises
    ------
    DataError
        If the folder is missing, has only one class, has a class without pictures, or cannot be read.
    SettingsError
        If no class is called `positive`.
    """
    is_split, classes = _find_classes(folder)
    _check_classes(folder, classes, positive)
    names: list[str] = []
    groups, splits, sizes, ignored = [], [], [], 0
    for group in sorted(range(len(classes)), key=lambda group: (classes[group] == positive, group)):
        for split, prefix in enumerate([f"{name}/" for name in SPLITS] if is_split else [""]):
            name = f"{prefix}{classes[group]}"
            found, others = _find_pictures(folder, f"{name}/", _raise)
            if not found:
                raise DataError(f"{quote_path(folder / name)} holds no picture; {_REMEDY_ADD}, or remove the folder")
            names += sorted(found, key=os.fsencode)
            groups.append(group)
            splits.append(split)
            sizes.append(len(found))
            ignored += others
    return Listing(is_split, classes, names, np.repeat(groups, sizes), np.repeat(splits, sizes), ignored)


def list_pictures(folder: Path) -> tuple[list[Path], list[DataError]]:
    """Return the picture files in a folder and its subfolders, without hidden files and files with other suffixes.

    Returns
    -------
    paths : list of Path
        Sorted by name.
    problems : list of DataError
        One error for each unreadable folder, folder named like a picture, and link to a folder; or one that there is no
        picture.
    """
    problems: list[DataError] = []
    names, _ = _find_pictures(folder, "", problems.append)
    if not names and not problems:
        problems.append(DataError(f"{quote_path(folder)} holds no picture; {_REMEDY_ADD}"))
    return [folder / name for name in sorted(names, key=os.fsencode)], problems


def _find_classes(folder: Path) -> tuple[bool, list[str]]:
    """Return whether training and test pictures are in separate folders, and the names of the classes."""
    top = _list_folders(folder)
    present = [name for name in SPLITS if name in top]
    if not present:
        return False, top
    if len(present) == 1:
        (missing,) = set(SPLITS) - set(present)
        raise DataError(f"{quote_path(folder)} holds '{present[0]}' and no '{missing}'; {_REMEDY_LAYOUT}")
    train, test = (_list_folders(folder / name) for name in ("train", "test"))
    if train != test:
        odd = min({*train} ^ {*test})
        raise DataError(
            f"{quote_path(folder / 'train')} and {quote_path(folder / 'test')} hold different classes: '{odd}' is "
            "in one of them only; both need the same folders"
        )
    return True, train


def _list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if entry.name[0] != "."]
            for entry in visible:
                if entry.is_symlink() and _is_folder(entry):
                    raise _link_error(entry)
            names = sorted(entry.name for entry in visible if _is_folder(entry))
    except FileNotFoundError as error:
        raise DataError(f"{quote_path(folder)} does not exist; {_missing_remedy(folder)}") from error
    except NotADirectoryError as error:
        raise DataError(f"{quote_path(folder)} is a file; {_REMEDY_LAYOUT}") from error
    except OSError as error:
        raise DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); {_REMEDY_LAYOUT}") from error
    for name in names:
        if not name.isprintable():
            raise DataError(f"{quote_path(folder)}: a class cannot be called {name!r}; rename the folder")
    return names


def _missing_remedy(folder: Path) -> str:
    """Return the remedy for missing pictures; a queued experiment runs in a copy of the tracked files."""
    if not folder.is_absolute() and not find_repository().samefile("."):
        return (
            f"a queued experiment sees only what Git or DVC tracks: run `dvc add {folder}`, or set data.path to an "
            "absolute path"
        )
    return _REMEDY_LAYOUT


def _check_classes(folder: Path, classes: Sequence[str], positive: str) -> None:
    """Check that there are at least two classes, one of them called `positive`."""
    named = ", ".join(repr(name) for name in classes[:20])
    if len(classes) < 2:
        found = f"the class {named} alone" if classes else "no folder"
        raise DataError(
            f"{quote_path(folder)} holds {found}; at least two classes are needed: {_missing_remedy(folder)}"
        )
    if positive not in classes:
        raise SettingsError(
            f"data.positive_class is {positive!r}, but {quote_path(folder)} holds the classes {named}; name one of them"
        )


def _raise(problem: DataError) -> None:
    """Stop at the first problem."""
    raise problem


def _find_pictures(root: Path, prefix: str, report: Callable[[DataError], None]) -> tuple[list[str], int]:
    """Return the names of the pictures in a folder and its subfolders, and the number of other visible files."""
    found: list[str] = []
    ignored = 0
    waiting = [prefix]
    while waiting:
        prefix = waiting.pop()
        for entry in _scan(root / prefix, report):
            name, is_picture = f"{prefix}{entry.name}", Path(entry.name).suffix.lower() in SUFFIXES
            if not _is_folder(entry):
                found += [name] * is_picture
                ignored += not is_picture
            elif is_picture:
                report(DataError(f"{quote_path(root / name)} is a folder with the name of a picture; rename it"))
            elif entry.is_symlink():
                report(_link_error(entry))
            else:
                waiting.append(f"{name}/")
    return found, ignored


def _scan(folder: Path, report: Callable[[DataError], None]) -> Iterator["os.DirEntry[str]"]:
    """Yield the entries of a folder, without hidden ones and Windows' Thumbs.db."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name[0] != "." and entry.name != "Thumbs.db")
    except OSError as error:
        report(DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); allow it, or remove the folder"))


def _link_error(entry: "os.DirEntry[str]") -> DataError:
    """Return the error for a link to a folder: DVC would not see when a picture there changes."""
    return DataError(
        f"{quote_path(entry)} is a link to a folder, which is not followed; replace the link by a copy of the folder"
    )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder or a link to one; a link that points to itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False
