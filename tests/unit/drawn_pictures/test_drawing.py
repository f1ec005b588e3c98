"""The drawn pictures: the same bytes everywhere, both classes, and no floating point on the way."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import drawn_pictures
from drawn_pictures import draw_picture, draw_pictures
from drawn_pictures.canvas import Dice, Pen, spans

# SHA-256 of the names, file bytes and pixels of 12 + 12 pictures. If it changes, so does every published number.
PINNED = "757f45b4313532f6491bbc1002d4861f34f4246f18d9e19346b350e795db3e46"

FORBIDDEN = {
    "math", "cmath", "numpy", "random", "rotate", "transform", "arc", "chord", "pieslice", "regular_polygon",
    "rounded_rectangle", "GaussianBlur", "blend", "float", "round",
}  # fmt: skip
SOURCES = sorted(Path(drawn_pictures.__file__).parent.glob("*.py"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files below `folder` by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw a small set once."""
    folder = tmp_path_factory.mktemp("drawn") / "new" / "pictures"
    draw_pictures(folder, seed=1, num_train=12, num_test=12)
    return folder


def test_same_arguments_give_the_same_bytes(drawn: Path, tmp_path: Path) -> None:
    """Drawing twice gives the same files."""
    draw_pictures(tmp_path, seed=1, num_train=12, num_test=12)
    assert contents(tmp_path) == contents(drawn)


def test_a_pool_of_processes_draws_the_same(drawn: Path, tmp_path: Path) -> None:
    """In whatever order the shares are drawn, the files are the same."""
    code = """
import pathlib, sys, drawn_pictures
from one_neuron.system.workers import worker_processes
drawn_pictures.SHARE = 5
with worker_processes() as pool:
    drawn_pictures.draw_pictures(pathlib.Path(sys.argv[1]), seed=1, num_train=12, num_test=12, apply=pool.map)
"""
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    assert contents(tmp_path) == contents(drawn)


def test_bytes_are_the_published_ones(drawn: Path) -> None:
    """Names, file bytes and pixels have the pinned SHA-256."""
    digest = hashlib.sha256()
    for name, data in contents(drawn).items():
        digest.update(name.encode() + data)
        with Image.open(drawn / name) as picture:
            digest.update(picture.convert("RGB").tobytes())
    assert digest.hexdigest() == PINNED


def test_more_pictures_keep_the_first_ones(drawn: Path, tmp_path: Path) -> None:
    """A larger set begins with the smaller one."""
    draw_pictures(tmp_path, seed=1, num_train=17, num_test=14)
    more, fewer = contents(tmp_path), contents(drawn)
    assert len(more) == 31
    assert more.items() >= fewer.items()


def test_another_seed_gives_other_pictures(drawn: Path, tmp_path: Path) -> None:
    """Two seeds share no picture."""
    draw_pictures(tmp_path, seed=2, num_train=12, num_test=12)
    assert not set(contents(tmp_path).values()) & set(contents(drawn).values())


def test_train_and_test_share_no_picture(drawn: Path) -> None:
    """The splits differ in every picture."""
    split = {kind: {data for name, data in contents(drawn).items() if name.startswith(kind)} for kind in ("tr", "te")}
    assert len(split["tr"]) == len(split["te"]) == 12
    assert not split["tr"] & split["te"]


@pytest.mark.parametrize("seed", range(8))
def test_the_smallest_splits_hold_both_classes(seed: int, tmp_path: Path) -> None:
    """Two pictures are one cat and one non-cat."""
    draw_pictures(tmp_path, seed=seed, num_train=2, num_test=2)
    folders = sorted(Path(name).parent.as_posix() for name in contents(tmp_path))
    assert folders == ["test/cat", "test/non-cat", "train/cat", "train/non-cat"]


def test_neither_class_always_comes_first() -> None:
    """The order within a pair is random."""
    assert {draw_picture(1, "train", index)[1] for index in range(0, 20, 2)} == {"cat", "non-cat"}


def test_names_formats_and_sizes(drawn: Path) -> None:
    """The files are numbered, in two formats, of several sizes and without metadata."""
    formats, sizes = set(), set()
    for split in ("train", "test"):
        paths = sorted((drawn / split).rglob("*.*"), key=lambda path: path.stem)
        assert [path.stem for path in paths] == [f"{index:05d}" for index in range(12)]
        for path in paths:
            with Image.open(path) as picture:
                picture.load()
                assert {"JPEG": ".jpg", "PNG": ".png"}[picture.format or ""] == path.suffix
                assert picture.mode == "RGB"
                assert not picture.getexif()
                formats.add(picture.format)
                sizes.add(picture.size)
    assert formats == {"JPEG", "PNG"}
    assert len(sizes) >= 6


