"""The temporary copy of the project: which commit, which pictures, and that nothing leads back to the workspace."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.verify_copy import ProjectCopy, make_copy
from one_neuron.tracking.verify_lock import Lock


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def _commit(folder: Path, code: str) -> str:
    """Commit another version of the code."""
    (folder / "code.py").write_text(code)
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "-m", code)
    return _git(folder, "rev-parse", "HEAD")


def _lock(*, code: str = "first", source: str = "drawn", path: str = "pictures") -> Lock:
    """Return the lock of a run with one code file."""
    params: Mapping[str, Any] = {"prepare": {"params.yaml": {"data": {"source": source, "path": path}}}}
    return Lock({"code.py": hashlib.md5(code.encode()).hexdigest(), path: "1.dir"}, {}, params)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a repository with one commit, and params.yaml of a run beside it."""
    workspace = tmp_path / "workspace"
    (workspace / ".dvc").mkdir(parents=True)
    (workspace / ".dvc/config").touch()
    (workspace / "params.yaml").write_text("committed")
    (workspace / "dvc.lock").write_text("committed")
    _git(workspace, "init", "--quiet")
    _commit(workspace, "first")
    (tmp_path / "params.yaml").write_text("of the run")
    (tmp_path / "temporary").mkdir()
    return workspace


def copy_of(workspace: Path, *commits: str, lock: Lock) -> ProjectCopy:
    """Make the copy of a run; its artifacts lie beside the workspace."""
    beside = workspace.parent
    return make_copy(
        workspace,
        Path(tempfile.mkdtemp(dir=beside / "temporary")),
        commits=commits or [_git(workspace, "rev-parse", "HEAD")],
        params=beside / "params.yaml",
        changes=beside / "a.patch",
        stored=lock,
    )


def test_parameters_are_those_of_the_run_and_the_lock_is_made_anew(workspace: Path) -> None:
    """DVC keeps its cache in the temporary folder. Pictures that are not used need a folder, for DVC to hash."""
    copy = copy_of(workspace, lock=_lock())
    assert (copy.folder / "params.yaml").read_text() == "of the run"
    assert not (copy.folder / "dvc.lock").exists()
    assert f'dir = "{workspace.parent / "temporary"}/' in (copy.folder / ".dvc/config.local").read_text()
    assert list((copy.folder / "pictures").iterdir()) == []
    assert sorted(path.name for path in workspace.iterdir()) == [".dvc", ".git", "code.py", "dvc.lock", "params.yaml"]


def test_the_first_commit_with_the_code_of_the_run_is_taken(workspace: Path) -> None:
    """A run keeps the later commits that gave the same result: one of them has what was not committed before."""
    first = _git(workspace, "rev-parse", "HEAD")
    second = _commit(workspace, "second")
    with pytest.raises(EnvironmentProblem, match=rf"another 'code\.py' than commit {first[:12]} has, .* `make track`"):
        copy_of(workspace, first, "f" * 40, lock=_lock(code="second"))
    copy = copy_of(workspace, first, "f" * 40, second, lock=_lock(code="second"))
    assert (copy.commit, (copy.folder / "code.py").read_text()) == (second, "second")


def test_a_patch_belongs_to_the_first_commit_alone(workspace: Path) -> None:
    """Applied to another one it would make other code."""
    first = _git(workspace, "rev-parse", "HEAD")
    (workspace / "code.py").write_text("changed")
    (workspace.parent / "a.patch").write_text(_git(workspace, "diff") + "\n")
    _git(workspace, "checkout", "--quiet", "code.py")
    assert (copy_of(workspace, first, lock=_lock(code="changed")).folder / "code.py").read_text() == "changed"


@pytest.mark.parametrize("path", ["mine", "pictures/deep/mine", "../mine"])
def test_own_pictures_are_linked_from_the_workspace(workspace: Path, path: str) -> None:
    """In place of what the commit has there; a path out of the project stays inside the temporary folder."""
    (workspace / path).mkdir(parents=True)
    (workspace / path / "README.md").touch()
    _commit(workspace, "first ")
    (workspace / path / "cat.png").touch()
    copy = copy_of(workspace, lock=_lock(code="first ", source="folder", path=path))
    assert sorted(one.name for one in (copy.folder / path).iterdir()) == ["README.md", "cat.png"]
    assert (copy.folder / path).resolve() == (workspace / path).resolve()
    assert (copy.folder / path).absolute().parent.resolve().is_relative_to(workspace.parent / "temporary")
    assert (workspace / path / "cat.png").exists()


def test_pictures_that_dvc_tracks_are_pulled_from_the_cache(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link into the workspace would let DVC write there."""
    (workspace / "pictures").mkdir()
    (workspace / "pictures/cats.dvc").touch()
    _commit(workspace, "first ")
    asked = []
    monkeypatch.setattr(ProjectCopy, "dvc", lambda _, *arguments: asked.append(arguments))
    monkeypatch.setattr(ProjectCopy, "find_cache", lambda _: Path("/cache of the workspace"))
    copy = copy_of(workspace, lock=_lock(code="first ", source="folder"))
    assert asked == [("pull", "--quiet", "--remote", "workspace", "pictures/cats.dvc")]
    assert 'url = "/cache of the workspace"' in (copy.folder / ".dvc/config.local").read_text()
    assert not (copy.folder / "pictures").is_symlink()


@pytest.mark.parametrize("path", [".", "..", "../..", ".git", "pictures/.."])
def test_a_path_that_holds_the_project_is_refused(workspace: Path, path: str) -> None:
    """It comes from a store, and would be replaced by a link."""
    with pytest.raises(EnvironmentProblem, match="which holds the project"):
        copy_of(workspace, lock=_lock(source="folder", path=path))


def test_programs_there_are_led_neither_to_the_workspace_nor_to_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a Git hook or a stage of DVC, variables name the workspace. A relative folder of pictures stays right."""
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("ONE_NEURON_CATVNONCAT_DIR", "../data")
    copy = ProjectCopy(tmp_path, tmp_path / "temporary", tmp_path, "")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/show.py").write_text(
        "import json, os, shutil\nprint(json.dumps([dict(os.environ), shutil.which('python')]))"
    )
    environment, python = json.loads(copy.python("show"))
    assert "/elsewhere" not in environment.values()
    assert environment["DVC_SITE_CACHE_DIR"].startswith(str(tmp_path / "temporary"))
    assert environment["ONE_NEURON_CATVNONCAT_DIR"] == f"{tmp_path}/../data"
    assert Path(python).parent == Path(sys.executable).parent
    (tmp_path / "src/show.py").write_text("import sys; sys.exit('first\\none-neuron: the reason')")
    with pytest.raises(EnvironmentProblem, match=r"^the reason$"):
        copy.python("show")
