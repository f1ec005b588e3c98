"""Names of pictures as they are stored: millions of them as bytes of a fixed length, in an array or in their file."""

import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError
from one_neuron.rows import RowsOnDisk

NAMES_AT_A_TIME = 4096


class NamesOnDisk:
    """Stored names that stay in their file, indexed like the array that they would be in memory.

    Parameters
    ----------
    rows : RowsOnDisk of shape (m, length), uint8
        The bytes of each name, padded with zeros.
    """

    def __init__(self, rows: RowsOnDisk) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """Return a name, or an array of names for a slice."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            found = self._rows[start:stop] if step == 1 else self._rows[np.arange(start, stop, step)]
        else:
            found = self._rows[key]
        names = found.view(f"S{self._rows.shape[1]}")
        return names.reshape(-1) if isinstance(key, slice) else names[0]


class StoredNames(Sequence[str]):
    """Names that become text when they are used: a tuple of str takes several times the memory.

    Parameters
    ----------
    stored : ndarray of shape (m,), bytes of a fixed length; or NamesOnDisk
        The names, each encoded by `os.fsencode`.
    """

    def __init__(self, stored: NDArray[np.bytes_] | NamesOnDisk) -> None:
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
        return names.stored[:]
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
    stored = names.stored if isinstance(names, StoredNames) else store_names(names)
    parts = [slice(start, start + NAMES_AT_A_TIME) for start in range(0, len(stored), NAMES_AT_A_TIME)]
    for part in parts:
        yield np.strings.str_len(stored[part]).astype("<u8").tobytes()
    for part in parts:
        yield b"".join(stored[part].tolist())
