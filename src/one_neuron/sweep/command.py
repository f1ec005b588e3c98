"""A sweep from its command line to its summary.

What to try comes in rounds: a grid is one round, a search has one for each batch of suggestions. What is missing of a
round is packed into batches, Hydra hands each batch to a launcher as a job, and the jobs record one MLflow run for each
configuration.
"""

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from one_neuron.errors import EnvironmentProblem
from one_neuron.gradient_descent.engines.choice import find_engine
from one_neuron.layout import WORK_FOLDER
from one_neuron.settings.params import Settings
from one_neuron.sweep.configuration import Configuration, find_keys
from one_neuron.sweep.configuration_description import name_configurations
from one_neuron.sweep.configuration_runs import ConfigurationRuns
from one_neuron.sweep.drawing import Plotter, draw_plots, start_plotter
from one_neuron.sweep.hydra_app import print_instead, read_command_line, start_jobs
from one_neuron.sweep.jobs import SweepJobs, count_trainings, find_folds, pack_batches, read_times
from one_neuron.sweep.outage import open_runs, or_in_spool, raise_outage, send_kept
from one_neuron.sweep.plan import Plan, read_plan, set_values
from one_neuron.sweep.prepared_data import DataFiles, name_data, prepare_data
from one_neuron.sweep.ranking import FAILED
from one_neuron.sweep.search import BATCH, TpeSearch
from one_neuron.sweep.summary import count_configurations, name_configuration, run_lines, summary_lines
from one_neuron.sweep.sweep_run import abandon_sweep, close_sweep, follow_moves, keep_models, open_sweep
from one_neuron.system.files import find_root
from one_neuron.system.progress import sweep_bar
from one_neuron.tracking.links import compare_lines, link_run
from one_neuron.tracking.spool import SPOOL

_OF_THE_STORE = ("tracked: ", "promote it: ")  # the lines of a summary that name a run there


def run_sweep(arguments: Sequence[str]) -> None:
    """Run a sweep: `python pipeline/sweep.py -m train.learning_rate=0.001,0.01`; without -m, one configuration.

    Raises
    ------
    SettingsError, DataError, EnvironmentProblem
        Before anything is trained, if a value, the pictures or the store do not fit; at the end, if a configuration
        failed, or if the store could not be used and the sweep is in the spool.
    """
    clock = _Clock()
    options = read_command_line(arguments)
    root = find_root()
    if print_instead(options, arguments, root):
        return
    plan = read_plan(options.overrides, multirun=options.multirun)
    find_engine(None)  # fails before anything is recorded if ONE_NEURON_ENGINE is wrong or not installed
    with start_plotter() as plotter:
        _run_plan(plan, root, plotter, clock)


def _run_plan(plan: Plan, root: Path, plotter: Plotter, clock: "_Clock") -> None:
    """Run a sweep in the repository `root`; `plotter` draws the plots."""
    with ThreadPoolExecutor(1) as pool:  # importing MLflow takes as long as DVC's check of the data
        preparing = pool.submit(prepare_data, plan.configurations, root)
        runs = open_runs(root, [])
        data = preparing.result()
    clock.count("start")
    for files in data.values():
        find_folds(files, plan.sweep)  # fails before anything is trained if a class has too few pictures
    rounds = _Rounds(plan, data, runs)
    or_in_spool(runs, lambda: _look_up(runs))
    missing = rounds.find_missing()
    or_in_spool(runs, lambda: _open(plan, runs))
    clock.count("looking up")
    if runs.outage is not None:
        print(f"one-neuron: warning: {runs.outage.problem}; the sweep is kept in '{SPOOL}'", file=sys.stderr)
    reused = len(runs.finished)
    print(_first_line(plan, rounds.total, reused, missing), flush=True)
    try:
        while missing:
            _run_jobs(plan, runs, missing, clock)
            missing = rounds.find_missing()
        links = or_in_spool(runs, lambda: _finish(plan, runs, plotter, clock))
    except BaseException:
        print(
            f"one-neuron: {len(runs.finished):,} of {rounds.total:,} configurations are recorded; the same command "
            "again goes on from there",
            file=sys.stderr,
        )
        with suppress(Exception):  # the first error is the one to show
            if runs.parent_id:
                abandon_sweep(runs.connection, runs.parent_id)
        raise
    entries, connection = list(runs.entries.values()), runs.connection
    place = connection.store.place
    if plan.single:
        lines = run_lines(entries[0], named=plan.swept, place=place)
        links = {"the run": link_run(connection.experiment_id, entries[0].run_id)}
    else:
        lines = summary_lines(
            entries, reused=reused, swept=plan.swept, folds=plan.sweep.folds, place=place, sweep_id=runs.parent_id
        )
    if runs.outage is not None:  # the ids are those of the spool
        lines = [line.partition(": one-neuron promote")[0] for line in lines if not line.startswith(_OF_THE_STORE)]
    else:
        lines += compare_lines(connection.store, links)
    print("\n".join([*lines, str(clock)]), flush=True)
    failed = next((entry for entry in entries if entry.status == FAILED), None)
    if failed is not None:
        words = name_configuration(failed.settings, plan.swept)
        raise EnvironmentProblem(f"{words} failed ({failed.reason}); the same command again tries it again")
    raise_outage(runs)


def _look_up(runs: ConfigurationRuns) -> None:
    """Read what the store has, after sending what waits for it."""
    send_kept(runs)
    runs.refresh_under_lock()


def _open(plan: Plan, runs: ConfigurationRuns) -> str:
    """Return the run of the sweep in the store, "" for a single configuration."""
    if plan.single:
        follow_moves(runs)
        return ""
    return runs.parent_id or open_sweep(runs, plan)


