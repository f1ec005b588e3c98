"""The plot of cost and accuracy against the iterations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from one_neuron.plots.drawing import BASELINE, TEST, TRAIN, drawing_to
from one_neuron.training_curves import TrainingCurve

_PLACES = (0.06, 0.13, 0.42, 0.76), (0.56, 0.13, 0.42, 0.76)  # left, bottom, width, height
_TRAIN: dict[str, Any] = {**TRAIN, "marker": "o", "markersize": 3}
_TEST: dict[str, Any] = {**TEST, "marker": "s", "markersize": 3}
_MARKED = 50  # records; the markers of more would hide the line


def plot_curves(
    path: Path,
    costs: Sequence[tuple[int, float]],
    iterations: Sequence[int],
    train: TrainingCurve,
    test: TrainingCurve,
    *,
    baseline: float,
    learning_rate: float,
) -> None:
    """Plot the cost and the accuracy against the iterations, on the training and the test set.

    Parameters
    ----------
    costs : sequence of (int, float)
        Pairs of an iteration and the cost on the training set after that many updates.
    iterations : sequence of int
        The number of updates at each point of `train` and `test`.
    baseline : float
        The accuracy on the test set of always predicting its most frequent label, in [0.5, 1].
    """
    with drawing_to(path, 10.8, 4.2) as figure:
        cost, accuracy = (figure.add_axes(place) for place in _PLACES)
        recorded, values = zip(*costs, strict=True)
        train_style = _TRAIN if len(costs) <= _MARKED else {**_TRAIN, "marker": ""}
        cost.plot(recorded, values, **train_style, label=f"training set: {values[-1]:.4f} at the end")
        cost.plot(iterations, test.costs, **_TEST, label=f"test set, for information: {test.costs[-1]:.4f}")
        cost.set(title=f"Cross-entropy cost, learning_rate = {learning_rate:g}", ylabel="cost")
        cost.set_ylim(0, 1.2 * max(*values, *test.costs) or 1.0)  # the legend is above all lines
        last = 100 * train.accuracies[-1], 100 * test.accuracies[-1]
        accuracy.plot(iterations, train.accuracies, **_TRAIN, label=f"training set: {last[0]:.1f} % at the end")
        accuracy.plot(iterations, test.accuracies, **_TEST, label=f"test set, for information: {last[1]:.1f} %")
        label = f"always the more frequent class of the test set: {100 * baseline:.1f} %"
        accuracy.axhline(baseline, **BASELINE, label=label)
        accuracy.set(title="Accuracy", ylabel="accuracy")
        lowest = min(baseline, *train.accuracies, *test.accuracies)
        accuracy.set_ylim(lowest - 0.4 * (1.02 - lowest), 1.02)  # the legend is below all lines
        for axes in (cost, accuracy):
            axes.set_xlabel("iteration")
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.grid(alpha=0.3)
            axes.legend(fontsize=9, loc="upper right" if axes is cost else "lower right")
