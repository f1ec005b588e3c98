"""Pictures as files: layouts, order, labels, what is left out and what is refused."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError, SettingsError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.settings.params import DataSettings
from one_neuron.sources import folder, listing
from one_neuron.sources.report import Loaded
from tests.sockets import make_socket
from tests.values import DATA

CLASSES = ("non-cat", "cat")
MakeFolder = Callable[[dict[str, int]], Path]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep decoded rows in a folder of the test."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that makes plain pictures: their paths and their grey values."""

    def make(pictures: dict[str, int]) -> Path:
        for name, grey in pictures.items():
            path = tmp_path / "drawn" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (5, 3), grey).save(path, format="PNG")
        return tmp_path / "drawn"

    return make


FULL = {
    "train/cat/b.png": 10,
    "train/cat/a.PNG": 20,
    "train/cat/10.jpg": 30,
    "train/cat/9.jpg": 40,
    "train/non-cat/z.bmp": 50,
    "train/non-cat/A.webp": 60,
    "test/cat/1.png": 70,
    "test/non-cat/1.png": 80,
}


def load(root: Path, **data: Any) -> Loaded:
    """Read a folder."""
    return folder.load(root, DataSettings(**{**DATA, "source": "folder", **data}))


def test_a_folder_is_read_in_order(make_folder: MakeFolder) -> None:
    """Label 0 first, then by name (capital letters and digits by their code), whatever the file system's order."""
    loaded = load(make_folder(FULL))
    train, test = loaded.train, loaded.test
    assert train.names == (
        *("train/non-cat/A.webp", "train/non-cat/z.bmp"),
        *("train/cat/10.jpg", "train/cat/9.jpg", "train/cat/a.PNG", "train/cat/b.png"),
    )
    assert train.X[0:6][:, 0].tolist() == [60, 50, 30, 40, 20, 10]
    assert train.Y.tolist() == [0, 0, 1, 1, 1, 1]
    assert (test.names, test.Y.tolist()) == (("test/non-cat/1.png", "test/cat/1.png"), [0, 1])
    assert train.X.shape == (6, 12)
    assert (train.preprocessing.num_px, train.classes, train.source) == (2, CLASSES, "folder")
    assert [(one.name, one.label, one.train, one.test) for one in loaded.classes] == [
        ("non-cat", 0, 2, 1),
        ("cat", 1, 4, 1),
    ]


def test_the_positive_class_is_label_1(make_folder: MakeFolder) -> None:
    """Whichever class it is, its rows come last."""
    train = load(make_folder(FULL), positive_class="non-cat").train
    assert train.Y.tolist() == [0, 0, 0, 0, 1, 1]
    assert train.names[-1] == "train/non-cat/z.bmp"
    assert train.classes == ("cat", "non-cat")


def test_more_classes_are_one_against_the_rest(make_folder: MakeFolder) -> None:
    """The others keep their names in the counts; folders in a class are read as well."""
    root = make_folder({**FULL, "train/dog/1.png": 90, "train/dog/deep/er/2.png": 91, "test/dog/1.png": 92})
    loaded = load(root, positive_class="dog")
    assert loaded.train.classes == ("not dog", "dog")
    assert loaded.train.names[-2:] == ("train/dog/1.png", "train/dog/deep/er/2.png")
    assert loaded.train.Y.tolist() == [0] * 6 + [1] * 2
    assert [(one.name, one.label, one.train, one.test) for one in loaded.classes] == [
        ("cat", 0, 4, 1),
        ("non-cat", 0, 2, 1),
        ("dog", 1, 2, 1),
    ]


def test_rows_are_the_pictures(make_folder: MakeFolder) -> None:
    """Many pictures, read by many threads, each in its own row; training and prediction see the same pixels."""
    root = make_folder(FULL)
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(root / f"train/cat/{i:03}.png")
    for resize, decode in (("stretch", "exact"), ("crop", "exact"), ("pad", "fast")):
        train = load(root, num_px=4, resize=resize, decode=decode).train
        assert (train.m, train.preprocessing) == (46, Preprocessing(4, resize, decode))
        for name, row in zip(train.names, train.X[0 : train.m], strict=True):
            assert (row == load_picture(root / name, train.preprocessing).reshape(-1)).all()


