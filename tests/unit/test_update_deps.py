"""`make deps`: the source files in dvc.yaml are completed and corrected, or only compared."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

STAGES = ("draw", "prepare", "train", "evaluate", "track")
FIRST, LAST = "      - src/one_neuron/errors.py\n", "      - src/one_neuron/system/command.py\n"


@pytest.fixture
def script(repository: Path) -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("update_deps", repository / "scripts/update_deps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def text(repository: Path) -> str:
    """Return the committed dvc.yaml."""
    return (repository / "dvc.yaml").read_text(encoding="utf-8")


def test_the_committed_file_is_up_to_date(script: ModuleType, text: str) -> None:
    """Byte for byte, comments included."""
    assert script.update(text) == text


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(FIRST, "", id="missing"),
        pytest.param(LAST, "", id="another missing"),
        pytest.param(FIRST, f"      - src/one_neuron/an_old_module.py\n{FIRST}", id="stale"),
        pytest.param(LAST, f"{LAST}      - src/zoo/an_old_module.py\n", id="stale at the end"),
        pytest.param(LAST, f"{LAST}{LAST}", id="twice"),
    ],
)
def test_a_missing_module_is_added_and_a_stale_one_removed(
    script: ModuleType, text: str, stage: str, old: str, new: str
) -> None:
    """In the one stage where the list is wrong."""
    before, name, after = text.partition(f"\n  {stage}:\n")
    wrong = before + name + after.replace(old, new, 1)
    assert wrong != text
    assert script.update(wrong) == text


def test_the_command_corrects_or_only_compares(repository: Path, tmp_path: Path) -> None:
    """With --check exit code 1 and the remedy, and the file stays; without, the file is corrected."""
    for name in ("pipeline", "scripts", "src"):
        shutil.copytree(repository / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "dvc.yaml"
    right = (repository / "dvc.yaml").read_text(encoding="utf-8")
    wrong = right.replace(FIRST, "", 1)
    path.write_text(wrong, encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "scripts/update_deps.py", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert run("--check") == (1, "dvc.yaml does not name the source files that its stages import; run `make deps`\n")
    assert path.read_text(encoding="utf-8") == wrong
    assert run() == (0, "")
    assert path.read_text(encoding="utf-8") == right
    assert run("--check") == (0, "")
