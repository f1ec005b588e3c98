"""Rows on disk are indexed as an ndarray is, whichever way they are stored, and never loaded as a whole."""

import copy
import hashlib
import pickle
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from one_neuron.pictures.row_cache import CachedRows, RowCache
from one_neuron.rows import RowsOnDisk
from one_neuron.storage.pixel_file import PixelFile

M, N_X, OFFSET = 7, 5, 3


@pytest.fixture(scope="session", params=["file", "cache", "chosen"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RowsOnDisk, NDArray[np.uint8]]]:
    """Yield the same pixels on disk and in memory: in a file, in the cache, and as some rows of a file."""
    X = np.random.default_rng(0).integers(0, 256, (M, N_X), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("pixels")
    if request.param == "cache":
        with closing(RowCache(folder, N_X)) as cache:
            places = [cache.append(hashlib.sha256(row.tobytes()).digest(), row) for row in X]
            yield CachedRows(cache, np.array(places)), X
        return
    path, order = folder / "X", [2, 0, 6, 1, 5, 5, 3]
    path.write_bytes(b"-" * OFFSET + X.tobytes() + b"behind")
    with closing(PixelFile(path, offset=OFFSET, shape=X.shape)) as on_disk:
        yield (on_disk, X) if request.param == "file" else (on_disk.take(order), X[order])


def test_it_looks_like_an_array(both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """Shape, type and sizes."""
    on_disk, X = both
    for name in ("shape", "dtype", "ndim", "size", "nbytes"):
        assert getattr(on_disk, name) == getattr(X, name)
    assert len(on_disk) == len(X)
    rows: Any = on_disk
    assert [row.tolist() for row in rows] == X.tolist()
    assert str(M) in repr(on_disk)


BORDER = st.none() | st.integers(-2 * M, 2 * M)
SLICES = st.builds(slice, BORDER, BORDER)
NUMBERS = st.integers(-M - 1, M)
KEYS = (
    SLICES
    | NUMBERS
    | st.builds(np.int8, NUMBERS)
    | st.lists(NUMBERS, max_size=6)
    | st.lists(NUMBERS, max_size=6).map(lambda rows: np.array(rows, dtype=np.int8))
    | st.lists(st.integers(0, M), max_size=6).map(lambda rows: np.array(rows, dtype=np.uint64))
    | st.tuples(SLICES, SLICES)
)


@given(key=KEYS)
def test_indexing_gives_what_numpy_gives(key: Any, both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """Rows, blocks, chosen rows and columns; the same values, shape and type, or the same refusal."""
    on_disk, X = both
    try:
        expected = X[key]
    except IndexError:
        with pytest.raises(IndexError, match="does not exist"):
            on_disk[key]
    else:
        found = on_disk[key]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert (found == expected).all()


@pytest.mark.parametrize(
    "key",
    [
        True,
        None,
        ...,
        1.0,
        "X",
        [True] * M,
        np.ones(M, dtype=bool),
        [0.5],
        [[0, 1]],
        (0, 0),
        (slice(None), 0),
        (slice(None),),
        (slice(None),) * 3,
        slice(None, None, 2),
        slice(None, None, -1),
        (slice(None), slice(None, None, 2)),
    ],
    ids=repr,
)
def test_other_keys_are_refused(key: Any, both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """With a hint at what can be asked for."""
    with pytest.raises(TypeError, match=r"take X\["):
        both[0][key]


def test_read_into_fills_a_buffer(both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """Any run of rows, also none, and a part of a larger buffer."""
    on_disk, X = both
    buffer = np.zeros((M + 1, N_X), dtype=np.uint8)
    for start in range(M + 1):
        for count in range(M - start + 1):
            buffer[:] = 0
            on_disk.read_into(start, buffer[:count])
            assert (buffer[:count] == X[start : start + count]).all()
            assert not buffer[count:].any()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, N_X), dtype=np.int8),
        np.zeros((2, N_X + 1), dtype=np.uint8),
        np.zeros(N_X, dtype=np.uint8),
        np.zeros((2, N_X), dtype=np.uint8, order="F"),
        np.zeros((4, N_X), dtype=np.uint8)[::2],
        np.frombuffer(bytes(2 * N_X), dtype=np.uint8).reshape(2, N_X),
    ],
    ids=["type", "columns", "flat", "order", "stride", "read-only"],
)
def test_a_buffer_that_does_not_fit_is_refused(
    out: NDArray[np.uint8], both: tuple[RowsOnDisk, NDArray[np.uint8]]
) -> None:
    """Nothing is written to it."""
    with pytest.raises(ValueError, match=r"expected \(k, 5\) uint8, C-contiguous and writable"):
        both[0].read_into(0, out)
    assert not out.any()


@pytest.mark.parametrize("start", [-1, M - 1, M + 1, 2**62])
def test_rows_that_do_not_exist_are_refused(start: int, both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """Above all not read from what lies before and behind the pixels."""
    with pytest.raises(IndexError, match=f"there are {M}"):
        both[0].read_into(start, np.zeros((2, N_X), dtype=np.uint8))


def test_it_never_becomes_one_array_unasked(both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """Nor a copy that would close the file of the first."""
    with pytest.raises(TypeError, match="stay on disk"):
        np.asarray(both[0])
    for function in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither copied nor pickled"):
            function(both[0])


def test_some_rows_are_taken_without_being_read(both: tuple[RowsOnDisk, NDArray[np.uint8]]) -> None:
    """In any order, more than once, counted from the end; also some of some."""
    on_disk, X = both
    chosen = on_disk.take([4, 0, -1, 0])
    assert chosen.shape == (4, N_X)
    assert (chosen[:] == X[[4, 0, -1, 0]]).all()
    assert (chosen.take([1, 2])[:] == X[[0, -1]]).all()
    assert on_disk.take([]).shape == (0, N_X)
    with pytest.raises(IndexError, match=f"row {M} does not exist"):
        on_disk.take([0, M])
