"""Labels on the axes of a sweep's plots: as many as fit."""

import math
from collections.abc import Sequence

from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import NullLocator

_LABELS = 12  # at most, on an axis: more would not fit side by side, even rotated
_RATE_LABELS = 8  # at most, on a logarithmic axis


def set_labels(axis: Axis, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Label an axis at as many of the positions as fit; rotate the labels of an x axis if they would touch."""
    step = math.ceil(len(labels) / _LABELS)
    positions, labels = positions[::step], labels[::step]
    axis.set_ticks(positions, labels)
    axis.set_minor_locator(NullLocator())
    if isinstance(axis, XAxis) and len(labels) * (max(map(len, labels)) + 2) > 60:
        for label in axis.get_ticklabels():
            label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")


def short_labels(values: Sequence[float]) -> list[str]:
    """Return numbers with three digits, or with more if three do not distinguish them."""
    short = [f"{value:.3g}" for value in values]
    return short if len(set(short)) == len(set(values)) else [f"{value:g}" for value in values]


def spread_rates(rates: Sequence[float]) -> list[float]:
    """Return learning rates that are far enough apart on a logarithmic axis for a label each."""
    least = math.log10(max(rates) / min(rates)) / (_RATE_LABELS - 1)
    shown: list[float] = []
    for rate in sorted(set(rates)):
        # A little less than a step, so that rates at even steps are all shown.
        if not shown or math.log10(rate / shown[-1]) > 0.99 * least:
            shown.append(rate)
    return shown