def test_without_a_test_set_a_part_is_held_out(make_folder: MakeFolder) -> None:
    """About the fraction of each class; other pictures beside them move none; copies stay together."""
    pictures = {f"{name}/{i:03}.png": i + 100 * (name == "cat") for name in CLASSES for i in range(100)}
    root = make_folder(pictures)
    first = load(root, num_px=1)
    assert first.train.m + first.test.m == 200
    for one in first.classes:
        assert 10 <= one.test <= 32
        assert one.train + one.test == 100
    (root / "bird").mkdir()
    for i in range(30):
        Image.new("RGB", (2, 2), (i, 0, 255)).save(root / f"bird/{i}.png")
    for name in (*first.train.names[:9], *first.test.names[:9]):
        shutil.copy(root / name, root / "bird" / f"copy of {name.replace('/', ' ')}")
    second = load(root, num_px=1)
    assert {name for name in second.test.names if "bird" not in name} == set(first.test.names)
    assert {name for name in second.train.names if "bird" not in name} == set(first.train.names)
    held_out = {(root / name).read_bytes() for name in second.test.names}
    assert not held_out & {(root / name).read_bytes() for name in second.train.names}
    assert sum(name.startswith("bird/copy") for name in second.test.names) == 9
    assert set(load(root, num_px=1, seed=2).test.names) != set(second.test.names)


def test_other_files_are_left_out(make_folder: MakeFolder) -> None:
    """Hidden files and folders, notes, files of the operating system: visible ones are counted."""
    root = make_folder({**FULL, "train/cat/.hidden.png": 1, "train/cat/._b.png": 1, "train/.git/a.png": 2})
    (root / "train/cat/notes.txt").write_text("no picture")
    (root / "train/cat/Thumbs.db").write_bytes(b"\0")
    (root / "train/cat/.DS_Store").write_bytes(b"\0")
    (root / "train/cat/more").mkdir()
    (root / "README.md").write_text("mine")
    paths, problems, note = listing.list_pictures(root / "train/cat")
    assert ([path.name for path in paths], problems) == (["10.jpg", "9.jpg", "a.PNG", "b.png"], [])
    assert note == ""
    assert load(root).ignored == {".txt": 1}
    assert load(root).train.m == 6


@pytest.mark.parametrize(
    "name", ["a b.png", "a b\n.png", "caf\udce9.png", "\U0001f408.png", "'$(x)'.png", "a" * 250 + ".png"]
)
def test_names_of_any_bytes(name: str, make_folder: MakeFolder) -> None:
    """A file name may hold bytes that are not UTF-8, spaces, line ends and emoji: the row is that of a plain name."""
    plain = load(make_folder({**FULL, "train/cat/plain.png": 7})).train
    (make_folder(FULL) / "train/cat/plain.png").unlink()
    odd = load(make_folder({**FULL, f"train/cat/{name}": 7})).train
    assert f"train/cat/{name}" in odd.names
    assert sorted(odd.X[0:7].tolist()) == sorted(plain.X[0:7].tolist())


def link_loop(path: Path) -> None:
    """Leave two links there that name each other."""
    path.symlink_to(path.with_name("other.png"))
    path.with_name("other.png").symlink_to(path)


