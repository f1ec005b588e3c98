"""A user's own pictures, from scratch to a tracked run and a prediction, with the commands of the README."""

import json
import os
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from one_neuron.storage.model import load_model
from tests.e2e.conftest import Project

pytestmark = pytest.mark.slow
OWN = ("-S", "data.source=folder", "-S", "data.positive_class=my cat")


def make_pictures(folder: Path, m: int, *, seed: int) -> None:
    """Write pictures in several formats, under realistic names; those of the first class are reddish."""
    rng = np.random.default_rng(seed)
    for reddish, name in ((True, "my cat"), (False, "\u00f6ther \U0001f408")):
        (folder / name).mkdir(parents=True)
        for i in range(m):
            pixels = rng.integers(0, 200, (30 + i, 40, 3), dtype=np.uint8)
            pixels[:, :, 0 if reddish else 2] += 55
            suffix = ("png", "JPG", "webp", "bmp", "gif", "tif")[i % 6]
            Image.fromarray(pixels).save(folder / name / f"{i} it's\na \u00ff.{suffix}")


def test_from_nothing_to_a_prediction(project: Project, tmp_path: Path) -> None:
    """Copy the pictures, run, predict; afterwards only a change of a picture runs a stage."""
    make_pictures(project.folder / "pictures", 20, seed=1)
    told = project.run("dvc", "exp", "run", *OWN, "-S", "data.resize=pad", "-S", "data.decode=fast")
    assert "tracked: run" in told
    assert len(project.runs()) == 1
    report = json.loads((project.folder / "metrics/prepare.json").read_text(encoding="utf-8"))
    assert report["train"]["m"] + report["test"]["m"] == 40
    assert [one["name"] for one in report["classes"]] == ["\u00f6ther \U0001f408", "my cat"]
    model = load_model(project.folder / "models/model.h5")
    assert (model.preprocessing.resize, model.preprocessing.decode) == ("pad", "fast")
    make_pictures(tmp_path / "new", 2, seed=2)
    predicted = project.run("one-neuron", "predict", "--json", str(tmp_path / "new" / "my cat"))
    assert [json.loads(line)["class"] for line in predicted.splitlines()] == ["my cat", "my cat"]

    assert "up to date" in project.run("dvc", "repro")
    first, second, *_ = sorted((project.folder / "pictures/my cat").iterdir())
    content, later = second.read_bytes(), first.with_name("later.png")
    for change in (second.unlink, lambda: first.write_bytes(content), lambda: later.write_bytes(content)):
        change()
        assert "Running stage 'prepare'" in project.run("dvc", "repro", "prepare")
    assert "didn't change" in project.run("dvc", "repro", "prepare")

    os.mkfifo(later.with_name("pipe.png"))
    told = project.run("one-neuron", "settings", code=3)
    assert told == "one-neuron: 'pictures/my cat/pipe.png' is neither a file nor a folder; remove it\n"


def test_the_queue_has_what_is_tracked(project: Project) -> None:
    """An experiment in a copy is refused with a remedy, and both ways out of it work to the letter."""
    make_pictures(project.folder / "pictures", 8, seed=1)
    told = run_copy(project, *OWN, code=255)
    only = "an experiment in a copy of the project has only what Git or DVC tracks"
    line = next(line for line in told.splitlines() if line.startswith("one-neuron: "))
    assert line.startswith(f"one-neuron: 'pictures' holds no folder; at least two classes are needed: {only}: run `")
    add, stage, path = re.fullmatch(r".* run `(dvc .*)` and `(git .*)`, or set data\.path to (.*)", line).groups()  # type: ignore[union-attr]
    assert "tracked: run" in run_copy(project, *OWN, "-S", f"data.path={path}")
    project.run("sh", "-c", add)
    line = run_copy(project, *OWN, code=255)
    assert f"{only}: run `{stage}`, or set data.path to " in line
    project.run("sh", "-c", stage)
    assert "tracked: run" in run_copy(project, *OWN, "-S", "train.num_iterations=11")
    project.run("dvc", "exp", "run", "--queue", *OWN, "-S", "train.num_iterations=12")
    project.run("dvc", "exp", "run", "--run-all")
    assert len(project.runs()) == 3


def run_copy(project: Project, *options: str, code: int = 0) -> str:
    """Run an experiment in a copy of the tracked files, as the queue does; return its output."""
    return project.run("dvc", "exp", "run", "--temp", *options, code=code)


def test_hdf5_files_of_the_user(project: Project) -> None:
    """With other names than the course's, in one file, without a test set."""
    rng = np.random.default_rng(1)
    pixels, labels = rng.integers(0, 200, (60, 12, 12, 3), dtype=np.uint8), np.arange(60) % 2
    pixels[labels == 1, :, :, 0] += 55
    (project.folder / "mine").mkdir()
    with h5py.File(project.folder / "mine/all.h5", "w") as file:
        file.create_dataset("images", data=pixels, chunks=(7, 12, 12, 3), compression="gzip")
        file["is_red"] = labels.astype(bool)
    names = {"train_x": "images", "train_y": "is_red", "test_x": '""', "test_y": '""', "classes": '""'}
    overrides = [f"hdf5.{key}={value}" for key, value in names.items()]
    told = project.run(
        "dvc",
        "exp",
        "run",
        *(
            word
            for text in ("data.source=hdf5", "data.decode=fast", "data.path=mine/all.h5", *overrides)
            for word in ("-S", text)
        ),
    )
    assert "tracked: run" in told
    report = json.loads((project.folder / "metrics/prepare.json").read_text(encoding="utf-8"))
    assert report["train"]["m"] + report["test"]["m"] == 60
    assert [one["name"] for one in report["classes"]] == ["0", "1"]


WATCHED = """
import os, runpy, sys
written = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        mode, flags = arguments[1] or "", arguments[2] or 0
        if set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(os.path.realpath(os.fsdecode(arguments[0])))
    if event in ("os.rename", "os.mkdir", "os.remove", "os.symlink", "os.link", "shutil.move"):
        written.extend(os.path.realpath(os.fsdecode(name)) for name in arguments[:2] if isinstance(name, (str, bytes)))
sys.addaudithook(watch)
try:
    runpy.run_path("pipeline/prepare.py", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
here = os.getcwd()
outside = [path for path in written if not path.startswith((here + os.sep, "/dev/null"))]
assert any(path.endswith("metrics/prepare.json") for path in written)
print("outside:", outside)
"""


def test_nothing_is_written_outside_the_project(project: Project, tmp_path: Path) -> None:
    """For any names of files and any links."""
    make_pictures(tmp_path / "elsewhere", 8, seed=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "elsewhere").rglob("*")}
    for folder in (tmp_path / "elsewhere").iterdir():
        (project.folder / "pictures" / folder.name).mkdir()
        for path in folder.iterdir():
            (project.folder / "pictures" / folder.name / path.name).symlink_to(path)
    for name in ("..\\..\\evil.png", "%2e%2e%2fevil.png", "${HOME}.png", "-rf.png", "a;rm.png"):
        (project.folder / "pictures/my cat" / name).symlink_to(path)
    project.edit("params.yaml", "source: drawn", "source: folder")
    project.edit("params.yaml", "positive_class: cat", "positive_class: my cat")
    told = project.run(sys.executable, "-c", WATCHED, PYTHONPATH="src", PYTHONDONTWRITEBYTECODE="1")
    assert told.splitlines()[-1] == "outside: []"
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.is_file())