class _Clock:
    """How long the parts of a sweep took, in seconds."""

    def __init__(self) -> None:
        self._begin = self._last = time.monotonic()
        # What the last line always shows, also where no job ran.
        self._parts = dict.fromkeys(("start", "looking up", "training", "recording", "starting jobs"), 0.0)

    def count(self, part: str, **within: float) -> None:
        """Count the time since the last call as a part, except for the seconds in it that belong to other parts."""
        now = time.monotonic()
        for name, seconds in {**within, part: now - self._last - sum(within.values())}.items():
            self._parts[name] = self._parts.get(name, 0.0) + max(seconds, 0.0)
        self._last = now

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts.items())
        return f"took {self._last - self._begin:.1f} s: {parts}"


class _Rounds:
    """What to try: a grid at once, or the batches of a search, each after the scores of the one before."""

    def __init__(self, plan: Plan, data: Mapping[str, DataFiles], runs: ConfigurationRuns) -> None:
        self._plan, self._data, self._runs = plan, data, runs
        self._search: TpeSearch | None = None
        self._tried: set[str] = set()
        if plan.space:
            trials, seed = plan.sweep.trials, plan.sweep.seed
            self._search = TpeSearch(plan.space, trials=trials, seed=seed, configure=self._configure_point)
            self._batch = self._search.ask()
        else:
            self._batch = [self._configure(settings) for settings in plan.configurations]
        runs.request(self._batch)

    @property
    def total(self) -> int:
        """The number of configurations in all."""
        return self._plan.sweep.trials if self._search else len(self._runs.requested)

    def find_missing(self) -> list[Configuration]:
        """Return what is missing of the batch, or else of the next batch of the search in which something is.

        Nothing is returned a second time: a configuration that failed ends the search.
        """
        while True:
            finished = self._runs.finished
            missing = {each.key: each for each in self._batch if each.key not in finished}
            if missing or self._search is None:
                new = [] if missing.keys() & self._tried else list(missing.values())
                self._tried |= missing.keys()
                return new
            self._search.tell(self._runs.entries)
            self._batch = self._search.ask()
            if not self._batch:
                return []
            self._runs.request(self._batch)

    def _configure(self, settings: Settings) -> Configuration:
        """Return a configuration with its keys."""
        files = self._data[name_data(settings)]
        return Configuration(settings, files, *find_keys(settings, files, self._plan.sweep))

    def _configure_point(self, point: Mapping[str, Any]) -> Configuration:
        """Return the configuration of a suggestion."""
        return self._configure(set_values(self._plan.configurations[0], point))


def _first_line(plan: Plan, total: int, reused: int, missing: Sequence[Configuration]) -> str:
    """Return what a sweep says before it begins to train."""
    held_out = f"{plan.sweep.folds} folds" if plan.sweep.folds else "nothing held out"
    if plan.single:
        return f"1 configuration, {held_out}" + ("; it is there already" if reused else "")
    known = f"{held_out}; {reused:,} {'is' if reused == 1 else 'are'} there already"
    if plan.space:
        return f"search for {count_configurations(total)}, {BATCH} at a time, {known}"
    line = f"{count_configurations(total)}, {known}"
    if not missing:
        return line
    number = len(missing) if plan.one_by_one else count_trainings(missing)
    shared = "" if number == len(missing) else ", each to its largest num_iterations"
    return f"{line}, {number:,} {'training is' if number == 1 else 'trainings are'} needed{shared}"


def _run_jobs(plan: Plan, runs: ConfigurationRuns, missing: Sequence[Configuration], clock: _Clock) -> None:
    """Train and record what is missing."""
    batches = pack_batches(missing, folds=plan.sweep.folds, one_by_one=plan.one_by_one)
    already = len(runs.finished)
    with (
        tempfile.TemporaryDirectory(dir=runs.connection.root / WORK_FOLDER, prefix="jobs-") as times,
        sweep_bar(already + len(missing), "configurations recorded", already=already) as show,
    ):
        jobs = SweepJobs(
            root=runs.connection.root,
            parent_id=runs.parent_id,
            sweep=plan.sweep,
            names=name_configurations(runs.requested.values(), plan.swept),
            batches=batches,
            runs=runs,
            on_progress=lambda: show(len(runs.finished), _best_note(runs)),
            times=Path(times),
        )
        start_jobs(jobs, plan.hydra)
        training, recording = read_times(Path(times))
    or_in_spool(runs, lambda: _look_up(runs))  # the jobs may have run in other processes
    clock.count("starting jobs", training=training, recording=recording)


def _finish(plan: Plan, runs: ConfigurationRuns, plotter: Plotter, clock: _Clock) -> dict[str, str]:
    """Keep the best models, and finish the run of the sweep if there is one; return links to what it shows."""
    parent_id = _open(plan, runs)
    if not parent_id:
        keep_models(runs, plan.sweep.keep_models)
        clock.count("models kept")
        return {}
    drawing = draw_plots(plotter, runs, parent_id, folds=plan.sweep.folds)
    keep_models(runs, plan.sweep.keep_models)
    clock.count("models kept")
    links = close_sweep(runs, parent_id, plan, drawing)
    clock.count("summary")
    return links


def _best_note(runs: ConfigurationRuns) -> str:
    """Return the score of the best configuration so far, for the progress bar."""
    best = runs.best
    if best is None:
        return ""
    accuracy = best.metrics.get("validation_accuracy")
    return f"best so far {accuracy:.1%}" if accuracy is not None else f"best cost {best.get_metric('cost'):.4f}"
