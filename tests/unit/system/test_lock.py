"""A lock on a file, and what those that wait for it are told."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from one_neuron.system.lock import hold_lock

_SPAWN = multiprocessing.get_context("spawn")


def _hold(path: Path, ready: Connection) -> None:
    """Hold the lock until the process is killed."""
    with hold_lock(path, on_wait=lambda _: None):
        ready.send(os.getpid())
        time.sleep(60)


def _forbid(owner: int) -> None:
    """Fail, because nothing has to be waited for."""
    raise AssertionError(f"waits for {owner}")


def _start_owner(path: Path) -> "multiprocessing.process.BaseProcess":
    """Start a process that holds the lock, and return it."""
    here, there = _SPAWN.Pipe()
    owner = _SPAWN.Process(target=_hold, args=(path, there), daemon=True)
    owner.start()
    there.close()  # if the process ends before it sends, that is an error here
    assert here.recv() == owner.pid
    return owner


def _refuse(path: Path) -> int:
    """Try to hold the lock; return the PID of the owner that is reported."""
    told: list[int] = []

    def on_wait(owner: int) -> None:
        told.append(owner)
        raise TimeoutError

    with pytest.raises(TimeoutError), hold_lock(path, on_wait=on_wait):
        raise AssertionError("the lock was not held by another")
    return told[0]


def test_the_owner_of_a_lock_is_named_and_its_death_frees_it(tmp_path: Path) -> None:
    """Also after kill -9: the file that remains does not block the next process."""
    path = tmp_path / "new" / "a.lock"
    owner = _start_owner(path)
    assert _refuse(path) == owner.pid
    os.kill(owner.pid or 0, signal.SIGKILL)
    owner.join()
    with hold_lock(path, on_wait=_forbid) as locked:
        assert path.read_text() == f"{os.getpid()}\n"
        assert locked.is_intact()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """The message comes once; the block runs when the owner has ended."""
    path = tmp_path / "a.lock"
    owner = _start_owner(path)
    told: list[int] = []

    def on_wait(number: int) -> None:
        told.append(number)
        owner.kill()

    with hold_lock(path, on_wait=on_wait):
        assert told == [owner.pid]
    owner.join()


@pytest.mark.parametrize("remove", [Path.unlink, lambda path: path.replace(path.with_name("b"))])
def test_a_lock_whose_file_was_removed_is_no_longer_intact(tmp_path: Path, remove: Callable[[Path], object]) -> None:
    """Another process could lock a new file with the same name."""
    path = tmp_path / "a.lock"
    with hold_lock(path, on_wait=_forbid) as locked:
        remove(path)
        assert not locked.is_intact()
        with hold_lock(path, on_wait=_forbid) as other:
            assert other.is_intact()
        assert not locked.is_intact()
