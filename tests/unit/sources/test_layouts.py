"""Arrangements of pictures as other tools and public data sets have them: how each is read, or what is said.

The sources are public reports and documents of tools: Keras (flow_from_directory, image_dataset_from_directory),
torchvision's ImageFolder, fastai, Kaggle, YOLO, Pascal VOC, ImageNet, and forums of network storage.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from one_neuron.errors import DataError, SettingsError
from one_neuron.settings.params import DataSettings
from one_neuron.sources import folder
from one_neuron.sources.entries import UNREAD
from one_neuron.sources.listing import SPLITS, list_folder, list_pictures
from tests.values import DATA

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


@dataclass(frozen=True)
class Case:
    """A folder: its files, separated by spaces, where {a,b} stands for each and 3* for three of it.

    Parameters
    ----------
    files : str
    counts : dict
        Number of pictures of each set ("" if there is one) and class; empty if the folder is refused.
    notes : sequence of str
        The beginning or a part of each note, in order.
    ignored : dict
        Files that are not used, by suffix.
    error : str
        A part of the message.
    """

    files: str
    counts: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    error: str = ""


def expand(text: str) -> list[str]:
    """Return the names that a text of files stands for."""
    if match := re.search(r"\{([^}]*)\}", text):
        return [name for one in match[1].split(",") for name in expand(text.replace(match[0], one, 1))]
    if match := re.fullmatch(r"(\d+)\*(.*)", text):
        stem, dot, suffix = match[2].rpartition(".")
        return [f"{stem}{number}{dot}{suffix}" for number in range(int(match[1]))]
    return [text]


def make(root: Path, files: str) -> Path:
    """Make empty files: nothing is opened."""
    for name in (each for part in files.split() for one in expand(part) for each in expand(one)):
        path = root / name.replace("%20", " ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


TWO = {"cat": 2, "dog": 3}
SPLIT = {"train cat": 2, "train dog": 2, "test cat": 1, "test dog": 1}
SETS = "2*{0}/cat/a.jpg 2*{0}/dog/a.jpg {1}/cat/a.jpg {1}/dog/a.jpg"
LEFT_OUT = "is left out, with {}: only the training set and the test set are used"


def sets(train: str, test: str) -> str:
    """Return the files of a training and a test set."""
    return SETS.format(train, test)


PLAIN = "2*cat/a.jpg 3*dog/a.jpg"
CASES = {
    "folders of classes": Case(PLAIN, TWO),
    "train and test": Case(sets("train", "test"), SPLIT),
    "suffixes in capitals": Case("2*cat/IMG_.JPG 3*dog/a.JPEG", TWO),
    "subfolders in a class": Case("cat/a.jpg cat/2021/05/a.jpg 3*dog/a.jpg", TWO),
    # Sets with other names
    "training_set and test_set": Case(sets("training_set", "test_set"), SPLIT, ("'training_set' is the training set",)),
    "Training and Testing": Case(sets("Training", "Testing"), SPLIT, ("'Training' is the training set and 'Testing'",)),
    "Train and Test": Case(sets("Train", "Test"), SPLIT, ("'Train' is the training set and 'Test' the test set",)),
    "TRAIN and TEST": Case(sets("TRAIN", "TEST"), SPLIT, ("'TRAIN' is the training set",)),
    "train_data and test_data": Case(sets("train_data", "test_data"), SPLIT, ("'train_data' is",)),
    "training-images and test-images": Case(sets("training-images", "test-images"), SPLIT, ("'training-images' is",)),
    "trainset and testset": Case(sets("trainset", "testset"), SPLIT, ("'trainset' is",)),
    "train set and test set": Case(sets("train%20set", "test%20set"), SPLIT, ("'train set' is",)),
    "train and val (PyTorch)": Case(
        sets("train", "val"), SPLIT, ("'train' is the training set and 'val' the test set",)
    ),
    "train and validation (Keras)": Case(sets("train", "validation"), SPLIT, ("'validation' the test set",)),
    "train and valid (fastai)": Case(sets("train", "valid"), SPLIT, ("'valid' the test set",)),
    "train, validation and test": Case(
        f"{sets('train', 'test')} 4*validation/{{cat,dog}}/a.jpg",
        SPLIT,
        ("validation' " + LEFT_OUT.format("8 pictures"),),
        {".jpg": 8},
    ),
    "train, val and test without labels": Case(
        f"{sets('train', 'val')} 3*test/a.jpg",
        SPLIT,
        ("'val' the test set", "test' " + LEFT_OUT.format("3 pictures")),
        {".jpg": 3},
    ),
    "train and test beside others": Case(
        f"{sets('train', 'test')} extra/a.jpg extra/b.heic notes/a.txt",
        SPLIT,
        ("extra' " + LEFT_OUT.format("2 pictures"),),
        {".jpg": 1, ".heic": 1, ".txt": 1},
    ),
    "no test": Case(
        "2*train/{cat,dog}/a.jpg", error=r"holds 'train' and no 'test'; .*; or set data.path to '.*mine/train'"
    ),
    "no train": Case("2*test/{cat,dog}/a.jpg", error="holds 'test' and no 'train'"),
    "two training sets": Case(
        f"{sets('training', 'test')} train_set/cat/a.jpg",
        error="holds 'train_set' and 'training', which may both be the train set; rename one of them to 'train'",
    ),
    "other classes in test": Case(
        "train/{cat,dog}/a.jpg test/{cat,bird}/a.jpg", error="hold different classes: 'bird' is in one of them only"
    ),
    "classes that are called like sets": Case(
        "2*training/a.jpg 3*testing/a.jpg 2*cat/a.jpg", {"cat": 2, "training": 2, "testing": 3}
    ),
    # One level deeper, as archives unpack
    "one level deeper": Case("2*dataset/cat/a.jpg 3*dataset/dog/a.jpg", TWO, ("mine/dataset', the only folder there",)),
    "PetImages of Microsoft": Case(
        "2*PetImages/cat/a.jpg 3*PetImages/dog/a.jpg PetImages/cat/Thumbs.db readme[1].txt", TWO, ("mine/PetImages'",)
    ),
    "dataset in dataset": Case(
        sets("dataset/dataset/training_set", "dataset/dataset/test_set"),
        SPLIT,
        ("mine/dataset/dataset'", "'training_set'"),
    ),
    "an archive of macOS": Case(
        "2*pets/cat/a.jpg 3*pets/dog/a.jpg 2*__MACOSX/pets/cat/._a.jpg", TWO, ("mine/pets', the only folder there",)
    ),
    "cats_and_dogs_filtered of Google": Case(
        sets("cats_and_dogs_filtered/train", "cats_and_dogs_filtered/validation")
        + " cats_and_dogs_filtered/vectorize.py",
        SPLIT,
        ("mine/cats_and_dogs_filtered'", "'validation' the test set"),
    ),
    "a class alone": Case("3*cat/a.jpg", error="holds the class 'cat' alone; at least two classes are needed"),
    "a class alone with kinds in it": Case("cat/{persian,siamese}/a.jpg", error="holds the class 'cat' alone"),
    # The class in the name of the file
    "Dogs vs. Cats of Kaggle": Case(
        "2*cat..jpg 3*dog..jpg", TWO, ("the classes are taken from the names of the files: 'cat', 'dog'",)
    ),
    "Dogs vs. Cats in a folder": Case(
        "2*images/cat..jpg 3*images/dog..jpg",
        TWO,
        ("mine/images', the only folder there", "the classes are taken from"),
    ),
    "Oxford pets": Case("2*images/cat_.jpg 3*images/dog_.jpg", TWO, ("mine/images'", "the classes are taken from")),
    "copies of Windows": Case("cat%20(1).jpg cat%20(2).jpg 3*dog-.jpg", TWO, ("the classes are taken from",)),
    "sets with the class in the name": Case(
        "2*train/{cat,dog}..jpg test/{cat,dog}.9.jpg", SPLIT, ("the classes are taken from",)
    ),
    "photographs of a camera": Case(
        "3*IMG_.jpg 3*DSC_.jpg",
        error="holds no folder, but 6 pictures; at least two classes are needed: make a folder for each class, and "
        "move its pictures there, or set data.positive_class to what names begin with: 'DSC' or 'IMG'",
    ),
    "pictures in no folder": Case(
        "a.jpg b.jpg", error="holds no folder, but 2 pictures; .*: make a folder for each class"
    ),
    # Labels in files
    "a table of labels": Case(
        "3*images/1.jpg labels.csv",
        error=r"holds the class 'images' alone \(labels in a file such as 'labels.csv' are not read\)",
    ),
    "a table beside the pictures": Case(
        "3*1.jpg train.csv", error=r"no folder, but 3 pictures \(labels in a file such as 'train.csv' are not read\)"
    ),
    "YOLO": Case(
        "2*images/{train,val}/1.jpg 2*labels/{train,val}/1.txt data.yaml",
        error="holds 'images', 'labels': labels that lie in files of their own are not read; make a folder for each",
    ),
    "YOLO of Roboflow": Case(
        "2*{train,test,valid}/images/1.jpg 2*{train,test,valid}/labels/1.txt",
        error="holds 'images', 'labels': labels that",
    ),
    "Pascal VOC": Case(
        "2*JPEGImages/1.jpg Annotations/1.xml ImageSets/Main/train.txt", error="holds 'Annotations', 'ImageSets'"
    ),
    "masks": Case("2*images/1.jpg 2*masks/1.png", error="holds 'images', 'masks': labels that lie in files"),
    "ImageNet": Case(
        "2*train/{n01440764,n02123045}/1.JPEG 2*val/ILSVRC2012_val_.JPEG",
        error="hold different classes: 'n01440764' is in one of them only",
    ),
    # What systems and tools leave behind
    "after dvc add": Case(f"{PLAIN} cat.dvc dog.dvc", TWO),
    "Synology": Case(f"{PLAIN} @eaDir/cat/a.jpg cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg", TWO),
    "QNAP": Case(f"{PLAIN} @Recycle/a.jpg .@__thumb/a.jpg", TWO),
    "recycle bins": Case(f"{PLAIN} #recycle/a.jpg $RECYCLE.BIN/a.jpg .Trash-1000/a.jpg", TWO),
    "macOS": Case(f"{PLAIN} .DS_Store cat/.DS_Store cat/._a0.jpg .fseventsd/a.jpg __MACOSX/cat/._a.jpg", TWO),
    "Windows": Case(f"{PLAIN} cat/desktop.ini cat/Thumbs.db cat/ehthumbs.db System%20Volume%20Information/a.jpg", TWO),
    "Jupyter": Case(f"{PLAIN} .ipynb_checkpoints/a.jpg cat/.ipynb_checkpoints/a-checkpoint.jpg", TWO),
    "Git and Python": Case(f"{PLAIN} .git/a.jpg __pycache__/a.pyc", TWO),
    "an ext4 disk": Case(f"{PLAIN} lost+found/a.jpg", TWO),
    # Formats that are not read
    "HEIC among JPEG": Case(
        f"{PLAIN} 12*cat/IMG_.HEIC 3*dog/IMG_.MOV cat/notes.txt",
        TWO,
        ("holds 12 .heic, 3 .mov, which are not read; convert them to JPEG or PNG",),
        {".heic": 12, ".mov": 3, ".txt": 1},
    ),
    "RAW and JPEG": Case(
        f"{PLAIN} cat/a.CR2 cat/a.xmp", TWO, ("holds 1 .cr2, which are not read",), {".cr2": 1, ".xmp": 1}
    ),
    "HEIC alone": Case(
        "12*cat/IMG_.HEIC 3*dog/a.jpg",
        error="mine/cat' holds no picture that can be read, but 12 .heic; convert them to JPEG or PNG, or remove the",
    ),
    "a class of text files": Case(
        "2*cat/a.txt cat/README 3*dog/a.jpg",
        error="mine/cat' holds no picture that can be read, but 2 .txt, 1 without a suffix",
    ),
    "an archive in a class": Case(
        "cat/cats.zip 3*dog/a.jpg", error="mine/cat' holds no picture that can be read, but 1 .zip"
    ),
    "an empty class": Case("cat/.keep 3*dog/a.jpg", error=r"mine/cat' holds no picture; put some there \(.bmp"),
    "pictures beside the classes": Case(
        f"{PLAIN} 2*a.jpg b.heic README.md",
        TWO,
        ("mine' itself holds 3 pictures without a class, left out",),
        {".jpg": 2, ".heic": 1},
    ),
    "pictures beside the classes of a set": Case(
        f"{sets('train', 'test')} train/a.png",
        SPLIT,
        ("mine/train' itself holds 1 picture without a class",),
        {".png": 1},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_arrangement(name: str, tmp_path: Path) -> None:
    """It is read as the table says, with the notes that the table has and no others; or it is refused on one line."""
    case, root = CASES[name], make(tmp_path / "mine", CASES[name].files)
    if case.error:
        with pytest.raises((DataError, SettingsError), match=case.error) as caught:
            list_folder(root, "cat")
        assert "\n" not in str(caught.value)
        return
    listing = list_folder(root, "cat")
    prefix = [f"{split} " for split in SPLITS] if listing.is_split else [""]
    found = Counter(
        f"{prefix[split]}{listing.classes[group]}" for split, group in zip(listing.splits, listing.groups, strict=True)
    )
    assert found == case.counts
    assert len(listing.notes) == len(case.notes), listing.notes
    assert all(part in note for part, note in zip(case.notes, listing.notes, strict=True)), listing.notes
    assert listing.ignored == case.ignored
    assert all((root / path).is_file() for path in listing.names)
    order = [
        (listing.classes[group] == "cat", listing.classes[group], split, name)
        for group, split, name in zip(listing.groups.tolist(), listing.splits.tolist(), listing.names, strict=True)
    ]
    assert order == sorted(order)


def test_the_table_is_long_enough() -> None:
    """Fifty arrangements, no two alike."""
    assert len(CASES) >= 50
    assert len({case.files for case in CASES.values()}) == len(CASES)


@pytest.mark.parametrize("typed", [NFC, NFD])
@pytest.mark.parametrize("stored", [NFC, NFD])
def test_a_class_may_be_typed_in_another_unicode_form(typed: str, stored: str, tmp_path: Path) -> None:
    """Both look the same; the reports have the composed form, and a set may have another form than the other."""
    root = make(tmp_path, f"2*train/{stored}/a.jpg train/tea/a.jpg test/{NFD}/a.jpg test/tea/a.jpg")
    listing = list_folder(root, typed)
    assert listing.classes == [NFC, "tea"]
    assert (root / listing.names[-1]).is_file()
    assert [name for name in listing.names if stored in name]


def test_two_folders_that_look_alike_are_refused(tmp_path: Path) -> None:
    """Which of them is the class cannot be known."""
    root = make(tmp_path, f"{NFC}/a.jpg {NFD}/b.jpg tea/a.jpg")
    if len(list(root.iterdir())) == 2:
        pytest.skip("this file system takes the two forms for one")
    with pytest.raises(DataError, match="holds two folders that look alike, 'caf\u00e9' with letters and accents"):
        list_folder(root, "tea")


def test_labels_and_names_of_a_typed_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: the folder came from a Mac, the parameter was typed elsewhere."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for number, name in enumerate([NFD, "tea"]):
        for each in range(4):
            path = tmp_path / "mine" / name / f"{each}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 40 * each + number).save(path)
    loaded = folder.load(tmp_path / "mine", DataSettings(**{**DATA, "source": "folder", "positive_class": NFC}))
    assert loaded.train.classes == ("tea", NFC)
    assert [(one.name, one.label) for one in loaded.classes] == [("tea", 0), (NFC, 1)]


@pytest.mark.parametrize("suffix", sorted(UNREAD))
def test_a_folder_to_predict_names_what_is_not_read(suffix: str, tmp_path: Path) -> None:
    """A format that cannot be read is counted, whatever the case of its suffix."""
    root = make(tmp_path, f"a.jpg 2*b{suffix.upper()} deep/c{suffix} notes.txt")
    paths, problems, note = list_pictures(root)
    assert ([path.name for path in paths], problems) == (["a.jpg"], [])
    assert note == f"'{root}' holds 3 {suffix}, which are not read; convert them to JPEG or PNG"
    (root / "a.jpg").unlink()
    paths, (problem,), note = list_pictures(root)
    assert (paths, note) == ([], "")
    assert f"holds no picture that can be read, but 3 {suffix}, 1 .txt; convert them" in str(problem)


def test_an_archive_in_place_of_a_folder(tmp_path: Path) -> None:
    """The message says how to unpack it."""
    path: Any = tmp_path / "pets.zip"
    path.write_bytes(b"PK\3\4" + bytes(50))
    with pytest.raises(
        DataError, match=r"pets.zip' is a file: a zip archive; unpack it first: unzip; expected the folders"
    ):
        list_folder(path, "cat")
