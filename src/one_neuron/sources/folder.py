"""Pictures as files: `train/<class>/*` and `test/<class>/*`, or `<class>/*`, of which a part is held out."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, SettingsError, quote_path
from one_neuron.layout import find_repository
from one_neuron.pictures.decode import decode_pictures
from one_neuron.pictures.reader import SUFFIXES
from one_neuron.settings.params import DataSettings
from one_neuron.sources.loaded import Loaded
from one_neuron.sources.report import ClassCount
from one_neuron.sources.split import choose_test
from one_neuron.storage.prepared_set import PreparedSet

SPLITS = ("test", "train")  # in the order of the names
_FEW = "add some: at least two different ones of each class"
_LAYOUT = "expected the folders train/<class> and test/<class>, or <class> alone, with pictures in them"


def load(folder: Path, data: DataSettings, *, positive_class: str = "") -> Loaded:
    """Read, decode and label the pictures of a folder.

    Parameters
    ----------
    folder : Path
        Holds `train` and `test`, each with a folder for each class, or the folders of the classes themselves. What
        else lies beside `train` and `test` does not count.
    data : DataSettings
    positive_class : str
        The class of label 1; by default `data.positive_class`.

    Returns
    -------
    Loaded
        Rows are sorted by label, class and name: the order of the file system does not matter.

    Raises
    ------
    DataError
        If a folder is missing, empty, of one class, or cannot be read; if a picture cannot be read, unless
        `data.on_error` allows it.
    SettingsError
        If no class is called `data.positive_class`.
    """
    positive = positive_class or data.positive_class
    listing = list_folder(folder, positive)
    decoded = decode_pictures(listing.paths, data.preprocessing, on_error=data.on_error, max_skipped=data.max_skipped)
    kept = np.asarray(decoded.kept, dtype=np.intp)
    groups, splits = listing.groups[kept], listing.splits[kept]
    names = [listing.names[index] for index in kept]
    if listing.is_split:
        is_test = splits == SPLITS.index("test")
    else:
        digests = [bytes(decoded.digests[index]) for index in kept]
        is_test = choose_test(digests, groups, fraction=data.test_fraction, seed=data.seed)
    labels = np.array([name == positive for name in listing.classes], dtype=np.uint8)

    def gather(rows: NDArray[np.intp]) -> PreparedSet:
        return PreparedSet(
            X=decoded.X.take(rows),
            Y=labels[groups[rows]],
            names=tuple(names[row] for row in rows),
            preprocessing=data.preprocessing,
            classes=_name_classes(listing.classes, positive),
            source=data.source,
        )

    counts = [
        ClassCount(
            name=name,
            label=int(labels[group]),
            train=int(np.count_nonzero(~is_test & (groups == group))),
            test=int(np.count_nonzero(is_test & (groups == group))),
        )
        for group, name in sorted(enumerate(listing.classes), key=lambda item: (labels[item[0]], item[1]))
    ]
    for name in SPLITS:
        if not any(getattr(count, name) for count in counts):
            raise DataError(f"{quote_path(folder)} holds no picture for the {name} set that can be read; {_FEW}")
    return Loaded(
        train=gather(np.flatnonzero(~is_test)),
        test=gather(np.flatnonzero(is_test)),
        classes=counts,
        skipped=[(listing.names[index], reason) for index, reason in decoded.skipped],
        ignored=listing.ignored,
    )


def list_pictures(folder: Path) -> tuple[list[Path], list[DataError]]:
    """Return the picture files in a folder and in the folders inside; hidden files and other suffixes are left out.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    paths : list of Path
        Sorted by name.
    problems : list of DataError
        What stands in the way: folders that cannot be read or are called like pictures, links to folders, or that there
        is no picture at all.
    """
    problems: list[DataError] = []
    names, _ = _find_pictures(folder, "", problems.append)
    if not names and not problems:
        problems.append(
            DataError(f"{quote_path(folder)} holds no picture; put some there ({', '.join(sorted(SUFFIXES))})")
        )
    return [folder / name for name in sorted(names, key=os.fsencode)], problems


class _Paths(Sequence[Path]):
    """Paths made where they are asked for: a million of them take half a gigabyte."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, key: int) -> Path: ...

    @overload
    def __getitem__(self, key: slice) -> "_Paths": ...

    def __getitem__(self, key: int | slice) -> "Path | _Paths":
        """Return one path, or the paths of a slice."""
        if isinstance(key, slice):
            return _Paths(self._folder, self._names[key])
        return self._folder / self._names[key]


