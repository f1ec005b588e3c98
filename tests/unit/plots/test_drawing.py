"""The plots are complete PNG files, with the same bytes every time, for any settings of the user and any names."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import font_manager
from PIL import Image

from one_neuron import neuron
from one_neuron.plots import drawing
from one_neuron.plots.curves import plot_curves
from one_neuron.plots.evaluation import ScoredSet, plot_evaluation, plot_probabilities
from one_neuron.plots.pictures import plot_classes, plot_examples, plot_mistakes
from one_neuron.plots.weights import plot_weights
from one_neuron.training_curves import TrainingCurve
from tests.unit.plots.files import MakeModel, MakePrepared, digest, pixels

Draw = Callable[[Path], None]
# Linear RGB as people without one kind of cone see it: Vienot, Brettel and Mollon (1999), Color Research 24.
DICHROMACIES = {
    "protanopia": np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]),
}
COSTS = [(0, 0.693147), (100, 0.584508), (200, 0.466949)]


def make_sets(*, seed: int = 0) -> list[ScoredSet]:
    """Return a training and a test set with random z."""
    rng = np.random.default_rng(seed)
    sets = []
    for name, m in (("train", 90), ("test", 30)):
        Y, noise = (np.arange(m) % 3 == 0).astype(np.uint8), rng.normal(size=m)
        z = 2.0 * Y + noise
        sets.append(ScoredSet(name, Y, z, neuron.sigmoid(z)))
    return sets


@pytest.fixture(params=["costs", "weights", "evaluation", "probabilities", "examples", "mistakes", "classes"])
def draw(request: pytest.FixtureRequest, make_prepared: MakePrepared, make_model: MakeModel) -> Draw:
    """Return a function that draws one of the plots."""
    prepared, model = make_prepared(m=4, num_px=8), make_model(num_px=8)
    A = np.linspace(0, 1, 4)
    drawing: dict[str, Draw] = {
        "costs": lambda path: plot_costs(path, COSTS, learning_rate=0.005),
        "weights": lambda path: plot_weights(path, model),
        "evaluation": lambda path: plot_evaluation(path, make_sets(), threshold=0.5),
        "probabilities": lambda path: plot_probabilities(path, make_sets(), ("non-cat", "cat"), threshold=0.5),
        "examples": lambda path: plot_examples(path, prepared, A, threshold=0.5),
        "mistakes": lambda path: plot_mistakes(path, prepared, A, np.array([3, 1]), threshold=0.5),
        "classes": lambda path: plot_classes(path, prepared, prepared),
    }
    return drawing[request.param]


def plot_costs(path: Path, costs: list[tuple[int, float]], *, learning_rate: float) -> None:
    """Plot costs that are the same on both sets."""
    iterations, values = zip(*costs, strict=True)
    curve = TrainingCurve(list(values), [0.5] * len(costs), np.zeros(1))
    plot_curves(path, costs, iterations, curve, curve, baseline=0.6, learning_rate=learning_rate)


def test_a_png_and_nothing_else_is_written(draw: Draw, tmp_path: Path) -> None:
    """It has a sensible size and content, no time, version or other text; its folder is created."""
    path = tmp_path / "new folder" / "plot.png"
    draw(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["plot.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert 1000 <= image.width <= 1300
        assert 180 <= image.height <= 1000
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
        "import sys; from pathlib import Path; from tests.unit.plots.test_drawing import COSTS, plot_costs\n"
        "plot_costs(Path(sys.argv[1]), COSTS, learning_rate=0.005)\n"
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
        lambda path: plot_evaluation(path, make_sets(), threshold=0.5),
        lambda path: plot_evaluation(path, make_sets(seed=1), threshold=0.5),
        lambda path: plot_evaluation(path, make_sets(), threshold=0.6),
        lambda path: plot_probabilities(path, make_sets(), ("non-cat", "cat"), threshold=0.5),
        lambda path: plot_probabilities(path, make_sets(seed=1), ("non-cat", "cat"), threshold=0.5),
        lambda path: plot_probabilities(path, make_sets(), ("non-cat", "dog"), threshold=0.5),
        lambda path: plot_probabilities(path, make_sets(), ("non-cat", "cat"), threshold=0.6),
        lambda path: plot_examples(path, prepared, A, threshold=0.5),
        lambda path: plot_examples(path, prepared, A + 0.1, threshold=0.5),
        lambda path: plot_examples(path, prepared, A, threshold=0.15),
        lambda path: plot_examples(path, make_prepared(m=4, num_px=2, seed=1), A, threshold=0.5),
        lambda path: plot_mistakes(path, prepared, A, chosen, threshold=0.5),
        lambda path: plot_mistakes(path, prepared, A + 0.1, chosen, threshold=0.5),
        lambda path: plot_mistakes(path, prepared, A, chosen[::-1], threshold=0.5),
        lambda path: plot_mistakes(path, make_prepared(m=4, names=tuple("abcd")), A, chosen, threshold=0.5),
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
    plot_mistakes(tmp_path / "mistakes.png", prepared, np.array([0.5, 0.5]), np.array([0, 1]), threshold=0.5)
    plot_probabilities(tmp_path / "probabilities.png", make_sets(), classes, threshold=0.5)
    plot_weights(tmp_path / "weights.png", make_model(classes=classes))
    plot_classes(tmp_path / "classes.png", prepared, prepared)
    assert len(list(tmp_path.iterdir())) == 4


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

    monkeypatch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.print_png", fail)
    with pytest.raises(OSError, match="No space left"):
        plot_costs(path, COSTS, learning_rate=0.5)
    assert digest(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["plot.png"]


def test_names_become_one_short_line() -> None:
    """Line ends become spaces, bytes outside UTF-8 escapes, and a long name ends with an ellipsis."""
    assert drawing.printable("two\nlines") == "two lines"
    assert drawing.printable("caf\udce9") == "caf\\udce9"
    assert drawing.printable("x" * 30, 10) == "xxxxxxxxx\N{HORIZONTAL ELLIPSIS}"
    assert drawing.printable("x" * 10, 10) == "x" * 10


def test_an_accuracy_has_its_interval() -> None:
    """In percent, with one digit."""
    assert drawing.percent_interval(0.79, 0.7284, 0.8406) == "79.0 % (72.8 to 84.1 %)"


def test_the_colours_differ_for_the_colour_blind() -> None:
    """In the lightness of the colours of the three sets as well as in their kinds of line."""
    sets = (drawing.TRAIN, drawing.VALIDATION, drawing.TEST, drawing.BASELINE)
    assert len({style["linestyle"] for style in sets}) == len(sets)
    for matrix in DICHROMACIES.values():
        seen = [matrix @ np.array(mpl.colors.to_rgb(style["color"])) ** 2.2 for style in sets[:3]]
        for i, one in enumerate(seen):
            for other in seen[:i]:
                assert np.abs(one - other).max() > 0.1
