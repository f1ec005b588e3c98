"""Files that are written whole or not at all, and the text formats between the stages."""

import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from one_neuron.system.files import atomic_folder, atomic_write, remove_partial_files, write_csv, write_json


def entries(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask() -> Iterator[None]:
    """Restore the umask of the process."""
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def test_what_the_block_writes_becomes_the_file(tmp_path: Path) -> None:
    """Its folder is created; the temporary file has the same suffix and is gone afterwards."""
    path = tmp_path / "new" / "folder" / "a b.png"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".png"
        assert not path.exists()
        temporary.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert entries(path.parent) == ["a b.png"]


@pytest.mark.parametrize(
    "error", [ValueError("a bug"), KeyboardInterrupt(), OSError(28, "No space left"), SystemExit(1)]
)
def test_a_failing_block_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    """And no temporary file, whatever the error."""
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert entries(tmp_path) == ["file.txt"]


def test_a_failing_block_makes_no_new_file(tmp_path: Path) -> None:
    """A file that did not exist still does not exist."""
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "file.txt"):
        _ = 1 / 0
    assert entries(tmp_path) == []


def test_a_block_that_removes_the_file_fails(tmp_path: Path) -> None:
    """The old file stays."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_write(path) as temporary:
        temporary.unlink()
    assert path.read_text() == "old"


@pytest.mark.parametrize("moment", ["in the block", "before the new name"])
def test_a_kill_leaves_the_old_file(tmp_path: Path, moment: str) -> None:
    """SIGKILL cannot be caught: the old file stays, byte for byte, and the next write succeeds."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from one_neuron.system.files import atomic_write\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "if sys.argv[2] == 'before the new name': os.replace = die\n"
        "with atomic_write(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('new' * 100_000)\n"
        "    if sys.argv[2] == 'in the block': die()\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path), moment], check=False, timeout=30)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_the_bytes_reach_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First fsync of the file, then the new name, then fsync of the folder."""
    calls: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append("fsync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "fsync file")
        real_fsync(descriptor)

    def replace(source: Path, target: Path) -> None:
        calls.append("replace")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    folder = tmp_path / "folder"
    with atomic_write(folder / "file.txt") as temporary:
        temporary.write_text("new")
    assert calls == ["fsync file", "replace", "fsync folder"]


def test_macos_is_asked_to_empty_the_cache_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a command of its own, because its fsync leaves the bytes there; file systems without it get fsync."""
    calls: list[str] = []
    refused: list[OSError] = []

    def control(descriptor: int, command: int) -> int:
        assert os.fstat(descriptor)
        calls.append(f"command {command}")
        if refused:
            raise refused[0]
        return 0

    monkeypatch.setattr("one_neuron.system.files.fcntl.F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr("one_neuron.system.files.fcntl.fcntl", control)
    monkeypatch.setattr(os, "fsync", lambda _: calls.append("fsync"))
    for expected in (["command 51"] * 2, ["command 51", "fsync"] * 2):  # of the file and of its folder
        with atomic_write(tmp_path / "file.txt") as temporary:
            temporary.write_text("new")
        assert calls == expected
        calls.clear()
        refused.append(OSError(errno.ENOTSUP, "Operation not supported"))


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)])
def test_permissions_follow_the_umask(tmp_path: Path, umask: None, mask: int, mode: int) -> None:
    """As for any other file, although temporary files are private; the umask stays as it was."""
    os.umask(mask)
    write_json(tmp_path / "file.json", {})
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == mode
    assert os.umask(0o022) == mask


def write_folder(path: Path, text: str) -> None:
    """Replace a folder by one with a single file."""
    with atomic_folder(path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub/file").write_text(text, encoding="utf-8")


def read_folder(path: Path) -> dict[str, str]:
    """Return the texts of all files below a folder."""
    files = (one for one in path.rglob("*") if one.is_file())
    return {one.relative_to(path).as_posix(): one.read_text(encoding="utf-8") for one in files}


def test_what_the_block_writes_becomes_the_folder(tmp_path: Path) -> None:
    """Twice: the second replaces all of the first. Nothing else is left."""
    for text in ("first", "second"):
        write_folder(tmp_path / "data/drawn", text)
        assert read_folder(tmp_path) == {"data/drawn/sub/file": text}
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["drawn"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_block_leaves_the_old_folder(tmp_path: Path, error: BaseException) -> None:
    """The error comes through, and the new folder is gone."""
    write_folder(tmp_path / "drawn", "old")

    def fail() -> None:
        with atomic_folder(tmp_path / "drawn") as folder:
            (folder / "file").touch()
            raise error

    with pytest.raises(type(error)):
        fail()
    assert read_folder(tmp_path) == {"drawn/sub/file": "old"}
    assert [one.name for one in tmp_path.iterdir()] == ["drawn"]


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of the two renames fails."""
    write_folder(tmp_path / "drawn", "old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_folder(tmp_path / "drawn", "new")
    assert read_folder(tmp_path) == {"drawn/sub/file": "old"}


def test_folders_that_a_kill_left_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    """Temporary files are treated alike; see tests/integration for kills."""
    left = tmp_path / "data/.partial-left"
    (left / "new").mkdir(parents=True)
    (left / "new/file").touch()
    with atomic_folder(tmp_path / "data/drawn") as folder:
        (folder / "file").touch()
        remove_partial_files(tmp_path, ["data"])
        assert not left.exists()
    assert read_folder(tmp_path) == {"data/drawn/file": ""}


def test_the_journal_of_a_database_stays_as_long_as_the_database(tmp_path: Path) -> None:
    """SQLite would take a database without its journal for whole."""
    with atomic_write(tmp_path / "new.db") as used:
        left = tmp_path / ".partial-left.db"
        for path in (used, left):
            path.touch()
            path.with_name(f"{path.name}-journal").touch()
        remove_partial_files(tmp_path, [])
        names = {used.name, f"{used.name}-journal"}
        assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path, link: str) -> None:
    """The target may be a read-only object in DVC's cache."""
    kept, path = tmp_path / "kept", tmp_path / "file.json"
    kept.write_text("kept")
    kept.chmod(0o444)
    path.symlink_to(kept) if link == "symlink" else path.hardlink_to(kept)
    write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"new": 1}
    assert (path.is_symlink(), kept.read_text(), kept.stat().st_mode & 0o777) == (False, "kept", 0o444)
    assert path.stat().st_mode & 0o200


