"""`make clean` removes what can be made again, and says so."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that looks like the project."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").touch()


def clean(repository: Path, *, code: int = 0) -> list[str]:
    """Run the script without any library; return the lines that it prints."""
    command = [sys.executable, "-I", "-S", str(repository / "scripts/clean.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return (done.stdout + done.stderr).splitlines()


def make(name: str, size: int = 0) -> Path:
    """Create a file."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_what_can_be_made_again_is_removed(repository: Path) -> None:
    """All outputs of the stages; not the store, the environment, DVC's cache, or what waits for a store.

    Runs that have changed on the disk and were moved aside do not wait.
    """
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outputs = [out for stage in stages.values() for out in stage.get("outs", []) + stage.get("metrics", [])]
    made = [make(out if isinstance(out, str) else next(iter(out)), 2**20) for out in outputs]
    made += [
        make(".one-neuron/rows/a/b"),
        make(".one-neuron/spool/a.damaged-0/b"),
        make("src/a/__pycache__/b.pyc"),
        make(".partial-a.yaml"),
    ]
    Path("elsewhere").mkdir()
    make("elsewhere/mine")
    Path("plots/link").symlink_to(Path("elsewhere").absolute())
    names = [
        "mlflow.db",
        "mlartifacts/a",
        ".venv/a",
        ".dvc/cache/a",
        ".one-neuron/spool/a",
        "pictures/a",
        "elsewhere/mine",
    ]
    kept = [make(name, 2**19) for name in names]
    printed = clean(repository)
    assert not any(path.exists() for path in made)
    assert all(path.exists() for path in kept)
    assert [line.split()[:4] for line in printed if line.startswith("removed together")] == [
        ["removed", "together", str(len(outputs) + 5), "files"]
    ]
    assert [line.split()[1] for line in printed if line.startswith("kept")] == [
        "mlflow.db", "mlartifacts", ".one-neuron/spool", ".dvc/cache", ".venv"
    ]  # fmt: skip
    spool = next(line for line in printed if line.startswith("kept") and "spool" in line)
    assert " ".join(spool.split()) == (
        "kept .one-neuron/spool 1 file 0.5 MB: runs that wait for their store; `one-neuron track --all` sends them"
    )
    assert clean(repository)[0].split()[:4] == ["removed", "together", "0", "files"]


def test_nothing_is_removed_below_a_running_command(repository: Path) -> None:
    """Nor outside the project."""
    output = make("data/prepared/train.h5")
    lock = make(".one-neuron/dvc-command.lock")
    lock.write_text("123\ntrain 0\n")
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        printed = clean(repository, code=4)
    assert printed == ["one-neuron: `make repro` (PID 123) is running here; wait until it has ended"]
    Path("dvc.yaml").unlink()
    assert "is not the root of the project" in clean(repository, code=2)[0]
    assert output.exists()
