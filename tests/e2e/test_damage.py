"""Flipped bits in the workspace and in DVC's cache, and the ways in which DVC may link the two, with the real DVC."""

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Project, make_project

pytestmark = [pytest.mark.integration, pytest.mark.slow]
# Of each kind: HDF5, JSON, CSV, a list of digests, a picture, and listings of folders
KINDS = (
    "data/prepared/train.h5",
    "models/model.h5",
    "metrics/evaluate.json",
    "plots/costs.csv",
    "data/digests/evaluate.sha256",
    "plots/curves.png",
    "plots/weights",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a small copy of the project with a result."""
    copy = make_project(tmp_path_factory.mktemp("damage") / "one neuron")
    repro(copy)
    copy.run("git", "add", "dvc.lock")
    copy.run("git", "commit", "--quiet", "--message", "first result")
    return copy


def repro(project: Project, *arguments: str, code: int = 0) -> str:
    """Run `one-neuron repro` with the library of the project; return its output."""
    return project.run("one-neuron", "repro", *arguments, code=code, PYTHONPATH="src")


def report(project: Project, code: int = 0) -> str:
    """Run `one-neuron report`; return its output."""
    return project.run("one-neuron", "report", code=code, PYTHONPATH="src")


def outputs(project: Project) -> dict[str, str]:
    """Return the MD5 of each output in dvc.lock."""
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def cached(project: Project, digest: str) -> Path:
    """Return the object in DVC's cache with an MD5."""
    return project.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file, as a disk does: DVC's memory of the file stays valid."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as stream:
        content = bytearray(stream.read())
        content[len(content) // 2] ^= 1
        stream.seek(0)
        stream.write(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(path: Path) -> None:
    """Delete a file or a folder."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def check_cache(project: Project) -> None:
    """Check that the content of every object in the cache is that of its name."""
    found = [path for path in (project.folder / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    assert found
    for path in found:
        name = (path.parent.name + path.name).removesuffix(".dir")
        assert hashlib.md5(path.read_bytes()).hexdigest() == name


def test_one_repro_heals_everything(project: Project) -> None:
    """A bit of each kind of file, in the cache, and the workspace is restored from there."""
    before = outputs(project)
    for name in KINDS:
        flip(cached(project, before[name]))
        remove(project.folder / name)
    picture = next((project.folder / "data/drawn/train/cat").glob("*.png"))
    flip(cached(project, hashlib.md5(picture.read_bytes()).hexdigest()))
    picture.unlink()
    shown = report(project, code=3)
    assert shown == "one-neuron: 'data/digests/evaluate.sha256' is missing; run `dvc repro` to make it\n"
    told = repro(project)
    assert "one-neuron: running DVC again, which makes the damaged files again" in told
    assert "  test accuracy " in told
    assert outputs(project) == before
    check_cache(project)
    assert len(project.runs()) == 1
    assert "up to date" in project.run("dvc", "repro")


def test_a_bare_dvc_repro_heals_at_the_second_call(project: Project) -> None:
    """A training on a damaged set ends with a line that says what to do, and what it says works."""
    before = outputs(project)
    name = "data/prepared/train.h5"
    kept = cached(project, before[name])
    flip(kept)
    remove(project.folder / name)
    project.edit("params.yaml", "num_iterations: 2000", "num_iterations: 2001")
    told = project.run("dvc", "repro", code=255)
    where = kept.relative_to(project.folder)
    line = next(line for line in told.splitlines() if line.startswith("one-neuron: "))
    assert line.startswith(f"one-neuron: '{name}': its content does not fit its SHA-256 (")
    assert line.endswith(
        f": it was changed; moved '{where}' and '{name}' to '.one-neuron/damaged'; "
        "run `dvc repro`, which makes the file again"
    )
    project.run("dvc", "repro")
    project.edit("params.yaml", "num_iterations: 2001", "num_iterations: 2000")
    project.run("dvc", "repro")
    assert outputs(project) == before
    check_cache(project)


def test_a_changed_number_is_never_shown(project: Project) -> None:
    """DVC notices nothing, the report does, and the next `dvc repro` restores the file."""
    before, name = report(project), "metrics/evaluate.json"
    flip(project.folder / name)
    assert "up to date" in project.run("dvc", "repro")
    shown = report(project, code=3)
    assert shown.count("\n") == 1
    assert f"; moved '{name}' to '.one-neuron/damaged'; run `dvc repro`, which makes the file again\n" in shown
    project.run("dvc", "repro")
    assert report(project) == before


def test_a_damaged_lock_is_one_line(project: Project) -> None:
    """Its remedy works; a wrong digest in it only runs a stage again."""
    path = project.folder / "dvc.lock"
    before = path.read_text()
    path.write_text("<<<<<<< HEAD\n" + before)
    told = repro(project, code=3).splitlines()[-1]
    assert re.match(r"one-neuron: 'dvc\.lock' is not YAML in line \d+ \(.*\); run `git checkout dvc\.lock`, ", told)
    project.run("git", "checkout", "dvc.lock")
    assert "up to date" in repro(project)
    path.write_text(before.replace(outputs(project)["models/model.h5"], "a" * 32))
    assert "  test accuracy " in repro(project)
    assert path.read_text() == before


def test_files_that_are_links_into_the_cache(project: Project) -> None:
    """Stages that are started directly replace the links and never write through them; the result is tracked."""
    before = outputs(project)
    project.run("dvc", "config", "--local", "cache.type", "symlink")
    project.run("dvc", "config", "--local", "core.autostage", "true")
    project.run("dvc", "checkout", "--relink")
    model = project.folder / "models/model.h5"
    assert model.is_symlink()
    assert model.samefile(cached(project, before["models/model.h5"]))
    old, changed = "learning_rate: 0.005", "learning_rate: 0.004"
    project.edit("params.yaml", old, changed)
    for stage in ("draw", "train", "evaluate", "track"):
        project.stage(stage)
        check_cache(project)
    runs = len(project.runs())
    told = repro(project)
    assert "already there" in told
    assert len(project.runs()) == runs
