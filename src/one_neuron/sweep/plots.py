"""Pictures of a sweep: which configurations do well, how their costs fall, where training breaks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from one_neuron.plots import drawing_to
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, find_best, rank
from one_neuron.sweep.summary import is_held_out, list_parameters

Curve = tuple[Entry, Sequence[tuple[int, float]]]

_WIDTH = 7.6
_LABELS = 12  # as many fit beside each other when they are turned
_NAMED_CURVES = 6  # so many have a colour and a line of the legend each
_MARKED_POINTS = 40  # so many have a mark and an error bar each
_NOTHING_HELD_OUT = "nothing was held out"


@dataclass(frozen=True)
class _Grid:
    """The best entry for each pair of learning rate and number of iterations, by (row, column)."""

    learning_rates: list[float]
    num_iterations: list[int]
    cells: Mapping[tuple[int, int], Entry]

    def find(self, status: str) -> NDArray[np.bool_]:
        """Return which cells have the status, of shape (rows, columns)."""
        found = np.zeros((len(self.num_iterations), len(self.learning_rates)), dtype=bool)
        for cell, entry in self.cells.items():
            found[cell] = entry.status == status
        return found

    def metric_grid(self, name: str) -> NDArray[np.float64]:
        """Return a metric of the cells that finished, of shape (rows, columns), nan elsewhere."""
        values = np.full((len(self.num_iterations), len(self.learning_rates)), np.nan)
        for cell, entry in self.cells.items():
            if entry.status == FINISHED:
                values[cell] = entry.get_metric(name)
        return values


def plot_heat_map(path: Path, entries: Sequence[Entry]) -> None:
    """Draw a cell for each pair of learning rate (x) and number of iterations (y).

    The colour is the validation accuracy, without folds the training cost. Where several entries share a cell, the one
    that ranks best counts. What diverged is hatched; what failed or was not tried stays blank. A star marks the best.

    Parameters
    ----------
    path : Path
        The PNG file to make.
    entries : sequence of Entry
        At least one.
    """
    rows = len({entry.settings.train.num_iterations for entry in entries})
    with drawing_to(path, _WIDTH, 3.0 + 0.2 * min(rows, 15)) as figure:
        _draw_heat_map(figure, entries)


def _draw_heat_map(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw the heat map on an empty figure."""
    grid = _arrange(entries)
    held_out = is_held_out(entries)
    axes = figure.subplots()
    _colour_cells(axes, grid, held_out=held_out)
    legend = [
        *_hatch_cells(axes, grid.find(DIVERGED)),
        *_explain_blank(grid),
        *_mark_best(axes, grid, held_out=held_out),
    ]
    title = "Validation accuracy" if held_out else f"Training cost ({_NOTHING_HELD_OUT})"
    if len(grid.cells) < len(entries):
        title += "\neach cell shows the best of the configurations that share it"
    axes.set(title=title, xlabel="learning_rate", ylabel="num_iterations")
    axes.set(xlim=(-0.5, len(grid.learning_rates) - 0.5), ylim=(-0.5, len(grid.num_iterations) - 0.5))
    _label_cells(axes.xaxis, _readable(grid.learning_rates))
    _label_cells(axes.yaxis, [str(count) for count in grid.num_iterations])
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _arrange(entries: Sequence[Entry]) -> _Grid:
    """Put the entries into cells."""
    rates = sorted({entry.settings.train.learning_rate for entry in entries})
    counts = sorted({entry.settings.train.num_iterations for entry in entries})
    columns = {rate: i for i, rate in enumerate(rates)}
    rows = {count: i for i, count in enumerate(counts)}
    cells: dict[tuple[int, int], Entry] = {}
    for entry in rank(entries):
        train = entry.settings.train
        cells.setdefault((rows[train.num_iterations], columns[train.learning_rate]), entry)
    return _Grid(rates, counts, cells)


