"""Hold out pictures for the test set by their content, not by name or order."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def choose_test(
    digests: Sequence[bytes], groups: NDArray[np.integer], *, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose the test set: about `fraction` of each class. The choice does not depend on the other pictures.

    The SHA-256 of the seed and the content, read as a number in [0, 1), decides: below `fraction` the picture is held
    out. So copies of a picture are always on the same side, and adding or removing pictures moves no other picture.
    Only if a class would have no picture on one side, its picture with the nearest number is moved there, unless that
    would leave another class without one (copies can be in several classes).

    Parameters
    ----------
    digests : sequence of m bytes
        SHA-256 of the content of each picture.
    groups : ndarray of shape (m,), int
        The class of each picture; more than two classes are allowed.
    fraction : float
        In (0, 1).
    seed : int
        At least 0.

    Returns
    -------
    ndarray of shape (m,), bool
        True for the test set.
    """
    prefix = f"{seed}:".encode("ascii")
    places = np.fromiter(
        (int.from_bytes(hashlib.sha256(prefix + bytes(digest)).digest()[:8], "big") for digest in digests),
        dtype=np.uint64,
        count=len(digests),
    )
    held_out = places < np.uint64(fraction * 2.0**64)
    divided = _find_divided(groups, held_out)
    for group in np.unique(groups).tolist():
        if group in divided:
            continue
        contents = np.unique(places[groups == group])  # sorted; copies have the same number
        all_held_out = held_out[groups == group].all()
        for place in contents[::-1] if all_held_out else contents:  # nearest to `fraction` first
            moved = held_out ^ (places == place)
            if divided | {group} <= (after := _find_divided(groups, moved)):
                held_out, divided = moved, after
                break
    return held_out


def _find_divided(groups: NDArray[np.integer], held_out: NDArray[np.bool_]) -> set[int]:
    """Return the classes that have pictures on both sides."""
    return set(np.intersect1d(groups[held_out], groups[~held_out]).tolist())
