"""Cached rows are removed when they take more than allowed, the least recently used ones first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from one_neuron.errors import SettingsError
from one_neuron.pictures import cache_limit, row_cache
from one_neuron.pictures.cache_limit import cache_bound, rows_folder, trim_rows
from one_neuron.pictures.row_cache import RowCache
from tests.unit.pictures.test_row_cache import N_X, fill, found_in


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the rows of all settings in an empty project."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("ONE_NEURON_CACHE_MB", raising=False)
    monkeypatch.setattr(row_cache, "_OPEN", type(row_cache._OPEN)())  # caches of other tests
    return tmp_path / ".one-neuron" / "rows"


def make_three(root: Path) -> list[Path]:
    """Return the folders of three settings, 96 KB each, the one used last at the end."""
    folders = [root / name for name in "cab"]
    for folder in folders:
        fill(folder, range(0)).close()
        (folder / "some.rows").write_bytes(bytes(96 * 1024))
    for age, folder in enumerate(reversed(folders)):
        os.utime(folder / "in-use", (1e9 - age, 1e9 - age))
    return folders


def left(folders: list[Path]) -> list[bool]:
    """Return which folders still exist."""
    return [folder.exists() for folder in folders]


@pytest.mark.parametrize(("kilobytes", "stays"), [(288, 3), (287, 2), (200, 2), (100, 1), (90, 0), (0, 0)])
def test_the_least_recently_used_rows_are_removed_first(
    root: Path, monkeypatch: pytest.MonkeyPatch, kilobytes: int, stays: int
) -> None:
    """Until the rest fits; even the last one is removed if it alone is too large."""
    folders = make_three(root)
    monkeypatch.setattr(cache_limit, "cache_bound", lambda: kilobytes * 1024)
    trim_rows()
    assert left(folders) == [False] * (3 - stays) + [True] * stays


def test_using_rows_makes_them_the_last_to_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening the rows counts as use."""
    folders = make_three(root)
    RowCache(folders[0], N_X).close()
    monkeypatch.setattr(cache_limit, "cache_bound", lambda: 100 * 1024)
    trim_rows()
    assert left(folders) == [True, False, False]


def test_the_default_is_two_gigabytes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable counts megabytes of 2**20 bytes."""
    assert cache_bound() == 2000 * 2**20
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", " 7 ")
    assert cache_bound() == 7 * 2**20
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", "")
    assert cache_bound() == 2000 * 2**20


@pytest.mark.parametrize("text", ["-1", "1.5", "much", "²"])
def test_a_wrong_bound_is_named(root: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """With what is expected."""
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", text)
    with pytest.raises(SettingsError, match=f"ONE_NEURON_CACHE_MB = '{text}'; expected a whole number"):
        trim_rows()


def test_rows_in_use_by_another_process_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until that process has ended; rows of this process are removed and stay readable."""
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", "0")
    theirs = root / "theirs"
    program = (
        "import sys, time; from pathlib import Path; from one_neuron.pictures.row_cache import RowCache\n"
        "cache = RowCache(Path(sys.argv[1]), 12); print('open', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(theirs)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"open\n"
            (theirs / "some.rows").write_bytes(b"content")
            ours = fill(root / "ours", range(3))
            trim_rows()
            assert left([theirs, root / "ours"]) == [True, False]
            assert found_in(ours, range(4)) == [0, 1, 2]
        finally:
            process.kill()
    trim_rows()
    assert left([theirs]) == [False]


def test_an_empty_project_can_be_trimmed(root: Path) -> None:
    """No rows were ever kept."""
    trim_rows()
    assert rows_folder() == root
