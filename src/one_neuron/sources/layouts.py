"""How the pictures of a folder are arranged: in sets, in folders of classes, or with the class in each file's name.

Besides `train/<class>` and `test/<class>`, or `<class>` alone, the arrangements of other tools are recognized where
they can be read in one way only, and a note says how they were read.
"""

import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from one_neuron.errors import DataError, SettingsError, quote_path
from one_neuron.file_kind import read_kind
from one_neuron.layout import find_repository
from one_neuron.sources.entries import (
    count_pictures,
    find_suffix,
    is_folder,
    is_picture,
    raise_problem,
    refuse_link,
    scan,
)
from one_neuron.system.git import ask_git
from one_neuron.unicode_forms import compose

REMEDY = "expected the folders train/<class> and test/<class>, or <class> alone, with pictures in them"
_REMEDY_CLASSES = "make a folder for each class, and move its pictures there"
# What names of folders for sets mean, after "_", "-", spaces and the words set, data and images are taken away.
_ROLES = {"train": "train", "training": "train", "test": "test", "testing": "test"}
_ROLES |= dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
_NUMBERED = re.compile(r"(.*?[^\W\d_].*?)[ ._-]*\(?[0-9]+\)?")  # the stem of "cat.12.jpg", "cat_12.jpg", "cat (12).jpg"
_PICTURES = {"images", "image", "imgs", "img", "jpegimages"}
_LABELS = {"labels", "label", "annotations", "annotation", "masks", "mask"}
_LABEL_FILES = {".csv", ".tsv", ".json", ".txt", ".xml", ".xlsx", ".mat"}
_DEEPEST = 3  # folders that hold nothing but one folder


@dataclass(frozen=True)
class Layout:
    """Where the pictures of each set and class are.

    Parameters
    ----------
    sets : sequence of str
        "train" and "test", or none if all pictures are together.
    classes : sequence of str
        Names, sorted, in Unicode's composed form.
    folders : mapping of (set, class) to str
        The folder of a class, with a slash at the end; the set is "" if all are together. Empty for `files`.
    files : mapping of (set, class) to sequence of str
        The pictures of a class, where their names tell it.
    top : str
        The folder in which the sets or the classes are, with a slash at the end; "" is the folder of the user.
    left_out : sequence of str
        Folders beside those of the sets.
    notes : sequence of str
        What was read otherwise than in the documented arrangement, a sentence each.
    """

    sets: Sequence[str]
    classes: Sequence[str]
    folders: Mapping[tuple[str, str], str] = field(default_factory=dict)
    files: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)
    top: str = ""
    left_out: Sequence[str] = ()
    notes: Sequence[str] = ()


