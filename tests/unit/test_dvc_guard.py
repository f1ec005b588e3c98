"""Entries that DVC could not hash are reported before it tries."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from one_neuron import dvc_guard
from one_neuron.dvc_guard import check_data_path, check_dvc_lock, restore_dvc_lock, save_dvc_lock
from one_neuron.errors import DataError, SettingsError
from one_neuron.layout import MLFLOW_ARTIFACTS, WORK_FOLDER
from one_neuron.settings.params import DataSettings
from tests.sockets import make_socket
from tests.values import DATA


def check(path: str) -> None:
    """Check a value of data.path."""
    check_data_path(DataSettings(**{**DATA, "path": path}))


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a project with pictures."""
    (tmp_path / "project" / "pictures" / "cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    Path("pictures/cat/a b\n\U0001f408.png").touch()
    Path("data").mkdir()


@pytest.mark.parametrize(
    "path", ["pictures", "./pictures/", "pictures/cat", "pictures/cat/a b\n\U0001f408.png", "linked"]
)
def test_files_and_folders_will_do(path: str) -> None:
    """Wherever they lie, and links to them."""
    Path("linked").symlink_to("pictures")
    Path("pictures/cat/link.png").symlink_to("a b\n\U0001f408.png")
    check(path)
    check(str(Path(path).absolute()))


@pytest.mark.parametrize("path", [".", "..", "/", "data", "data/mine", "./models", ".dvc/x", "../project"])
def test_where_the_project_writes_nothing_can_be_read(path: str) -> None:
    """DVC would report overlapping paths or cycles."""
    with pytest.raises(SettingsError, match=r"data.path is .*, where the project itself writes"):
        check(path)


def loop(path: str) -> None:
    """Create a link to itself."""
    Path(path).symlink_to(Path(path).name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "'pictures/cat/x.png' is neither a file nor a folder; remove it"),
        (make_socket, "'pictures/cat/x.png' is neither a file nor a folder; remove it"),
        (lambda path: Path(path).symlink_to("nowhere"), "'pictures/cat/x.png' is a link to nothing; remove it"),
        (
            lambda path: Path(path).symlink_to("../cat"),
            "x.png' is a link to a folder, which is not followed; replace the link",
        ),
        (loop, r"'pictures/cat/x.png' cannot be read \(Too many levels of symbolic links\)"),
        (lambda path: Path(path + "\udce9").touch(), r"'pictures/cat/x.png\\xe9' has a name that is not UTF-8"),
    ],
)
def test_what_dvc_cannot_read_is_named(make: object, message: str) -> None:
    """It would block for ever on a FIFO."""
    assert callable(make)
    make("pictures/cat/x.png")
    with pytest.raises(DataError, match=message):
        check("pictures")


def test_a_missing_place_is_named() -> None:
    """The message names the parameter."""
    with pytest.raises(DataError, match=r"'nowhere' does not exist; create it, or set data.path to your pictures"):
        check("nowhere")