def test_json_comes_back_in_full_precision(tmp_path: Path) -> None:
    """Floats to the bit, non-ASCII text as it is, keys in their order, one line end at the end."""
    value = {"z": 0.1 + 0.2, "a": 5e-324, "n": [1, -0.0, 1e308, None, True], "name": "Käthe 猫", "big": 2**70}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert list(json.loads(text)) == list(value)
    assert "0.30000000000000004" in text
    assert "猫" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_without_a_number_is_refused(tmp_path: Path, value: float) -> None:
    """JSON has no nan; the old file stays."""
    path = tmp_path / "file.json"
    write_json(path, {"cost": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"cost": value})
    assert json.loads(path.read_text()) == {"cost": 1.0}
    assert entries(tmp_path) == ["file.json"]


def test_csv_bytes(tmp_path: Path) -> None:
    """Unix line ends, full precision, quotes where needed: the same bytes everywhere."""
    path = tmp_path / "file.csv"
    write_csv(path, ["name", "value"], [("a,b", 0.1 + 0.2), ('say "x"', 5e-324), ("猫", 2)])
    assert path.read_bytes().decode() == 'name,value\n"a,b",0.30000000000000004\n"say ""x""",5e-324\n猫,2\n'


def test_csv_takes_any_name(tmp_path: Path) -> None:
    """The name of a picture may hold bytes that are not UTF-8."""
    write_csv(tmp_path / "file.csv", ["name"], [["caf\udce9.png"]])
    assert (tmp_path / "file.csv").read_bytes() == b"name\ncaf\\udce9.png\n"


def test_csv_rows_that_fail_leave_the_old_file(tmp_path: Path) -> None:
    """The rows come from a generator that fails."""
    path = tmp_path / "file.csv"
    path.write_text("old\n")
    with pytest.raises(ZeroDivisionError):
        write_csv(path, ["x"], ([1 / (1 - i)] for i in range(3)))
    assert path.read_text() == "old\n"
    assert entries(tmp_path) == ["file.csv"]


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """The system does not name it."""
    with pytest.raises(OSError, match=r"No space left.*train.h5") as caught, atomic_write(tmp_path / "train.h5"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "train.h5")
