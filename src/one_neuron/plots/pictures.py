"""Plots that show pictures: mean and examples of each class, the first of the training set, the worst mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.plots.drawing import DPI, drawing_to, printable
from one_neuron.storage.pixel_file import row_blocks
from one_neuron.storage.prepared_set import PreparedSet

Pixels = NDArray[np.uint8]

_EXAMPLES_IN_A_ROW = 8
_LONGEST_CLASS = 60  # characters of a class name that fit over a row of pictures
_LONGEST_LINE = 21  # characters that fit below a picture
_SIDE, _GAP = 128, 12  # pixels of the plot
_TITLE, _LINE = 36, 14  # the heights of a title and of a line of text, in pixels
_TITLE_SIZE, _SIZE = 12, 8  # of the letters, in points


@dataclass(frozen=True)
class _Row:
    """Pictures beside each other, below a title, with a caption of at most `lines` lines below each."""

    pictures: Sequence[Pixels]
    captions: Sequence[str]
    title: str = ""
    lines: int = 0

    @property
    def height(self) -> int:
        """The height of the row, in pixels."""
        return _TITLE * bool(self.title) + _SIDE + self.lines * _LINE + _GAP


def plot_examples(path: Path, prepared: PreparedSet, A: NDArray[np.float64], *, threshold: float) -> None:
    """Draw the first pictures of each class with what is true and what is predicted.

    Parameters
    ----------
    A : ndarray of shape (m,), float64
        The probabilities of label 1.
    threshold : float
        A probability above it means label 1.
    """
    chosen = np.concatenate([np.flatnonzero(label == prepared.Y)[:_EXAMPLES_IN_A_ROW] for label in (1, 0)])
    title = f"The first training pictures of each class, {_size(prepared)} as the neuron sees them"
    _plot_predictions(path, prepared, A, chosen, threshold=threshold, title=title)


def plot_mistakes(
    path: Path, prepared: PreparedSet, A: NDArray[np.float64], mistakes: NDArray[np.int64], *, threshold: float
) -> None:
    """Draw the worst mistakes with what is true and what is predicted.

    Parameters
    ----------
    A : ndarray of shape (m,), float64
        The probabilities of label 1.
    mistakes : ndarray of shape (k,), int64
        The indices of the pictures to show, the worst first; may be empty.
    threshold : float
        A probability above it means label 1.
    """
    title = "The most confident mistakes on the test set" if len(mistakes) else "No mistakes on the test set"
    _plot_predictions(path, prepared, A, mistakes, threshold=threshold, title=title)


def plot_classes(path: Path, train: PreparedSet, test: PreparedSet) -> None:
    """Draw a row for each class: the mean of its training pictures, and some examples.

    The examples are evenly spaced over the class, in the order of the training set. The pixels are read once, in blocks
    that fit into memory. Of the test set, only the labels are used.
    """
    means, drawn = _mean_pictures(train), []
    for label in (1, 0):
        rows = np.flatnonzero(train.Y == label)
        count = min(_EXAMPLES_IN_A_ROW, len(rows))
        chosen = rows[np.arange(count) * len(rows) // max(count, 1)]
        shown = [means[label], *train.X[chosen]] if count else []
        name = printable(train.classes[label], _LONGEST_CLASS)
        counts = f"{len(rows):,} in the training set, {np.count_nonzero(test.Y == label):,} in the test set"
        captions = ["mean", *[""] * count] if count else []
        drawn.append(_Row(_as_pictures(shown, train), captions, title=f"{name}: {counts}", lines=1))
    _draw(path, drawn, columns=1 + _EXAMPLES_IN_A_ROW)


def _plot_predictions(
    path: Path,
    prepared: PreparedSet,
    A: NDArray[np.float64],
    chosen: NDArray[np.int64],
    *,
    threshold: float,
    title: str,
) -> None:
    """Draw the chosen pictures in rows, each with its name, its class, the predicted class and the probability."""
    classes = prepared.classes
    positive = printable(classes[1], _LONGEST_LINE - len("P() = 0.000"))
    captions = []
    for i in chosen.tolist():
        true, predicted = classes[prepared.Y[i]], classes[int(A[i] > threshold)]
        lines = [
            prepared.names[i].split("/")[-1],
            f"true: {true}",
            f"predicted: {predicted}",
            f"P({positive}) = {A[i]:.3f}",
        ]
        captions.append("\n".join(printable(line, _LONGEST_LINE) for line in lines))
    rows = []
    for start in range(0, max(len(chosen), 1), _EXAMPLES_IN_A_ROW):
        part = slice(start, start + _EXAMPLES_IN_A_ROW)
        pictures = _as_pictures([prepared.X[i] for i in chosen[part].tolist()], prepared)
        rows.append(_Row(pictures, captions[part], title=title if start == 0 else "", lines=4))
    _draw(path, rows, columns=_EXAMPLES_IN_A_ROW)


def _draw(path: Path, rows: Sequence[_Row], *, columns: int) -> None:
    """Draw rows of pictures. All pictures are one image and only texts are added: axes for each would take seconds."""
    width, height = columns * (_SIDE + _GAP) + _GAP, sum(row.height for row in rows) + _GAP
    sheet = np.full((height, width, 3), 255, np.uint8)
    with drawing_to(path, width / DPI, height / DPI) as figure:
        top = 0

        def write(x: float, y: float, text: str, **style: object) -> None:
            # parse_math: a dollar sign in a name does not begin a formula.
            figure.text(x / width, 1 - y / height, text, va="top", parse_math=False, **style)  # type: ignore[arg-type]

        for row in rows:
            if row.title:
                write(_GAP, top + _GAP, row.title, size=_TITLE_SIZE)
            start = top + _TITLE * bool(row.title)
            for column, (picture, caption) in enumerate(zip(row.pictures, row.captions, strict=True)):
                side, left = len(picture), _GAP + column * (_SIDE + _GAP)
                x, y = left + (_SIDE - side) // 2, start + (_SIDE - side) // 2
                sheet[y : y + side, x : x + side] = picture
                if caption:
                    write(left + _SIDE / 2, start + _SIDE + 4, caption, ha="center", size=_SIZE, linespacing=1.2)
            top += row.height
        figure.figimage(sheet, zorder=-1)


def _as_pictures(rows: Sequence[Pixels], prepared: PreparedSet) -> list[Pixels]:
    """Return rows of pixels as pictures with about _SIDE pixels a side.

    Small pictures are enlarged by a whole factor, with sharp pixels. In large ones, squares of pixels become their
    means.
    """
    num_px = prepared.preprocessing.num_px
    pictures = [row.reshape(num_px, num_px, -1) for row in rows]
    if num_px <= _SIDE:
        factor = _SIDE // num_px
        return [picture.repeat(factor, axis=0).repeat(factor, axis=1) for picture in pictures]
    step = -(-num_px // _SIDE)
    side = num_px // step
    squares = [picture[: side * step, : side * step].reshape(side, step, side, step, -1) for picture in pictures]
    return [(square.sum(axis=(1, 3), dtype=np.int64) // (step * step)).astype(np.uint8) for square in squares]


def _size(prepared: PreparedSet) -> str:
    """Return the size of the pictures in words."""
    return f"{prepared.preprocessing.num_px} x {prepared.preprocessing.num_px} pixels"


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