def test_a_place_without_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated, because root may read anything."""

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        DataError, match=r"'pictures' cannot be read \(Permission denied\); allow reading, or set data.path"
    ):
        check("pictures")


def test_a_file_without_permission_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC would print only an errno."""
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith(".png"))
    with pytest.raises(DataError, match=r"\.png' cannot be read \(permission denied\); allow reading, or remove it"):
        check("pictures")


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("s3://bucket/my/cats/", "dvc import-url s3://bucket/my/cats/ cats && dvc exp run -S data.path=cats"),
        ("s3://bucket", "dvc import-url s3://bucket downloaded && dvc exp run -S data.path=downloaded"),
        (
            "s3://bucket/pictures",
            "dvc import-url s3://bucket/pictures pictures-2 && dvc exp run -S data.path=pictures-2",
        ),
        ("gs://bucket/data", "dvc import-url gs://bucket/data data-2 && dvc exp run -S data.path=data-2"),
        ("https://h.org/x.h5?v=1", "dvc import-url 'https://h.org/x.h5?v=1' x.h5 && dvc exp run -S data.path=x.h5"),
        (
            "https://h.org/My%20cats;rm.ZIP",
            (
                "dvc import-url 'https://h.org/My%20cats;rm.ZIP' My-cats-rm.zip && "
                "python -m zipfile -e My-cats-rm.zip My-cats-rm && dvc add My-cats-rm && "
                "dvc exp run -S data.path=My-cats-rm"
            ),
        ),
        (
            "s3://bucket/taken.tar.gz",
            (
                "dvc import-url s3://bucket/taken.tar.gz taken-2.tar.gz && "
                "mkdir taken-2 && tar -xf taken-2.tar.gz -C taken-2 && dvc add taken-2 && "
                "dvc exp run -S data.path=taken-2"
            ),
        ),
    ],
)
def test_an_address_comes_with_the_command_that_copies_it(
    path: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line for a shell, with names that are free; tests/e2e/test_team.py runs such lines."""
    Path("taken.tar.gz.dvc").touch()
    monkeypatch.setattr(dvc_guard, "find_spec", lambda _: object())
    with pytest.raises(SettingsError) as caught:
        check(path)
    assert str(caught.value) == f"data.path is {path!r}, an address; to copy it here and train, run `{command}`"


@pytest.mark.parametrize("path", ["https://u:hunter2@h.org/x.zip", "s3://hunter2@bucket/cats"])
def test_a_password_is_neither_printed_nor_stored(path: str) -> None:
    """DVC would write the address into a file for Git."""
    with pytest.raises(
        SettingsError, match=r"^data\.path contains a name or password, which Git would store; use"
    ) as caught:
        check(path)
    assert "hunter2" not in str(caught.value)


def test_what_a_bucket_needs_is_installed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing for the web."""
    monkeypatch.setattr(dvc_guard, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"`.venv/bin/pip install -r requirements-extras.txt && dvc import-url s3:"):
        check("s3://bucket/cats")
    with pytest.raises(SettingsError, match=r"run `dvc import-url https:"):
        check("https://example.org/cats.zip")


def test_a_folder_of_a_web_server_cannot_be_copied() -> None:
    """It would be the page that lists it."""
    with pytest.raises(SettingsError, match="no list of files can be had from a web server: name a zip or tar archive"):
        check("https://example.org/cats/")


def test_every_output_lies_in_a_reserved_folder(repository: Path) -> None:
    """So that data.path cannot name it."""
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outputs = [out for stage in stages.values() for out in stage.get("outs", []) + stage.get("metrics", [])]
    folders = {Path(out if isinstance(out, str) else next(iter(out))).parts[0] for out in outputs}
    assert len(folders) == 4
    for folder in (*folders, str(MLFLOW_ARTIFACTS), str(WORK_FOLDER)):
        with pytest.raises(SettingsError, match="where the project itself writes"):
            check(f"{folder}/mine")


LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python train.py
    outs:
    - path: plots/a.csv
      hash: md5
      md5: 781e5e245d69b566979b86e28d23f2c7
      size: 10
"""


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("", "", ""),
        ("781e", "781f", ""),  # DVC takes it for another file, and runs the stage again
        ("stages:\n", "<<<<<<< HEAD\nstages:\n", " is not YAML in line 3 (could not find expected ':')"),
        ("    outs:", "   outs:", " is not YAML in line "),
        ("'2.0'", "'2.1'", " is not what DVC writes (invalid schema version for"),
        ("cmd:", "bmd:", " is not what DVC writes ("),
        ("size: 10", "size: x", " is not what DVC writes ("),
        (LOCK, "", " is not what DVC writes ("),
        (LOCK, "\x00", " is not YAML ("),
        (LOCK, "[" * 5000, " is not YAML ("),
    ],
)
def test_a_damaged_lock_is_one_line_with_a_remedy(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """Not YAML, the marks of a conflict, or not what DVC writes."""
    check_dvc_lock(tmp_path)  # there is none yet
    (tmp_path / "dvc.lock").write_text(LOCK.replace(old, new))
    if not reason:
        check_dvc_lock(tmp_path)
        return
    with pytest.raises(DataError) as caught:
        check_dvc_lock(tmp_path)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; delete it; the next run makes it again")
    assert "\n" not in str(caught.value)


def test_the_remedy_for_a_damaged_lock_works(tmp_path: Path) -> None:
    """Restored from Git; in a merge conflict, the version of one's own branch."""

    def git(*arguments: str, code: int = 0) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=b", *arguments]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == code

    def follow_remedy() -> str:
        with pytest.raises(DataError) as caught:
            check_dvc_lock(tmp_path)
        command = str(caught.value).split("`")[1]
        git(*command.split()[1:])
        check_dvc_lock(tmp_path)
        return command

    path = tmp_path / "dvc.lock"
    git("init")
    path.write_text(LOCK)
    git("add", ".")
    git("commit", "-m", "first")
    path.write_text(LOCK.replace("stages", "stayes"))
    assert follow_remedy() == "git checkout dvc.lock"
    git("checkout", "-b", "other")
    path.write_text(LOCK.replace("781e", "1234"))
    git("commit", "-a", "-m", "other")
    git("checkout", "-")
    path.write_text(LOCK.replace("781e", "5678"))
    git("commit", "-a", "-m", "own")
    git("merge", "other", code=1)
    assert follow_remedy() == "git checkout --ours dvc.lock"
    assert "5678" in path.read_text()


EMPTY_LOCK = "schema: '2.0'\nstages: {}\n"


@pytest.mark.parametrize("restore", [restore_dvc_lock, save_dvc_lock], ids=["after a failure", "at the next start"])
@pytest.mark.parametrize("earlier", [EMPTY_LOCK, ""])
def test_a_half_written_lock_is_replaced_by_the_earlier_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], earlier: str, restore: Callable[[Path], None]
) -> None:
    """DVC writes dvc.lock in place, and was killed or found the disk full; the first run had none."""
    lock, copy = tmp_path / "dvc.lock", tmp_path / ".one-neuron/dvc.lock"
    copy.parent.mkdir()
    if earlier:
        lock.write_text(earlier)
    save_dvc_lock(tmp_path)
    assert copy.read_text() == earlier
    lock.write_text("schema: '2.0'\nstages:\n  draw:\n    cmd:")
    restore(tmp_path)
    assert (lock.read_text() if lock.exists() else "") == earlier
    assert not copy.exists() or copy.read_text() == earlier
    what = "the earlier one is back" if earlier else "it is removed"
    assert capsys.readouterr().err == f"one-neuron: 'dvc.lock' was left half written; {what}\n"


def test_a_lock_that_was_damaged_before_dvc_ran_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DVC has not changed it; the message about it names `git checkout dvc.lock`."""
    lock = tmp_path / "dvc.lock"
    (tmp_path / ".one-neuron").mkdir()
    lock.write_text("schema: '2.0'\nstages:\n  draw:\n    cmd:")
    for _ in range(2):
        save_dvc_lock(tmp_path)
        restore_dvc_lock(tmp_path)
    assert lock.read_text().endswith("cmd:")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("present", ["schema: '2.0'\nstages:\n  draw:\n    cmd: a\n", "<<<<<<< ours\nschema: '2.0'\n"])
def test_a_lock_that_is_whole_or_waits_for_a_merge_stays(tmp_path: Path, present: str) -> None:
    """Only a kill may be undone."""
    lock, copy = tmp_path / "dvc.lock", tmp_path / ".one-neuron/dvc.lock"
    copy.parent.mkdir()
    copy.write_text(EMPTY_LOCK)
    lock.write_text(present)
    save_dvc_lock(tmp_path)
    assert lock.read_text() == copy.read_text() == present
