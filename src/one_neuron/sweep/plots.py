"""Plots of a sweep: which configurations do well, how their costs fall, where training diverges."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from one_neuron.plots.drawing import BASELINE, BLACK, TRAIN, VALIDATION, VERMILION, drawing_to
from one_neuron.sweep.axis_labels import set_labels, short_labels, spread_rates
from one_neuron.sweep.curve_plot import draw_curves
from one_neuron.sweep.ranking import (
    DIVERGED,
    FAILED,
    FINISHED,
    Curves,
    Entry,
    find_best,
    find_contenders,
    find_simplest,
    is_held_out,
    rank,
    standard_error,
)

_WIDTH, _HEIGHT = 10.4, 6.0
_MARKED_POINTS = 40  # up to here, each has a mark and an error bar
_NOT_TRIED = "not tried"
_NOTHING_HELD_OUT = "nothing was held out"
_LIKE_THE_BEST = "cannot be told apart from the best (one standard error)"


def save_plots(folder: Path, entries: Sequence[Entry], curves: Sequence[Curves], *, folds: int) -> None:
    """Write heat_map.png, accuracies.png and curves.png, of at least one entry; `folds` is their number, 0 for none."""
    with drawing_to(folder / "heat_map.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_heat_map(figure, entries, folds=folds)
    with drawing_to(folder / "accuracies.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_accuracies(figure, entries, folds=folds)
    with drawing_to(folder / "curves.png", _WIDTH, _HEIGHT, layout="constrained") as figure:
        draw_curves(figure, curves)


def draw_heat_map(figure: Figure, entries: Sequence[Entry], *, folds: int) -> None:
    """Draw a cell for each pair of learning rate (x) and number of iterations (y) in an empty figure.

    The colour is the validation accuracy, without folds the training cost. A cell that several entries share shows the
    best of them. Diverged cells are hatched; cells that failed or were not tried stay blank. A star marks the best,
    circles mark those that cannot be told apart from it, and a diamond marks the simplest of them; see
    `ranking.find_contenders`. There must be at least one entry.
    """
    ranked, held_out, axes = rank(entries)[::-1], is_held_out(entries), figure.subplots()  # the best comes last
    rates, columns = np.unique(_learning_rates(ranked), return_inverse=True)
    counts, rows = np.unique([entry.settings.train.num_iterations for entry in ranked], return_inverse=True)
    figure.set_figheight(3.8 + 0.27 * min(len(counts), 15))
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
    places = {id(entry): place for entry, *place in zip(ranked, columns, rows, strict=True)}
    legend += _mark_best(axes, places, entries, folds)
    title = "Validation accuracy" if held_out else f"Training cost ({_NOTHING_HELD_OUT})"
    if np.count_nonzero(statuses != _NOT_TRIED) < len(entries):
        title += "\neach cell shows the best of the configurations that share it"
    axes.set(title=title, xlabel="learning_rate", ylabel="num_iterations")
    axes.set(xlim=(-0.5, len(rates) - 0.5), ylim=(-0.5, len(counts) - 0.5))
    set_labels(axes.xaxis, range(len(rates)), short_labels(rates.tolist()))
    set_labels(axes.yaxis, range(len(counts)), [str(count) for count in counts])
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


def _mark_best(axes: Axes, places: dict[int, list[int]], entries: Sequence[Entry], folds: int) -> list[Artist]:
    """Mark the cells of the best entry, its contenders and the simplest of them; return their entries of the legend.

    `places` has column and row of each entry by its identity.
    """
    best, contenders = find_best(entries), find_contenders(entries, folds)
    if best is None:
        return []
    marked: list[Artist] = []
    simplest = find_simplest(contenders)
    if others := contenders[1:]:
        cells = sorted({tuple(places[id(entry)]) for entry in others} - {tuple(places[id(best)])})
        radius = max(1.5, min(7.0, 300 / len({column for column, _ in places.values()})))
        label = f"{len(others)} {_LIKE_THE_BEST}"
        (points,) = axes.plot([x for x, _ in cells], [y for _, y in cells], "o", markersize=radius, label=label)
        points.set(color="white", markeredgecolor="black")
        marked.append(points)
    chosen = [("best", best, "*", 20)]
    if simplest is not None and simplest is not best:
        chosen.insert(0, ("simplest of them", simplest, "D", 11))
    for role, entry, marker, size in chosen:
        (mark,) = axes.plot(*places[id(entry)], marker, markersize=size, label=_name(role, entry))
        mark.set(color=BLACK, markeredgecolor="white")
        marked.append(mark)
    return marked


def _name(role: str, entry: Entry) -> str:
    """Return an entry and its score for a legend."""
    accuracy, train = entry.metrics.get("validation_accuracy"), entry.settings.train
    value = f"cost {entry.get_metric('cost'):.3g}" if accuracy is None else f"{100 * accuracy:.1f} %"
    return f"{role}: {value} (learning_rate {train.learning_rate:g}, num_iterations {train.num_iterations})"


def draw_accuracies(figure: Figure, entries: Sequence[Entry], *, folds: int) -> None:
    """Draw train, validation and test accuracy over the learning rate in an empty figure.

    Each learning rate shows its best entry, with the standard deviation over the folds around the validation accuracy.
    Vertical lines mark the learning rates of the best entry and of the simplest one that cannot be told apart from it,
    a band the accuracies that cannot (see `ranking.find_contenders`), and crosses at the bottom the learning rates
    without a finished entry. There must be at least one entry.
    """
    axes, held_out = figure.subplots(), is_held_out(entries)
    # From the worst to the best: the best of each learning rate comes last.
    best_of = {entry.settings.train.learning_rate: entry for entry in reversed(rank(entries))}
    rates, shown = sorted(best_of), [best_of[rate] for rate in sorted(best_of)]
    axes.set_xscale("log")
    if len(rates) == 1:  # matplotlib cannot choose the limits around one point, and warns at powers of ten
        axes.set_xlim(rates[0] / 2, 2 * rates[0])
    _draw_accuracy(axes, shown, "train_accuracy", marker="o", label="train", **TRAIN)
    if held_out:
        label = f"validation, with the standard deviation over {folds} folds"
        _draw_accuracy(axes, shown, "validation_accuracy", marker="s", label=label, **VALIDATION)
    test_label = "test (for information, not used to choose)"
    _draw_accuracy(axes, shown, "test_accuracy", marker="^", color="0.7", linestyle="--", label=test_label)
    for status, marker in ((DIVERGED, "x"), (FAILED, "+")):
        unfinished = _learning_rates([entry for entry in shown if entry.status == status])
        if unfinished:
            label = f"{status} ({len(unfinished)} learning rate{'s' * (len(unfinished) != 1)})"
            bottom: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            size, zeros = 6 if len(shown) <= _MARKED_POINTS else 3, [0] * len(unfinished)
            axes.plot(unfinished, zeros, marker, markersize=size, color=VERMILION, label=label, **bottom)
    _draw_choice(axes, entries, folds)
    title = "Accuracy at each learning_rate" + ("" if held_out else f" ({_NOTHING_HELD_OUT})")
    if len(shown) < len(entries):
        title += "\nof the configuration that does best there"
    axes.set(xlabel="learning_rate", ylabel="accuracy in %", title=title)
    set_labels(axes.xaxis, spread_rates(rates), short_labels(spread_rates(rates)))
    axes.grid(alpha=0.3)
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)


def _draw_choice(axes: Axes, entries: Sequence[Entry], folds: int) -> None:
    """Mark the best entry, what cannot be told apart from it, and the baseline."""
    best, contenders = find_best(entries), find_contenders(entries, folds)
    if best is None:
        axes.set_ylim(0, 100)
        return
    baseline = 100 * best.get_metric("validation_baseline_accuracy")
    if np.isfinite(baseline):
        axes.axhline(baseline, label=f"baseline (one class for all): {baseline:.1f} %", **BASELINE)
    if len(contenders) > 1:
        top = 100 * best.get_metric("validation_accuracy")
        least = top - 100 * standard_error(best, folds)
        label = f"{len(contenders) - 1} {_LIKE_THE_BEST}"
        axes.axhspan(least, top, color=str(VALIDATION["color"]), alpha=0.12, linewidth=0, zorder=0, label=label)
    rate, reason = best.settings.train.learning_rate, "" if is_held_out([best]) else " by training cost"
    axes.axvline(rate, color=BLACK, linestyle="-", linewidth=1, label=f"best{reason}: {rate:g}")
    simplest = find_simplest(contenders)
    if simplest is not None and simplest is not best:
        train = simplest.settings.train
        label = f"simplest of them: {train.learning_rate:g} ({train.num_iterations} iterations)"
        axes.axvline(train.learning_rate, color=BLACK, linestyle=(0, (6, 3)), linewidth=1, label=label)


def _draw_accuracy(axes: Axes, shown: Sequence[Entry], name: str, **style: Any) -> None:
    """Draw one accuracy of the finished entries, with its standard deviation if it has one."""
    finished = [entry.status == FINISHED for entry in shown]
    if not any(finished):
        return
    rates, few = _learning_rates(shown), len(shown) <= _MARKED_POINTS
    # nan interrupts the line at a learning rate that diverged.
    values = 100 * np.where(finished, [entry.get_metric(name) for entry in shown], np.nan)
    errors = 100 * np.array([entry.get_metric(f"{name}_std") for entry in shown])
    axes.plot(rates, values, markersize=4 if few else 1.5, **style)
    if np.isfinite(errors).any() and few:
        axes.errorbar(rates, values, errors, fmt="none", ecolor=style["color"], elinewidth=1, capsize=3)
    elif np.isfinite(errors).any():
        axes.fill_between(rates, values - errors, values + errors, color=style["color"], alpha=0.2, linewidth=0)
