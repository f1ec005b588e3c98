"""The frame of every plot: an empty figure in the default style, saved as a PNG file with the same bytes every time."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from one_neuron.errors import one_line
from one_neuron.system.files import atomic_write

DPI = 100
# Colours that people with any kind of colour vision tell apart: Okabe and Ito (2008), Color Universal Design.
BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
# The kind of line of each set, in every plot; it differs without colours as well.
TRAIN: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
VALIDATION: dict[str, Any] = {"color": GREEN, "linestyle": "-."}
TEST: dict[str, Any] = {"color": VERMILION, "linestyle": "--"}
BASELINE: dict[str, Any] = {"color": "0.35", "linestyle": ":", "linewidth": 1.5}


@contextmanager
def drawing_to(path: Path, width: float, height: float, *, layout: str | None = None) -> Iterator[Figure]:
    """Yield an empty figure, and save it as a PNG file when the block succeeds, whole or not at all.

    The user's own matplotlib settings, the time and the version do not enter the file: the same result gives the same
    bytes. `width` and `height` are in inches of 100 pixels. With `layout="constrained"` Matplotlib places the axes so
    that no texts overlap, which takes longer than drawing them.
    """
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        # A name may use a script that matplotlib's own font lacks; its characters are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)  # type: ignore[arg-type]
        canvas = FigureCanvasAgg(figure)
        yield figure
        with atomic_write(path) as temporary:
            # Figure.savefig would draw everything twice.
            canvas.print_png(str(temporary), metadata={"Software": None})  # type: ignore[no-untyped-call]


def printable(text: str, most: int = 1000) -> str:
    """Return a name as one line of at most `most` characters that can be drawn; bytes outside UTF-8 are escaped."""
    line = one_line(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    return line if len(line) <= most else f"{line[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def percent_interval(accuracy: float, low: float, high: float) -> str:
    """Return an accuracy with its interval for a title or a legend: "79.0 % (72.8 to 84.1 %)"."""
    return f"{100 * accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