def _colour_cells(axes: Axes, grid: _Grid, *, held_out: bool) -> None:
    """Colour what finished, the better the brighter, with a colour bar beside it."""
    values = 100 * grid.metric_grid("validation_accuracy") if held_out else grid.metric_grid("final_cost")
    if not np.isfinite(values).any():
        return
    shown = axes.imshow(
        values,
        cmap="viridis" if held_out else "viridis_r",
        aspect="auto",
        origin="lower",
        interpolation="nearest",  # a cell has its own colour, not one mixed with its neighbours'
    )
    label = "validation accuracy in %" if held_out else "training cost"
    axes.figure.colorbar(shown, ax=axes, label=label)


def _hatch_cells(axes: Axes, diverged: NDArray[np.bool_]) -> list[Artist]:
    """Hatch the cells that diverged; return what the legend says of it."""
    style: dict[str, Any] = {"facecolor": "0.85", "edgecolor": "0.45", "hatch": "////", "linewidth": 0}
    for row, cells in enumerate(diverged):
        # One rectangle for all that touch: edges between hundreds of cells would hide the hatching.
        steps = np.diff(cells.astype(int), prepend=0, append=0)
        for first, after in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            axes.add_patch(Rectangle((first - 0.5, row - 0.5), float(after - first), 1, **style))
    return [Patch(label=DIVERGED, **style)] if diverged.any() else []


def _explain_blank(grid: _Grid) -> list[Artist]:
    """Return what the legend says of blank cells, if there are any."""
    failed = grid.find(FAILED)
    not_tried = ~(grid.find(FINISHED) | grid.find(DIVERGED) | failed)
    words = [word for word, cells in ((FAILED, failed), ("not tried", not_tried)) if cells.any()]
    return [Patch(facecolor="white", edgecolor="0.45", label=" or ".join(words))] if words else []


def _mark_best(axes: Axes, grid: _Grid, *, held_out: bool) -> list[Artist]:
    """Mark the best cell with a star; return what the legend says of it."""
    best = find_best(grid.cells.values())
    if best is None:
        return []
    row, column = next(cell for cell, entry in grid.cells.items() if entry is best)
    accuracy, cost, train = best.get_metric("validation_accuracy"), best.get_metric("final_cost"), best.settings.train
    value = f"{100 * accuracy:.1f} %" if held_out else f"cost {cost:.3g}"
    label = f"best: {value} (learning_rate {train.learning_rate:g}, num_iterations {train.num_iterations})"
    return list(axes.plot(column, row, "*", markersize=16, color="red", markeredgecolor="white", label=label))


def _label_cells(axis: Axis, labels: Sequence[str]) -> None:
    """Label the cells of an axis, or as many of them as fit."""
    shown = range(0, len(labels), math.ceil(len(labels) / _LABELS))
    _set_labels(axis, list(shown), [labels[i] for i in shown])


