"""The plots are complete PNG files, with the same bytes every time, for any settings of the user and any names."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image

from one_neuron.neuron import Parameters
from one_neuron.plots import pictures
from one_neuron.plots.costs import plot_costs
from one_neuron.plots.pictures import plot_classes, plot_examples, plot_mistakes
from one_neuron.plots.weights import plot_weights
from one_neuron.storage.model import Model
from one_neuron.storage.pixel_file import PixelFile
from one_neuron.storage.prepared_set import PreparedSet

MakePrepared = Callable[..., PreparedSet]
MakeModel = Callable[..., Model]
Draw = Callable[[Path], None]
COSTS = [(0, 0.693147), (100, 0.584508), (200, 0.466949)]


@pytest.fixture(params=["costs", "weights", "examples", "mistakes", "classes"])
def draw(request: pytest.FixtureRequest, make_prepared: MakePrepared, make_model: MakeModel) -> Draw:
    """Return a function that draws one of the five plots."""
    prepared, model = make_prepared(m=4, num_px=8), make_model(num_px=8)
    A = np.linspace(0, 1, 4)
    drawing: dict[str, Draw] = {
        "costs": lambda path: plot_costs(path, COSTS, learning_rate=0.005),
        "weights": lambda path: plot_weights(path, model),
        "examples": lambda path: plot_examples(path, prepared),
        "mistakes": lambda path: plot_mistakes(path, prepared, A, np.array([3, 1])),
        "classes": lambda path: plot_classes(path, prepared, prepared),
    }
    return drawing[request.param]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels(path: Path) -> NDArray[np.int64]:
    """Return a plot as RGB pixels."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_a_png_and_nothing_else_is_written(draw: Draw, tmp_path: Path) -> None:
    """It has a sensible size and content, no time, version or other text; its folder is created."""
    path = tmp_path / "new folder" / "plot.png"
    draw(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["plot.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) >= 200
        assert max(image.size) <= 1200
        assert set(image.info) <= {"dpi"}
    assert len(np.unique(pixels(path).reshape(-1, 3), axis=0)) > 20


@pytest.mark.slow
def test_the_same_bytes_twice_whatever_the_settings(draw: Draw, tmp_path: Path) -> None:
    """The same bytes twice: earlier settings do not change the file, and they are not changed."""
    draw(tmp_path / "plain.png")
    changes: Any = {
        "font.size": 25.0,
        "figure.facecolor": "red",
        "savefig.dpi": 50,
        "image.cmap": "gray",
        "axes.grid": True,
    }
    with mpl.rc_context(changes):
        before = dict(mpl.rcParams)
        draw(tmp_path / "changed.png")
        assert dict(mpl.rcParams) == before
    assert digest(tmp_path / "changed.png") == digest(tmp_path / "plain.png")


@pytest.mark.slow
def test_the_user_s_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    """Including a settings file named by MATPLOTLIBRC, another backend and a style."""
    (tmp_path / "matplotlibrc").write_text("font.size: 25\nfont.family: monospace\nbackend: svg\nsavefig.bbox: tight\n")
    program = (
        "import sys; from pathlib import Path; from one_neuron.plots.costs import plot_costs\n"
        f"plot_costs(Path(sys.argv[1]), {COSTS!r}, learning_rate=0.005)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "changed.png")],
        check=True,
        timeout=60,
        env={**os.environ, "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")},
    )
    plot_costs(tmp_path / "plain.png", COSTS, learning_rate=0.005)
    assert digest(tmp_path / "changed.png") == digest(tmp_path / "plain.png")


def test_the_font_is_matplotlib_s_own() -> None:
    """Another file of the same name from the system would give other bytes."""
    with mpl.style.context("default", after_reset=True):
        found = Path(font_manager.findfont(font_manager.FontProperties()))
    assert found.name == "DejaVuSans.ttf"
    assert Path(mpl.get_data_path()).resolve() in found.resolve().parents


@pytest.mark.slow
def test_all_that_is_drawn_shows(make_prepared: MakePrepared, make_model: MakeModel, tmp_path: Path) -> None:
    """Another result, another picture: cost, learning rate, weight, class, pixel, name, probability, selection."""
    prepared = make_prepared(m=4, num_px=2)
    A, chosen = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 1])
    swapped = prepared.X[[2, 1, 0, 3]]  # the same means, other examples
    variants: list[Draw] = [
        lambda path: plot_costs(path, COSTS, learning_rate=0.005),
        lambda path: plot_costs(path, COSTS, learning_rate=0.006),
        lambda path: plot_costs(path, [*COSTS[:2], (200, 0.3)], learning_rate=0.005),
        lambda path: plot_weights(path, make_model()),
        lambda path: plot_weights(path, make_model(seed=1)),
        lambda path: plot_weights(path, make_model(classes=("a", "dog"))),
        lambda path: plot_examples(path, prepared),
        lambda path: plot_examples(path, make_prepared(m=4, num_px=2, seed=1)),
        lambda path: plot_mistakes(path, prepared, A, chosen),
        lambda path: plot_mistakes(path, prepared, A + 0.1, chosen),
        lambda path: plot_mistakes(path, prepared, A, chosen[::-1]),
        lambda path: plot_mistakes(path, make_prepared(m=4, names=tuple("abcd")), A, chosen),
        lambda path: plot_classes(path, prepared, prepared),
        lambda path: plot_classes(path, prepared, make_prepared(m=5)),
        lambda path: plot_classes(path, make_prepared(m=4, num_px=2, seed=1), prepared),
        lambda path: plot_classes(path, make_prepared(m=4, X=swapped), prepared),
        lambda path: plot_classes(path, make_prepared(m=4, classes=("non-cat", "dog")), prepared),
    ]
    digests = []
    for draw_variant in variants:
        draw_variant(tmp_path / "plot.png")
        digests.append(digest(tmp_path / "plot.png"))
    assert len(set(digests)) == len(variants)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [r"$\frac$.png", r"$x_^{ \alpha%#&~", "new\nline", "x" * 300, "caf\udce9.png", ""],
)
def test_names_are_text(name: str, make_prepared: MakePrepared, make_model: MakeModel, tmp_path: Path) -> None:
    """Formulas, line ends, bytes that are not UTF-8: no name of a picture or a class breaks a plot."""
    classes = ("other", name if name and name.isprintable() else "class")  # others are refused
    prepared = make_prepared(m=2, names=(name, name), classes=classes)
    plot_mistakes(tmp_path / "mistakes.png", prepared, np.array([0.5, 0.5]), np.array([0, 1]))
    plot_weights(tmp_path / "weights.png", make_model(classes=classes))
    plot_classes(tmp_path / "classes.png", prepared, prepared)
    assert len(list(tmp_path.iterdir())) == 3