def test_files_hold_what_draw_picture_returns(drawn: Path) -> None:
    """A PNG file loses nothing."""
    for path in drawn.rglob("*.png"):
        picture, kind = draw_picture(1, path.parent.parent.name, int(path.stem))
        assert kind == path.parent.name
        with Image.open(path) as stored:
            assert stored.tobytes() == picture.tobytes()


@pytest.mark.parametrize("numbers", [(1, 5), (5, 1), (0, 0), (-3, 2)])
def test_a_split_of_fewer_than_two_is_refused(numbers: tuple[int, int], tmp_path: Path) -> None:
    """Fewer than two pictures could hold one class only."""
    with pytest.raises(ValueError, match="at least 2"):
        draw_pictures(tmp_path / "none", seed=1, num_train=numbers[0], num_test=numbers[1])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_only_whole_numbers_are_used(path: Path) -> None:
    """The source has no fractions and calls nothing of Pillow that computes with them."""
    used: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name):
            used.add(node.id)
        elif isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            used.update(alias.name for alias in node.names)
            used.add(getattr(node, "module", "") or "")
        assert not isinstance(node, ast.Div), f"{path.name}: / makes floating-point numbers"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"{path.name}: {node.value}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "line":
            # Pillow computes thick lines, and polygons, in floating point.
            assert not [word for word in node.keywords if word.arg == "width"]
    assert not used & FORBIDDEN


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_package_stands_alone(path: Path) -> None:
    """It imports Pillow, itself and the standard library: nothing of one_neuron."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module).split(".")[0])
    assert imported - sys.stdlib_module_names <= {"PIL", "drawn_pictures"}


def test_the_contact_sheet_is_the_one_in_the_documentation(tmp_path: Path) -> None:
    """`python -m drawn_pictures.sheet FILE.png` writes the pixels of docs/pictures/drawn.png."""
    sources = SOURCES[0].parents[1]
    subprocess.run(
        [sys.executable, "-W", "error", "-m", "drawn_pictures.sheet", str(tmp_path / "sheet.png")],
        env={**os.environ, "PYTHONPATH": str(sources)},
        check=True,
        timeout=60,
    )
    with (
        Image.open(tmp_path / "sheet.png") as sheet,
        Image.open(sources.parent / "docs/pictures/drawn.png") as published,
    ):
        assert sheet.size == published.size
        assert sheet.tobytes() == published.tobytes()


def test_polygons_do_not_reach_pillow() -> None:
    """All polygons are filled row by row by `Pen.polygon`."""
    calls = [
        ast.unparse(node.func)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "polygon"
    ]
    assert calls
    assert not [call for call in calls if "draw" in call or "cut" in call]


def test_dice_are_pinned_and_stay_in_range() -> None:
    """The first number is pinned, and every method keeps to its range."""
    assert [Dice(1, "train", 0).below(1000) for _ in range(2)] == [455] * 2
    dice = Dice("ranges")
    assert {dice.between(-1, 2) for _ in range(200)} == {-1, 0, 1, 2}
    assert not any(dice.chance(0) for _ in range(100))
    assert all(dice.chance(100) for _ in range(100))


def test_a_triangle_is_filled_row_by_row() -> None:
    """Rows begin and end at the edges."""
    assert spans([(0, 0), (4, 0), (0, 4)], 3) == [(0, [0, 4]), (1, [0, 3]), (2, [0, 2])]
    sheet = Image.new("RGB", (8, 8))
    Pen(sheet, 0, 0, 100).polygon([(1, 1), (6, 1), (6, 6), (1, 6)], (9, 9, 9))
    assert sheet.getbbox() == (1, 1, 7, 6)


def test_a_mirrored_pen_draws_to_the_left() -> None:
    """Mirroring flips what is drawn around the origin."""
    sheet = Image.new("RGB", (20, 20))
    Pen(sheet, 10, 10, 100, mirrored=True).box(2, 0, 5, 3, (9, 9, 9))
    assert sheet.getbbox() == (5, 10, 9, 14)
