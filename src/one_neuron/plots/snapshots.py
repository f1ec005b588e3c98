"""Pictures of w at several moments of the training, all with the same scale."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from one_neuron.neuron import Parameters
from one_neuron.plots.drawing import DPI, drawing_to, printable
from one_neuron.storage.model import Model
from one_neuron.system.files import atomic_write

PICTURES = 8  # evenly spaced among the snapshots
_SIDE = 256  # pixels; smaller pictures are enlarged by a whole factor
_STRIP_SIDE, _GAP, _TITLE, _CAPTION = 128, 8, 36, 22  # pixels


def draw_snapshots(folder: Path, strip: Path, snapshots: Mapping[int, Parameters], model: Model) -> None:
    """Draw w as colours around grey, as `plot_weights` does, at up to PICTURES of the snapshots.

    Black and white stand for the largest absolute weight of all of them, so the pictures show how w grows.

    Parameters
    ----------
    folder : Path
        For each picture, receives a file NNNNNN.png named after the iteration; other PNG files in it are deleted.
    strip : Path
        Receives all pictures beside each other.
    snapshots : mapping of int to Parameters
        The snapshots of the training that gave `model`.
    """
    iterations = list(snapshots)
    chosen = sorted({iterations[i * (len(iterations) - 1) // (PICTURES - 1)] for i in range(PICTURES)})
    num_px = model.preprocessing.num_px
    weights = np.array([snapshots[iteration].w for iteration in chosen]).reshape(-1, num_px, num_px, 3)
    largest = float(np.abs(weights).max()) or 1.0
    pictures = np.rint(127.5 + 127.5 * (weights / largest)).astype(np.uint8)
    paths = [folder / f"{iteration:06}.png" for iteration in chosen]
    for path in set(folder.glob("*.png")) - set(paths):
        path.unlink()  # of a training with other iterations
    for path, picture in zip(paths, pictures, strict=True):
        with atomic_write(path) as temporary:
            Image.fromarray(_enlarge(picture, -(-_SIDE // num_px))).save(temporary)
    name = printable(model.classes[1], 60)
    title = f"w while training, on one scale: a channel is bright where its weight speaks for '{name}'"
    _draw_strip(strip, chosen, pictures, title)


def _draw_strip(path: Path, iterations: list[int], pictures: NDArray[np.uint8], title: str) -> None:
    """Draw the pictures beside each other, each above its iteration."""
    step = -(-pictures.shape[1] // _STRIP_SIDE)
    shown = [_enlarge(picture[::step, ::step], _STRIP_SIDE // len(picture[::step])) for picture in pictures]
    side = len(shown[0])
    width, height = PICTURES * (_STRIP_SIDE + _GAP) + _GAP, _TITLE + side + _CAPTION
    sheet = np.full((height, width, 3), 255, np.uint8)
    with drawing_to(path, width / DPI, height / DPI) as figure:
        figure.text(_GAP / width, 1 - _TITLE / 2 / height, title, va="center", parse_math=False)
        for column, (iteration, picture) in enumerate(zip(iterations, shown, strict=True)):
            left = _GAP + column * (_STRIP_SIDE + _GAP)
            sheet[_TITLE : _TITLE + side, left : left + side] = picture
            caption = f"iteration {iteration:,}"
            figure.text((left + side / 2) / width, _CAPTION / 2 / height, caption, ha="center", va="center", size=9)
        figure.figimage(sheet, zorder=-1)


def _enlarge(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return a picture with `factor` pixels a side in place of each one."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
