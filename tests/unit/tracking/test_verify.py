"""Which runs can be verified, and what is said of other versions of libraries."""

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from one_neuron.errors import EnvironmentProblem, SettingsError
from one_neuron.tracking import tags as tag
from one_neuron.tracking.verify import find_commits, find_other_versions


def _run(status: str = "FINISHED", **tags: str) -> Any:
    """Return what is needed of MLflow's run: id, status and tags."""
    named = {getattr(tag, name): value for name, value in tags.items()}
    return SimpleNamespace(info=SimpleNamespace(run_id="1234", status=status), data=SimpleNamespace(tags=named))


def test_the_commit_of_a_run_comes_before_later_ones() -> None:
    """Later commits with uncommitted changes are left out: nothing says what changed."""
    assert find_commits(_run(KIND="result", COMMIT="a")) == ["a"]
    assert find_commits(_run(KIND="result", COMMIT="a", ALSO_COMMITS="b c-dirty d")) == ["a", "b", "d"]
    assert find_commits(_run(KIND="result", ALSO_COMMITS="b")) == ["b"]  # recorded before there was a commit
    with pytest.raises(EnvironmentProblem, match=r"names no commit.*commit it, run `make track`"):
        find_commits(_run(KIND="result", ALSO_COMMITS="c-dirty"))


@pytest.mark.parametrize("kind", ["sweep", "configuration"])
def test_only_finished_results_are_verified(kind: str) -> None:
    """A configuration of a sweep has no files."""
    with pytest.raises(SettingsError, match=f"is a {kind}; verify the run of a result"):
        find_commits(_run(KIND=kind, COMMIT="a"))
    with pytest.raises(SettingsError, match="is RUNNING, not FINISHED"):
        find_commits(_run("RUNNING", KIND="result", COMMIT="a"))


def test_other_versions_than_the_locked_ones_are_named(tmp_path: Path) -> None:
    """Only of the libraries that make the bytes; hashes and markers may follow a version."""
    numpy = version("numpy")
    (tmp_path / "requirements.txt").write_text(
        f"numpy=={numpy} \\\n    --hash=sha256:00\npillow==1.0 ; python_version > '3'\nmlflow==1.0\n"
    )
    [note] = find_other_versions(tmp_path / "requirements.txt")
    assert note.startswith(f"pillow is {version('pillow')} here, the commit has 1.0; ")
