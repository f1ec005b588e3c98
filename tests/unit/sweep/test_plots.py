"""The plots of a sweep: complete PNG files, the same bytes every time, with correct values and readable texts."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from one_neuron.plots.drawing import BLACK, drawing_to
from one_neuron.settings.params import check_settings
from one_neuron.sweep import axis_labels, curve_plot, plots
from one_neuron.sweep.curve_plot import draw_curves
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Curves, Entry
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")
Points = list[tuple[int, float]]
FOLDS = 5
LIKE_THE_BEST = "1 cannot be told apart from the best (one standard error)"
VALIDATION = "validation, with the standard deviation over 5 folds"
TEST = "test (for information, not used to choose)"


def make_entry(
    rate: float, count: int = 200, *, status: str = FINISHED, threshold: float = 0.5, **metrics: float
) -> Entry:
    """Return an entry with these metrics."""
    train = replace(SETTINGS.train, learning_rate=rate, num_iterations=count, threshold=threshold)
    return Entry(f"{rate} {count}", replace(SETTINGS, train=train), status, metrics=metrics)


def score(
    rate: float, count: int = 200, *, folds: bool = True, status: str | None = None, threshold: float = 0.5
) -> Entry:
    """Return an entry with plausible metrics; large learning rates diverge."""
    learned = 1 - math.exp(-rate * count)
    metrics = {"cost": 0.69 - 0.6 * learned, "train_accuracy": 0.5 + learned / 2, "test_accuracy": 0.5}
    if folds:
        metrics |= {"validation_accuracy": 0.5 + learned / 4, "validation_accuracy_std": 0.0321}
        metrics["validation_cost"] = 0.7 - learned / 3
    status = status or (DIVERGED if rate > 0.3 else FINISHED)
    return make_entry(rate, count, status=status, threshold=threshold, **({} if status == FAILED else metrics))


def follow(entries: Sequence[Entry]) -> list[Curves]:
    """Return cost curves for each entry; diverged ones grow to infinity."""

    def cost(entry: Entry, iteration: int) -> float:
        if entry.status == DIVERGED:
            return 0.69 * 1.1**iteration if iteration < 5000 else math.inf
        return 0.69 * math.exp(-entry.settings.train.learning_rate * iteration)

    found = []
    for entry in entries:
        if entry.status != FAILED:
            steps = np.linspace(0, entry.settings.train.num_iterations, 11, dtype=int).tolist()
            points = [(i, cost(entry, i)) for i in steps]
            held_out = [(i, value + i / 1000) for i, value in points] if "validation_accuracy" in entry.metrics else []
            found.append(Curves(entry, points, held_out))
    return found


def drawn(draw: Callable[[Figure, Any], None], given: Any) -> tuple[Figure, Axes]:
    """Return a figure and its main axes after drawing, in the style of the saved plots."""
    with mpl.style.context("default", after_reset=True):
        figure = Figure(figsize=(plots._WIDTH, plots._HEIGHT), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, given)
        figure.canvas.draw()
    return figure, figure.axes[0]


def draw_heat_map(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw a heat map in a figure."""
    plots.draw_heat_map(figure, entries, folds=FOLDS)


