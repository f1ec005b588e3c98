"""Where the pictures of a run come from when it is made again; DVC itself is replaced."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.layout import PREPARE_METRICS, TEST_FILE, TRAIN_FILE
from one_neuron.tracking import verify_rebuild
from one_neuron.tracking.verify_copy import ProjectCopy
from one_neuron.tracking.verify_lock import Lock
from one_neuron.tracking.verify_rebuild import rebuild

SETS = {
    path.as_posix(): hashlib.md5(path.name.encode()).hexdigest() for path in (TRAIN_FILE, TEST_FILE, PREPARE_METRICS)
}
PARAMS = {"prepare": {"params.yaml": {"data": {"source": "folder", "path": "pictures"}}}}
STORED = Lock({"pictures": "1.dir"}, SETS, PARAMS)
FROM_SETS = ("repro", "--force", "--no-run-cache", "--no-commit", "--single-item", "train", "evaluate")
ALL = ("repro", "--force", "--no-run-cache", "--no-commit", "evaluate")


class Scripted(ProjectCopy):
    """A copy whose DVC writes a test set or not, and ends with the next of some exit codes."""

    commands: list[tuple[str, ...]]

    def dvc(self, *arguments: str) -> int:
        """Record the command."""
        self.commands.append(arguments)
        return self.act(arguments)

    def python(self, module: str, *arguments: str) -> str:
        """Check the parameters, without finding anything."""
        return self.check()

    def find_cache(self) -> Path:
        """Return a cache beside the copy."""
        return self.root / "cache"

    act: Callable[[tuple[str, ...]], int]
    check: Callable[[], str]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Return a copy in which everything works, and a cache with the prepared sets of the run."""
    for path, md5 in SETS.items():
        (tmp_path / "cache/files/md5" / md5[:2]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache/files/md5" / md5[:2] / md5[2:]).write_text(Path(path).name)
    (tmp_path / "lock of the run").write_text("lock of the run")
    folder = tmp_path / "copy"
    folder.mkdir()
    scripted = Scripted(tmp_path, tmp_path, folder, "")
    for name, value in {"commands": [], "act": lambda _: 0, "check": lambda: ""}.items():
        object.__setattr__(scripted, name, value)
    monkeypatch.setattr(verify_rebuild, "read_lock", lambda _: STORED)
    return scripted


def rebuilt(copy: Scripted) -> str:
    """Make the result of the run again and return the note."""
    return rebuild(copy, STORED, copy.root / "lock of the run")[1]


def restored(copy: Scripted) -> bool:
    """Return whether the prepared sets of the run and its lock are in the copy."""
    assert (copy.folder / "dvc.lock").read_text() == "lock of the run"
    return all((copy.folder / path).read_text() == Path(path).name for path in SETS)


def test_all_stages_run_where_the_pictures_are_those_of_the_run(copy: Scripted) -> None:
    """Nothing is taken from a cache."""
    assert rebuilt(copy) == ""
    assert copy.commands == [ALL]
    assert list(copy.folder.iterdir()) == []


def test_changed_pictures_are_replaced_by_the_prepared_sets(copy: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note says so."""
    monkeypatch.setattr(verify_rebuild, "read_lock", lambda _: Lock({"pictures": "2.dir"}, {}, PARAMS))
    assert rebuilt(copy).startswith("the pictures have changed since the run; the prepared sets come from DVC's cache")
    assert copy.commands == [ALL, FROM_SETS]
    assert restored(copy)


def test_pictures_that_cannot_be_read_are_replaced_as_well(copy: Scripted) -> None:
    """Whether the check finds it, or the stage: a download without a network."""

    def refuse() -> str:
        raise EnvironmentProblem("'pictures' does not exist")

    object.__setattr__(copy, "act", lambda arguments: 255 * (arguments == ALL))
    assert rebuilt(copy).startswith("the pictures cannot be prepared here; ")
    assert copy.commands == [ALL, FROM_SETS]
    object.__setattr__(copy, "check", refuse)
    copy.commands.clear()
    assert rebuilt(copy).startswith("'pictures' does not exist; ")
    assert copy.commands == [FROM_SETS]
    assert restored(copy)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("other")], ids=["missing", "damaged"])
def test_without_pictures_and_prepared_sets_there_is_nothing_to_compare(
    copy: Scripted, damage: Callable[[Path], object]
) -> None:
    """The message names both."""
    object.__setattr__(copy, "act", lambda _: 255)
    md5 = SETS[TRAIN_FILE.as_posix()]
    damage(copy.root / "cache/files/md5" / md5[:2] / md5[2:])
    with pytest.raises(
        EnvironmentProblem, match=r"cannot be prepared here; nor does DVC's cache have .* bring the pict"
    ):
        rebuilt(copy)


def test_a_training_that_fails_is_not_a_matter_of_pictures(copy: Scripted) -> None:
    """With the pictures or from the prepared sets."""

    def fail(_: tuple[str, ...]) -> int:
        (copy.folder / TEST_FILE).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / TEST_FILE).touch()
        return 255

    object.__setattr__(copy, "act", fail)
    with pytest.raises(EnvironmentProblem, match="`dvc repro` failed, see its messages above"):
        rebuilt(copy)
    assert copy.commands == [ALL]
    (copy.folder / TEST_FILE).unlink()
    object.__setattr__(copy, "act", lambda _: 255)
    with pytest.raises(EnvironmentProblem, match="`dvc repro` failed"):
        rebuilt(copy)
    assert copy.commands == [ALL, ALL, FROM_SETS]
