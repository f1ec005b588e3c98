"""Plots that show pictures: the right ones, sharp, with what is true and what is predicted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from one_neuron.plots import pictures
from one_neuron.plots.pictures import plot_classes, plot_examples, plot_mistakes
from one_neuron.storage.pixel_file import PixelFile
from tests.unit.plots.files import MakePrepared, digest, pixels


def test_captions_say_what_is_true(make_prepared: MakePrepared, figures: list[Figure], tmp_path: Path) -> None:
    """The name, the class, the predicted class and the probability; a probability at the threshold means label 0."""
    prepared = make_prepared(m=3, Y=np.array([1, 0, 1], np.uint8))
    A = np.array([0.0401, 0.7, 0.5])
    plot_mistakes(tmp_path / "plot.png", prepared, A, np.array([1, 2, 0]), threshold=0.5)
    plot_examples(tmp_path / "plot.png", prepared, A, threshold=0.4)
    mistakes, examples = ([text.get_text() for text in figure.texts] for figure in figures)
    assert mistakes == [
        "The most confident mistakes on the test set",
        "001.png\ntrue: non-cat\npredicted: cat\nP(cat) = 0.700",
        "002.png\ntrue: cat\npredicted: non-cat\nP(cat) = 0.500",
        "000.png\ntrue: cat\npredicted: non-cat\nP(cat) = 0.040",
    ]
    assert examples == [
        "The first training pictures of each class, 2 x 2 pixels as the neuron sees them",
        "000.png\ntrue: cat\npredicted: non-cat\nP(cat) = 0.040",
        "002.png\ntrue: cat\npredicted: cat\nP(cat) = 0.500",
        "001.png\ntrue: non-cat\npredicted: cat\nP(cat) = 0.700",
    ]


def test_captions_lie_below_their_pictures(make_prepared: MakePrepared, figures: list[Figure], tmp_path: Path) -> None:
    """No text overlaps another one or a picture, and all are inside the plot."""
    names = tuple(f"{i:03}-{'photograph' * 40}.png" for i in range(11))
    prepared = make_prepared(m=11, names=names, classes=("n" * 40, "o" * 40))
    plot_mistakes(tmp_path / "plot.png", prepared, np.full(11, 0.5), np.arange(11), threshold=0.5)
    (figure,) = figures
    assert all(text.get_text().endswith(" = 0.500") for text in figure.texts[1:])
    boxes = [text.get_window_extent() for text in figure.texts]
    for i, box in enumerate(boxes):
        assert box.y0 >= 0
        assert box.x0 >= 0
        assert not any(box.overlaps(other) and abs(box.y0 - other.y0) > 1 for other in boxes[:i])


@pytest.mark.parametrize(
    ("num_px", "side"), [(1, 128), (3, 126), (64, 128), (100, 100), (128, 128), (129, 64), (300, 100)]
)
def test_pictures_are_enlarged_or_reduced(num_px: int, side: int, make_prepared: MakePrepared) -> None:
    """By a whole factor: each pixel becomes a square, or each square of pixels its mean, rounded down."""
    prepared = make_prepared(m=1, num_px=num_px)
    (shown,) = pictures._as_pictures(list(prepared.X), prepared)
    assert shown.shape == (side, side, 3)
    picture = prepared.X[0].reshape(num_px, num_px, 3)
    if num_px <= 128:
        assert (shown[:: side // num_px, :: side // num_px] == picture).all()
        assert (shown[side // num_px - 1 :: side // num_px, side // num_px - 1 :: side // num_px] == picture).all()
    else:
        step = num_px // side
        assert shown[2, 3, 1] == int(picture[2 * step : 3 * step, 3 * step : 4 * step, 1].mean())


def test_no_mistakes_are_a_picture_too(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """The stage must write the file, even without mistakes."""
    plot_mistakes(
        tmp_path / "plot.png", make_prepared(m=2), np.array([0.1, 0.9]), np.array([], dtype=np.int64), threshold=0.5
    )
    assert pixels(tmp_path / "plot.png").min() < 100  # the title


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 40])
def test_few_and_many_examples(m: int, make_prepared: MakePrepared, tmp_path: Path) -> None:
    """A single class, with more pictures than fit."""
    plot_examples(tmp_path / "plot.png", make_prepared(m=m), np.full(m, 0.5), threshold=0.5)
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_pictures_appear_in_their_colours(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """A picture of pure green is found in the plot."""
    green = np.tile(np.array([0, 255, 0], dtype=np.uint8), (2, 4))
    plot_examples(tmp_path / "plot.png", make_prepared(m=2, X=green), np.full(2, 0.5), threshold=0.5)
    assert (pixels(tmp_path / "plot.png") == [0, 255, 0]).all(axis=-1).sum() > 5000


def colours_of(path: Path) -> set[tuple[int, ...]]:
    """Return the colours that fill at least a third of a small picture in a plot."""
    found, sizes = np.unique(pixels(path).reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour.tolist()) for colour, size in zip(found, sizes, strict=True) if size > 4000}


def fill(levels: list[int]) -> NDArray[np.uint8]:
    """Return pictures of 2 x 2 pixels, each of a single grey."""
    return np.repeat(np.array(levels, np.uint8)[:, np.newaxis], 12, axis=1)


@pytest.mark.parametrize("block_bytes", [2**22, 24, 1])
def test_the_mean_of_each_class_is_exact(
    block_bytes: int, make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounded to the nearest whole number, halves up: (7 + 8) / 2 is 8, (100 + 100 + 101) / 3 is 100."""
    monkeypatch.setattr("one_neuron.storage.pixel_file.BLOCK_BYTES", block_bytes)
    prepared = make_prepared(m=5, X=fill([100, 7, 100, 8, 101]), Y=np.array([0, 1, 0, 1, 0], np.uint8))
    assert pictures._mean_pictures(prepared)[:, 0].tolist() == [100, 8]
    bright = make_prepared(m=300, X=fill([255] * 300))
    assert np.unique(pictures._mean_pictures(bright)).tolist() == [255]