def draw_accuracies(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw accuracies in a figure."""
    plots.draw_accuracies(figure, entries, folds=FOLDS)


def heat_map(entries: Sequence[Entry]) -> tuple[Figure, Axes]:
    """Draw a heat map."""
    return drawn(draw_heat_map, entries)


def curves(given: Sequence[Curves | tuple[Entry, Points]]) -> tuple[Figure, Axes]:
    """Draw curves; a pair has training costs alone."""
    return drawn(draw_curves, [each if isinstance(each, Curves) else Curves(*each) for each in given])


def accuracies(entries: Sequence[Entry]) -> tuple[Figure, Axes]:
    """Draw accuracies."""
    return drawn(draw_accuracies, entries)


def legend(figure: Figure) -> list[str]:
    """Return the words of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def line_of(axes: Axes, label: str) -> Line2D:
    """Return the line with this label."""
    (line,) = [line for line in axes.get_lines() if line.get_label() == label]
    return line


def values(line: Line2D, axis: int) -> NDArray[np.float64]:
    """Return the numbers of a line along x (0) or y (1)."""
    return np.asarray(line.get_data()[axis], dtype=float)


def vertices(drawn: Collection) -> list[NDArray[np.float64]]:
    """Return the heights of each path."""
    return [np.asarray(path.vertices)[:, 1] for path in drawn.get_paths()]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


Draw = Callable[[Path, list[Entry]], None]


def saving(draw: Callable[[Figure, list[Entry]], None]) -> Draw:
    """Return a function that saves a plot as a sweep does."""

    def save(path: Path, entries: list[Entry]) -> None:
        with drawing_to(path, plots._WIDTH, plots._HEIGHT, layout="constrained") as figure:
            draw(figure, entries)

    return save


DRAWINGS: dict[str, Draw] = {
    "heat map": saving(draw_heat_map),
    "curves": saving(lambda figure, entries: draw_curves(figure, follow(entries))),
    "accuracies": saving(draw_accuracies),
}


@pytest.fixture(params=DRAWINGS)
def draw(request: pytest.FixtureRequest) -> Draw:
    """Return a function that draws one of the three plots."""
    return DRAWINGS[request.param]


FEW = [score(rate, count) for rate in (0.001, 0.01, 0.1, 1.0) for count in (100, 300)]
CASES = {
    "one": [score(0.005)],
    "few without folds": [score(rate, count, folds=False) for rate in (0.001, 0.01, 1.0) for count in (100, 10**7)],
    "long names": [score(10 ** -(2 + i / 7), 10**7 - i, threshold=1 / (3 + i)) for i in range(6)],
    "odd rates": [score(float(rate), 10**7) for rate in np.geomspace(1e-12, 1000, 31)],
    "close rates": [score(0.005 + i * 1e-6) for i in range(9)],
    "100 x 10": [score(float(rate), 200 * n) for rate in np.geomspace(1e-5, 1, 100) for n in range(1, 11)],
    "400 x 1": [score(float(rate)) for rate in np.geomspace(1e-5, 1, 400)],
    "one diverged without folds": [score(0.5, folds=False)],
    "all failed": [score(rate, status=FAILED) for rate in (0.1, 0.2)],
    "a bit of all": [*FEW, score(0.003, 100, status=FAILED)],
}


def test_a_png_and_nothing_else_is_written(draw: Draw, tmp_path: Path) -> None:
    """The file has a sensible size, many colours, and neither time, version nor other text; its folder is created."""
    path = tmp_path / "new folder" / "plot.png"
    draw(path, FEW)
    assert [entry.name for entry in path.parent.iterdir()] == ["plot.png"]
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width == 1040
        assert 400 <= image.height <= 800
        assert set(image.info) <= {"dpi"}
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20


@pytest.mark.slow
def test_the_same_bytes_twice_whatever_the_settings(draw: Draw, tmp_path: Path) -> None:
    """The user's matplotlib settings do not change the file."""
    draw(tmp_path / "plain.png", FEW)
    changes: Any = {"font.size": 25.0, "figure.facecolor": "red", "image.cmap": "gray", "hatch.linewidth": 9.0}
    with mpl.rc_context(changes):
        before = dict(mpl.rcParams)
        draw(tmp_path / "changed.png", list(FEW))
        assert dict(mpl.rcParams) == before
    assert digest(tmp_path / "changed.png") == digest(tmp_path / "plain.png")


@pytest.mark.parametrize("plot", [DRAWINGS["heat map"], DRAWINGS["accuracies"]])
def test_the_order_of_the_entries_does_not_matter(plot: Draw, tmp_path: Path) -> None:
    """They are sorted by learning rate and rank."""
    plot(tmp_path / "one.png", FEW)
    plot(tmp_path / "other.png", FEW[::-1])
    assert digest(tmp_path / "one.png") == digest(tmp_path / "other.png")


def test_a_failed_drawing_leaves_the_old_file(draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file stays if drawing fails, and is replaced if it succeeds."""
    path = tmp_path / "plot.png"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.print_png", fail)
        with pytest.raises(OSError, match="No space left"):
            draw(path, FEW)
    assert path.read_bytes() == b"old"
    draw(path, FEW)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [entry.name for entry in tmp_path.iterdir()] == ["plot.png"]


def tick_labels(axis: Axis) -> list[Text]:
    """Return the labels that are drawn; matplotlib also keeps some beyond the ends of an axis."""
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [label for tick in ticks for label in (tick.label1, tick.label2) if label.get_visible() and label.get_text()]


def assert_readable(figure: Figure) -> None:
    """Check that no text is cut off, and that no label of an axis overlaps its neighbour."""
    frame = figure.bbox.padded(1)
    words = [text for box in figure.legends for text in box.get_texts()]
    for axes in figure.axes:
        columns, rows = tick_labels(axes.xaxis), tick_labels(axes.yaxis)
        words += [axes.title, axes.xaxis.label, axes.yaxis.label, *columns, *rows]
        boxes = sorted((text.get_window_extent() for text in rows), key=lambda box: box.y0)
        assert all(lower.y1 <= upper.y0 + 1 for lower, upper in pairwise(boxes))
        boxes = sorted((text.get_window_extent() for text in columns), key=lambda box: box.x1)
        for left, right in pairwise(boxes):
            # Turned words need the height of a line between their ends, others lie beside each other.
            assert right.x1 - left.x1 > 14 if columns[0].get_rotation() else left.x1 < right.x0
    assert len(words) > 5
    for text in words:
        if text.get_text():
            box = text.get_window_extent()
            assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, text.get_text()
            assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, text.get_text()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_everything_can_be_read(case: str) -> None:
    """Titles, labels and legends are readable, from one configuration to a thousand."""
    entries = CASES[case]
    followed = follow(entries)
    for figure, _ in (heat_map(entries), accuracies(entries), curves(followed[:: -(-len(followed) // 200) or 1])):
        assert_readable(figure)


def test_the_heat_map_shows_the_validation_accuracy() -> None:
    """In percent, rates to the right, iterations upwards; the best has a star; cells that were not tried are blank."""
    entries = [
        make_entry(0.01, 500, validation_accuracy=0.75),
        make_entry(0.001, 1000, validation_accuracy=0.625),
        make_entry(0.01, 1000, validation_accuracy=0.5),
        make_entry(0.5, 1000, status=DIVERGED, validation_accuracy=0.99),
        make_entry(0.5, 500, status=FAILED),
    ]
    figure, axes = heat_map(entries)
    shown: Any = axes.get_images()[0].get_array()
    expected = [[np.nan, 75.0, np.nan], [62.5, 50.0, np.nan]]
    np.testing.assert_array_equal(shown.filled(np.nan), expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["500", "1000"]
    assert [line.get_xydata().tolist() for line in axes.get_lines()] == [[[1.0, 0.0]]]  # type: ignore[union-attr]
    (hatched,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (*hatched.get_xy(), hatched.get_width(), hatched.get_height()) == (1.5, 0.5, 1.0, 1.0)
    assert hatched.get_hatch()
    assert axes.get_title() == "Validation accuracy"
    assert figure.axes[1].get_ylabel() == "validation accuracy in %"
    best = "best: 75.0 % (learning_rate 0.01, num_iterations 500)"
    assert legend(figure) == ["diverged", "failed or not tried", best]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([score(0.1), score(0.2, status=FAILED)], ["failed", "best"]),
        ([score(0.001, 100), score(0.02, 200)], ["not tried", "best"]),
        ([score(0.1), score(0.2)], [LIKE_THE_BEST, "simplest of them", "best"]),
        ([score(0.02, 100), score(0.02, 120)], [LIKE_THE_BEST, "simplest of them", "best"]),
        ([score(0.4), score(0.5)], ["diverged"]),
    ],
)
def test_the_legend_explains_what_is_there(entries: list[Entry], words: list[str]) -> None:
    """The legend has an entry for each kind of cell, and no others."""
    figure, _ = heat_map(entries)
    assert [text.split(":")[0] for text in legend(figure)] == words


def test_without_folds_the_heat_map_shows_the_training_cost() -> None:
    """The title says so; lower costs are brighter."""
    figure, axes = heat_map([make_entry(0.01, cost=0.5), make_entry(0.1, cost=0.25)])
    (image,) = axes.get_images()
    assert image.get_array().tolist() == [[0.5, 0.25]]  # type: ignore[union-attr]
    bright, dark = (sum(image.to_rgba(value)[:3]) for value in np.array([0.25, 0.5]))
    assert bright > dark
    assert axes.get_title() == "Training cost (nothing was held out)"
    assert figure.axes[1].get_ylabel() == "training cost"
    assert legend(figure) == ["best: cost 0.25 (learning_rate 0.1, num_iterations 200)"]


@pytest.mark.parametrize("metrics", [{"validation_accuracy": 0.75}, {"cost": 0.25}, {"validation_accuracy": 0.0}])
def test_a_single_value_lies_in_the_middle_of_the_colours(metrics: dict[str, Any]) -> None:
    """Although a single value spans no scale."""
    _, axes = heat_map([make_entry(0.01, **metrics), make_entry(0.1, **metrics)])
    (image,) = axes.get_images()
    middle = mpl.colormaps["viridis"](0.5)
    assert image.to_rgba(image.get_array())[0, 0] == pytest.approx(middle, abs=0.01)  # type: ignore[arg-type]


def test_the_best_of_those_that_share_a_cell_counts() -> None:
    """The best by rank is shown, and the title says that there are more."""
    entries = [
        make_entry(0.01, threshold=0.3, validation_accuracy=0.7, validation_cost=0.4),
        make_entry(0.01, threshold=0.4, validation_accuracy=0.8, validation_cost=0.4),
        make_entry(0.01, threshold=0.5, status=DIVERGED, validation_accuracy=0.9, validation_cost=0.1),
    ]
    _, axes = heat_map(entries)
    assert axes.get_images()[0].get_array().tolist() == [[80.0]]  # type: ignore[union-attr]
    assert not axes.patches
    assert axes.get_title().endswith("each cell shows the best of the configurations that share it")


def test_neighbours_that_diverged_are_hatched_as_one() -> None:
    """Two diverged cells on the left, one on the right."""
    statuses = [DIVERGED, DIVERGED, FINISHED, DIVERGED]
    _, axes = heat_map([score(0.1 * (i + 1), status=status) for i, status in enumerate(statuses)])
    spans = [(patch.get_x(), patch.get_width()) for patch in axes.patches if isinstance(patch, Rectangle)]
    assert spans == [(-0.5, 2.0), (2.5, 1.0)]


def test_many_cells_have_few_labels() -> None:
    """At even steps, each at its cell."""
    _, axes = heat_map([make_entry(rate / 1000, validation_accuracy=0.5) for rate in range(1, 401)])
    positions = axes.get_xticks().tolist()
    assert 6 <= len(positions) <= 12
    assert len(set(np.diff(positions))) == 1
    labels = [float(label.get_text()) for label in axes.get_xticklabels()]
    assert labels == [(position + 1) / 1000 for position in positions]


def test_few_curves_are_named() -> None:
    """By the parameters that differ; the best in black, a diverged one dotted and counted in the title."""
    entries = [score(0.01), score(0.1), score(0.5)]
    figure, axes = curves(follow(entries))
    low, best, gone = axes.get_lines()
    assert values(low, 0)[::5] == pytest.approx([0, 100, 200])
    assert values(low, 1)[::5] == pytest.approx([0.69, 0.69 * math.exp(-1), 0.69 * math.exp(-2)])
    assert (best.get_color(), best.get_label()) == (BLACK, "best: learning_rate 0.1")
    assert (low.get_linestyle(), gone.get_linestyle()) == ("-", ":")
    assert legend(figure) == ["learning_rate 0.01", "best: learning_rate 0.1", "learning_rate 0.5 (diverged)"]
    assert axes.get_title() == "Training cost, 3 curves\n1 out of the picture at the top"
    assert axes.get_ylim() == pytest.approx((0, 1.05 * 2 * 0.69))


def test_validation_curves_lie_beside_the_training_curves() -> None:
    """With the same colours, marks and axes; a configuration without held-out pictures is on one side only."""
    figure, train = curves(
        [*follow([score(0.01), score(0.1)]), Curves(score(0.02, folds=False), [(0, 0.69), (9, 0.5)])]
    )
    held_out = figure.axes[1]
    assert (train.get_title(), held_out.get_title()) == ("Training cost, 3 curves", "Validation cost, 2 curves")
    assert train.get_ylim() == held_out.get_ylim()
    for one, other in zip(train.get_lines(), held_out.get_lines(), strict=False):
        assert (one.get_color(), one.get_marker(), one.get_label()) == (
            other.get_color(),
            other.get_marker(),
            other.get_label(),
        )
        assert values(other, 1) == pytest.approx(values(one, 1) + values(one, 0) / 1000)
    assert len({line.get_marker() for line in train.get_lines()}) == 3


def spread_entries() -> list[Entry]:
    """Return a best entry with a standard error of 4 / 2 = 2 points, two within it and one that is not."""
    spread: dict[str, Any] = {"validation_accuracy_std": 0.04, "validation_baseline_accuracy": 0.55}
    return [
        make_entry(0.1, 400, validation_accuracy=0.80, **spread),
        make_entry(0.01, 400, validation_accuracy=0.79, **spread),
        make_entry(0.01, 200, validation_accuracy=0.785, **spread),
        make_entry(0.001, 200, validation_accuracy=0.77, **spread),
    ]


def test_the_heat_map_marks_what_cannot_be_told_apart() -> None:
    """Circles on both, a diamond on the one with the fewest iterations, a star on the best."""
    figure, axes = heat_map(spread_entries())
    circles, diamond, star = axes.get_lines()
    assert sorted(zip(values(circles, 0), values(circles, 1), strict=True)) == [(1, 0), (1, 1)]
    assert [(*values(mark, 0), *values(mark, 1)) for mark in (diamond, star)] == [(1, 0), (2, 1)]
    assert [mark.get_marker() for mark in (circles, diamond, star)] == ["o", "D", "*"]
    assert legend(figure)[-3:] == [
        "2 cannot be told apart from the best (one standard error)",
        "simplest of them: 78.5 % (learning_rate 0.01, num_iterations 200)",
        "best: 80.0 % (learning_rate 0.1, num_iterations 400)",
    ]


def test_the_accuracies_show_baseline_and_what_cannot_be_told_apart() -> None:
    """The baseline is a line, the standard error a band below the best, the simplest another vertical line."""
    _, axes = accuracies(spread_entries())
    assert values(line_of(axes, "baseline (one class for all): 55.0 %"), 1) == pytest.approx([55, 55])
    (band,) = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((78, 80))
    assert band.get_label() == "2 cannot be told apart from the best (one standard error)"
    assert values(line_of(axes, "best: 0.1"), 0).tolist() == [0.1, 0.1]
    assert values(line_of(axes, "simplest of them: 0.01 (200 iterations)"), 0).tolist() == [0.01, 0.01]


def test_names_hold_all_that_differs() -> None:
    """Only what differs; a single curve is named by its learning rate."""
    entries = [make_entry(0.01, 100, threshold=0.3), make_entry(0.01, 200, threshold=0.5)]
    names = ["num_iterations 100, threshold 0.3", "num_iterations 200, threshold 0.5"]
    assert curve_plot._name_curves(entries) == names
    assert curve_plot._name_curves(entries[:1]) == ["learning_rate 0.01"]


def test_many_curves_are_coloured_by_their_learning_rate() -> None:
    """By its logarithm: 0.001, 0.01 and 0.1 are at even steps; the legend names only the best."""
    rates = [0.001, 0.1, 0.01, 0.002, 0.003, 0.02, 1.0]
    figure, axes = curves([(make_entry(rate, status=FINISHED), [(0, 0.69), (200, rate)]) for rate in rates])
    bar = figure.axes[1]
    assert bar.get_ylabel() == "learning_rate"
    assert bar.get_ylim() == pytest.approx((-3, 0))
    scale = mpl.colormaps["viridis"](np.linspace(0, 0.88, 256))
    expected = [scale[min(int(256 * (math.log10(rate) + 3) / 3), 255)] for rate in rates]
    best = next(i for i, line in enumerate(axes.get_lines()) if str(line.get_label()).startswith("best"))
    for i, (line, colour) in enumerate(zip(axes.get_lines(), expected, strict=True)):
        if i != best:
            assert line.get_color() == pytest.approx(tuple(colour), abs=0.01)
    (words,) = legend(figure)
    assert words == f"best: learning_rate {rates[best]:g}"


def test_many_curves_of_one_learning_rate_share_a_colour() -> None:
    """The colour bar has one label, in the middle."""
    figure, axes = curves([(make_entry(0.01, count), [(0, 0.69), (count, 0.5)]) for count in range(1, 9)])
    assert len({str(line.get_color()) for line in axes.get_lines()} - {BLACK}) == 1
    bar = figure.axes[1]
    assert [(tick.get_loc(), tick.label2.get_text()) for tick in bar.yaxis.get_major_ticks()] == [(-2.0, "0.01")]
    assert sum(bar.get_ylim()) == pytest.approx(-4.0)


@pytest.mark.parametrize("cost", [math.nan, math.inf, 1e300, 1.5])
def test_what_grows_does_not_press_the_others_flat(cost: float) -> None:
    """The axis ends at twice the first cost at most, and the curve leaves the plot."""
    _, axes = curves([(score(0.01), [(0, 0.7), (100, 0.3)]), (score(0.5), [(0, 0.7), (100, cost)])])
    assert axes.get_ylim()[1] == pytest.approx(1.05 * (0.7 if not math.isfinite(cost) else 1.4))
    ends = values(axes.get_lines()[1], 1)
    assert np.isfinite(ends).all()
    assert ends.max() > axes.get_ylim()[1]
    assert axes.get_title().endswith("\n1 out of the picture at the top")


@pytest.mark.parametrize(
    ("costs", "top"), [([(0, 0.0)], 1.05), ([(0, math.nan), (1, math.nan)], 1.05), ([(0, 0.5)], 0.525)]
)
def test_odd_curves_can_be_drawn(costs: list[tuple[int, float]], top: float) -> None:
    """A single point, a cost of 0, and nan from the start."""
    _, axes = curves([(score(0.01), costs)])
    assert axes.get_ylim() == pytest.approx((0, top))
    assert axes.get_lines()[0].get_marker() == "o"
    _, axes = curves([(score(0.01, count), costs) for count in range(1, 9)])
    assert {line.get_marker() for line in axes.get_lines()} == ({"o"} if len(costs) == 1 else {""})


def test_no_curves_are_a_picture_too(tmp_path: Path) -> None:
    """The file is written even if every configuration failed."""
    DRAWINGS["curves"](tmp_path / "curves.png", [])
    with Image.open(tmp_path / "curves.png") as image:
        assert np.asarray(image.convert("L")).min() < 100  # the title


def test_the_accuracies_lie_over_the_learning_rates() -> None:
    """In percent, with the deviation over the folds, interrupted where training diverged; the chosen rate is marked."""
    entries = [
        make_entry(0.1, train_accuracy=0.9, validation_accuracy=0.6, validation_accuracy_std=0.05, test_accuracy=0.7),
        make_entry(0.001, train_accuracy=0.8, validation_accuracy=0.7, validation_accuracy_std=0.1, test_accuracy=0.5),
        make_entry(0.01, status=DIVERGED, train_accuracy=0.5, validation_accuracy=0.99, validation_accuracy_std=0.0),
        make_entry(1.0, status=FAILED),
    ]
    figure, axes = accuracies(entries)
    assert axes.get_xscale() == "log"
    for label, expected in (("train", [80, 90]), (VALIDATION, [70, 60]), (TEST, [50, 70])):
        line = line_of(axes, label)
        assert values(line, 0) == pytest.approx([0.001, 0.01, 0.1, 1.0])
        assert values(line, 1) == pytest.approx([expected[0], np.nan, expected[1], np.nan], nan_ok=True)
    (bars,) = [bars for bars in axes.collections if len(bars.get_paths()) > 1]
    ends = vertices(bars)
    assert ends[0] == pytest.approx([60, 80])
    assert ends[2] == pytest.approx([55, 65])
    assert values(line_of(axes, "best: 0.001"), 0).tolist() == [0.001, 0.001]
    assert values(line_of(axes, "diverged (1 learning rate)"), 0).tolist() == [0.01]
    assert values(line_of(axes, "failed (1 learning rate)"), 0).tolist() == [1.0]
    assert len(legend(figure)) == 6
    assert axes.get_title() == "Accuracy at each learning_rate"


def test_the_test_accuracy_stays_in_the_background() -> None:
    """It is lighter than the others, and its label says that it chooses nothing."""
    _, axes = accuracies([score(0.01), score(0.1)])

    def brightness(label: str) -> float:
        return float(sum(mpl.colors.to_rgb(line_of(axes, label).get_color())))

    assert brightness(TEST) > max(brightness("train"), brightness(VALIDATION))


def test_without_folds_there_is_no_validation() -> None:
    """The label says what the choice is based on."""
    figure, axes = accuracies([score(0.01, folds=False), score(0.1, folds=False)])
    assert legend(figure) == ["train", TEST, "best by training cost: 0.1"]
    assert axes.get_title() == "Accuracy at each learning_rate (nothing was held out)"


@pytest.mark.parametrize("rate", [1e-5, 0.001, 0.01, 0.005, 1.0])
def test_a_single_rate_is_in_the_middle(rate: float) -> None:
    """Without the warning of matplotlib at powers of ten."""
    _, axes = accuracies([score(rate, 10)])
    assert axes.get_xlim() == pytest.approx((rate / 2, 2 * rate))


def test_the_configuration_that_does_best_stands_for_its_rate() -> None:
    """The best by validation, although another one has the higher test accuracy."""
    entries = [
        make_entry(0.01, 100, train_accuracy=0.6, validation_accuracy=0.6, test_accuracy=0.9),
        make_entry(0.01, 200, train_accuracy=0.8, validation_accuracy=0.7, test_accuracy=0.5),
    ]
    _, axes = accuracies(entries)
    assert values(line_of(axes, "train"), 1) == pytest.approx([80])
    assert values(line_of(axes, TEST), 1) == pytest.approx([50])
    assert axes.get_title().endswith("of the configuration that does best there")


def test_many_rates_have_a_band() -> None:
    """One deviation up and down, around the validation accuracy."""
    _, axes = accuracies(
        [make_entry(i / 1000, validation_accuracy=0.6, validation_accuracy_std=0.1) for i in range(1, 99)]
    )
    (band,) = axes.collections
    (heights,) = vertices(band)
    assert (heights.min(), heights.max()) == pytest.approx((50, 70))


def test_nothing_to_show_is_said_so() -> None:
    """If all diverged, there are crosses at the bottom of an axis in percent."""
    figure, axes = accuracies([score(0.5), score(0.7)])
    assert legend(figure) == ["diverged (2 learning rates)"]
    assert axes.get_ylim() == (0, 100)


def test_labels_on_a_logarithmic_axis_keep_their_distance() -> None:
    """Rates at even steps all have a label; of rates close together, only the first has one."""
    even = [float(rate) for rate in np.geomspace(1e-5, 0.1, 8)]
    assert axis_labels.spread_rates(even[::-1]) == even
    assert axis_labels.spread_rates([0.001, 0.0011, 0.01, 0.0102, 0.1]) == [0.001, 0.01, 0.1]
    assert axis_labels.spread_rates([0.01, 0.01]) == [0.01]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.001, 0.01], ["0.001", "0.01"]),
        ([0.0031622776601683794], ["0.00316"]),
        ([0.0050001, 0.0050002], ["0.0050001", "0.0050002"]),
        ([1e-12, 1000.0], ["1e-12", "1e+03"]),
    ],
)
def test_labels_are_as_short_as_they_can_be(values: list[float], labels: list[str]) -> None:
    """Three digits, or more if needed."""
    assert axis_labels.short_labels(values) == labels
