"""The plot of w as a picture."""

from pathlib import Path

import numpy as np

from one_neuron.plots.drawing import drawing_to, printable
from one_neuron.storage.model import Model

_LONGEST_CLASS = 24  # characters of a class name that fit over a picture
_PLACES = ((0.0, 0.04, 0.46, 0.86), (0.46, 0.04, 0.46, 0.86), (0.925, 0.12, 0.012, 0.7))  # left, bottom, width, height


def plot_weights(path: Path, model: Model) -> None:
    """Draw w as a picture.

    The left side shows the weights as colours around grey: a channel is bright where its weight speaks for label 1. The
    right side shows the sum of the weights over the three channels.
    """
    weights = model.parameters.w.reshape(model.preprocessing.num_px, model.preprocessing.num_px, -1)
    with drawing_to(path, 10.6, 5.0) as figure:
        colours, total, bar = (figure.add_axes(place) for place in _PLACES)
        largest = float(np.abs(weights).max()) or 1.0
        colours.imshow(np.rint(127.5 + 127.5 * weights / largest).astype(np.uint8))
        colours.set_title("w as colours around grey: bright speaks for the class")
        summed = weights[..., 0] + weights[..., 1] + weights[..., 2]
        limit = float(np.abs(summed).max()) or 1.0
        shown = total.imshow(summed, cmap="RdBu_r", vmin=-limit, vmax=limit)
        name = printable(model.classes[1], _LONGEST_CLASS)
        total.set_title(f"sum over the channels: red speaks for '{name}', blue against", parse_math=False)
        figure.colorbar(shown, cax=bar)
        for axes in (colours, total):
            axes.set_axis_off()