@dataclass(frozen=True)
class Listing:
    """All picture files of a folder, ordered by label, class and name.

    Parameters
    ----------
    folder : Path
    is_split : bool
        Whether `train` and `test` are folders of the user's.
    classes : sequence of str
    names : sequence of m str
        From the folder on.
    groups, splits : ndarray of shape (m,), int
        Class and split of each.
    ignored : int
        Number of files that are no pictures by their names.
    """

    folder: Path
    is_split: bool
    classes: Sequence[str]
    names: Sequence[str]
    groups: NDArray[np.intp]
    splits: NDArray[np.intp]
    ignored: int

    @property
    def paths(self) -> Sequence[Path]:
        """Where the pictures lie."""
        return _Paths(self.folder, self.names)


def list_folder(folder: Path, positive: str) -> Listing:
    """Find the classes and the pictures of each; none is opened.

    Parameters
    ----------
    folder : Path
    positive : str
        The class of label 1.

    Raises
    ------
    DataError, SettingsError
        As in `load`.
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
                raise DataError(
                    f"{quote_path(folder / name)} holds no picture; put some there ({', '.join(sorted(SUFFIXES))}), or "
                    "remove the folder"
                )
            names += sorted(found, key=os.fsencode)
            groups.append(group)
            splits.append(split)
            sizes.append(len(found))
            ignored += others
    return Listing(folder, is_split, classes, names, np.repeat(groups, sizes), np.repeat(splits, sizes), ignored)


def _find_classes(folder: Path) -> tuple[bool, list[str]]:
    """Return whether training and test pictures are told apart already, and the names of the classes."""
    top = _list_folders(folder)
    present = [name for name in SPLITS if name in top]
    if not present:
        return False, top
    if len(present) == 1:
        (missing,) = set(SPLITS) - set(present)
        raise DataError(f"{quote_path(folder)} holds '{present[0]}' and no '{missing}'; {_LAYOUT}")
    train, test = (_list_folders(folder / name) for name in ("train", "test"))
    if train != test:
        odd = min({*train} ^ {*test})
        raise DataError(
            f"{quote_path(folder / 'train')} and {quote_path(folder / 'test')} hold other classes: '{odd}' is "
            "in one of them only; both need the same folders"
        )
    return True, train


def _list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted; hidden ones do not count."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if entry.name[0] != "."]
            for entry in visible:
                if entry.is_symlink() and _is_folder(entry):
                    raise _link(entry)
            names = sorted(entry.name for entry in visible if _is_folder(entry))
    except FileNotFoundError as error:
        raise DataError(f"{quote_path(folder)} does not exist; {_remedy(folder)}") from error
    except NotADirectoryError as error:
        raise DataError(f"{quote_path(folder)} is a file; {_LAYOUT}") from error
    except OSError as error:
        raise DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); {_LAYOUT}") from error
    for name in names:
        if not name.isprintable():
            raise DataError(f"{quote_path(folder)}: a class cannot be called {name!r}; rename the folder")
    return names


def _remedy(folder: Path) -> str:
    """Say what to do about missing pictures; a queued experiment runs in a copy of what is tracked."""
    if not folder.is_absolute() and not find_repository().samefile("."):
        return f"a queued experiment has what Git or DVC tracks alone: `dvc add {folder}`, or write data.path from / on"
    return _LAYOUT


def _check_classes(folder: Path, classes: Sequence[str], positive: str) -> None:
    """Check that there are classes to tell apart."""
    named = ", ".join(repr(name) for name in classes[:20])
    if len(classes) < 2:
        found = f"the class {named} alone" if classes else "no folder"
        raise DataError(f"{quote_path(folder)} holds {found}; at least two classes are needed: {_remedy(folder)}")
    if positive not in classes:
        raise SettingsError(
            f"data.positive_class is {positive!r}, but {quote_path(folder)} holds the classes {named}; name one of them"
        )


def _name_classes(classes: Sequence[str], positive: str) -> tuple[str, str]:
    """Return the names of label 0 and label 1."""
    others = [name for name in classes if name != positive]
    return (others[0] if len(others) == 1 else f"not {positive}", positive)


def _raise(problem: DataError) -> None:
    """Stop at the first problem."""
    raise problem


def _find_pictures(root: Path, prefix: str, report: Callable[[DataError], None]) -> tuple[list[str], int]:
    """Return the names of the pictures in a folder, and how many other files lie there; hidden ones do not count."""
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
                report(_link(entry))
            else:
                waiting.append(f"{name}/")
    return found, ignored


def _scan(folder: Path, report: Callable[[DataError], None]) -> Iterator["os.DirEntry[str]"]:
    """Give what lies in a folder but for what is hidden, and for what systems leave there."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.name[0] != "." and entry.name != "Thumbs.db")
    except OSError as error:
        report(DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); allow it, or remove the folder"))


def _link(entry: "os.DirEntry[str]") -> DataError:
    """Say why a link to a folder is refused: DVC would not see when a picture there changes."""
    return DataError(f"{quote_path(entry)} is a link to a folder, which is not followed; copy the pictures there")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Say whether it is a folder or a link to one; a link that leads in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False
