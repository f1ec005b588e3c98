"""The plot of cost and accuracy: all lines are drawn, and the legend has the last numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from one_neuron.plots import curves
from one_neuron.training_curves import TrainingCurve


def draw(monkeypatch: pytest.MonkeyPatch, costs: list[tuple[int, float]], **changes: Any) -> Figure:
    """Return the figure that is drawn."""
    figure = Figure()

    @contextmanager
    def drawing_to(_path: Path, _width: float, _height: float) -> Iterator[Figure]:
        yield figure

    monkeypatch.setattr(curves, "drawing_to", drawing_to)
    train = TrainingCurve([0.7, 0.4, 0.25], [0.5, 0.8, 0.935], np.zeros(1))
    test = TrainingCurve([0.7, 0.5, 0.75], [0.4, 0.8, 0.79], np.zeros(1))
    values = {"iterations": [0, 10, 40], "train": train, "test": test, "baseline": 0.66, "learning_rate": 0.005}
    curves.plot_curves(Path("unused.png"), costs, **{**values, **changes})
    return figure


def test_all_lines_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All recorded training costs; the rest at the snapshots; the baseline across the accuracies."""
    figure = draw(monkeypatch, [(0, 0.7), (5, 0.6), (10, 0.4), (40, 0.25)])
    drawn = [[np.asarray(line.get_xydata()).tolist() for line in axes.get_lines()] for axes in figure.axes]
    assert drawn == [
        [[[0, 0.7], [5, 0.6], [10, 0.4], [40, 0.25]], [[0, 0.7], [10, 0.5], [40, 0.75]]],
        [[[0, 0.5], [10, 0.8], [40, 0.935]], [[0, 0.4], [10, 0.8], [40, 0.79]], [[0, 0.66], [1, 0.66]]],
    ]
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]  # type: ignore[union-attr]
    assert legends == [
        ["training set: 0.2500 at the end", "test set, for information: 0.7500"],
        [
            "training set: 93.5 % at the end",
            "test set, for information: 79.0 %",
            "always the more frequent class of the test set: 66.0 %",
        ],
    ]
    assert "learning_rate = 0.005" in figure.axes[0].get_title()


def test_sets_differ_in_more_than_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kind of line and marker as well; a line through thousands of records has no markers."""
    figure = draw(monkeypatch, [(i, 1 / (i + 1)) for i in range(51)])
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len({line.get_linestyle() for line in lines}) == len(lines)
    assert figure.axes[0].get_lines()[0].get_marker() == ""
    assert draw(monkeypatch, [(0, 0.7), (40, 0.25)]).axes[0].get_lines()[0].get_marker() == "o"
