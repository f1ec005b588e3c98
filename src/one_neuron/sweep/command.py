"""A sweep from its command line to its summary, and the job that Hydra's launchers run."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem, OneNeuronError, SettingsError, one_line
from one_neuron.settings.params import Settings, check_settings
from one_neuron.sources.report import find_originals, row_digests
from one_neuron.storage.checkpoint import CheckpointFile
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.sweep.compose import CONF_FOLDER, SweepSettings
from one_neuron.sweep.configuration_runs import REMEDY, ConfigurationRuns
from one_neuron.sweep.folds import assign_folds
from one_neuron.sweep.plan import Plan, expand, read_plan
from one_neuron.sweep.prepared_data import DataFiles, load_data, name_data, prepare_data
from one_neuron.sweep.ranking import FAILED, find_best
from one_neuron.sweep.screening import Outcome, plan_batches, screen
from one_neuron.sweep.shared_state import (
    VARIABLE,
    SweepState,
    find_keys,
    find_state,
    load_batch,
    load_state,
    remove_state,
    save_batches,
)
from one_neuron.sweep.summary import name_configuration, summary_lines
from one_neuron.sweep.sweep_run import abandon_sweep, close_sweep, keep_models, open_sweep
from one_neuron.system.files import find_root
from one_neuron.system.progress import sweep_bar, training_bar
from one_neuron.tracking.connection import connect
from one_neuron.training import train_model, training_inputs

# What this process knows of the runs of a sweep, and its bar, by the file of its state. Jobs may run in others.
_CHILDREN: dict[Path, ConfigurationRuns] = {}
_BARS: dict[Path, Callable[[int, str], None]] = {}
_BAR = "configurations recorded"


def run_sweep(arguments: Sequence[str]) -> None:
    """Run a sweep: `python pipeline/sweep.py -m train.learning_rate=0.001,0.01`.

    Parameters
    ----------
    arguments : sequence of str
        Of the command line.

    Raises
    ------
    SettingsError, DataError, EnvironmentProblem
        Before anything is trained, if a value, the pictures or the store do not fit; at the end, if a configuration
        failed.
    """
    options = _parser().parse_intermixed_args(arguments)
    root = find_root()
    clock = _Clock()
    plan = read_plan(options.overrides, multirun=options.multirun)
    with ThreadPoolExecutor(1) as pool:  # MLflow's import takes as long as DVC's look at the data
        preparing = pool.submit(prepare_data, plan.configurations, root)
        connection = connect(root, REMEDY)
        data = preparing.result()
    children = ConfigurationRuns(connection)
    clock.note("start")
    keys = {find_keys(settings, data[name_data(settings)], plan.sweep): settings for settings in plan.configurations}
    for (key, context), settings in keys.items():
        children.want(settings, key, context)
    # draw.seed changes nothing for pictures that are not drawn: one configuration for each key
    plan = replace(plan, configurations=list(keys.values()))
    for files in data.values():
        _assign_folds(files, plan.sweep)  # too few pictures for the folds: before anything is trained
    parent_id = open_sweep(connection, children, plan)
    clock.note("looking up")
    children.begin()
    total, reused = len(plan.configurations), len(children.finished)
    held_out = f"{plan.sweep.folds} folds" if plan.sweep.folds else "nothing held out"
    print(f"{total:,} configurations, {held_out}; {reused:,} are there already", flush=True)
    try:
        with _sharing(plan, children, parent_id, data) as state_file:
            _CHILDREN[state_file] = children
            with sweep_bar(total, _BAR, already=reused) as _BARS[state_file]:
                _start_hydra(plan, root, multirun=options.multirun)
            children.look_again()
        clock.note("recording", training=children.seconds)
        keep_models(connection, children, plan.sweep.keep_models, lambda settings: _train_exactly(settings, data))
        clock.note("models kept")
        close_sweep(connection, children, parent_id, plan, data)
        clock.note("summary")
    except BaseException:
        print(
            f"one-neuron: {len(children.finished):,} of {total:,} configurations are recorded; the same command again "
            "goes on from there",
            file=sys.stderr,
        )
        with suppress(Exception):  # what stopped us matters more
            abandon_sweep(connection, parent_id)
        raise
    entries = list(children.entries.values())
    for line in summary_lines(entries, swept=plan.swept, place=connection.store.place, sweep_id=parent_id):
        print(line)
    print(clock)
    failed = next((entry for entry in entries if entry.status == FAILED), None)
    if failed is not None:
        words = name_configuration(failed.settings, plan.swept)
        raise EnvironmentProblem(f"{words} failed ({failed.reason}); the same command again tries it again")


def run_job(config: Any) -> float | None:
    """Train and record the configurations of one Hydra job: a batch of the vectorized sweeper, or its own values.

    Parameters
    ----------
    config : mapping
        As Hydra composed it.

    Returns
    -------
    float or None
        The best validation accuracy among them, for sweepers that want to know.
    """
    state_file = find_state()
    state = load_state(state_file)
    if "batch" in config:
        configurations = load_batch(state_file, config["batch"])
    else:
        values = {section: dict(config[section]) for section in config if section != "sweep"}
        configurations = [check_settings(values, origin="the sweep")]
    if state_file not in _CHILDREN:  # another process than the one that started the sweep
        _CHILDREN[state_file] = ConfigurationRuns(connect(state.root, REMEDY))
    children = _CHILDREN[state_file]
    keys = []
    for settings in configurations:
        key, context = find_keys(settings, state.files_of(settings), state.sweep)
        children.want(settings, key, context)
        keys.append(key)
    missing = {
        key: settings
        for key, settings in zip(keys, configurations, strict=True)
        if key not in state.finished | children.finished
    }
    if missing:
        started = time.monotonic()
        outcomes = _screen(list(missing.values()), state)
        children.seconds += time.monotonic() - started
        with _bar_of(state_file, state.total, already=len(children.finished)) as show:
            children.record(
                state.parent_id,
                list(zip(missing, outcomes, strict=True)),
                sweep=state.sweep,
                swept=state.swept,
                on_progress=lambda: show(len(children.finished), _describe_best(children)),
            )
    best = find_best(children.entries[key] for key in keys if key in children.entries)
    return best.metrics.get("validation_accuracy") if best else None


def pack_jobs(overrides: Sequence[str], values: Mapping[str, Any]) -> int:
    """Expand the grid, drop what is finished, and pack the rest into batches that share a matrix each.

    Parameters
    ----------
    overrides : sequence of str
        As Hydra hands them to a sweeper.
    values : mapping
        The sections of params.yaml as it composed them.

    Returns
    -------
    int
        The number of batches; `+batch=0` and so on name them to `run_job`.
    """
    state_file = find_state()
    state = load_state(state_file)
    missing: dict[str, list[Settings]] = {}
    for settings in expand(overrides, values):
        key, _ = find_keys(settings, state.files_of(settings), state.sweep)
        if key not in state.finished:
            missing.setdefault(name_data(settings), []).append(settings)
    batches = []
    for name, group in missing.items():
        m, n_x = load_data(state.data[name])[0].X.shape
        packed = plan_batches([settings.train for settings in group], m=m, n_x=n_x, folds=state.sweep.folds)
        batches += [[group[index] for index in batch] for batch in packed]
    save_batches(state_file, batches)
    return len(batches)


class _Clock:
    """Where the time goes."""

    def __init__(self) -> None:
        self._parts: dict[str, float] = {}
        self._last = time.monotonic()

    def note(self, name: str, **parts: float) -> None:
        """Add the time since the last note, less what other parts took of it."""
        now = time.monotonic()
        self._parts |= parts
        self._parts[name] = now - self._last - sum(parts.values())
        self._last = now

    def __str__(self) -> str:
        """Return one line."""
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts.items())
        return f"took {sum(self._parts.values()):.1f} s: {parts}"


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="pipeline/sweep.py",
        description="Try many configurations, compare them by cross-validation, record each as an MLflow run.",
        epilog="Sweep syntax: 0.001,0.01 or range(500,2001,500) or geomspace(0.0001,0.01,20) or choice(...).",
        allow_abbrev=False,
    )
    parser.add_argument("-m", "--multirun", action="store_true", help="try all combinations of the values")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUES",
        help="for instance train.learning_rate=0.001,0.01; or sweep=NAME for conf/sweep/NAME.yaml",
    )
    return parser


@contextmanager
def _bar_of(state_file: Path, total: int, *, already: int) -> Iterator[Callable[[int, str], None]]:
    """Give the bar of the sweep; a job in another process has one of its own."""
    if state_file in _BARS:
        yield _BARS[state_file]
        return
    with sweep_bar(total, _BAR, already=already) as show:
        yield show


@contextmanager
def _sharing(plan: Plan, children: ConfigurationRuns, parent_id: str, data: Mapping[str, DataFiles]) -> Iterator[Path]:
    """Write down what the jobs have to know, and name the file in the environment."""
    state = SweepState(
        root=children.connection.root,
        parent_id=parent_id,
        finished=frozenset(children.finished),
        swept=plan.swept,
        sweep=plan.sweep,
        data=data,
        total=len(plan.configurations),
    )
    state_file = state.save()
    os.environ[VARIABLE] = str(state_file)
    try:
        yield state_file
    finally:
        del os.environ[VARIABLE]
        _CHILDREN.pop(state_file, None)
        _BARS.pop(state_file, None)
        remove_state(state_file)


def _start_hydra(plan: Plan, root: Path, *, multirun: bool) -> None:
    """Hand over to Hydra, which asks the sweeper, which asks the launcher, which calls `run_job`."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    arguments, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [arguments[0], *(["--multirun"] if multirun else []), *plan.overrides]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed
    try:
        hydra.main(config_path=str(root / CONF_FOLDER), config_name="config", version_base="1.3")(run_job)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"Hydra cannot run this: {one_line(error)}") from error
    finally:
        sys.argv = arguments
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _screen(configurations: Sequence[Settings], state: SweepState) -> list[Outcome | str]:
    """Train configurations that share their pictures; say of each what came out, or of all why it failed."""
    files = state.files_of(configurations[0])
    train, test = load_data(files)
    settings = [configuration.train for configuration in configurations]
    folds = _assign_folds(files, state.sweep)
    try:
        with sweep_bar(100, f"training {len(settings):,} configurations, percent") as show:
            outcomes = screen(
                train.X,
                train.Y,
                test.X,
                test.Y,
                settings,
                folds=folds,
                on_progress=lambda done, total: show(100 * done // total, ""),
            )
    except (MemoryError, OneNeuronError) as error:
        reason = one_line(error) or "out of memory; try fewer configurations or folds at once"
        return [reason] * len(settings)
    return list(outcomes)


@lru_cache(maxsize=4)  # as many as stay loaded; jobs come ordered by their pictures
def _assign_folds(files: DataFiles, sweep: SweepSettings) -> NDArray[np.int64] | None:
    """Return the fold of each training picture, copies together, None where nothing is held out."""
    if not sweep.folds:
        return None
    train, _ = load_data(files)
    originals = find_originals(row_digests(train.X))
    return assign_folds(train.Y, folds=sweep.folds, seed=sweep.seed, originals=originals)


def _describe_best(children: ConfigurationRuns) -> str:
    """Return the best so far, for the progress bar."""
    best = children.best
    if best is None:
        return ""
    accuracy = best.metrics.get("validation_accuracy")
    return f"best so far {accuracy:.1%}" if accuracy is not None else f"best cost {best.get_metric('final_cost'):.4f}"


def _train_exactly(settings: Settings, data: Mapping[str, DataFiles]) -> tuple[Model, PreparedSet, PreparedSet]:
    """Train a configuration as the stage `train` does, to the same bits."""
    train, test = load_data(data[name_data(settings)])
    checkpoint = CheckpointFile(training_inputs(train, settings.train))
    with training_bar(settings.train.num_iterations) as bar:
        model, _ = train_model(train, settings.train, on_progress=bar, checkpoint=checkpoint)
    checkpoint.remove()
    return model, train, test
