"""The list of the runs that wait, and when a spool may be removed. MLflow is not imported here."""

import os
from pathlib import Path

import pytest

from one_neuron.errors import DataError, StoreOutage
from one_neuron.pruning import prune_work_folder
from one_neuron.tracking import spool
from one_neuron.tracking.outages import RECORD
from one_neuron.tracking.spool import (
    SEALS,
    Seals,
    find_spool,
    find_waiting,
    keeping,
    read_seals,
    remove_spool,
    write_seals,
)
from one_neuron.tracking.store import Store, find_store


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a spool in which two runs wait and one has been sent."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@runs.example.org")
    found = find_spool(tmp_path, find_store(tmp_path))
    assert found.database is not None
    write_seals(found.database.parent, Seals(found.waits_for, {"a": "1", "b": "2"}, {"c": "there"}))
    return found


def test_a_spool_belongs_to_one_store_whatever_the_password(
    kept: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new password does not lose the runs that wait; another server does not get them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:new@runs.example.org")
    assert find_spool(tmp_path, find_store(tmp_path)) == kept
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other.example.org")
    assert find_spool(tmp_path, find_store(tmp_path)).database != kept.database
    assert find_waiting(tmp_path) == {"http://runs.example.org": 2}
    assert "hunter2" not in (Path(kept.place).parent / SEALS).read_text()


def test_every_changed_bit_of_the_list_is_found(kept: Store) -> None:
    """Or changes nothing, such as white space between two values."""
    folder = Path(kept.place).parent
    content, expected = (folder / SEALS).read_bytes(), read_seals(folder)
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            (folder / SEALS).write_bytes(changed)
            try:
                assert read_seals(folder) == expected  # white space between the values
            except DataError:
                continue


def test_a_spool_in_use_stays_and_one_that_is_not_goes(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep in another process may be about to write to it."""
    monkeypatch.setattr(spool, "_in_use", {})
    folder = Path(kept.place).parent
    spool._use(kept)
    assert remove_spool(kept) is None
    assert folder.is_dir()
    for descriptor in spool._in_use.values():
        os.close(descriptor)
    assert remove_spool(kept) is None
    assert not folder.exists()


def test_damaged_runs_are_moved_aside_and_no_longer_wait(kept: Store, tmp_path: Path) -> None:
    """Twice, under two names. They are deleted only 30 days after that, however old they are."""
    folder = Path(kept.place).parent
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (0, 0))
    aside = folder.with_suffix(".damaged-0")
    assert remove_spool(kept, aside=True) == aside
    prune_work_folder(tmp_path)
    assert (aside / SEALS).exists()
    os.utime(aside, (0, 0))
    prune_work_folder(tmp_path)
    assert not aside.exists()
    folder.mkdir()
    write_seals(folder, Seals(kept.waits_for, {"d": "4"}))
    assert remove_spool(kept, aside=True) == aside
    assert find_waiting(tmp_path) == {}
    write_seals(folder, Seals(kept.waits_for, {"d": "4"}))
    assert remove_spool(kept, aside=True) == folder.with_suffix(".damaged-1")


def test_a_problem_of_the_spool_keeps_the_outage_that_came_first() -> None:
    """With what has to be repaired before the store can be used."""
    outage = RECORD.outage("the store is locked", "end that process")
    with pytest.raises(StoreOutage) as caught, keeping(outage):
        raise RECORD.outage("the disk is full")
    assert str(caught.value) == (
        "the store is locked; nor can it be kept (the disk is full); the results are safe in the files; end that "
        "process and run `make track`, or the same sweep again"
    )
