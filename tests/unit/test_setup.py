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
