"""Which pictures are held out for the test set, where the user has not decided it: by content, not by name or order."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def choose_test(
    digests: Sequence[bytes], groups: NDArray[np.integer], *, fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Choose the test set: about `fraction` of each class, the same pictures whatever else is there.

    The SHA-256 of the seed and the content is a number in [0, 1); below `fraction` the picture is held out. So copies
    of a picture are always on the same side, and no picture changes sides when others come or go. Only where a class
    would have no picture on one side, the one that comes nearest to it is moved there.

    Parameters
    ----------
    digests : sequence of m bytes
        SHA-256 of the content of each picture.
    groups : ndarray of shape (m,), int
        The class of each picture; there may be more than two.
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
    limit = np.uint64(fraction * 2.0**64)
    held_out = places < limit
    for group in np.unique(groups):
        contents = np.unique(places[groups == group])  # sorted; a content has one place, wherever it appears
        if len(contents) < 2:
            continue
        if contents[0] >= limit:
            held_out |= places == contents[0]
        elif contents[-1] < limit:
            held_out &= places != contents[-1]
    return held_out
