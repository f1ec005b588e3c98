"""The plots of a sweep, drawn by another process while this one trains the best configurations again."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from one_neuron.sweep.configuration_description import downsample
from one_neuron.sweep.configuration_runs import ConfigurationRuns
from one_neuron.sweep.ranking import Curves, Entry, find_best
from one_neuron.sweep.summary import write_table
from one_neuron.system.workers import worker_processes
from one_neuron.tracking.bulk import read_curves
from one_neuron.tracking.connection import has_artifact, mlflow_errors
from one_neuron.tracking.store import hold_signals

MOST_CURVES = 200  # in a plot; each curve of an earlier sweep has to be read from the store


@dataclass(frozen=True)
class Drawing:
    """Plots that another process draws into a folder; without a task the run of the sweep shows them already."""

    folder: Path
    task: Future[None] | None

    def wait(self) -> Path:
        """Return the folder when the plots are in it; raise the error that ended their drawing."""
        if self.task is not None:
            self.task.result()
        return self.folder


@dataclass(frozen=True)
class Plotter:
    """A process that draws plots, and a folder for them."""

    folder: Path
    pool: Executor


@contextmanager
def start_plotter() -> Iterator[Plotter]:
    """Yield a process that has begun to import Matplotlib, which the process of the sweep does not need."""
    with (
        tempfile.TemporaryDirectory(prefix="one-neuron-") as name,
        worker_processes(preload="one_neuron.sweep.plots") as pool,
    ):
        yield Plotter(Path(name), pool)


def draw_plots(plotter: Plotter, runs: ConfigurationRuns, parent_id: str, *, folds: int) -> Drawing:
    """Begin to draw the plots of a sweep, whose run has the id `parent_id`."""
    entries, place = list(runs.entries.values()), Path(tempfile.mkdtemp(dir=plotter.folder))
    table, folder = place / "configurations.csv", place / "plots"
    folder.mkdir()
    write_table(table, entries)
    is_shown = has_artifact(runs.connection, parent_id, table)
    task = None if is_shown else plotter.pool.submit(_draw, folder, entries, _find_curves(runs), folds)
    return Drawing(folder, task)


def _draw(folder: Path, entries: Sequence[Entry], curves: Sequence[Curves], folds: int) -> None:
    """Draw the plots."""
    from one_neuron.sweep.plots import save_plots

    save_plots(folder, entries, curves, folds=folds)


def _find_curves(runs: ConfigurationRuns) -> list[Curves]:
    """Return cost curves for the plot: the longest of each training, and the best; earlier ones are read again."""
    longest: dict[str, tuple[str, Entry]] = {}
    for key, entry in runs.entries.items():
        train = entry.settings.train
        name = str(replace(entry.settings, train=replace(train, num_iterations=1)))
        if name not in longest or longest[name][1].settings.train.num_iterations < train.num_iterations:
            longest[name] = (key, entry)
    shown = downsample(list(longest.values()), MOST_CURVES)
    best = find_best(runs.entries.values())
    shown += [(key, entry) for key, entry in runs.entries.items() if entry is best and (key, entry) not in shown]
    with mlflow_errors(runs.connection.store), hold_signals(runs.connection.store):
        wanted = [entry.run_id for key, entry in shown if key not in runs.curves]
        earlier, held_out = (read_curves(runs.connection, name, wanted) for name in ("cost", "validation_cost"))
    curves = [
        Curves(entry, runs.curves[key], runs.validation_curves[key])
        if key in runs.curves
        else Curves(entry, earlier[entry.run_id], held_out[entry.run_id])
        for key, entry in shown
    ]
    return [each for each in curves if each.train]
