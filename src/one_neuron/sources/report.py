"""The report on the data in metrics/prepare.json: counts, skipped files, and pictures that occur twice."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import escape_control_characters
from one_neuron.rows import Pixels
from one_neuron.storage.pixel_file import row_blocks
from one_neuron.storage.prepared_set import PreparedSet

_DIGEST_BYTES = 32  # SHA-256
_MAX_SKIPPED = 100  # skipped files that are named
_MAX_SUFFIXES = 20  # suffixes of ignored files that are named
_MAX_PAIRS = 20  # pairs of equal pictures that are named


@dataclass(frozen=True)
class ClassCount:
    """One class of the user.

    Parameters
    ----------
    name : str
        Any text.
    label : int
        0 or 1.
    train, test : int
        Number of pictures in each set.
    """

    name: str
    label: int
    train: int
    test: int


@dataclass(frozen=True)
class Loaded:
    """The result of every source: the two prepared sets, and an account of the files.

    Parameters
    ----------
    train, test : PreparedSet
    classes : sequence of ClassCount
        Every class, by label and then by name; more than two if several folders have label 0.
    skipped : sequence of (str, str)
        Name of each picture that was left out because it cannot be read, and the reason.
    ignored : mapping of str to int
        Number of files that are not used, by suffix: those of other formats, and all that belong to no set or class.
    notes : sequence of str
        What the user may not expect about how the folder was read. A sentence each; they name the place.
    """

    train: PreparedSet
    test: PreparedSet
    classes: Sequence[ClassCount]
    skipped: Sequence[tuple[str, str]] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


def row_digests(X: Pixels) -> NDArray[np.bytes_]:
    """Return the SHA-256 of each row, in one pass with one block in memory at a time.

    Parameters
    ----------
    X : Pixels of shape (m, n_x), uint8
        m and n_x are at least 1.

    Returns
    -------
    ndarray of shape (m,), 32 bytes each
        Equal for rows with equal pixels.
    """
    digests = np.empty(X.shape[0], f"S{_DIGEST_BYTES}")
    start = 0
    for block in row_blocks(X):
        digests[start : start + len(block)] = [hashlib.sha256(row.data).digest() for row in block]
        start += len(block)
    return digests


def find_originals(digests: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Find for each picture the first one with the same pixels.

    Parameters
    ----------
    digests : ndarray of shape (m,), 32 bytes each
        From `row_digests`.

    Returns
    -------
    ndarray of shape (m,), int64
        The index of each; the picture's own index if no earlier picture equals it.
    """
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    return first[group]


def build_report(loaded: Loaded) -> dict[str, Any]:
    """Return the content of `metrics/prepare.json`.

    This reads all pixels once, and takes about 150 bytes of memory for each picture: its SHA-256, and sorting them.

    Returns
    -------
    dict
        - "train" and "test": m, num_positive and num_negative of each;
        - "classes": a list of name, label, train and test;
        - "num_skipped", and the first of them in "skipped" (file and reason);
        - "num_ignored", and how many files of each suffix in "ignored" if there are any;
        - "num_repeated": training pictures with exactly the pixels of an earlier one;
        - "num_copies": test pictures with exactly the pixels of a training picture;
        - "num_contradictions": pictures whose label differs from that of the first picture with the same pixels,
          where training pictures come before test pictures;
        - "copies" and "contradictions": the first pairs of names, a picture and the one it equals.

        Names are never keys, because they can be any text. Characters that cannot be printed on one line, and bytes
        that are not UTF-8, are backslash escapes.
    """
    train, test = loaded.train, loaded.test
    originals = find_originals(np.concatenate([row_digests(train.X), row_digests(test.X)]))
    labels = np.concatenate([train.Y, test.Y])
    repeated = originals[: train.m] < np.arange(train.m)
    copies = np.flatnonzero(originals[train.m :] < train.m) + train.m
    contradictions = np.flatnonzero(labels != labels[originals])

    ordered = sorted(loaded.ignored.items(), key=lambda item: (-item[1], item[0]))
    ignored = {escape_control_characters(suffix) or "none": count for suffix, count in ordered[:_MAX_SUFFIXES]}

    def name_of(row: int) -> str:
        return escape_control_characters(train.names[row] if row < train.m else test.names[row - train.m])

    def name_pairs(rows: NDArray[np.int64]) -> list[list[str]]:
        return [[name_of(row), name_of(originals[row])] for row in rows[:_MAX_PAIRS].tolist()]

    return {
        "train": _count_labels(train),
        "test": _count_labels(test),
        "classes": [{**asdict(one), "name": escape_control_characters(one.name)} for one in loaded.classes],
        "num_skipped": len(loaded.skipped),
        "skipped": [
            {"file": escape_control_characters(file), "reason": escape_control_characters(reason)}
            for file, reason in loaded.skipped[:_MAX_SKIPPED]
        ],
        "num_ignored": sum(loaded.ignored.values()),
        **({"ignored": ignored} if ignored else {}),
        "num_repeated": int(np.count_nonzero(repeated)),
        "num_copies": len(copies),
        "copies": name_pairs(copies),
        "num_contradictions": len(contradictions),
        "contradictions": name_pairs(contradictions),
    }


def format_warning(report: Mapping[str, Any]) -> str:
    """Return a warning that test pictures are copies of training pictures; "" if `report` counts none."""
    count = report["num_copies"]
    if not count:
        return ""
    copy, original = report["copies"][0]
    many = f"{count:,} test pictures are copies of training pictures, for instance" if count > 1 else ""
    start = many or "1 test picture is a copy of a training picture,"
    return f"{start} '{copy}' of '{original}': the test accuracy is too good by {'them' if many else 'it'}"


def warn(report: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
    """Print notes, and the warning of `format_warning` if there is one, on stderr."""
    for note in notes:
        print(f"one-neuron: note: {escape_control_characters(note)}", file=sys.stderr)
    if copies := format_warning(report):
        print(f"one-neuron: warning: {copies}", file=sys.stderr)


def _count_labels(prepared: PreparedSet) -> dict[str, int]:
    """Return the number of pictures and of each label."""
    num_positive = int(np.count_nonzero(prepared.Y))
    return {"m": prepared.m, "num_positive": num_positive, "num_negative": prepared.m - num_positive}
