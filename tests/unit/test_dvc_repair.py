"""Damaged files are moved out of the workspace and DVC's cache; dvc.lock is checked with DVC's own schema."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from one_neuron.dvc_repair import count_moved, damage_set_aside, set_aside_listings
from one_neuron.errors import DamagedFile, DataError, EnvironmentProblem

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# YAML takes a digest without letters for a number.
DIGITS = "stages: {a: {outs: [{path: plots/a.csv, md5: 12345678901234567890123456789012}]}}\n"
SOUND, DAMAGED = b"0123456789", b"0123456788"
Save = Callable[[str, bytes], Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty project of DVC."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("[core]\n    no_scm = True\n")
    return tmp_path


def object_of(content: bytes, *, folder: bool = False, cache: Path = Path(".dvc/cache")) -> Path:
    """Return where DVC keeps a content."""
    digest = hashlib.md5(content).hexdigest()
    return cache / "files/md5" / digest[:2] / (digest[2:] + ".dir" * folder)


def save(name: str, content: bytes, *, link: str = "copy", cache: Path = Path(".dvc/cache")) -> None:
    """Write a file in the workspace and in the cache, as `cache.type` says."""
    kept, path = object_of(content, cache=cache), Path(name)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(content)
    kept.chmod(0o444)
    path.parent.mkdir(parents=True, exist_ok=True)
    if link == "copy":
        path.write_bytes(content)
    elif link == "symlink":
        path.symlink_to(kept.resolve())
    else:
        path.hardlink_to(kept)


def lock(outs: dict[str, str]) -> None:
    """Write dvc.lock."""
    listed = [{"path": path, "hash": "md5", "md5": digest, "size": 1} for path, digest in outs.items()]
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"train": {"cmd": "x", "outs": listed}}}))


def damage(path: Path) -> None:
    """Flip a bit of a file, in place."""
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(DAMAGED)
    path.chmod(0o444)


def report(*paths: str) -> str:
    """Return the message of an error about files."""
    with pytest.raises(DataError) as caught, damage_set_aside():
        raise DamagedFile("'plots/a.csv' was changed", *map(Path, paths))
    return str(caught.value)


@pytest.mark.parametrize("link", ["copy", "symlink", "hardlink"])
@pytest.mark.parametrize("where", ["workspace", "cache", "both"])
def test_what_is_damaged_is_moved_and_nothing_else(folder: Path, link: str, where: str) -> None:
    """With links the workspace and the cache are one file."""
    save("plots/a.csv", SOUND, link=link)
    kept = object_of(SOUND)
    lock({"plots/a.csv": hashlib.md5(SOUND).hexdigest()})
    if where != "cache":
        damage(Path("plots/a.csv"))
    if where != "workspace":
        damage(kept)
    one = link != "copy"
    names = [str(kept)] * (one or where != "workspace") + ["plots/a.csv"] * (
        link == "hardlink" or (link == "copy" and where != "cache")
    )
    moved = " and ".join(f"'{name}'" for name in names)
    assert report(str(folder / "plots/a.csv")) == (
        f"'plots/a.csv' was changed; moved {moved} to '.one-neuron/damaged'; "
        "run `dvc repro`, which makes the file again"
    )
    assert kept.exists() == (not one and where == "workspace")
    assert os.path.lexists("plots/a.csv") == (not one and where == "cache")
    for name in names:
        assert (folder / ".one-neuron/damaged" / name).read_bytes() == DAMAGED
    assert count_moved(folder) == len(names)


@pytest.mark.parametrize("where", ["member", "listing"])
def test_a_picture_in_a_folder(folder: Path, where: str) -> None:
    """The cache lists the files of a folder in an object of its own."""
    save("plots/weights/1.png", SOUND)
    save("plots/weights/2.png", b"other")
    files = [("1.png", SOUND), ("2.png", b"other")]
    listing = json.dumps([{"md5": hashlib.md5(content).hexdigest(), "relpath": name} for name, content in files])
    kept = object_of(listing.encode(), folder=True)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(listing)
    lock({"plots/weights": hashlib.md5(listing.encode()).hexdigest() + ".dir"})
    if where == "member":
        damage(Path("plots/weights/1.png"))
        damage(object_of(SOUND))
        assert f"moved '{object_of(SOUND)}' and 'plots/weights/1.png' to" in report("plots/weights/1.png")
        assert not Path("plots/weights/1.png").exists()
        set_aside_listings()
        assert kept.exists()
    else:
        kept.write_text(listing.replace("1.png", "3.png"))
        set_aside_listings()
        assert not kept.exists()
        assert Path("plots/weights/1.png").exists()
    assert Path("plots/weights/2.png").exists()
    assert object_of(b"other").exists()


def test_the_list_of_digests_is_looked_at_as_well(folder: Path) -> None:
    """A changed digest in it looks like a changed file."""
    for name, content in (("plots/a.csv", b"abc"), ("data/digests/train.sha256", SOUND)):
        save(name, content)
    lock({"plots/a.csv": hashlib.md5(b"abc").hexdigest(), "data/digests/train.sha256": hashlib.md5(SOUND).hexdigest()})
    damage(Path("data/digests/train.sha256"))
    assert "; moved 'data/digests/train.sha256' to '.one-" in report("plots/a.csv", "data/digests/train.sha256")
    assert Path("plots/a.csv").exists()
    assert object_of(SOUND).exists()


def test_a_changed_file_that_dvc_has_recorded(folder: Path) -> None:
    """After `dvc commit`: `dvc repro` would see nothing to do."""
    save("plots/a.csv", SOUND)
    lock({"plots/a.csv": hashlib.md5(SOUND).hexdigest()})
    remedy = "; DVC has recorded the changed file; run `dvc repro --force`, which makes all files again"
    assert report("plots/a.csv").endswith(remedy)
    assert Path("plots/a.csv").exists()


@pytest.mark.parametrize(
    "content", [None, "schema: '2.0'\n", "<<<<<<< HEAD\n", "- 1\n", "stages: 1\n", b"\xff", DIGITS]
)
def test_nothing_is_moved_that_dvc_does_not_know(folder: Path, content: str | bytes | None) -> None:
    """A file of another place, no dvc.lock, or one that is damaged itself."""
    Path("plots").mkdir()
    Path("plots/a.csv").write_bytes(DAMAGED)
    if content is not None:
        Path("dvc.lock").write_bytes(content if isinstance(content, bytes) else content.encode())
    for path in ("plots/a.csv", "/somewhere/else.h5", "missing.csv"):
        assert report(path) == "'plots/a.csv' was changed; run `dvc repro` to make it again"
    assert Path("plots/a.csv").exists()
    assert count_moved(folder) == 0


def test_a_shared_cache_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`dvc cache dir`; the object is moved to the project, and named with its whole path."""
    cache = tmp_path_factory.mktemp("shared")
    with Repo(".") as repo, repo.config.edit("local") as config:
        config["cache"] = {"dir": str(cache), "shared": "group"}
    save("plots/a.csv", SOUND, cache=cache)
    lock({"plots/a.csv": hashlib.md5(SOUND).hexdigest()})
    kept = object_of(SOUND, cache=cache)
    damage(kept)
    assert f"moved '{kept}' to '.one-neuron/damaged'" in report("plots/a.csv")
    assert not kept.exists()
    assert (folder / ".one-neuron/damaged" / str(kept).lstrip("/")).read_bytes() == DAMAGED


def test_an_object_that_cannot_be_moved_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cache that belongs to another user, for example."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    save("plots/a.csv", SOUND)
    lock({"plots/a.csv": hashlib.md5(SOUND).hexdigest()})
    damage(object_of(SOUND))
    monkeypatch.setattr(shutil, "move", refuse)
    with pytest.raises(EnvironmentProblem) as caught, damage_set_aside():
        raise DamagedFile("it was changed", Path("plots/a.csv"))
    assert str(caught.value) == (
        f"'{object_of(SOUND)}' is damaged and cannot be moved away (Permission denied); delete it and run `dvc repro`"
    )
