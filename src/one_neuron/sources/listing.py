"""The classes and picture files of a folder. None is opened."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, quote_path
from one_neuron.pictures.reader import SUFFIXES
from one_neuron.sources.entries import (
    UNREAD,
    count_pictures,
    describe_others,
    find_pictures,
    find_suffix,
    is_folder,
    is_picture,
    raise_problem,
    scan,
)
from one_neuron.sources.layouts import Layout, find_layout
from one_neuron.unicode_forms import compose

SPLITS = ("test", "train")  # alphabetical
_REMEDY_ADD = f"put some there ({', '.join(sorted(SUFFIXES))})"
REMEDY_CONVERT = "convert them to JPEG or PNG"


@dataclass(frozen=True)
class Listing:
    """All picture files of a folder, ordered by label, class and name.

    Parameters
    ----------
    is_split : bool
        Whether training and test pictures are in separate folders.
    classes : sequence of str
        In Unicode's composed form.
    names : sequence of m str
        Paths relative to the folder.
    groups, splits : ndarray of shape (m,), int
        Index of each picture's class in `classes` and of its set in SPLITS (0 if the folder is not split).
    ignored : mapping of str to int
        Number of files that are not used, by suffix: those of other formats, and all in folders beside the sets.
    notes : sequence of str
        What a user may not expect: how the folder was read, and what is left out. A sentence each.
    """

    is_split: bool
    classes: Sequence[str]
    names: Sequence[str]
    groups: NDArray[np.intp]
    splits: NDArray[np.intp]
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


def list_folder(folder: Path, positive: str) -> Listing:
    """Find the classes of a folder and the pictures of each.

    Parameters
    ----------
    folder : Path
        In one of the arrangements of `layouts`.
    positive : str
        The class of label 1, in any Unicode form.

    Raises
    ------
    DataError
        If the folder is missing, has only one class, has a class without pictures, or cannot be read.
    SettingsError
        If no class is called `positive`.
    """
    positive = compose(positive)
    layout = find_layout(folder, positive)
    classes = layout.classes
    names: list[str] = []
    groups, splits, sizes = [], [], []
    ignored: Counter[str] = Counter()
    for group in sorted(range(len(classes)), key=lambda group: (classes[group] == positive, group)):
        for split, name in enumerate(SPLITS if layout.sets else [""]):
            found, others = _list_class(folder, layout, (name, classes[group]))
            names += found
            groups.append(group)
            splits.append(split)
            sizes.append(len(found))
            ignored += others
    unread = Counter({suffix: count for suffix, count in ignored.items() if suffix in UNREAD})
    left_out, notes = _list_left_out(folder, layout)
    if unread:
        notes.append(f"{quote_path(folder)} holds {describe_others(unread)}, which are not read; {REMEDY_CONVERT}")
    return Listing(
        bool(layout.sets),
        classes,
        names,
        np.repeat(groups, sizes),
        np.repeat(splits, sizes),
        ignored + left_out,
        [*layout.notes, *notes],
    )


def list_pictures(folder: Path) -> tuple[list[Path], list[DataError], str]:
    """Return the picture files in a folder and its subfolders, without hidden files and files with other suffixes.

    Returns
    -------
    paths : list of Path
        Sorted by name.
    problems : list of DataError
        One error for each unreadable folder, folder named like a picture, and link to a folder; or one that there is no
        picture.
    note : str
        Names the formats that are not read, if the folder holds pictures or videos in such formats.
    """
    problems: list[DataError] = []
    names, others = find_pictures(folder, "", problems.append)
    if not names and not problems:
        problems.append(_refuse_empty(folder, others))
        others.clear()
    unread = {suffix: count for suffix, count in others.items() if suffix in UNREAD}
    note = (
        f"{quote_path(folder)} holds {describe_others(unread)}, which are not read; {REMEDY_CONVERT}" if unread else ""
    )
    return [folder / name for name in sorted(names, key=os.fsencode)], problems, note


def _list_class(folder: Path, layout: Layout, key: tuple[str, str]) -> tuple[list[str], Counter[str]]:
    """Return the pictures of one class in one set, sorted, and how many other files have each suffix."""
    if layout.files:
        return sorted(layout.files[key], key=os.fsencode), Counter()
    found, others = find_pictures(folder, layout.folders[key], raise_problem)
    if not found:
        raise _refuse_empty(folder / layout.folders[key].rstrip("/"), others)
    return sorted(found, key=os.fsencode), others


def _refuse_empty(folder: Path, others: Mapping[str, int]) -> DataError:
    """Return the error for a folder without pictures, which names what it holds instead."""
    if not others:
        return DataError(f"{quote_path(folder)} holds no picture; {_REMEDY_ADD}, or remove the folder")
    remedy = REMEDY_CONVERT if set(others) & UNREAD else _REMEDY_ADD
    return DataError(
        f"{quote_path(folder)} holds no picture that can be read, but {describe_others(others)}; {remedy}, or remove "
        "the folder"
    )


def _list_left_out(folder: Path, layout: Layout) -> tuple[Counter[str], list[str]]:
    """Return how many files beside the sets and the classes have each suffix, and a note on them."""
    ignored: Counter[str] = Counter()
    notes = []
    place = folder / layout.top
    for name in layout.left_out:
        pictures, others = find_pictures(folder, f"{layout.top}{name}/", lambda _: None)
        ignored += others + Counter(find_suffix(picture) for picture in pictures)
        if count := len(pictures) + sum(number for suffix, number in others.items() if suffix in UNREAD):
            notes.append(
                f"{quote_path(place / name)} is left out, with {count_pictures(count)}: only the training set and the "
                "test set are used"
            )
    if layout.files:
        return ignored, notes
    beside = [place, *(folder / Path(path).parent for path in layout.folders.values())]
    for one in dict.fromkeys(beside):
        files = [entry.name for entry in scan(one, raise_problem) if not is_folder(entry)]
        strays = [name for name in files if is_picture(name) or find_suffix(name) in UNREAD]
        ignored += Counter(find_suffix(name) for name in strays)
        if strays:
            notes.append(f"{quote_path(one)} itself holds {count_pictures(len(strays))} without a class, left out")
    return ignored, notes
