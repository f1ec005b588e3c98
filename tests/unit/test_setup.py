"""scripts/setup.sh: what it refuses before it touches anything."""

import subprocess
from pathlib import Path


def test_a_linked_environment_is_never_emptied(repository: Path, tmp_path: Path) -> None:
    """`python -m venv --clear` would remove everything in the folder that .venv links to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    project = tmp_path / "the project"
    subprocess.run(["git", "init", "--quiet", project], check=True)
    (project / ".venv").symlink_to(elsewhere)
    command = ["sh", str(repository / "scripts" / "setup.sh")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == (
        f"one-neuron: '{project}/.venv' is a link; setting up would empty the folder it points to. "
        "Remove the link: rm .venv\n"
    )
    assert [path.name for path in elsewhere.iterdir()] == ["file"]


def test_the_page_of_plots_is_written_once(repository: Path, tmp_path: Path) -> None:
    """With an environment that is up to date, set-up writes only what is missing, and tells DVC where it is."""
    project = tmp_path / "the project"
    subprocess.run(["git", "init", "--quiet", project], check=True)
    (project / ".venv/bin").mkdir(parents=True)
    (project / "scripts").mkdir()
    for name in ("requirements.txt", "pyproject.toml"):
        (project / name).write_text(name)
    log = 'echo "$(basename "$0") $*" >>log\n'
    (project / ".venv/bin/python").write_text(f'#!/bin/sh\n{log}touch "$2"\n')
    (project / ".venv/bin/dvc").write_text(f"#!/bin/sh\n{log}")
    for name in ("python", "dvc"):
        (project / ".venv/bin" / name).chmod(0o755)
    stamp = (
        'echo "$PWD $(python3 --version 2>&1) $(git hash-object requirements.txt) $(git hash-object pyproject.toml)" '
        ">.venv/one-neuron-stamp"
    )
    subprocess.run(["sh", "-c", stamp], cwd=project, check=True)
    for _ in range(2):
        subprocess.run(["sh", str(repository / "scripts" / "setup.sh")], cwd=project, check=True)
    assert (project / "log").read_text().splitlines() == [
        "python scripts/offline_plots.py .venv/dvc-plots.html",
        "dvc config --local plots.html_template ../.venv/dvc-plots.html",
    ]
