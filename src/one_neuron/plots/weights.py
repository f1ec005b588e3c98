"""The plot of w as a picture."""

from pathlib import Path

import numpy as np

from one_neuron.plots.drawing import drawing_to, printable
from one_neuron.storage.model import Model


def plot_weights(path: Path, model: Model) -> None:
    """Draw w as a picture.

    The left side shows the weights as colours around grey: a channel is bright where its weight speaks for label 1. The
    right side shows the sum of the weights over the three channels.
    """
    weights = model.parameters.w.reshape(model.preprocessing.num_px, model.preprocessing.num_px, -1)
    with drawing_to(path, 7.6, 3.6) as figure:
        colours, total = figure.subplots(1, 2)
        largest = float(np.abs(weights).max()) or 1.0
        colours.imshow(np.rint(127.5 + 127.5 * weights / largest).astype(np.uint8))
        colours.set_title("w as colours around grey")
        summed = weights[..., 0] + weights[..., 1] + weights[..., 2]
        limit = float(np.abs(summed).max()) or 1.0
        shown = total.imshow(summed, cmap="RdBu_r", vmin=-limit, vmax=limit)
        total.set_title(printable(f"red speaks for '{model.classes[1]}', blue against"), parse_math=False)
        figure.colorbar(shown, ax=total)
        for axes in (colours, total):
            axes.set_axis_off()
