"""The uncommitted changes of the code that a result depends on."""

import subprocess
from pathlib import Path

import pytest

from one_neuron.layout import SOURCE_ROOT
from one_neuron.tracking import changes
from one_neuron.tracking.changes import read_changes


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def committed(tmp_path: Path) -> str:
    """Return the commit of a small project in `tmp_path`, with one of the library's modules."""
    for name, text in {
        "dvc.yaml": "cmd: python pipeline/draw.py\n",
        "requirements.txt": "numpy==2\n",
        "params.yaml": "draw: 1\n",
        "pipeline/draw.py": "from one_neuron import neuron\n",
        "pipeline/sweep.py": "",
        "src/one_neuron/neuron.py": "first\n",
        "src/one_neuron/cli.py": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "-m", "first")
    return _git(tmp_path, "rev-parse", "HEAD")


def test_files_on_which_no_result_depends_do_not_count(tmp_path: Path, committed: str) -> None:
    """Left out: params.yaml, a command, a script outside the stages, a file beside the sources."""
    assert read_changes(tmp_path, committed) == b""
    for name in ("params.yaml", "src/one_neuron/cli.py", "pipeline/sweep.py", "src/notes.txt"):
        (tmp_path / name).write_text("changed\n")
    assert read_changes(tmp_path, committed) == b""


def test_stages_modules_and_requirements_count(
    tmp_path: Path, committed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module that a stage imports may be new and even ignored by Git. Large changes are not stored."""
    (SOURCE_ROOT / "one_neuron/rows.py").stat()  # the library imports it
    (tmp_path / ".git/info/exclude").write_text("rows.py\n")
    for name in ("src/one_neuron/rows.py", "src/one_neuron/neuron.py", "requirements.txt", "pipeline/draw.py"):
        with (tmp_path / name).open("a") as stream:
            stream.write(f"# changed {name}\n")
    patch = read_changes(tmp_path, committed).decode("utf-8")
    for name in ("src/one_neuron/rows.py", "src/one_neuron/neuron.py", "requirements.txt", "pipeline/draw.py"):
        assert f"+# changed {name}\n" in patch
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(changes, "MAX_BYTES", len(patch) - 1)
    assert read_changes(tmp_path, committed) == b""
    assert "not stored with the run; commit them" in capsys.readouterr().err
