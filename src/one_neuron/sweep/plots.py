"""Plots of a sweep: which configurations do well, how their costs fall, where training diverges."""

import math
from collections.abc import Sequence
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

from one_neuron.plots.drawing import drawing_to
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, find_best, is_held_out, rank
from one_neuron.sweep.summary import list_parameters, short_value

Curve = tuple[Entry, Sequence[tuple[int, float]]]

_WIDTH, _HEIGHT = 7.6, 4.8
_LABELS = 12  # at most, on an axis: more would not fit side by side, even rotated
_RATE_LABELS = 8  # at most, on a logarithmic axis
_NAMED_CURVES = 6  # up to here, each has a colour and a line of the legend
_MARKED_POINTS = 40  # up to here, each has a mark and an error bar
_NOT_TRIED = "not tried"
_NOTHING_HELD_OUT = "nothing was held out"


def save_plots(folder: Path, entries: Sequence[Entry], curves: Sequence[Curve]) -> None:
    """Write heat_map.png, accuracies.png and curves.png, of at least one entry; for the curves see `draw_curves`."""
    with drawing_to(folder / "heat_map.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_heat_map(figure, entries)
    with drawing_to(folder / "accuracies.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_accuracies(figure, entries)
    with drawing_to(folder / "curves.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_curves(figure, curves)


def draw_heat_map(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw a cell for each pair of learning rate (x) and number of iterations (y) in an empty figure.

    The colour is the validation accuracy, without folds the training cost. A cell that several entries share shows the
    best of them. Diverged cells are hatched; cells that failed or were not tried stay blank. A star marks the best.
    There must be at least one entry.
    """
    ranked, held_out, axes = rank(entries)[::-1], is_held_out(entries), figure.subplots()  # the best comes last
    best = ranked[-1]
    rates, columns = np.unique(_learning_rates(ranked), return_inverse=True)
    counts, rows = np.unique([entry.settings.train.num_iterations for entry in ranked], return_inverse=True)
    figure.set_figheight(3.0 + 0.2 * min(len(counts), 15))
    statuses: NDArray[Any] = np.full((len(counts), len(rates)), _NOT_TRIED, dtype=object)
    values = np.full(statuses.shape, np.nan)
    for row, column, entry in zip(rows, columns, ranked, strict=True):
        statuses[row, column] = entry.status
        score = 100 * entry.get_metric("validation_accuracy") if held_out else entry.get_metric("cost")
        values[row, column] = score if entry.status == FINISHED else np.nan
    _colour_cells(axes, values, held_out=held_out)
    legend: list[Artist] = _hatch_cells(axes, statuses == DIVERGED)
    blank = [status for status in (FAILED, _NOT_TRIED) if (statuses == status).any()]
    if blank:
        legend.append(Patch(facecolor="white", edgecolor="0.45", label=" or ".join(blank)))
    if best.status == FINISHED:
        star: dict[str, Any] = {"markersize": 16, "color": "red", "markeredgecolor": "white"}
        legend += axes.plot(columns[-1], rows[-1], "*", label=_name_best(best, held_out=held_out), **star)
    title = "Validation accuracy" if held_out else f"Training cost ({_NOTHING_HELD_OUT})"
    if np.count_nonzero(statuses != _NOT_TRIED) < len(entries):
        title += "\neach cell shows the best of the configurations that share it"
    axes.set(title=title, xlabel="learning_rate", ylabel="num_iterations")
    axes.set(xlim=(-0.5, len(rates) - 0.5), ylim=(-0.5, len(counts) - 0.5))
    _set_labels(axes.xaxis, range(len(rates)), _short_labels(rates.tolist()))
    _set_labels(axes.yaxis, range(len(counts)), [str(count) for count in counts])
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _learning_rates(entries: Sequence[Entry]) -> list[float]:
    """Return the learning rate of each entry."""
    return [entry.settings.train.learning_rate for entry in entries]


def _colour_cells(axes: Axes, values: NDArray[np.float64], *, held_out: bool) -> None:
    """Colour the cells with a value, the better the brighter, and add a colour bar."""
    if np.isfinite(values).any():
        colours = "viridis" if held_out else "viridis_r"
        # "nearest": a cell has its own colour, not a mixture with its neighbours'.
        shown = axes.imshow(values, cmap=colours, aspect="auto", origin="lower", interpolation="nearest")
        axes.figure.colorbar(shown, ax=axes, label="validation accuracy in %" if held_out else "training cost")


def _hatch_cells(axes: Axes, diverged: NDArray[np.bool_]) -> list[Artist]:
    """Hatch the cells that diverged, and return their entry of the legend."""
    style: dict[str, Any] = {"facecolor": "0.85", "edgecolor": "0.45", "hatch": "////", "linewidth": 0}
    for row, cells in enumerate(diverged):
        # One rectangle for neighbours: edges between hundreds of cells would hide the hatching.
        steps = np.diff(cells.astype(int), prepend=0, append=0)
        for first, after in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
            axes.add_patch(Rectangle((first - 0.5, row - 0.5), float(after - first), 1, **style))
    return [Patch(label=DIVERGED, **style)] if diverged.any() else []


def _name_best(best: Entry, *, held_out: bool) -> str:
    """Return the best configuration for the legend."""
    accuracy, cost, train = best.get_metric("validation_accuracy"), best.get_metric("cost"), best.settings.train
    value = f"{100 * accuracy:.1f} %" if held_out else f"cost {cost:.3g}"
    return f"best: {value} (learning_rate {train.learning_rate:g}, num_iterations {train.num_iterations})"


def _set_labels(axis: Axis, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Label an axis at as many of the positions as fit; rotate the labels of an x axis if they would touch."""
    step = math.ceil(len(labels) / _LABELS)
    positions, labels = positions[::step], labels[::step]
    axis.set_ticks(positions, labels)
    axis.set_minor_locator(NullLocator())
    if isinstance(axis, XAxis) and len(labels) * (max(map(len, labels)) + 2) > 60:
        for label in axis.get_ticklabels():
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")


def _short_labels(values: Sequence[float]) -> list[str]:
    """Return numbers with three digits, or with more if three do not distinguish them."""
    short = [f"{value:.3g}" for value in values]
    return short if len(set(short)) == len(set(values)) else [f"{value:g}" for value in values]


def draw_curves(figure: Figure, curves: Sequence[Curve]) -> None:
    """Draw the costs of many trainings in an empty figure, the best in black, diverged ones dotted.

    Up to six curves are named in a legend; more are coloured by the logarithm of their learning rate. The y axis ends
    at twice the first cost at most, and the title counts the curves that leave the plot.

    Parameters
    ----------
    curves : sequence of (Entry, sequence of (int, float))
        Pairs of an iteration and the training cost after that many updates, at least one each; costs may be infinite
        or nan. Without curves, if all configurations failed, the plot is empty.
    """
    axes = figure.subplots()
    entries = [entry for entry, _ in curves]
    best, top = find_best(entries), _find_top([costs for _, costs in curves])
    leaving = 0
    for (entry, costs), colour, name in zip(curves, _colour_curves(axes, entries), _name_curves(entries), strict=True):
        iterations, values = np.array(costs, dtype=float).T
        # Neither nan nor 1e300 can be drawn; a line far above the plot looks the same.
        values = np.minimum(np.nan_to_num(values, nan=np.inf), 100 * top)
        leaving += bool((values > top).any())
        (line,) = axes.plot(iterations, values, color=colour, linewidth=1.2, label=name)
        line.set(linestyle=":" if entry.status == DIVERGED else "-", marker="o" if len(values) == 1 else "")
        if entry is best:
            line.set(color="black", linewidth=2.5, zorder=3, label=f"best: {name}")
    title = f"Training cost, {len(curves)} curve{'s' * (len(curves) != 1)}"
    if leaving:
        title += f"\n{leaving} out of the picture at the top"
    axes.set(xlabel="iteration", ylabel="cost", title=title, ylim=(0, top))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    _explain_curves(figure, axes.get_lines(), named=len(curves) <= _NAMED_CURVES)


def _find_top(curves: Sequence[Sequence[tuple[int, float]]]) -> float:
    """Return where the y axis of costs ends: above all costs, unless a diverged one would flatten the other curves."""
    firsts = [costs[0][1] for costs in curves if math.isfinite(costs[0][1])]
    highest = max((cost for costs in curves for _, cost in costs if math.isfinite(cost)), default=1.0)
    return 1.05 * (min(highest, 2 * max(firsts, default=1.0)) or 1.0)


def _colour_curves(axes: Axes, entries: Sequence[Entry]) -> list[Any]:
    """Return a colour for each curve; many are coloured by the logarithm of their learning rate, with a colour bar."""
    if len(entries) <= _NAMED_CURVES:
        return [f"C{i}" for i in range(len(entries))]
    rates = _learning_rates(entries)
    # The bright end of the scale is invisible on white.
    colours = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.88, 256)))
    scale = ScalarMappable(Normalize(math.log10(min(rates)), math.log10(max(rates))), colours)
    bar = axes.figure.colorbar(scale, ax=axes, label="learning_rate")
    shown = _spread(rates)
    bar.set_ticks([math.log10(rate) for rate in shown], labels=_short_labels(shown))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    return list(scale.to_rgba(np.log10(rates)))


def _spread(rates: Sequence[float]) -> list[float]:
    """Return learning rates that are far enough apart on a logarithmic axis for a label each."""
    least = math.log10(max(rates) / min(rates)) / (_RATE_LABELS - 1)
    shown: list[float] = []
    for rate in sorted(set(rates)):
        # A little less than a step, so that rates at even steps are all shown.
        if not shown or math.log10(rate / shown[-1]) > 0.99 * least:
            shown.append(rate)
    return shown


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


def draw_accuracies(figure: Figure, entries: Sequence[Entry]) -> None:
    """Draw train, validation and test accuracy over the learning rate in an empty figure.

    Each learning rate shows its best entry, with the standard deviation over the folds around the validation accuracy.
    A line marks the chosen learning rate, crosses at the bottom those without a finished entry. There must be at least
    one entry.
    """
    axes, held_out = figure.subplots(), is_held_out(entries)
    # From the worst to the best: the best of each learning rate comes last.
    best_of = {entry.settings.train.learning_rate: entry for entry in reversed(rank(entries))}
    rates, shown = sorted(best_of), [best_of[rate] for rate in sorted(best_of)]
    axes.set_xscale("log")
    if len(rates) == 1:  # matplotlib cannot choose the limits around one point, and warns at powers of ten
        axes.set_xlim(rates[0] / 2, 2 * rates[0])
    _draw_accuracy(axes, shown, "train_accuracy", color="C0", label="train")
    if held_out:
        _draw_accuracy(axes, shown, "validation_accuracy", color="C1", label="validation")
    test_label = "test (for information, not used to choose)"
    _draw_accuracy(axes, shown, "test_accuracy", color="0.7", linestyle="--", label=test_label)
    for status, marker in ((DIVERGED, "x"), (FAILED, "+")):
        unfinished = _learning_rates([entry for entry in shown if entry.status == status])
        if unfinished:
            label = f"{status} ({len(unfinished)} learning rate{'s' * (len(unfinished) != 1)})"
            bottom: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            size, zeros = 6 if len(shown) <= _MARKED_POINTS else 3, [0] * len(unfinished)
            axes.plot(unfinished, zeros, marker, markersize=size, color="C3", label=label, **bottom)
    best = find_best(entries)
    if best is None:
        axes.set_ylim(0, 100)
    else:
        rate, reason = best.settings.train.learning_rate, "" if held_out else " by training cost"
        axes.axvline(rate, color="0.2", linestyle=":", label=f"chosen{reason}: {rate:g}")
    title = "Accuracy at each learning_rate" + ("" if held_out else f" ({_NOTHING_HELD_OUT})")
    if len(shown) < len(entries):
        title += "\nof the configuration that does best there"
    axes.set(xlabel="learning_rate", ylabel="accuracy in %", title=title)
    _set_labels(axes.xaxis, _spread(rates), _short_labels(_spread(rates)))
    axes.grid(alpha=0.3)
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _draw_accuracy(axes: Axes, shown: Sequence[Entry], name: str, **style: Any) -> None:
    """Draw one accuracy of the finished entries, with its standard deviation if it has one."""
    finished = [entry.status == FINISHED for entry in shown]
    if not any(finished):
        return
    rates, few = _learning_rates(shown), len(shown) <= _MARKED_POINTS
    # nan interrupts the line at a learning rate that diverged.
    values = 100 * np.where(finished, [entry.get_metric(name) for entry in shown], np.nan)
    errors = 100 * np.array([entry.get_metric(f"{name}_std") for entry in shown])
    axes.plot(rates, values, marker="o", markersize=4 if few else 1.5, **style)
    if np.isfinite(errors).any() and few:
        axes.errorbar(rates, values, errors, fmt="none", ecolor=style["color"], elinewidth=1, capsize=3)
    elif np.isfinite(errors).any():
        axes.fill_between(rates, values - errors, values + errors, color=style["color"], alpha=0.2, linewidth=0)