def test_no_mistakes_are_a_picture_too(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """The stage must write the file, even without mistakes."""
    plot_mistakes(tmp_path / "plot.png", make_prepared(m=2), np.array([0.1, 0.9]), np.array([], dtype=np.int64))
    assert pixels(tmp_path / "plot.png").min() < 100  # the title


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 40])
def test_few_and_many_examples(m: int, make_prepared: MakePrepared, tmp_path: Path) -> None:
    """A single class, with more pictures than fit."""
    plot_examples(tmp_path / "plot.png", make_prepared(m=m))
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_pictures_appear_in_their_colours(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """A picture of pure green is found in the plot."""
    green = np.tile(np.array([0, 255, 0], dtype=np.uint8), (2, 4))
    plot_examples(tmp_path / "plot.png", make_prepared(m=2, X=green))
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


def test_weights_of_zero_are_grey(make_model: MakeModel, tmp_path: Path) -> None:
    """All weights of an untrained neuron are 0; there is no division by zero."""
    plot_weights(tmp_path / "plot.png", make_model(parameters=Parameters(w=np.zeros(12), b=0.0)))
    assert (pixels(tmp_path / "plot.png") == 128).all(axis=-1).sum() > 10_000


def test_the_weights_lie_as_the_pixels_do(make_model: MakeModel, tmp_path: Path) -> None:
    """One red weight, top left: the bright red patch is in the upper left of the left picture."""
    w = np.zeros(12)
    w[0] = 1.0
    plot_weights(tmp_path / "plot.png", make_model(parameters=Parameters(w=w, b=0.0)))
    rows, columns = np.nonzero((pixels(tmp_path / "plot.png") == [255, 128, 128]).all(axis=-1))
    height, width, _ = pixels(tmp_path / "plot.png").shape
    assert len(rows) > 2000
    assert rows.mean() < height / 2
    assert columns.mean() < width / 4


@pytest.mark.parametrize("costs", [[(0, 0.69)], [(0, 0.69), (1, 0.0)], [(0, 0.69), (10**7, 1e300)]])
def test_any_costs_can_be_drawn(costs: list[tuple[int, float]], tmp_path: Path) -> None:
    """A single point, a cost of 0, a diverged training."""
    plot_costs(tmp_path / "plot.png", costs, learning_rate=1e-12)
    assert (tmp_path / "plot.png").stat().st_size > 0


def test_a_failed_drawing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all."""
    path = tmp_path / "plot.png"
    plot_costs(path, COSTS, learning_rate=0.005)
    before = digest(path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        plot_costs(path, COSTS, learning_rate=0.5)
    assert digest(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["plot.png"]
