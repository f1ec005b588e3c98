"""DVC's file of locks is repaired after kills, and running commands are waited for."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from one_neuron.dvc_locks import find_dvc_root, read_owners, remove_copies, repair_rwlock, reserve_dvc
from one_neuron.errors import EnvironmentProblem

RWLOCK = Path(".dvc/tmp/rwlock")


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with the files that DVC needs for its locks."""
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that is not DVC, which ends with the test."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        yield started
        started.kill()


@pytest.fixture
def dvc() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process whose command line is one of DVC."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "/venv/bin/dvc", "repro"]) as started:
        yield started
        started.kill()


def write_rwlock(writer: int, *readers: int) -> None:
    """Write an entry of one writer and of some readers, as DVC does."""
    info = [{"pid": number, "cmd": "dvc repro"} for number in (writer, *readers)]
    RWLOCK.write_text(json.dumps({"write": {"/a/model.h5": info[0]}, "read": {"/a/train.h5": info[1:]}}))


def age_file(seconds: float) -> None:
    """Make the file look as if it was written earlier."""
    then = time.time() - seconds
    os.utime(RWLOCK, (then, then))


def find_dead() -> int:
    """Return the PID of a process that has ended."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    return ended.pid


@pytest.mark.parametrize(
    "content", ["", '{"read": {', "[]", '{"write": 3}', '{"write": {"/a": {"pid": "7", "cmd": "x"}}}', '"text"', "\xff"]
)
def test_a_file_that_dvc_cannot_read_is_removed(content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC would refuse every later command. While DVC is writing it, it stays."""
    monkeypatch.setattr("one_neuron.dvc_locks._PATIENCE_SECONDS", 0.05)
    assert repair_rwlock(Path.cwd()) == set()
    RWLOCK.write_bytes(content.encode("latin-1"))
    with RWLOCK.with_name("rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        assert repair_rwlock(Path.cwd()) == set()
        assert RWLOCK.exists()
    assert repair_rwlock(Path.cwd()) == set()
    assert not RWLOCK.exists()


def test_entries_of_the_dead_are_removed_and_others_stay(dvc: subprocess.Popen[bytes]) -> None:
    """The file that remains is one that DVC reads."""
    from dvc.rwlock import SCHEMA

    write_rwlock(find_dead(), find_dead(), dvc.pid)
    age_file(3600)  # a command whose name has dvc in it is never taken for another, whatever the clock says
    assert repair_rwlock(Path.cwd()) == {dvc.pid}
    assert SCHEMA(json.loads(RWLOCK.read_text())) == {
        "write": {},
        "read": {"/a/train.h5": [{"pid": dvc.pid, "cmd": "dvc repro"}]},
    }
    dvc.kill()
    dvc.wait()
    assert repair_rwlock(Path.cwd()) == set()
    assert not RWLOCK.exists()


def test_a_zombie_is_dead(dvc: subprocess.Popen[bytes]) -> None:
    """Its PID exists until its parent reaps it, which PID 1 of many containers never does."""
    write_rwlock(dvc.pid)
    dvc.kill()
    while psutil.Process(dvc.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert repair_rwlock(Path.cwd()) == set()
    assert not RWLOCK.exists()


def test_a_pid_that_was_used_again_is_recognized(process: subprocess.Popen[bytes]) -> None:
    """A process that began after the entry was written, and is not DVC. Otherwise, it may be DVC under another name."""
    write_rwlock(process.pid)
    assert repair_rwlock(Path.cwd()) == {process.pid}
    age_file(3600)
    assert repair_rwlock(Path.cwd()) == set()
    write_rwlock(os.getpid())  # in a container, a killed DVC had the PID of this process
    assert repair_rwlock(Path.cwd()) == set()


def test_owners_are_read_while_dvc_writes(dvc: subprocess.Popen[bytes]) -> None:
    """DVC empties the file before it writes; a file that stays broken is unknown."""
    assert read_owners(Path.cwd()) == set()
    RWLOCK.write_text("")
    timer = threading.Timer(0.1, write_rwlock, (dvc.pid, 7))
    timer.start()
    assert read_owners(Path.cwd()) == {dvc.pid, 7}
    timer.join()
    RWLOCK.write_text("{")
    assert read_owners(Path.cwd()) is None


def test_the_repository_of_dvc_is_found_from_folders_in_it(tmp_path: Path) -> None:
    """A project may lie inside a larger repository."""
    (tmp_path / "a/b").mkdir(parents=True)
    assert find_dvc_root(tmp_path / "a/b") == tmp_path
    assert find_dvc_root(tmp_path) == tmp_path


def test_commands_of_dvc_are_waited_for(dvc: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    """Or refused at once; the message names the process."""
    write_rwlock(dvc.pid)
    message = rf"another command uses DVC in this folder \(PID {dvc.pid}\)"
    with pytest.raises(EnvironmentProblem, match=message), reserve_dvc(Path.cwd(), no_wait=True):
        raise AssertionError("it did not wait")
    timer = threading.Timer(0.3, dvc.kill)
    timer.start()
    with reserve_dvc(Path.cwd()) as waited:
        assert waited
        assert dvc.poll() is not None or psutil.Process(dvc.pid).status() == psutil.STATUS_ZOMBIE
    timer.join()
    expected = f"one-neuron: another command uses DVC in this folder (PID {dvc.pid}); waiting until it has ended\n"
    assert capsys.readouterr().err == expected
    with reserve_dvc(Path.cwd(), no_wait=True) as waited:
        assert not waited


def test_the_lock_of_the_whole_repository_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """DVC itself holds it during `dvc push`, and gives up after three seconds if another command does."""
    imports = "import time; from dvc.lock import Lock"
    holds = f"{imports}; held = Lock('.dvc/tmp/lock'); held.lock(); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", holds], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(EnvironmentProblem, match=rf"\(PID {process.pid}\)"), reserve_dvc(Path.cwd(), no_wait=True):
            raise AssertionError("it did not wait")
        timer = threading.Timer(0.2, process.kill)
        timer.start()
        with reserve_dvc(Path.cwd()) as waited:
            assert waited
        timer.join()
    assert f"(PID {process.pid}); waiting until it has ended" in capsys.readouterr().err
    with reserve_dvc(Path.cwd(), no_wait=True) as waited:
        assert not waited


def test_copies_that_dvc_did_not_finish_are_removed(tmp_path: Path) -> None:
    """The names are those that a killed DVC 3.67 left; other files stay, the user's own temporary ones included."""
    left = [
        ".dvc/cache/runs/03/03f5e6/0d97ca.O8gK-lG2g91dm2VsSJEE0w.tmp",
        ".dvc/cache/files/md5/.7VsSJEE0wO8gK-lG2g91dm.tmp",
        "plots/.TIMPucXxvymhT4r-OdUDEA.tmp",
    ]
    kept = [
        ".dvc/cache/runs/04/04aa/0d97ca",
        ".dvc/cache/files/md5/1c/1e6cd1c9163ccd30dc86dbdb049fa6",
        "plots/mine.tmp",
        "data/a.b.tmp",
        ".x.tmp",
    ]
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_copies(tmp_path, ["data", "plots"])
    assert [name for name in (*left, *kept) if (tmp_path / name).exists()] == kept
    assert not (tmp_path / left[0]).parent.exists()  # DVC 3.67 fails where there is such a folder without a file