def find_layout(root: Path, positive: str) -> Layout:
    """Find out how the pictures of a folder are arranged. No picture is opened.

    Parameters
    ----------
    root : Path
    positive : str
        The name of the class of label 1, composed.

    Raises
    ------
    DataError
        If the folder is missing or cannot be read, or if the arrangement is not known; the message has the remedy.
    """
    notes: list[str] = []
    top = _descend(root, positive)
    if top:
        notes.append(f"the pictures are those in {quote_path(root / top.rstrip('/'))}, the only folder there")
    place = root / top
    names = list_folders(place)
    sets = _find_sets(place, names)
    if sets and set(sets.values()) != {"train", "test"}:
        notes.append(f"in {quote_path(place)} {sets['train']!r} is the training set and {sets['test']!r} the test set")
    left_out = [name for name in names if name not in sets.values()] if sets else []
    prefixes = {role: f"{top}{name}/" for role, name in sets.items()} or {"": top}
    places = {role: root / prefix for role, prefix in prefixes.items()}
    found = {role: _find_classes(folder) for role, folder in places.items()}
    if not any(found.values()):
        groups = {role: _group_by_name(root, prefix) for role, prefix in prefixes.items()}
        if all(positive in names and len(names) > 1 for names in groups.values()):
            classes = _common_classes(places, groups)
            notes.append(f"the classes are taken from the names of the files: {', '.join(map(repr, classes[:20]))}")
            files = {(role, name): each for role, names in groups.items() for name, each in names.items()}
            return Layout(tuple(sets), classes, files=files, top=top, left_out=left_out, notes=notes)
    classes = _common_classes(places, found)
    _check_classes(place if sets and classes else next(iter(places.values())), classes, positive)
    folders = {
        (role, name): f"{prefixes[role]}{folder}/" for role, names in found.items() for name, folder in names.items()
    }
    return Layout(tuple(sets), classes, folders, top=top, left_out=left_out, notes=notes)


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones and those of systems and tools.

    Raises
    ------
    DataError
        If the folder is missing or cannot be read, or holds a link to a folder.
    """
    try:
        folder.stat()
        entries = list(scan(folder, raise_problem)) if folder.is_dir() else None
    except FileNotFoundError as error:
        raise DataError(f"{quote_path(folder)} does not exist; {missing_remedy(folder)}") from error
    except OSError as error:
        raise DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); {REMEDY}") from error
    if entries is None:
        raise _refuse_file(folder)
    for entry in entries:
        if entry.is_symlink() and is_folder(entry):
            raise refuse_link(entry)
    names = sorted(entry.name for entry in entries if is_folder(entry))
    for name in names:
        if not name.isprintable():
            raise DataError(f"{quote_path(folder)}: a class cannot be called {name!r}; rename the folder")
    return names


def missing_remedy(folder: Path) -> str:
    """Return the remedy for missing pictures.

    A queued or temporary experiment of DVC runs in a copy of what Git and DVC track. If the user's own folder has more,
    the remedy has DVC track it.
    """
    root = find_repository()
    if folder.is_absolute() or root.samefile(".") or not (root / folder).is_dir():
        return REMEDY
    names = sorted(entry.name for entry in scan(root / folder, raise_problem) if is_folder(entry))
    missing = [folder / name for name in names if not (folder / name).is_dir()]
    if not missing:
        return REMEDY
    tracked = "an experiment in a copy of the project has only what Git or DVC tracks"
    absolute = f"set data.path to {shlex.quote(str((root / folder).resolve()))}"
    files = [f"{path}.dvc" for path in missing]
    if ask_git(root, "check-ignore", "--", *files):  # DVC refuses to write them
        return f"{tracked}, and Git ignores {quote_path(folder)}: {absolute}"
    new = [str(path) for path, file in zip(missing, files, strict=True) if not (root / file).is_file()]
    add = [f"`{shlex.join(['dvc', 'add', *new])}`"] if new else []
    add.append(f"`{shlex.join(['git', 'add', *files, str(folder / '.gitignore')])}`")
    return f"{tracked}: run {' and '.join(add)}, or {absolute}"


def _refuse_file(path: Path) -> DataError:
    """Return the error for a file in place of a folder."""
    kind = read_kind(path)
    reason = f"is a file: {kind.what}; {kind.remedy}" if kind else "is a file"
    return DataError(f"{quote_path(path)} {reason}; {REMEDY}")


def _role(name: str) -> str:
    """Return which set a folder holds, by its name: "train", "test" or "validation"; "" if its name says nothing."""
    words = [word for word in re.split(r"[-_ ]+", name.casefold()) if word not in ("set", "data", "images", "dataset")]
    return _ROLES.get(re.sub(r"(set|data)$", "", "".join(words)), "")


def _descend(root: Path, positive: str) -> str:
    """Return the folder with the pictures, relative, where the user's folder holds one folder and nothing else."""
    top = ""
    for _ in range(_DEEPEST):
        names = list_folders(root / top)
        if len(names) != 1 or compose(names[0]) == positive or _role(names[0]) or _list_files(root / top, is_picture):
            break
        inside = f"{top}{names[0]}/"
        if not list_folders(root / inside) and positive not in _group_by_name(root, inside):
            break
        top = inside
    return top


