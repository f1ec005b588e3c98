"""The plot of the cost against the iterations."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from one_neuron.plots.drawing import drawing_to


def plot_costs(path: Path, costs: Sequence[tuple[int, float]], *, learning_rate: float) -> None:
    """Plot the cost against the iterations, from pairs of an iteration and the cost after that many updates."""
    with drawing_to(path, 10.0, 6.0, layout="constrained") as figure:
        axes = figure.subplots()
        iterations, values = zip(*costs, strict=True)
        axes.plot(iterations, values, marker="o", markersize=3)
        axes.set(xlabel="iteration", ylabel="cost", title=f"Cross-entropy cost, learning_rate = {learning_rate:g}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
