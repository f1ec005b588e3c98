"""The entries of a folder that matter: without what systems and tools leave there, and what formats are not read."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from one_neuron.errors import DataError, escape_control_characters, quote_path
from one_neuron.pictures.reader import SUFFIXES

Report = Callable[[DataError], None]
# Left by Windows, macOS, network storage, archives and Python; names that begin with a dot are skipped as well.
_DEBRIS = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "$recycle.bin", "system volume information"),
        *("__macosx", "icon\r", "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "lost+found"),
        "__pycache__",
    }
)
# Formats of pictures and videos that are not read; a note names them.
UNREAD = frozenset(
    ".heic .heif .avif .jxl .jp2 .svg .psd .pdf .eps .ico .ppm .pgm .tga .exr .dcm .raw .cr2 .cr3 .nef .arw .dng .orf "
    ".rw2 .raf .mov .mp4 .m4v .avi .mkv .webm .3gp".split()
)
_MAX_SUFFIXES = 8  # named in a message


def raise_problem(problem: DataError) -> None:
    """Stop at the first problem."""
    raise problem


def scan(folder: Path, report: Report) -> Iterator["os.DirEntry[str]"]:
    """Yield the entries of a folder, in any order, without hidden ones and those of systems and tools."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not _is_debris(entry.name))
    except OSError as error:
        report(DataError(f"{quote_path(folder)} cannot be read ({error.strerror}); allow it, or remove the folder"))


def _is_debris(name: str) -> bool:
    """Return whether an entry is hidden or left by a system or a tool; `dvc add cats` leaves cats.dvc."""
    return name[0] == "." or name.casefold() in _DEBRIS or name.endswith(".dvc")


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder or a link to one; a link that points to itself is neither."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_picture(name: str) -> bool:
    """Return whether a file has the suffix of a format that is read."""
    return find_suffix(name) in SUFFIXES


def find_suffix(name: str) -> str:
    """Return the suffix of a name, in small letters: ".jpg"; "" if it has none."""
    return Path(name).suffix.lower()


def refuse_link(entry: "os.DirEntry[str]") -> DataError:
    """Return the error for a link to a folder: DVC would not see when a picture there changes."""
    return DataError(
        f"{quote_path(entry)} is a link to a folder, which is not followed; replace the link by a copy of the folder"
    )


def find_pictures(root: Path, prefix: str, report: Report) -> tuple[list[str], Counter[str]]:
    """Return the names of the pictures in a folder and its subfolders, and how many other files have each suffix."""
    found: list[str] = []
    others: Counter[str] = Counter()
    waiting = [prefix]
    while waiting:
        prefix = waiting.pop()
        for entry in scan(root / prefix, report):
            name = f"{prefix}{entry.name}"
            if not is_folder(entry):
                if is_picture(entry.name):
                    found.append(name)
                else:
                    others[find_suffix(entry.name)] += 1
            elif is_picture(entry.name):
                report(DataError(f"{quote_path(root / name)} is a folder with the name of a picture; rename it"))
            elif entry.is_symlink():
                report(refuse_link(entry))
            else:
                waiting.append(f"{name}/")
    return found, others


def count_pictures(number: int) -> str:
    """Return a number of pictures in words."""
    return f"{number:,} picture{'s' * (number != 1)}"


def describe_others(others: Mapping[str, int]) -> str:
    """Return how many files have each suffix, such as "12 .heic, 1 without a suffix", the most frequent first."""
    ordered = sorted(others.items(), key=lambda item: (-item[1], item[0]))
    named = [
        f"{count:,} {escape_control_characters(suffix) or 'without a suffix'}"
        for suffix, count in ordered[:_MAX_SUFFIXES]
    ]
    return ", ".join(named + ["..."] * (len(ordered) > _MAX_SUFFIXES))
