"""Plots of how good the predictions are, on the training and the test set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from one_neuron.metric_curves import accuracy_by_threshold, calibrate, precision_recall_curve
from one_neuron.metrics import (
    average_precision,
    baseline_accuracy,
    count_by_rank,
    count_confusion,
    roc_auc,
    wilson_interval,
)
from one_neuron.plots.drawing import (
    BASELINE,
    BLACK,
    ORANGE,
    SKY_BLUE,
    TEST,
    TRAIN,
    drawing_to,
    percent_interval,
    printable,
)

Array = NDArray[np.float64]

_LONGEST_CLASS = 20  # characters of a class name that fit beside or over a plot
_MOST_POINTS = 1000  # of a curve; more are not visible
_BINS = 20  # of the histogram
_TICKS = (0, 0.25, 0.5, 0.75, 1)
_MARGINS = {"left": 0.065, "right": 0.985, "bottom": 0.075, "top": 0.95, "wspace": 0.2, "hspace": 0.3}


@dataclass(frozen=True)
class ScoredSet:
    """Labels of a set of pictures, and what the neuron computed for them.

    Parameters
    ----------
    name : str
        "train" or "test".
    Y : ndarray of shape (m,), values in {0, 1}
        At least one label.
    z, A : ndarray of shape (m,), float64
        From `neuron.compute_z`, and sigmoid(z).
    """

    name: str
    Y: NDArray[Any]
    z: Array
    A: Array

    @property
    def style(self) -> dict[str, Any]:
        """The colour and the kind of its lines."""
        return TRAIN if self.name == "train" else TEST

    @property
    def title(self) -> str:
        """The set in words."""
        return "Training set" if self.name == "train" else "Test set"

    def interval(self, threshold: float) -> tuple[float, float, float]:
        """Return the accuracy and the ends of its 95 % interval."""
        correct = int(np.count_nonzero((self.A > threshold) == self.Y))
        return correct / len(self.Y), *wilson_interval(correct, len(self.Y))


def plot_evaluation(path: Path, sets: Sequence[ScoredSet], *, threshold: float) -> None:
    """Plot ROC, precision-recall and calibration curves, and the accuracy at every threshold; all sets in each of them.

    A curve that is not defined is left out, and the legend says so: ROC if only one class occurs, precision-recall
    without pictures of label 1.
    """
    with drawing_to(path, 11, 9) as figure:
        (roc, recall), (calibration, accuracy) = figure.subplots(2, 2, gridspec_kw=_MARGINS)
        _draw_roc(roc, sets)
        _draw_precision_recall(recall, sets)
        _draw_calibration(calibration, sets)
        _draw_accuracy(accuracy, sets, threshold)


def plot_probabilities(path: Path, sets: Sequence[ScoredSet], classes: tuple[str, str], *, threshold: float) -> None:
    """Plot, for each set, the confusion matrix and a histogram of the probabilities by class."""
    names = [printable(name, _LONGEST_CLASS) for name in classes]
    with drawing_to(path, 11, 9) as figure:
        for (matrix, histogram), scored in zip(figure.subplots(2, 2, gridspec_kw=_MARGINS), sets, strict=True):
            _draw_confusion(matrix, scored, names, threshold)
            _draw_histogram(histogram, scored, names, threshold)


def _draw_roc(axes: Axes, sets: Sequence[ScoredSet]) -> None:
    """Draw the ROC curves with their areas."""
    for scored in sets:
        rates, label = [np.empty(0), np.empty(0)], f"{scored.name}: one class only"
        area = roc_auc(scored.Y, scored.z)
        if not np.isnan(area):
            rates = [_thin(counts / counts[-1]) for counts in count_by_rank(scored.Y, scored.z)]
            label = f"{scored.name}: area {area:.3f}"
        axes.plot(rates[1], rates[0], label=label, **scored.style)
    axes.plot([0, 1], [0, 1], label="guessing: area 0.5", **BASELINE)
    _finish(axes, "ROC curve", "false positive rate", "true positive rate (recall)", loc="lower right")


def _draw_precision_recall(axes: Axes, sets: Sequence[ScoredSet]) -> None:
    """Draw the precision-recall curves as steps, with their areas."""
    for scored in sets:
        precision, recall, label = np.empty(0), np.empty(0), f"{scored.name}: no picture of label 1"
        if scored.Y.any():
            precision, recall = precision_recall_curve(scored.Y, scored.z)
            label = f"{scored.name}: average precision {average_precision(scored.Y, scored.z):.3f}"
        style: dict[str, Any] = scored.style | {"drawstyle": "steps-pre"}
        axes.plot(_thin(recall), _thin(precision), label=label, **style)
    _draw_levels(axes, ((scored.name, np.count_nonzero(scored.Y) / len(scored.Y)) for scored in sets), "guessing")
    _finish(axes, "Precision-recall curve", "recall", "precision", loc="lower left")


def _draw_calibration(axes: Axes, sets: Sequence[ScoredSet]) -> None:
    """Draw the share of label 1 against the probability, with 95 % intervals, and beside each other where they meet."""
    axes.plot([0, 1], [0, 1], label="as predicted", **BASELINE)
    for scored, marker, shift in zip(sets, "os", (-0.004, 0.004), strict=False):
        bins = calibrate(scored.Y, scored.A)
        x, shares = np.array([one.probability + shift for one in bins]), np.array([one.share for one in bins])
        reach = [shares - [one.low for one in bins], [one.high for one in bins] - shares]
        style = scored.style | {"marker": marker, "markersize": 5, "capsize": 2, "elinewidth": 1}
        axes.errorbar(x, shares, reach, label=f"{scored.name}, 95 % intervals", **style)
    _finish(axes, "Calibration", "mean probability of label 1, in steps of 0.1", "share of label 1", loc="upper left")


def _draw_accuracy(axes: Axes, sets: Sequence[ScoredSet], threshold: float) -> None:
    """Draw the accuracy at every threshold, the baselines, and the accuracies with 95 % intervals at the chosen one."""
    thresholds = np.arange(201) / 200
    for scored, marker in zip(sets, "os", strict=False):
        accuracy, low, high = scored.interval(threshold)
        label = f"{scored.name}: {percent_interval(accuracy, low, high)}"
        axes.plot(thresholds, accuracy_by_threshold(scored.Y, scored.A, thresholds), label=label, **scored.style)
        point: dict[str, Any] = {"marker": marker, "capsize": 4, "color": scored.style["color"]}
        axes.errorbar([threshold], [accuracy], [[accuracy - low], [high - accuracy]], **point)
    baselines = ((scored.name, baseline_accuracy(scored.Y)) for scored in sets)
    _draw_levels(axes, baselines, "baseline (one class for all)")
    axes.axvline(threshold, color=BLACK, linewidth=0.8, zorder=0)
    title = f"Accuracy against threshold, 95 % intervals at {threshold:g}"
    _finish(axes, title, "threshold", "accuracy", loc="lower center")


def _draw_levels(axes: Axes, levels: Iterable[tuple[str, float]], meaning: str) -> None:
    """Draw a horizontal line for each set, or a single one if they are equal."""
    by_level: dict[float, list[str]] = {}
    for name, level in levels:
        by_level.setdefault(level, []).append(name)
    for level, names in by_level.items():
        which = f" {names[0]}" if len(by_level) > 1 else ""
        colour = TEST["color"] if names == ["test"] else BASELINE["color"]
        axes.axhline(level, label=f"{meaning}{which}: {100 * level:.1f} %", **(BASELINE | {"color": colour}))


def _draw_confusion(axes: Axes, scored: ScoredSet, names: Sequence[str], threshold: float) -> None:
    """Draw the counts of true and predicted classes; the colour is the share of the row."""
    confusion = count_confusion(scored.Y, scored.A > threshold)
    counts = np.array(
        [
            [confusion.true_positives, confusion.false_negatives],
            [confusion.false_positives, confusion.true_negatives],
        ]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.ndindex(2, 2):
        text = f"{counts[row, column]:,}\n{100 * shares[row, column]:.1f} %"
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, color=colour, ha="center", va="center", size=14)
    labels = [names[1], names[0]]
    axes.set_xticks([0, 1], labels, parse_math=False)
    axes.set_yticks([0, 1], labels, parse_math=False, rotation=90, va="center")
    title = f"{scored.title}: accuracy {percent_interval(*scored.interval(threshold))}"
    axes.set(title=title, xlabel="predicted class", ylabel="true class")


def _draw_histogram(axes: Axes, scored: ScoredSet, names: Sequence[str], threshold: float) -> None:
    """Draw how many pictures of each class have which probability: one class filled, the other one hatched."""
    places = np.minimum((scored.A * _BINS).astype(np.int64), _BINS - 1)
    edges = np.arange(_BINS + 1) / _BINS
    styles: tuple[dict[str, Any], ...] = (
        {"facecolor": SKY_BLUE, "edgecolor": SKY_BLUE, "fill": True},
        {"facecolor": "none", "edgecolor": ORANGE, "fill": True, "hatch": "///", "linewidth": 1.5},
    )
    for label, style in enumerate(styles):
        counts = np.bincount(places[scored.Y == label], minlength=_BINS)
        axes.stairs(counts, edges, label=f"true: {names[label]}", **style)
    axes.axvline(threshold, color=BLACK, linewidth=0.8)
    axes.set(xlim=(0, 1), xticks=_TICKS, ylim=(0, None))
    axes.set(title=f"{scored.title}: {len(scored.Y):,} pictures, threshold {threshold:g}", ylabel="pictures")
    axes.set_xlabel(f"P({names[1]})", parse_math=False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    for text in axes.legend(loc="upper center", framealpha=1).get_texts():
        text.set_parse_math(False)


def _finish(axes: Axes, title: str, xlabel: str, ylabel: str, *, loc: str) -> None:
    """Set texts, limits and ticks of axes from 0 to 1, and add the legend."""
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
    axes.set(xticks=_TICKS, yticks=_TICKS)
    axes.grid(alpha=0.3)
    axes.legend(loc=loc, fontsize=9, framealpha=1)  # type: ignore[call-overload]


def _thin(values: NDArray[Any]) -> NDArray[Any]:
    """Return at most _MOST_POINTS values, evenly spread, both ends included."""
    if len(values) <= _MOST_POINTS:
        return values
    return values[np.arange(_MOST_POINTS) * (len(values) - 1) // (_MOST_POINTS - 1)]
