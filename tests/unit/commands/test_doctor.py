"""`one-neuron doctor`: what is there, and one line for what is off."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from one_neuron import __version__
from one_neuron.cli import main
from one_neuron.exact import products
from tests.results import write_result


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a committed project with a result the current folder."""
    write_result(tmp_path)
    (tmp_path / "pictures").mkdir()
    for name in ("dvc.yaml", "dvc.lock"):
        (tmp_path / name).touch()
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (
        ["init", "--quiet"],
        ["add", "dvc.yaml", "params.yaml"],
        [*identity, "commit", "--quiet", "--message", "first"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_sound_project(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each check has its lines, and nothing is reported."""
    assert main(["doctor"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0].startswith(f"versions    one-neuron {__version__}, Python 3.")
    assert "arithmetic  matrix products are exact" in lines
    assert "            params.yaml is right, pictures from folder" in lines
    assert f"store       {project / 'mlflow.db'} does not exist yet; the first result creates it" in lines
    assert "DVC's cache none yet; `dvc repro` fills it" in lines
    assert lines[-1] == "everything is in order"


def test_what_is_off_is_one_line_each(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All checks run; the exit code is that of a problem."""
    (project / "mlflow.db").write_text("not a database")
    (project / "params.yaml").write_text("train: 5")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    monkeypatch.setattr(products, "gram_matrix", lambda X: X @ X.T)
    assert main(["doctor"]) == 4
    printed = capsys.readouterr()
    first, second, third, fourth = printed.err.splitlines()
    assert first == "one-neuron: NumPy's BLAS computes wrong products on this processor; reinstall numpy"
    assert "has 1.0 GB of free disk; free 2 GB, for example with `dvc gc --workspace`" in second
    assert third == "one-neuron: params.yaml: the key 'draw' is missing; add it"
    assert "is not readable as the MLflow store" in fourth
    assert printed.out.endswith("see the lines that begin with one-neuron:\n")


def test_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Outside a project there is less to check."""
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert f"project     '{tmp_path}' is not the root of the project: only predict and serve work here" in printed
    assert "store" not in printed
