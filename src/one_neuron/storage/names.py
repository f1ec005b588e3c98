"""Names of pictures as they are stored: millions of them in one compact array of bytes."""

import operator
import os
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError

NAMES_AT_A_TIME = 4096


class StoredNames(Sequence[str]):
    """Names that become text when they are used: a tuple of str takes several times the memory.

    Parameters
    ----------
    stored : ndarray of shape (m,), bytes of a fixed length
        The names, each encoded by `os.fsencode`.
    """

    def __init__(self, stored: NDArray[np.bytes_]) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, key: int) -> str: ...

    @overload
    def __getitem__(self, key: slice) -> tuple[str, ...]: ...

    def __getitem__(self, key: int | slice) -> str | tuple[str, ...]:
        """Return a name, or a tuple of names for a slice."""
        if isinstance(key, slice):
            return tuple(map(os.fsdecode, self.stored[key].tolist()))
        return os.fsdecode(self.stored[operator.index(key)])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), NAMES_AT_A_TIME):
            yield from self[start : start + NAMES_AT_A_TIME]


def store_names(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Return m names as an array of shape (m,): bytes of the length of the longest, padded with zeros.

    Raises
    ------
    DataError
        If a name ends with a NUL character, which would be lost in the padding.
    """
    if isinstance(names, StoredNames):
        return names.stored
    longest = 0
    for name in names:
        if name.endswith("\0"):
            raise DataError(f"the name {name!r} ends with a NUL character, which cannot be stored")
        longest = max(longest, len(os.fsencode(name)))
    return np.fromiter(map(os.fsencode, names), dtype=f"S{max(longest, 1)}", count=len(names))


def names_as_bytes(names: Sequence[str]) -> Iterator[bytes]:
    """Yield all names as bytes for a SHA-256: their lengths (uint64, little-endian), then the names one by one.

    The lengths mark where a name ends: "ab", "c" differs from "a", "bc".
    """
    stored = store_names(names)
    yield np.strings.str_len(stored).astype("<u8").tobytes()
    for start in range(0, len(stored), NAMES_AT_A_TIME):
        yield b"".join(stored[start : start + NAMES_AT_A_TIME].tolist())
