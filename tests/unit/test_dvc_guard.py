"""Entries that DVC could not hash are reported before it tries."""

import os
import socket
from pathlib import Path

import pytest
import yaml

from one_neuron.dvc_guard import check_data_path
from one_neuron.errors import DataError, SettingsError
from one_neuron.layout import MLFLOW_ARTIFACTS, WORK_FOLDER
from one_neuron.settings.params import DataSettings
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


def bind(path: str) -> None:
    """Create a socket."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)


def loop(path: str) -> None:
    """Create a link to itself."""
    Path(path).symlink_to(Path(path).name)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (os.mkfifo, "'pictures/cat/x.png' is neither a file nor a folder; remove it"),
        (bind, "'pictures/cat/x.png' is neither a file nor a folder; remove it"),
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


@pytest.mark.parametrize("path", ["https://example.org/cats.zip", "s3://bucket/cats"])
def test_an_address_is_no_place(path: str) -> None:
    """DVC can download it."""
    with pytest.raises(
        SettingsError, match=f"data.path is '{path}'; download it first: dvc import-url {path} pictures/NAME"
    ):
        check(path)


def test_every_output_lies_in_a_reserved_folder(repository: Path) -> None:
    """So that data.path cannot name it."""
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outputs = [out for stage in stages.values() for out in stage.get("outs", []) + stage.get("metrics", [])]
    folders = {Path(out if isinstance(out, str) else next(iter(out))).parts[0] for out in outputs}
    assert len(folders) == 4
    for folder in (*folders, str(MLFLOW_ARTIFACTS), str(WORK_FOLDER)):
        with pytest.raises(SettingsError, match="where the project itself writes"):
            check(f"{folder}/mine")
