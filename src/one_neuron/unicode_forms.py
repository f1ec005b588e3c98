"""Names in the forms of Unicode: macOS and some archives store a letter and its accent apart, others as one character.

Both look the same and are different bytes. NFC is the composed form, NFD the decomposed one.
"""

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path


def compose(name: str) -> str:
    r"""Return a name in the composed form.

    Examples
    --------
    >>> compose("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def list_forms(name: str) -> Iterator[str]:
    """Yield a name as it is, composed and decomposed."""
    yield name
    yield compose(name)
    yield unicodedata.normalize("NFD", name)


def encode_forms(name: str) -> list[bytes]:
    """Return the forms of a name as UTF-8; none of an empty name."""
    return [os.fsencode(form) for form in dict.fromkeys(list_forms(name)) if form]


def find_same(path: Path) -> Path | None:
    """Return the path of an existing file or folder whose name is the same in any form, the exact one first."""
    place = Path(path.anchor)
    for part in path.parts[1 if path.anchor else 0 :]:
        found = next((place / form for form in list_forms(part) if os.path.lexists(place / form)), None)
        if found is None:
            return None
        place = found
    return place
