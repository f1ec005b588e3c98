"""The plot of w as a picture."""

from pathlib import Path

import numpy as np

from one_neuron.neuron import Parameters
from one_neuron.plots.weights import plot_weights
from tests.unit.plots.files import MakeModel, pixels


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