def _find_sets(place: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folders of the training and the test set; none if the folders are those of classes."""
    by_role = defaultdict(list)
    for name in names:
        by_role[_role(name)].append(name)
    found = {role: [role] if role in names else by_role[role] for role in ("train", "test", "validation")}
    trains, tests, validations = found.values()
    if trains and validations and tests and list_folders(place / trains[0]) and not list_folders(place / tests[0]):
        tests = []  # without labels, as in a competition
    tests = tests or (validations if trains else [])
    for each, set_name in ((trains, "train"), (tests, "test")):
        if len(each) > 1 and trains and tests:
            raise DataError(
                f"{quote_path(place)} holds {' and '.join(map(repr, each))}, which may both be the {set_name} set; "
                f"rename one of them to '{set_name}'"
            )
    if "train" in names and not tests:
        remedy = f"{REMEDY}; or set data.path to {quote_path(place / 'train')}, of which a part is then held out"
        raise DataError(f"{quote_path(place)} holds 'train' and no 'test'; {remedy}")
    if "test" in names and not trains:
        raise DataError(f"{quote_path(place)} holds 'test' and no 'train'; {REMEDY}")
    if not trains or not tests or (trains + tests != ["train", "test"] and not list_folders(place / trains[0])):
        return {}
    return {"train": trains[0], "test": tests[0]}


def _find_classes(folder: Path) -> dict[str, str]:
    """Return the folders of the classes by their composed names."""
    found: dict[str, str] = {}
    for name in list_folders(folder):
        if compose(name) in found:
            raise DataError(
                f"{quote_path(folder)} holds two folders that look alike, {compose(name)!r} with letters and accents "
                "together and apart; move the pictures of one into the other"
            )
        found[compose(name)] = name
    return found


def _group_by_name(root: Path, prefix: str) -> dict[str, list[str]]:
    """Return pictures by the class in their names, such as cat.12.jpg; empty if one of them has no class and number."""
    groups = defaultdict(list)
    for name in _list_files(root / prefix, is_picture):
        match = _NUMBERED.fullmatch(Path(name).stem)
        if not match:
            return {}
        groups[compose(match[1])].append(f"{prefix}{name}")
    return groups


def _list_files(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Return the names of some files that lie in a folder itself, sorted."""
    return sorted(entry.name for entry in scan(folder, raise_problem) if wanted(entry.name) and not is_folder(entry))


def _common_classes(sets: Mapping[str, Path], classes: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the classes, sorted, after checking that they are the same in both sets."""
    train, test = (set(classes.get(role, classes.get("", ()))) for role in ("train", "test"))
    if train != test:
        raise DataError(
            f"{quote_path(sets['train'])} and {quote_path(sets['test'])} hold different classes: '{min(train ^ test)}' "
            "is in one of them only; both need the same folders"
        )
    return sorted(train)


def _check_classes(place: Path, classes: Sequence[str], positive: str) -> None:
    """Check that there are at least two classes, one of them called `positive`."""
    named = ", ".join(repr(name) for name in classes[:20])
    folded = {name.casefold() for name in classes}
    if folded & _PICTURES and folded & _LABELS and positive not in classes:
        raise DataError(
            f"{quote_path(place)} holds {named}: labels that lie in files of their own are not read; {_REMEDY_CLASSES}"
        )
    if len(classes) < 2:
        found = f"the class {named} alone" if classes else "no folder"
        remedy = missing_remedy(place)
        pictures, labels = (_list_files(place, wanted) for wanted in (is_picture, _is_label_file))
        if pictures:
            found += f", {'and' if classes else 'but'} {count_pictures(len(pictures))}"
        if labels and (pictures or classes):
            found += f" (labels in a file such as {labels[0]!r} are not read)"
        if pictures or labels:
            remedy = _REMEDY_CLASSES
            groups = _group_by_name(place, "")
            if 1 < len(groups) <= 20:
                remedy += (
                    f", or set data.positive_class to what names begin with: {' or '.join(map(repr, sorted(groups)))}"
                )
        raise DataError(f"{quote_path(place)} holds {found}; at least two classes are needed: {remedy}")
    if positive not in classes:
        raise SettingsError(
            f"data.positive_class is {positive!r}, but {quote_path(place)} holds the classes {named}; name one of them"
        )


def _is_label_file(name: str) -> bool:
    """Return whether a file may hold labels in a table."""
    return find_suffix(name) in _LABEL_FILES
