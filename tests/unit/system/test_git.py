"""The commit from which a folder was checked out, in real repositories."""

import subprocess
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.git import ask_git, check_out, diff_files, find_origin, run_git


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


def _repository(folder: Path) -> str:
    """Make a repository with a project in the folder `project`, and return its commit."""
    (folder / "project").mkdir(parents=True)
    (folder / "project/code.py").write_text("first\n")
    (folder / "project/latin.py").write_bytes(b"# caf\xe9\n")
    (folder / "outside.py").write_text("outside\n")
    _git(folder, "init", "--quiet")
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "-m", "first")
    return _git(folder, "rev-parse", "HEAD")


def test_changes_are_carried_from_one_copy_to_another(tmp_path: Path) -> None:
    """Text, bytes that are not UTF-8, deleted, untracked and empty files; whatever the settings of the user are."""
    commit = _repository(tmp_path / "one")
    project = tmp_path / "one/project"
    for name, value in (("diff.noprefix", "true"), ("color.ui", "always"), ("diff.external", "false")):
        _git(project, "config", name, value)
    names = ["code.py", "latin.py", "new.py", "empty.py", "never there.py"]
    assert diff_files(project, commit, names) == b""
    (project / "code.py").write_text("second\n")
    (project / "latin.py").unlink()
    (project / "new.py").write_bytes(b"# na\xefve\n\0\n")
    (project / "empty.py").touch()
    (project / "other.py").write_text("not named\n")
    (tmp_path / "one/outside.py").write_text("not named\n")
    patch = diff_files(project, commit, names)
    assert b"not named" not in patch

    copy = check_out(project, commit, tmp_path / "two")
    assert copy == tmp_path / "two/project"
    run_git(tmp_path / "two", "apply", "-", text=patch)
    found = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert found == {"code.py": b"second\n", "new.py": b"# na\xefve\n\0\n", "empty.py": b""}
    assert (tmp_path / "two/outside.py").read_text() == "outside\n"


def test_nothing_has_changed_for_git_where_it_knows_no_commit(tmp_path: Path) -> None:
    """An unknown commit, a folder without Git."""
    _repository(tmp_path / "one")
    (tmp_path / "one/project/code.py").write_text("second\n")
    assert diff_files(tmp_path / "one/project", "f" * 40, ["code.py"]) == b""
    (tmp_path / "plain").mkdir()
    assert diff_files(tmp_path / "plain", "HEAD", ["code.py"]) == b""


@pytest.mark.parametrize("depth", [None, 1], ids=["whole", "shallow"])
def test_a_commit_is_checked_out_without_touching_its_repository(tmp_path: Path, depth: int | None) -> None:
    """One that no branch reaches, as after an amended commit; no hook runs; a shallow clone is enough."""
    commit = _repository(tmp_path / "one")
    one = tmp_path / "one"
    if depth is None:
        _git(one, "commit", "--quiet", "--amend", "-m", "second")
    else:
        (one / "later.py").touch()
        _git(one, "add", ".")
        _git(one, "commit", "--quiet", "-m", "later")
        _git(tmp_path, "clone", "--quiet", "--depth", "1", one.as_uri(), "shallow")
        one = tmp_path / "shallow"
        commit = _git(one, "rev-parse", "HEAD")
    hook = one / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hook ran'\n")
    hook.chmod(0o755)
    before = {path: path.lstat().st_mtime_ns for path in one.rglob("*")}
    copy = check_out(one / "project", commit, tmp_path / "two")
    assert (copy / "code.py").read_text() == "first\n"
    assert ask_git(copy, "rev-parse", "HEAD") == commit
    assert ask_git(copy, "status", "--porcelain") == ""
    assert {path: path.lstat().st_mtime_ns for path in one.rglob("*")} == before
    assert not (tmp_path / "hook ran").exists()


def test_what_cannot_be_checked_out_is_one_line(tmp_path: Path) -> None:
    """Another folder than a repository, another text than a commit, another commit; a patch that does not fit."""
    commit = _repository(tmp_path / "one")
    (tmp_path / "plain").mkdir()
    with pytest.raises(EnvironmentProblem, match="is not in a Git repository"):
        check_out(tmp_path / "plain", commit, tmp_path / "two")
    for unknown in ("f" * 40, "HEAD", "--help", commit[:8]):
        with pytest.raises(EnvironmentProblem, match="does not have the commit"):
            check_out(tmp_path / "one", unknown, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    with pytest.raises(EnvironmentProblem, match=r"`git apply -` failed \(.*No valid patches"):
        run_git(tmp_path / "one", "apply", "-", text=b"not a patch\n")