BAD_FILES = {
    "zero bytes": lambda path: path.touch(),
    "text": lambda path: path.write_text("no picture"),
    "page": lambda path: path.write_text("<!DOCTYPE html><html><body>404</body></html>"),
    "truncated": lambda path: path.write_bytes((path.parent / "a.PNG").read_bytes()[:45]),
    "FIFO": os.mkfifo,
    "socket": make_socket,
    "dangling link": lambda path: path.symlink_to("nowhere.png"),
    "link loop": link_loop,
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_picture_that_cannot_be_read_is_named(
    kind: str, make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among all the others; with on_error: skip it is left out and listed, and counts against max_skipped."""
    root = make_folder(FULL)
    monkeypatch.chdir(root / "train/cat")  # a socket's path must be short
    BAD_FILES[kind](Path("bad one.png"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"train/cat/bad one.png' ") as caught:
        load(root)
    assert "\n" not in str(caught.value)
    loaded = load(root, on_error="skip", max_skipped=2)
    assert loaded.train.m == 6
    assert "train/cat/bad one.png" in [name for name, _ in loaded.skipped]
    with pytest.raises(DataError, match=r"bad one.png.*data.max_skipped"):
        load(root, on_error="skip", max_skipped=0)


def test_a_folder_with_the_name_of_a_picture_is_refused(make_folder: MakeFolder) -> None:
    """It may hold pictures that would be missed."""
    root = make_folder({**FULL, "train/cat/album.jpg/1.png": 5})
    with pytest.raises(DataError, match=r"train/cat/album.jpg' is a folder with the name of a picture; rename it"):
        load(root)


def test_a_link_to_a_folder_is_refused(make_folder: MakeFolder) -> None:
    """DVC would not see a change there; it may even lead in circles. The folder itself may be a link."""
    root = make_folder(FULL)
    (root / "train/cat/all").symlink_to(root)
    with pytest.raises(
        DataError, match=r"train/cat/all' is a link to a folder, which is not followed; replace the link"
    ):
        load(root)
    (root / "train/cat/all").unlink()
    (root / "test/cat").rename(root.parent / "cats")
    (root / "test/cat").symlink_to(root.parent / "cats")
    with pytest.raises(DataError, match=r"test/cat' is a link to a folder, which is not followed; replace the link"):
        load(root)
    (root / "test/cat").unlink()
    (root.parent / "cats").rename(root / "test/cat")
    (root.parent / "linked").symlink_to(root)
    assert load(root.parent / "linked").test.m == 2


REFUSED: dict[str, tuple[dict[str, int], str]] = {
    "empty": ({".keep/a.png": 1}, r"drawn' holds no folder; at least two classes are needed: expected the folders"),
    "pictures alone": (
        {"a.png": 1},
        r"drawn' holds no folder, but 1 picture; at least two classes are needed: make a folder",
    ),
    "one class": ({"cat/a.png": 1}, r"drawn' holds the class 'cat' alone; at least two classes are needed"),
    "one class split": ({"train/cat/a.png": 1, "test/cat/a.png": 1}, "holds the class 'cat' alone"),
    "no test": ({"train/cat/a.png": 1, "train/dog/a.png": 1}, "holds 'train' and no 'test'; expected the folders"),
    "no train": ({"test/cat/a.png": 1, "test/dog/a.png": 1}, "holds 'test' and no 'train'"),
    "empty class": ({"cat/a.png": 1, "dog/.a.png": 1}, r"drawn/dog' holds no picture; put some there \(.*\.png"),
    "empty test class": (
        {"train/cat/a.png": 1, "train/dog/a.png": 1, "test/cat/a.png": 1, "test/dog/.a.png": 1},
        "test/dog' holds no picture",
    ),
    "other classes": (
        {"train/cat/a.png": 1, "train/dog/a.png": 1, "test/cat/a.png": 1, "test/bird/a.png": 1},
        "train' and '.*test' hold different classes: 'bird' is in one of them only",
    ),
    "odd class": ({"cat/a.png": 1, "do\ng/a.png": 1}, r"a class cannot be called 'do\\ng'; rename the folder"),
    "same picture twice": ({"cat/a.png": 1, "dog/a.png": 1}, "no readable picture for the test set"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused(case: str, make_folder: MakeFolder) -> None:
    """The folder is named, and what was expected."""
    pictures, message = REFUSED[case]
    with pytest.raises(DataError, match=message) as caught:
        load(make_folder(pictures))
    assert "\n" not in str(caught.value)


def test_an_unknown_positive_class_is_refused(make_folder: MakeFolder) -> None:
    """The classes that are there are named."""
    with pytest.raises(
        SettingsError, match=r"positive_class is 'Cat', but '.*drawn' holds the classes 'cat', 'non-cat'"
    ):
        load(make_folder(FULL), positive_class="Cat")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "does not exist; expected the folders"),
        ("file", r"is a file: empty \(0 bytes\); get it again; expected"),
    ],
)
def test_a_missing_folder_is_refused(name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the remedy."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(DataError, match=f"'{name}' {message}"):
        load(Path(name))


def test_a_queued_experiment_sees_only_what_is_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC runs it in a copy of the repository and sets DVC_ROOT; the remedy depends on what the user's folder has."""
    copy, own = tmp_path / "copy", tmp_path / "mine"
    copy.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)

    def message() -> str:
        with pytest.raises(DataError) as caught:
            load(Path("mine"))
        return str(caught.value)

    expected = "expected the folders train/<class> and test/<class>, or <class> alone, with pictures in them"
    assert message() == f"'mine' does not exist; {expected}"
    for name in ("cat", "a dog"):
        (own / name).mkdir(parents=True)
    only = "an experiment in a copy of the project has only what Git or DVC tracks"
    assert message() == (
        f"'mine' does not exist; {only}: run `dvc add 'mine/a dog' mine/cat` and "
        f"`git add 'mine/a dog.dvc' mine/cat.dvc mine/.gitignore`, or set data.path to {own}"
    )
    Path("mine/cat").mkdir(parents=True)
    (own / "a dog.dvc").touch()
    assert message() == (
        f"'mine' holds the class 'cat' alone; at least two classes are needed: {only}: "
        f"run `git add 'mine/a dog.dvc' mine/.gitignore`, or set data.path to {own}"
    )
    (tmp_path / ".gitignore").write_text("/mine/\n")
    assert message().endswith(f": {only}, and Git ignores 'mine': set data.path to {own}")
    Path("mine/a dog").mkdir()
    Path("mine/cat").rmdir()
    (own / "cat").rmdir()
    assert message().endswith(f"at least two classes are needed: {expected}")


def test_a_folder_without_permission_is_named(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated, because root may read anything."""
    root, scan = make_folder(FULL), os.scandir

    def refuse(path: Any) -> Any:
        if str(path).rstrip("/").endswith("train/cat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"train/cat/?' cannot be read \(Permission denied\)"):
        load(root)
