"""The frame of every plot: an empty figure in the default style, saved as a PNG file with the same bytes every time."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from one_neuron.system.files import atomic_write

_DPI = 100


@contextmanager
def drawing_to(path: Path, width: float, height: float) -> Iterator[Figure]:
    """Yield an empty figure, and save it as a PNG file when the block succeeds, whole or not at all.

    The user's own matplotlib settings, the time and the version do not enter the file: the same result gives the same
    bytes. `width` and `height` are in inches of 100 pixels.
    """
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        # A name may use a script that matplotlib's own font lacks; its characters are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})


def printable(text: str) -> str:
    """Return text that can be drawn: bytes that are not UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
