"""Rows on disk: found by content, whole after a kill, and checked at each reading."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.pictures import row_cache
from one_neuron.pictures.row_cache import CachedRows, RowCache
from tests.processes import read_peak

N_X = 12
LENGTH = 32 + N_X + 4


def key_of(number: int) -> bytes:
    """Return the SHA-256 of an imaginary picture file."""
    return hashlib.sha256(str(number).encode("ascii")).digest()


def row_of(number: int) -> NDArray[np.uint8]:
    """Return a row that no other picture has."""
    return np.arange(N_X, dtype=np.uint8) * 3 + np.uint8(number)


def fill(folder: Path, numbers: range) -> RowCache:
    """Return a cache to which rows were added."""
    cache = RowCache(folder, N_X)
    for number in numbers:
        cache.append(key_of(number), row_of(number))
    return cache


def found_in(cache: RowCache, numbers: range) -> list[int]:
    """Return which rows are found, after checking their content."""
    places = {number: cache.find(key_of(number)) for number in numbers}
    found = {number: place for number, place in places.items() if place is not None}
    rows = CachedRows(cache, np.array(list(found.values()), np.int64))[:]
    np.testing.assert_array_equal(rows, np.array([row_of(number) for number in found]).reshape(-1, N_X))
    return list(found)


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of that kind."""
    (path,) = folder.glob(pattern)
    return path


# --- what is added is found ----------------------------------------------------------


def test_a_record_is_key_row_and_crc(tmp_path: Path) -> None:
    """On disk, byte for byte; the file of keys holds the first eight bytes of each."""
    fill(tmp_path, range(2)).close()
    contents = [key_of(number) + row_of(number).tobytes() for number in range(2)]
    records = [content + zlib.crc32(content).to_bytes(4, "little") for content in contents]
    assert only(tmp_path, "*.rows").read_bytes() == b"".join(records)
    assert only(tmp_path, "*.keys").read_bytes() == key_of(0)[:8] + key_of(1)[:8]


@pytest.mark.parametrize("most_recent", [1, 3, 1000])
def test_rows_are_found_at_once_and_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_recent: int
) -> None:
    """Whether the keys are sorted in by then or not; nothing is found that was not added."""
    monkeypatch.setattr(row_cache, "_MAX_RECENT", most_recent)
    with_ours = fill(tmp_path, range(20))
    assert found_in(with_ours, range(30)) == list(range(20))
    assert found_in(RowCache(tmp_path, N_X), range(30)) == list(range(20))


def test_the_next_process_goes_on_in_the_same_file(tmp_path: Path) -> None:
    """A year of runs that each add a picture leaves one file, not as many as may be open."""
    for number in range(5):
        fill(tmp_path, range(number, number + 1)).close()
    only(tmp_path, "*.rows")
    assert found_in(RowCache(tmp_path, N_X), range(9)) == list(range(5))


def test_two_at_once_write_files_of_their_own(tmp_path: Path) -> None:
    """Each finds its own and what was there before; the next finds everything."""
    fill(tmp_path, range(2)).close()
    first, second = RowCache(tmp_path, N_X), RowCache(tmp_path, N_X)
    for number in range(2, 10):
        (first if number % 2 else second).append(key_of(number), row_of(number))
    assert len(list(tmp_path.glob("*.rows"))) == 2
    assert found_in(first, range(12)) == [0, 1, 3, 5, 7, 9]
    assert found_in(second, range(12)) == [0, 1, 2, 4, 6, 8]
    assert found_in(RowCache(tmp_path, N_X), range(12)) == list(range(10))


def test_keys_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    """Eight bytes lead to the record; all 32 decide."""
    cache = RowCache(tmp_path, N_X)
    keys = [bytes(8) + bytes([number]) * 24 for number in range(3)]
    for number in (0, 1):
        cache.append(keys[number], row_of(number))
    assert cache.find(keys[2]) is None
    cache = RowCache(tmp_path, N_X)
    assert cache.find(keys[2]) is None
    places = np.array([cache.find(key) for key in keys[:2]])
    np.testing.assert_array_equal(CachedRows(cache, places)[:], [row_of(0), row_of(1)])


def test_a_row_of_another_size_is_refused(tmp_path: Path) -> None:
    """It would shift all that come after it."""
    with pytest.raises(ValueError, match=r"shape \(11,\)"):
        RowCache(tmp_path, N_X).append(key_of(0), row_of(0)[1:])


