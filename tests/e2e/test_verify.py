"""`one-neuron verify`: results are made again from their commit, and every byte in the store is compared."""

import hashlib
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from one_neuron.cli import main
from one_neuron.tracking.changes import CHANGES_FILE
from tests.e2e.conftest import ROOT, Project, make_project

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def verify(project: Project, run_id: str, code: int, **variables: str) -> str:
    """Run the command there, check its exit code, and return its output."""
    command = [sys.executable, "-m", "one_neuron.cli", "verify", run_id]
    return project.run(*command, code=code, PYTHONPATH=str(ROOT / "src"), **variables)


def list_state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return mode, size and time of change of every file and folder."""
    found = {path: path.lstat() for path in [folder, *folder.rglob("*")]}
    return {str(path): (status.st_mode, status.st_size, status.st_mtime_ns) for path, status in found.items()}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project with the run of an experiment whose code had uncommitted changes, which were undone later."""
    project = make_project(tmp_path_factory.mktemp("verify") / "one neuron")
    right = "return max(positives, len(Y) - positives) / len(Y)"
    project.edit("src/one_neuron/metrics.py", right, "return 0.125")
    changed = ["-S", "train.learning_rate=0.01", "-S", "train.num_iterations=300"]
    project.run("dvc", "exp", "run", "--name", "changed", *changed)
    project.run("git", "checkout", "src/one_neuron/metrics.py", "params.yaml")
    return project


@pytest.fixture(scope="module")
def run(project: Project) -> tuple[str, Path]:
    """Return the id of the run and the folder of its artifacts."""
    [run] = project.runs()
    assert run["learning_rate"] == "0.01"
    return run["id"], Path(unquote(urlsplit(run["artifacts"]).path))


def test_a_result_is_the_same_and_nothing_in_the_workspace_changes(
    project: Project, run: tuple[str, Path], tmp_path: Path
) -> None:
    """Parameters, uncommitted code and pictures are restored in a temporary folder, which is gone afterwards."""
    assert "+    return 0.125" in (run[1] / CHANGES_FILE).read_text(encoding="utf-8")
    before = list_state(project.folder)
    printed = verify(project, run[0][:8], code=0, TMPDIR=str(tmp_path))
    assert printed.splitlines()[-1].startswith("same: ")
    assert list_state(project.folder) == before
    assert list(tmp_path.iterdir()) == []


def test_one_changed_byte_of_the_model_in_the_store_is_found(project: Project, run: tuple[str, Path]) -> None:
    """Exit code 3 and one line; everything else is the same."""
    [model] = (project.folder / "mlartifacts/models").rglob("model.h5")
    content = model.read_bytes()
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    model.write_bytes(damaged)
    try:
        printed = verify(project, run[0], code=3)
    finally:
        model.write_bytes(content)
    [line] = [line for line in printed.splitlines() if line.startswith("differs: ")]
    assert line.startswith("differs: model m-")
    assert f"'artifacts/model.h5', SHA-256: stored {hashlib.sha256(damaged).hexdigest()}" in line


def test_what_cannot_be_verified_has_its_exit_code_and_a_remedy(
    project: Project,
    run: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong id; code from a store of others; a change that the run does not carry; an unknown commit."""
    run_id, artifacts = run
    monkeypatch.chdir(project.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def refuse(name: str, code: int) -> str:
        assert main(["verify", name]) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err

    assert "has no run ffff" in refuse("ffff", 2)
    with monkeypatch.context() as patched:
        # With a query, it is a database like any other and not the file of this project.
        patched.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.folder / 'mlflow.db'}?timeout=20")
        assert "--trust-diff" in refuse(run_id, 4)
    patch = shutil.move(artifacts / CHANGES_FILE, tmp_path)
    assert "another 'src/one_neuron/metrics.py' than commit" in refuse(run_id, 4)
    shutil.move(patch, artifacts)
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as store:
        store.execute("UPDATE tags SET value = ? WHERE key = 'mlflow.source.git.commit'", ("f" * 40,))
        store.commit()
    assert f"does not have the commit {'f' * 40}; get it with `git fetch" in refuse(run_id, 4)
