"""The plots of how good the predictions are: right values, all cases, readable."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from one_neuron.neuron import sigmoid
from one_neuron.plots.evaluation import ScoredSet, _thin, plot_evaluation, plot_probabilities


def make_set(name: str, Y: Any, z: Any) -> ScoredSet:
    """Return a set from lists."""
    z = np.array(z, dtype=float)
    return ScoredSet(name, np.array(Y, dtype=np.uint8), z, sigmoid(z))


TRAIN = make_set("train", [1, 1, 1, 0, 0, 0], [3.0, 2.0, -1.0, 0.5, -2.0, -2.0])
TEST = make_set("test", [1, 0, 0, 0], [1.0, 2.0, -1.0, -3.0])


def drawn(figures: list[Figure]) -> list[Axes]:
    """Return the axes of the only figure."""
    (figure,) = figures
    return figure.axes


def points(axes: Axes, label: str) -> NDArray[np.float64]:
    """Return the points of the line whose label starts like this."""
    (line,) = [line for line in axes.get_lines() if str(line.get_label()).startswith(label)]
    return np.column_stack(line.get_data()).astype(float)


def legend(axes: Axes) -> list[str]:
    """Return the texts of the legend."""
    box = axes.get_legend()
    assert box is not None
    return [text.get_text() for text in box.get_texts()]


def test_the_curves_of_both_sets(figures: list[Figure], tmp_path: Path) -> None:
    """ROC and precision-recall as in scikit-learn, with their areas; calibration and accuracy by hand."""
    plot_evaluation(tmp_path / "plot.png", [TRAIN, TEST], threshold=0.5)
    roc, recall, calibration, accuracy = drawn(figures)
    for scored in (TRAIN, TEST):
        fpr, tpr, _ = sklearn_metrics.roc_curve(scored.Y, scored.z, drop_intermediate=False)
        assert points(roc, scored.name) == pytest.approx(np.column_stack([fpr, tpr]))
        found = points(recall, scored.name)
        precision, at, _ = sklearn_metrics.precision_recall_curve(scored.Y, scored.z)
        assert found == pytest.approx(np.column_stack([at, precision])[-2::-1])
    assert legend(roc) == ["train: area 0.889", "test: area 0.667", "guessing: area 0.5"]
    assert legend(recall) == [
        "train: average precision 0.917",
        "test: average precision 0.500",
        "guessing train: 50.0 %",
        "guessing test: 25.0 %",
    ]
    assert legend(calibration) == ["as predicted", "train, 95 % intervals", "test, 95 % intervals"]
    assert legend(accuracy) == [
        "train: 66.7 % (30.0 to 90.3 %)",
        "test: 75.0 % (30.1 to 95.4 %)",
        "baseline (one class for all) train: 50.0 %",
        "baseline (one class for all) test: 75.0 %",
    ]
    curve = points(accuracy, "test")
    assert curve[0].tolist() == [0.0, 0.25]
    assert curve[-1].tolist() == [1.0, 0.75]
    at_half = curve[100]
    assert at_half.tolist() == [0.5, 0.75]
    assert accuracy.get_title() == "Accuracy against threshold, 95 % intervals at 0.5"
    # -2 twice: sigmoid 0.119, between 0.1 and 0.2, and both have label 0.
    groups = calibration.containers
    x, shares = groups[0][0].get_data()
    assert np.asarray(x)[0] == pytest.approx(1 / (1 + np.exp(2)), abs=0.005)
    assert np.asarray(shares).tolist() == [0.0, 1.0, 0.0, 1.0, 1.0]


def test_equal_baselines_are_one_line(figures: list[Figure], tmp_path: Path) -> None:
    """The default pictures are half cats in both sets."""
    plot_evaluation(tmp_path / "plot.png", [TRAIN, TRAIN], threshold=0.5)
    assert legend(drawn(figures)[3])[2:] == ["baseline (one class for all): 50.0 %"]


@pytest.mark.parametrize(
    ("Y", "z", "roc", "precision"),
    [
        ([1], [0.3], "test: one class only", "test: average precision 1.000"),
        ([0], [0.3], "test: one class only", "test: no picture of label 1"),
        ([0, 0, 0], [1.0, 2.0, 3.0], "test: one class only", "test: no picture of label 1"),
        ([1, 0, 1], [0.0, 0.0, 0.0], "test: area 0.500", "test: average precision 0.667"),
        ([1, 0], [np.inf, -np.inf], "test: area 1.000", "test: average precision 1.000"),
        ([1, 0], [-800.0, 800.0], "test: area 0.000", "test: average precision 0.500"),
    ],
)
def test_unusual_sets_can_be_drawn(
    Y: list[int], z: list[float], roc: str, precision: str, figures: list[Figure], tmp_path: Path
) -> None:
    """One picture, one class, equal or infinite z: a legend says what is not defined."""
    sets = [TRAIN, make_set("test", Y, z)]
    plot_evaluation(tmp_path / "plot.png", sets, threshold=0.5)
    plot_probabilities(tmp_path / "plot.png", sets, ("non-cat", "cat"), threshold=0.5)
    assert legend(figures[0].axes[0])[1] == roc
    assert legend(figures[0].axes[1])[1] == precision


def test_confusion_and_histogram(figures: list[Figure], tmp_path: Path) -> None:
    """Counts with their share of the true class; each picture is in one column of the histogram."""
    plot_probabilities(tmp_path / "plot.png", [TRAIN, TEST], ("no $cat$", "cat"), threshold=0.5)
    matrix, histogram, test_matrix, test_histogram = drawn(figures)
    assert [text.get_text() for text in matrix.texts] == ["2\n66.7 %", "1\n33.3 %", "1\n33.3 %", "2\n66.7 %"]
    assert [text.get_text() for text in test_matrix.texts] == ["1\n100.0 %", "0\n0.0 %", "1\n33.3 %", "2\n66.7 %"]
    assert matrix.get_title() == "Training set: accuracy 66.7 % (30.0 to 90.3 %)"
    assert test_matrix.get_title() == "Test set: accuracy 75.0 % (30.1 to 95.4 %)"
    assert [label.get_text() for label in matrix.get_xticklabels()] == ["cat", "no $cat$"]
    assert legend(histogram) == ["true: no $cat$", "true: cat"]
    for axes, scored in ((histogram, TRAIN), (test_histogram, TEST)):
        for label, patch in enumerate(patch for patch in axes.patches if isinstance(patch, StepPatch)):
            counts, edges, _ = patch.get_data()
            expected, _ = np.histogram(scored.A[scored.Y == label], np.linspace(0, 1, 21))
            assert np.asarray(counts).tolist() == expected.tolist()
            assert np.asarray(edges) == pytest.approx(np.linspace(0, 1, 21))


def test_a_million_points_become_a_thousand() -> None:
    """Both ends stay."""
    assert _thin(np.arange(10)).tolist() == list(range(10))
    thinned = _thin(np.arange(10**6))
    assert len(thinned) == 1000
    assert (thinned[0], thinned[-1]) == (0, 999_999)
    assert (np.diff(thinned) > 0).all()


def test_texts_lie_inside_the_plot_and_beside_each_other(figures: list[Figure], tmp_path: Path) -> None:
    """With long class names and large sets; legends hide no title."""
    rng = np.random.default_rng(1)
    Y = rng.integers(0, 2, 200_000).astype(np.uint8)
    large = [make_set(name, Y, 3 * rng.normal(size=len(Y)) + Y) for name in ("train", "test")]
    plot_evaluation(tmp_path / "plot.png", large, threshold=0.123456)
    plot_probabilities(tmp_path / "plot.png", large, ("n" * 60, "o" * 60), threshold=0.123456)
    for figure in figures:
        for axes in figure.axes:
            words = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels()]
            for text in words:
                box = text.get_window_extent()
                assert figure.bbox.contains(box.x0, box.y0), text
                assert figure.bbox.contains(box.x1, box.y1), text
            title = axes.title.get_window_extent()
            assert not any(
                title.overlaps(other.title.get_window_extent()) for other in figure.axes if other is not axes
            )
