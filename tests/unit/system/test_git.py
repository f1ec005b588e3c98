"""The commit from which a folder was checked out, in real repositories."""

import subprocess
from pathlib import Path

import pytest

from one_neuron.system.git import find_origin


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_origin_without_git_or_commit_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no commit, no program `git`."""
    for name in ("DVC_EXP_BASELINE_REV", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "params.yaml").write_text("draw:\n")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert find_origin(tmp_path).commit is None
    _git(tmp_path, "init")
    assert find_origin(tmp_path).commit is None
    _git(tmp_path, "add", "params.yaml")
    assert find_origin(tmp_path).commit is None  # staged, but there is no commit yet
    monkeypatch.setenv("PATH", "")
    assert find_origin(tmp_path).commit is None


def test_origin_names_commit_and_dirtiness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes of code count; params.yaml and dvc.lock do not."""
    for name in ("DVC_EXP_BASELINE_REV", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("params.yaml", "dvc.lock", "code.py"):
        (tmp_path / name).write_text("1\n")
    _git(tmp_path, "init")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    head = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked.txt").touch()
    (tmp_path / "params.yaml").write_text("2\n")  # the run holds both
    (tmp_path / "dvc.lock").write_text("2\n")
    origin = find_origin(tmp_path)
    assert (origin.commit, origin.dirty, origin.commit_label) == (head, False, head)
    (tmp_path / "code.py").write_text("2\n")
    assert find_origin(tmp_path).commit_label == f"{head}-dirty"
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "f" * 40)
    monkeypatch.setenv("DVC_EXP_NAME", "brave-cat")
    origin = find_origin(tmp_path)
    assert (origin.commit, origin.exp_name) == ("f" * 40, "brave-cat")


def test_the_commit_of_a_repository_around_this_one_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpacked archive inside another repository has no commit."""
    monkeypatch.delenv("DVC_EXP_BASELINE_REV", raising=False)
    (tmp_path / "other.txt").touch()
    _git(tmp_path, "init")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "first")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "params.yaml").touch()
    assert find_origin(inner).commit is None
