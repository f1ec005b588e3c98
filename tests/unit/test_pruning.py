"""What `.one-neuron` may hold: by age, by size, and not while it is in use."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from one_neuron.pruning import IN_USE, keep_in_use, prune_work_folder

DAY = 24 * 3600


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty project, in which caches may take a megabyte."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", "1")


def make(name: str, *, days: float, kilobytes: int = 1) -> Path:
    """Create a file that was last used some days ago; a folder around it is as old."""
    path = Path(".one-neuron", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(kilobytes * 2**10))
    then = time.time() - days * DAY
    for each in (path, path.parent):
        os.utime(each, (then, then))
    return path


def test_what_is_old_is_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    """Each kind after its own time; the line says how much it was. Other files stay, whatever their age."""
    old = [
        make("prepared/a/train.h5", days=31),
        make("checkpoints/a.npz", days=31),
        make("damaged/data/a.h5", days=31),
        make("spool/a.damaged-0/mlflow.db", days=31),
        make("jobs-a/0.json", days=8),
        make("rows-a", days=2),
    ]
    recent = [
        make("prepared/b/train.h5", days=29),
        make("damaged/models/b.h5", days=29),
        make("spool/b.damaged-0/mlflow.db", days=29),
        make("jobs-b/0.json", days=6),
        make("rows/a/b", days=100),
        make("spool/a/mlflow.db", days=100),
        make("store.lock", days=100),
    ]
    prune_work_folder(Path.cwd())
    assert not any(path.exists() for path in old)
    assert not Path(".one-neuron/prepared/a").exists()
    assert all(path.exists() for path in recent)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "one-neuron: deleted 1 old entry of '.one-neuron/prepared' (0.0 MB)"
    assert printed[3] == "one-neuron: deleted 1 old entry of '.one-neuron/spool/*.damaged-*' (0.0 MB)"
    assert len(printed) == 6
    prune_work_folder(Path.cwd())
    assert capsys.readouterr().err == ""


def test_what_is_too_large_is_deleted_from_the_least_recently_used(capsys: pytest.CaptureFixture[str]) -> None:
    """Until the rest fits into the limit; a state that may belong to a running training stays."""
    sets = [make(f"prepared/{number}/train.h5", days=number, kilobytes=400) for number in range(5)]
    states = [make(f"checkpoints/{number}.npz", days=number / 2, kilobytes=600) for number in range(4)]
    damaged = [make(f"spool/{number}.damaged-0/mlflow.db", days=number, kilobytes=600) for number in (5, 8, 9)]
    prune_work_folder(Path.cwd())
    assert [path.exists() for path in damaged] == [True, False, False]
    assert [path.exists() for path in sets] == [True, True, False, False, False]
    assert [path.exists() for path in states] == [True, True, False, False]
    assert capsys.readouterr().err.startswith("one-neuron: deleted 3 old entries of '.one-neuron/prepared' (1.2 MB)\n")


def test_what_a_process_uses_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """As long as the process lives, however old it is and however large."""
    path = make("prepared/a/train.h5", days=40, kilobytes=2000)
    imports = "import sys; from pathlib import Path; from one_neuron.pruning import keep_in_use"
    use = f"{imports}; keep_in_use(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", use, str(path.parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert time.time() - (path.parent / IN_USE).stat().st_mtime < DAY
        then = time.time() - 40 * DAY
        os.utime(path.parent / IN_USE, (then, then))
        prune_work_folder(Path.cwd())
        assert path.exists()
        process.kill()
    prune_work_folder(Path.cwd())
    assert not path.exists()
    assert capsys.readouterr().err.startswith("one-neuron: deleted 1 old entry")


def test_two_processes_may_use_the_same_folder() -> None:
    """The lock is a shared one."""
    folder = make("prepared/a/train.h5", days=1).parent
    keep_in_use(folder)
    keep_in_use(folder)
    with (folder / IN_USE).open("rb") as stream, pytest.raises(BlockingIOError):
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
