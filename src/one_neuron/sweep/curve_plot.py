"""The plot of the cost curves of a sweep, on the training set and on the held-out pictures."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from one_neuron.plots.drawing import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION
from one_neuron.sweep.axis_labels import short_labels, spread_rates
from one_neuron.sweep.ranking import DIVERGED, Curves, Entry, Points, find_best
from one_neuron.sweep.summary import list_parameters, short_value

_NAMED = list(zip((BLUE, ORANGE, GREEN, VERMILION, SKY_BLUE, PURPLE), "os^vDP", strict=True))
_MOST_MARKS = 8  # on a curve


def draw_curves(figure: Figure, curves: Sequence[Curves]) -> None:
    """Draw the costs of many trainings in an empty figure, the best in black, diverged ones dotted.

    The left side shows the costs on the training set, the right side those on the held-out pictures, if there are any;
    both have the same axes. Up to six curves are named in a legend; more are coloured by the logarithm of their
    learning rate. The y axis ends at twice the first cost at most, and the titles count the curves that leave the plot.
    Without curves, if all configurations failed, the plot is empty.
    """
    sides = {"Training cost": [each.train for each in curves]}
    if any(each.validation for each in curves):
        sides["Validation cost"] = [each.validation for each in curves]
    grid = figure.subplots(1, len(sides), sharey=True, squeeze=False)[0]
    entries = [each.entry for each in curves]
    top = _find_top([points for shown in sides.values() for points in shown if points])
    colours = _colour_curves(grid, entries)
    for axes, (title, shown) in zip(grid, sides.items(), strict=True):
        leaving = _draw_side(axes, entries, shown, colours, top)
        number = sum(map(bool, shown))
        words = f"{title}, {number} curve{'s' * (number != 1)}"
        if leaving:
            words += f"\n{leaving} out of the picture at the top"
        axes.set(xlabel="iteration", title=words, ylim=(0, top))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    grid[0].set_ylabel("cost")
    _explain_curves(figure, grid[0].get_lines(), named=len(curves) <= len(_NAMED))


def _draw_side(
    axes: Axes, entries: Sequence[Entry], shown: Sequence[Points], colours: Sequence[Any], top: float
) -> int:
    """Draw the costs of each entry that has some; return how many lines leave the plot at the top."""
    best, names, leaving = find_best(entries), _name_curves(entries), 0
    markers = [marker for _, marker in _NAMED] if len(entries) <= len(_NAMED) else [""] * len(entries)
    for entry, points, colour, name, marker in zip(entries, shown, colours, names, markers, strict=False):
        if not points:
            continue
        iterations, values = np.array(points, dtype=float).T
        # Neither nan nor 1e300 can be drawn; a line far above the plot looks the same.
        values = np.minimum(np.nan_to_num(values, nan=np.inf), 100 * top)
        leaving += bool((values > top).any())
        (line,) = axes.plot(iterations, values, color=colour, linewidth=1.2, label=name)
        line.set(linestyle=":" if entry.status == DIVERGED else "-", markersize=4)
        line.set(marker=marker or ("o" if len(values) == 1 else ""), markevery=max(1, len(values) // _MOST_MARKS))
        if entry is best:
            line.set(color=BLACK, linewidth=2.5, zorder=3, label=f"best: {name}")
    return leaving


def _find_top(curves: Sequence[Sequence[tuple[int, float]]]) -> float:
    """Return where the y axis of costs ends: above all costs, unless a diverged one would flatten the other curves."""
    firsts = [costs[0][1] for costs in curves if math.isfinite(costs[0][1])]
    highest = max((cost for costs in curves for _, cost in costs if math.isfinite(cost)), default=1.0)
    return 1.05 * (min(highest, 2 * max(firsts, default=1.0)) or 1.0)


def _colour_curves(grid: Sequence[Axes], entries: Sequence[Entry]) -> list[Any]:
    """Return a colour for each curve; many are coloured by the logarithm of their learning rate, with a colour bar."""
    if len(entries) <= len(_NAMED):
        return [colour for colour, _ in _NAMED[: len(entries)]]
    rates = [entry.settings.train.learning_rate for entry in entries]
    # The bright end of the scale is invisible on white.
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.88, 256)))
    scale = ScalarMappable(Normalize(math.log10(min(rates)), math.log10(max(rates))), colours)
    bar = grid[0].figure.colorbar(scale, ax=list(grid), label="learning_rate")
    shown = spread_rates(rates)
    bar.set_ticks([math.log10(rate) for rate in shown], labels=short_labels(shown))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return list(scale.to_rgba(np.log10(rates)))


def _name_curves(entries: Sequence[Entry]) -> list[str]:
    """Return a name for each entry: the parameters in which they differ."""
    parameters = [list_parameters(entry.settings) for entry in entries]
    known = dict.fromkeys(name for values in parameters for name in values)
    names = [name for name in known if len({values.get(name) for values in parameters}) > 1]
    return [
        ", ".join(f"{name.split('.')[1]} {short_value(values.get(name))}" for name in names or ["train.learning_rate"])
        + (f" ({DIVERGED})" if entry.status == DIVERGED else "")
        for entry, values in zip(entries, parameters, strict=True)
    ]


def _explain_curves(figure: Figure, lines: Sequence[Line2D], *, named: bool) -> None:
    """Add the legend: all lines, or the best one and the meaning of a dotted line."""
    handles: list[Artist] = list(lines)
    if not named:
        handles = [line for line in lines if str(line.get_label()).startswith("best")]
        if any(line.get_linestyle() == ":" for line in lines):
            handles.append(Line2D([], [], color="0.3", linestyle=":", label=DIVERGED))
    columns = 2 if max((len(str(handle.get_label())) for handle in handles), default=0) < 48 else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