def test_each_class_has_its_mean_beside_it(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """Each grey is one whole picture in the plot."""
    prepared = make_prepared(m=4, X=fill([20, 60, 40, 90]))
    plot_classes(tmp_path / "plot.png", prepared, prepared)
    greys = {grey for grey, *_ in colours_of(tmp_path / "plot.png")}
    assert greys == {255, 20, 40, 30, 60, 90, 75}  # paper, class 0 with its mean, class 1 with its mean


@pytest.mark.slow
def test_examples_are_spread_over_the_class(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """Eight of sixteen, every other one; all pictures if there are fewer than eight."""
    levels = [10 * i for i in range(16)]
    X, Y = fill([*levels, 200, 220]), np.repeat([1, 0], [16, 2]).astype(np.uint8)
    prepared = make_prepared(m=18, X=X, Y=Y)
    plot_classes(tmp_path / "plot.png", prepared, prepared)
    greys = {grey for grey, *_ in colours_of(tmp_path / "plot.png")}
    assert greys == {*levels[::2], 75, 200, 220, 210, 255}


def test_a_class_of_one_picture_and_a_class_of_none(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """An empty class has no mean."""
    prepared = make_prepared(m=1, X=fill([77]), Y=np.array([1], np.uint8))
    plot_classes(tmp_path / "plot.png", prepared, prepared)
    assert colours_of(tmp_path / "plot.png") == {(255, 255, 255), (77, 77, 77)}


def test_classes_of_pixels_on_disk_are_drawn_from_the_rows_they_need(
    make_prepared: MakePrepared, tmp_path: Path
) -> None:
    """The same bytes as from memory; the pixels are never read all at once."""
    prepared = make_prepared(m=40)
    (tmp_path / "pixels").write_bytes(b"header" + prepared.X.tobytes())
    on_disk = replace(prepared, X=PixelFile(tmp_path / "pixels", offset=6, shape=prepared.X.shape))
    plot_classes(tmp_path / "memory.png", prepared, prepared)
    plot_classes(tmp_path / "disk.png", on_disk, on_disk)
    assert digest(tmp_path / "disk.png") == digest(tmp_path / "memory.png")