# --- damage --------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "keys"), [(-1, 0), (0, -1), (-LENGTH, 0), (0, -8), (-LENGTH - 7, -3), (-7, -19)])
def test_a_truncated_end_costs_the_last_records_alone(tmp_path: Path, rows: int, keys: int) -> None:
    """Whichever of the two files is short; what is added then lies where it belongs."""
    fill(tmp_path, range(6)).close()
    for pattern, change in (("*.rows", rows), ("*.keys", keys)):
        path = only(tmp_path, pattern)
        os.truncate(path, path.stat().st_size + change)
    lost = max(-(rows // LENGTH), -(keys // 8))
    cache = RowCache(tmp_path, N_X)
    assert found_in(cache, range(9)) == list(range(6 - lost))
    for number in range(6 - lost, 9):
        cache.append(key_of(number), row_of(number))
    assert found_in(cache, range(9)) == found_in(RowCache(tmp_path, N_X), range(9)) == list(range(9))
    assert (only(tmp_path, "*.rows").stat().st_size, only(tmp_path, "*.keys").stat().st_size) == (9 * LENGTH, 9 * 8)


@pytest.mark.parametrize("position", [0, 31, 32, 32 + N_X - 1, 32 + N_X, LENGTH - 1])
def test_a_flipped_bit_costs_its_record(tmp_path: Path, position: int) -> None:
    """In the key, the row or the CRC. Added again, it is found again, now and later."""
    fill(tmp_path, range(3)).close()
    path = only(tmp_path, "*.rows")
    content = bytearray(path.read_bytes())
    content[LENGTH + position] ^= 4
    path.write_bytes(content)
    cache = RowCache(tmp_path, N_X)
    assert found_in(cache, range(3)) == [0, 2]
    cache.append(key_of(1), row_of(1))
    assert found_in(cache, range(3)) == found_in(RowCache(tmp_path, N_X), range(3)) == [0, 1, 2]


def test_a_row_that_changes_while_it_is_in_use_is_not_handed_out(tmp_path: Path) -> None:
    """The message names the file."""
    cache = fill(tmp_path, range(2))
    rows = CachedRows(cache, np.array([cache.find(key_of(number)) for number in range(2)]))
    path = only(tmp_path, "*.rows")
    with path.open("r+b") as stream:
        stream.seek(LENGTH + 40)
        stream.write(b"\xff")
    np.testing.assert_array_equal(rows[0], row_of(0))
    with pytest.raises(DataError, match=rf"'{path}' was changed .* run the same command again"):
        rows[0:2]


def test_rows_without_keys_are_left_alone(tmp_path: Path) -> None:
    """The small file was removed."""
    fill(tmp_path, range(3)).close()
    only(tmp_path, "*.keys").unlink()
    assert found_in(RowCache(tmp_path, N_X), range(3)) == []


# --- a disk that does not do it ------------------------------------------------------


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is written first, as on real disks. Earlier records stay, and free space lets it continue."""
    cache, write = fill(tmp_path, range(2)), os.pwrite

    def fail(descriptor: int, data: bytes, position: int) -> int:
        if len(data) < LENGTH:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:5], position)

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(EnvironmentProblem, match=r"\.rows' cannot be written \(No space left on device\); free some"):
        cache.append(key_of(2), row_of(2))
    monkeypatch.undo()
    assert found_in(RowCache(tmp_path, N_X), range(3)) == [0, 1]
    cache.append(key_of(2), row_of(2))
    assert found_in(RowCache(tmp_path, N_X), range(3)) == [0, 1, 2]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file is in the way."""
    (tmp_path / "rows").write_text("")
    with pytest.raises(EnvironmentProblem, match=r"rows/x' cannot be used \(Not a directory\)"):
        RowCache(tmp_path / "rows" / "x", N_X)


# --- rows as pixels ------------------------------------------------------------------


def test_rows_are_taken_as_from_an_array(tmp_path: Path) -> None:
    """Slices, lists and single rows, each in a fresh array."""
    cache = fill(tmp_path, range(6))
    expected = np.array([row_of(number) for number in (4, 0, 5, 0)])
    rows = CachedRows(cache, np.array([cache.find(key_of(number)) for number in range(6)])).take([4, 0, 5, 0])
    assert (rows.shape, rows.dtype.name, rows.ndim, len(rows)) == ((4, N_X), "uint8", 2, 4)
    for key in (slice(1, 3), slice(2, 2), slice(None), [3, 1], np.array([2, 2]), np.array([], np.intp), -1):
        np.testing.assert_array_equal(rows[key], expected[key])
    rows[0:2][:] = 0
    np.testing.assert_array_equal(rows[0:2], expected[:2])
    with pytest.raises(IndexError):
        rows[4]
    with pytest.raises(TypeError, match="stay on disk"):
        np.asarray(rows)


def test_what_is_closed_is_not_read(tmp_path: Path) -> None:
    """The system may have given the numbers of the files to others."""
    cache = fill(tmp_path, range(1))
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        cache.find(key_of(0))


def test_a_folder_that_is_removed_while_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the lock file was opened and before it was locked, another process removed the folder."""
    flock = fcntl.flock
    swept: list[int] = []

    def sweep_first(descriptor: int, operation: int) -> None:
        if not swept:
            shutil.rmtree(tmp_path / "x")
            swept.append(operation)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    fill(tmp_path / "x", range(2)).close()
    assert swept == [fcntl.LOCK_SH]
    assert found_in(RowCache(tmp_path / "x", N_X), range(3)) == [0, 1]


# --- size ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_million_records_open_quickly_and_small(tmp_path: Path) -> None:
    """Some 16 bytes each, and no row is read."""
    count = 1_000_000
    fill(tmp_path, range(1)).close()
    os.truncate(only(tmp_path, "*.rows"), count * LENGTH)  # a hole
    prefixes = np.random.default_rng(0).integers(0, 2**63, count, dtype=np.uint64)
    prefixes.astype("<u8").tofile(only(tmp_path, "*.keys"))
    before, start = read_peak(), time.process_time()
    cache = RowCache(tmp_path, N_X)
    assert time.process_time() - start < 2
    assert len(cache._sorted[0]) == count
    assert cache.find(key_of(0)) is None
    assert read_peak() - before < 100 * count
