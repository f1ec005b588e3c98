"""Plots that show pictures: mean and examples of each class, the first of the training set, the worst mistakes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import one_line
from one_neuron.plots.drawing import drawing_to, printable
from one_neuron.storage.pixel_file import row_blocks
from one_neuron.storage.prepared_set import PreparedSet

_EXAMPLES_IN_A_ROW = 8
_LONGEST_CLASS = 60  # characters of a class name that fit over a row of pictures


def plot_examples(path: Path, prepared: PreparedSet) -> None:
    """Draw the first pictures of each class, as the neuron sees them."""
    chosen = np.concatenate([np.flatnonzero(label == prepared.Y)[: 2 * _EXAMPLES_IN_A_ROW] for label in (1, 0)])
    title = f"{prepared.preprocessing.num_px} px training pictures"
    _plot_pictures(path, prepared, chosen, lambda i: prepared.classes[prepared.Y[i]], title)


def plot_classes(path: Path, train: PreparedSet, test: PreparedSet) -> None:
    """Draw a row for each class: the mean of its training pictures, and some examples.

    The examples are evenly spaced over the class, in the order of the training set. The pixels are read once, in blocks
    that fit into memory. Of the test set, only the labels are used.
    """
    means = _mean_pictures(train)
    with drawing_to(path, 1.3 * _EXAMPLES_IN_A_ROW, 3.4) as figure:
        for part, label in zip(figure.subfigures(2, 1, squeeze=False).flat, (1, 0), strict=True):
            rows = np.flatnonzero(train.Y == label)
            name = one_line(printable(train.classes[label]))
            name = name if len(name) <= _LONGEST_CLASS else f"{name[: _LONGEST_CLASS - 1]}\N{HORIZONTAL ELLIPSIS}"
            counts = f"{len(rows):,} in the training set, {np.count_nonzero(test.Y == label):,} in the test set"
            part.suptitle(f"{name}: {counts}", fontsize=10, parse_math=False)
            grid = part.subplots(1, _EXAMPLES_IN_A_ROW + 1)
            for axes in grid:
                axes.set_axis_off()
            count = min(_EXAMPLES_IN_A_ROW, len(rows))
            if count:
                grid[0].imshow(_as_picture(means[label], train.preprocessing.num_px))
                grid[0].set_title("mean", fontsize=8)
            chosen = rows[np.arange(count) * len(rows) // max(count, 1)]
            for axes, pixels in zip(grid[1:], train.X[chosen], strict=False):
                axes.imshow(_as_picture(pixels, train.preprocessing.num_px))


def plot_mistakes(path: Path, prepared: PreparedSet, A: NDArray[np.float64], mistakes: NDArray[np.int64]) -> None:
    """Draw the worst mistakes, with their names and their probability of label 1.

    Parameters
    ----------
    A : ndarray of shape (m,), float64
        The probabilities of label 1.
    mistakes : ndarray of shape (k,), int64
        The indices of the pictures to show, the worst first; may be empty.
    """
    positive = prepared.classes[1]

    def caption(i: int) -> str:
        name = prepared.names[i].split("/")[-1]
        return f"{name}\n{prepared.classes[prepared.Y[i]]}\nP({positive}) = {A[i]:.3f}"

    title = "The worst misses on the test set" if len(mistakes) else "No misses on the test set"
    _plot_pictures(path, prepared, mistakes, caption, title)


def _plot_pictures(
    path: Path, prepared: PreparedSet, chosen: NDArray[np.int64], caption: Callable[[int], str], title: str
) -> None:
    """Draw the chosen pictures in rows, each with its caption."""
    rows = max(1, -(-len(chosen) // _EXAMPLES_IN_A_ROW))
    with drawing_to(path, 1.3 * _EXAMPLES_IN_A_ROW, 1.75 * rows + 0.4) as figure:
        figure.suptitle(title)
        grid = figure.subplots(rows, _EXAMPLES_IN_A_ROW, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, i in zip(grid.flat, chosen.tolist(), strict=False):
            axes.imshow(_as_picture(prepared.X[i], prepared.preprocessing.num_px))
            # parse_math: a dollar sign in a name does not begin a formula.
            axes.set_title(printable(caption(i)), fontsize=7, parse_math=False)


def _mean_pictures(prepared: PreparedSet) -> NDArray[np.uint8]:
    """Return the rounded mean pixels of each label, of shape (2, n_x); zeros for a label without pictures."""
    sums = np.zeros((2, prepared.X.shape[1]), np.int64)  # integers: the same sum in any order
    start = 0
    for block in row_blocks(prepared.X):
        labels = prepared.Y[start : start + len(block)]
        for label in (0, 1):
            sums[label] += block[labels == label].sum(axis=0, dtype=np.int64)
        start += len(block)
    counts = np.maximum(np.bincount(prepared.Y, minlength=2), 1)[:, np.newaxis]
    means: NDArray[np.uint8] = ((2 * sums + counts) // (2 * counts)).astype(np.uint8)
    return means


def _as_picture(pixels: NDArray[np.uint8], num_px: int) -> NDArray[np.uint8]:
    """Return one row of pixels as a picture of shape (num_px, num_px, 3)."""
    return pixels.reshape(num_px, num_px, -1)