def _set_labels(axis: Axis, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Set the labels of an axis; turn those of an x axis where they would touch."""
    axis.set_ticks(positions, labels)
    axis.set_minor_locator(NullLocator())
    if isinstance(axis, XAxis) and len(labels) * (max(map(len, labels)) + 2) > 60:
        for label in axis.get_ticklabels():
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")


def _readable(values: Sequence[float]) -> list[str]:
    """Return numbers as labels: three digits, or more where three do not tell them apart."""
    short = [f"{value:.3g}" for value in values]
    return short if len(set(short)) == len(set(values)) else [f"{value:g}" for value in values]


def plot_curves(path: Path, curves: Sequence[Curve]) -> None:
    """Draw the costs of many trainings over each other, the best in black, those that diverged dotted.

    Up to six curves are named in a legend, more are coloured by the logarithm of their learning rate. The y axis ends
    at twice the first cost at most; the title counts what goes beyond.

    Parameters
    ----------
    path : Path
        The PNG file to make.
    curves : sequence of (Entry, sequence of (int, float))
        Pairs of an iteration and the training cost after that many updates, at least one each; costs may be infinite
        or nan. No curves at all, where all failed, are a picture, too.
    """
    with drawing_to(path, _WIDTH, 4.8) as figure:
        _draw_curves(figure, curves)


def _draw_curves(figure: Figure, curves: Sequence[Curve]) -> None:
    """Draw the curves on an empty figure."""
    axes = figure.subplots()
    entries = [entry for entry, _ in curves]
    best, top = find_best(entries), _find_top([costs for _, costs in curves])
    leaving = 0
    for (entry, costs), colour, name in zip(curves, _colour_curves(axes, entries), _name_curves(entries), strict=True):
        iterations, values = np.array(costs, dtype=float).T
        # Neither nan nor 1e300 can be drawn; a line that goes far up leaves the picture just as well.
        values = np.minimum(np.nan_to_num(values, nan=np.inf), 100 * top)
        leaving += bool((values > top).any())
        (line,) = axes.plot(iterations, values, color=colour, linewidth=1.2, label=name)
        line.set(linestyle=":" if entry.status == DIVERGED else "-", marker="o" if len(values) == 1 else "")
        if entry is best:
            line.set(color="black", linewidth=2.5, zorder=3, label=f"best: {name}")
    title = f"Training cost, {_count(len(curves), 'curve')}"
    if leaving:
        title += f"\n{leaving} out of the picture at the top"
    axes.set(xlabel="iteration", ylabel="cost", title=title, ylim=(0, top))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    _explain_curves(figure, axes.get_lines(), named=len(curves) <= _NAMED_CURVES)


def _find_top(curves: Sequence[Sequence[tuple[int, float]]]) -> float:
    """Return where the y axis of costs ends: above all of them, but not far above the first ones."""
    # All trainings start at ln 2; a cost far above that is on its way out, and would press the others flat.
    firsts = [costs[0][1] for costs in curves if math.isfinite(costs[0][1])]
    highest = max((cost for costs in curves for _, cost in costs if math.isfinite(cost)), default=1.0)
    return 1.05 * (min(highest, 2 * max(firsts, default=1.0)) or 1.0)


def _count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _colour_curves(axes: Axes, entries: Sequence[Entry]) -> list[Any]:
    """Return a colour for each curve; those of many follow the logarithm of the learning rate, with a colour bar."""
    if len(entries) <= _NAMED_CURVES:
        return [f"C{i}" for i in range(len(entries))]
    rates = [entry.settings.train.learning_rate for entry in entries]
    # The bright end of the scale cannot be seen on white.
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.88, 256)))
    scale = ScalarMappable(Normalize(math.log10(min(rates)), math.log10(max(rates))), colours)
    bar = axes.figure.colorbar(scale, ax=axes, label="learning_rate")
    shown = _spread(rates, most=8)
    bar.set_ticks([math.log10(rate) for rate in shown], labels=_readable(shown))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return list(scale.to_rgba(np.log10(rates)))


def _spread(rates: Sequence[float], *, most: int) -> list[float]:
    """Return some of the learning rates, as many as have room for a label each on a logarithmic axis."""
    least = math.log10(max(rates) / min(rates)) / (most - 1)
    shown: list[float] = []
    for rate in sorted(set(rates)):
        # A little less than a step, so that rates at even steps all count.
        if not shown or math.log10(rate / shown[-1]) > 0.99 * least:
            shown.append(rate)
    return shown


def _name_curves(entries: Sequence[Entry]) -> list[str]:
    """Return what tells the entries from each other: the parameters in which they differ."""
    parameters = [list_parameters(entry.settings) for entry in entries]
    known = dict.fromkeys(name for values in parameters for name in values)
    names = [name for name in known if len({values.get(name) for values in parameters}) > 1]
    return [
        ", ".join(f"{name.split('.')[1]} {_short(values.get(name))}" for name in names or ["train.learning_rate"])
        + (f" ({DIVERGED})" if entry.status == DIVERGED else "")
        for entry, values in zip(entries, parameters, strict=True)
    ]


def _short(value: object) -> str:
    """Return a value for a legend."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _explain_curves(figure: Figure, lines: Sequence[Line2D], *, named: bool) -> None:
    """Add the legend: all lines, or the best one and what a dotted line means."""
    handles: list[Artist] = list(lines)
    if not named:
        handles = [line for line in lines if str(line.get_label()).startswith("best")]
        if any(line.get_linestyle() == ":" for line in lines):
            handles.append(Line2D([], [], color="0.3", linestyle=":", label=DIVERGED))
    columns = 2 if max((len(str(handle.get_label())) for handle in handles), default=0) < 48 else 1
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def plot_accuracies(path: Path, entries: Sequence[Entry]) -> None:
    """Draw train, validation and test accuracy over the learning rate.

    At each learning rate the entry that ranks best counts. The standard deviation over the folds stands around the
    validation accuracy, a line marks the chosen learning rate, crosses at the bottom those at which nothing finished.

    Parameters
    ----------
    path : Path
        The PNG file to make.
    entries : sequence of Entry
        At least one.
    """
    with drawing_to(path, _WIDTH, 4.8) as figure:
        _draw_accuracies(figure, entries)


def _draw_accuracies(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw the accuracies on an empty figure."""
    axes = figure.subplots()
    axes.set_xscale("log")
    rates = {entry.settings.train.learning_rate for entry in entries}
    if len(rates) == 1:  # matplotlib has no idea how wide a single point is, and warns where it is a power of ten
        axes.set_xlim(min(rates) / 2, 2 * min(rates))
    held_out = is_held_out(entries)
    ranked: dict[float, Entry] = {}
    for entry in rank(entries):
        ranked.setdefault(entry.settings.train.learning_rate, entry)
    shown = [entry for _, entry in sorted(ranked.items())]
    _draw_accuracy(axes, shown, "train_accuracy", color="C0", label="train")
    if held_out:
        _draw_accuracy(axes, shown, "validation_accuracy", color="C1", label="validation")
    test_label = "test (for information, not used to choose)"
    _draw_accuracy(axes, shown, "test_accuracy", color="0.7", linestyle="--", label=test_label)
    _draw_unfinished(axes, shown)
    _draw_chosen(axes, find_best(entries), held_out=held_out)
    title = "Accuracy at each learning_rate" + ("" if held_out else f" ({_NOTHING_HELD_OUT})")
    if len(shown) < len(entries):
        title += "\nof the configuration that does best there"
    axes.set(xlabel="learning_rate", ylabel="accuracy in %", title=title)
    labelled = _spread(list(ranked), most=8)
    _set_labels(axes.xaxis, labelled, _readable(labelled))
    axes.grid(alpha=0.3)
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _draw_accuracy(axes: Axes, shown: Sequence[Entry], name: str, **style: Any) -> None:
    """Draw one accuracy of what finished, with a band of one standard deviation where there is one."""
    finished = [entry.status == FINISHED for entry in shown]
    if not any(finished):
        return
    rates = [entry.settings.train.learning_rate for entry in shown]
    # nan breaks the line where a learning rate diverged.
    values = 100 * np.where(finished, [entry.get_metric(name) for entry in shown], np.nan)
    errors = 100 * np.array([entry.get_metric(f"{name}_std") for entry in shown])
    few = len(shown) <= _MARKED_POINTS
    axes.plot(rates, values, marker="o", markersize=4 if few else 1.5, **style)
    if np.isfinite(errors).any() and few:
        axes.errorbar(rates, values, errors, fmt="none", ecolor=style["color"], elinewidth=1, capsize=3)
    elif np.isfinite(errors).any():
        axes.fill_between(rates, values - errors, values + errors, color=style["color"], alpha=0.2, linewidth=0)


def _draw_unfinished(axes: Axes, shown: Sequence[Entry]) -> None:
    """Mark learning rates without any accuracy to show at the bottom."""
    for status, marker in ((DIVERGED, "x"), (FAILED, "+")):
        rates = [entry.settings.train.learning_rate for entry in shown if entry.status == status]
        if rates:
            label = f"{status} ({_count(len(rates), 'learning rate')})"
            bottom: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            size = 6 if len(shown) <= _MARKED_POINTS else 3
            axes.plot(rates, [0] * len(rates), marker, markersize=size, color="C3", label=label, **bottom)


def _draw_chosen(axes: Axes, best: Entry | None, *, held_out: bool) -> None:
    """Mark the learning rate of the best entry."""
    if best is None:
        axes.set_ylim(0, 100)
        return
    rate = best.settings.train.learning_rate
    reason = "" if held_out else " by training cost"
    axes.axvline(rate, color="0.2", linestyle=":", label=f"chosen{reason}: {rate:g}")
