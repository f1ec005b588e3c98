"""A sweep from its command line to its summary.

The grid is expanded once, before anything is trained. What is missing is packed into batches, Hydra hands each batch to
a launcher as a job, and the jobs record one MLflow run for each configuration.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from one_neuron.errors import EnvironmentProblem, SettingsError, one_line
from one_neuron.sweep.compose import CONF_FOLDER
from one_neuron.sweep.configuration import Configuration, find_keys
from one_neuron.sweep.configuration_runs import REMEDY, ConfigurationRuns
from one_neuron.sweep.jobs import SweepJobs, find_folds, pack_batches
from one_neuron.sweep.plan import Plan, read_plan
from one_neuron.sweep.prepared_data import name_data, prepare_data
from one_neuron.sweep.ranking import FAILED
from one_neuron.sweep.summary import name_configuration, summary_lines
from one_neuron.sweep.sweep_run import abandon_sweep, close_sweep, keep_models, open_sweep
from one_neuron.system.files import find_root
from one_neuron.system.progress import sweep_bar
from one_neuron.tracking.connection import connect


def run_sweep(arguments: Sequence[str]) -> None:
    """Run a sweep: `python pipeline/sweep.py -m train.learning_rate=0.001,0.01`.

    Raises
    ------
    SettingsError, DataError, EnvironmentProblem
        Before anything is trained, if a value, the pictures or the store do not fit; at the end, if a configuration
        failed.
    """
    options = _parser().parse_intermixed_args(arguments)
    root = find_root()
    clock = {"": time.monotonic()}  # the end of each part of the sweep
    plan = read_plan(options.overrides, multirun=options.multirun)
    with ThreadPoolExecutor(1) as pool:  # importing MLflow takes as long as DVC's check of the data
        preparing = pool.submit(prepare_data, plan.configurations, root)
        connection = connect(root, REMEDY)
        data = preparing.result()
    clock["start"] = time.monotonic()
    by_key: dict[str, Configuration] = {}  # draw.seed changes nothing for pictures that are not drawn: the same key
    for settings in plan.configurations:
        files = data[name_data(settings)]
        key, context = find_keys(settings, files, plan.sweep)
        by_key[key] = Configuration(settings, files, key, context)
    for files in data.values():
        find_folds(files, plan.sweep)  # fails before anything is trained if a class has too few pictures
    runs = ConfigurationRuns(connection, by_key.values())
    parent_id = open_sweep(runs, plan)
    clock["looking up"] = time.monotonic()
    total, reused = len(runs.requested), len(runs.finished)
    held_out = f"{plan.sweep.folds} folds" if plan.sweep.folds else "nothing held out"
    print(f"{total:,} configurations, {held_out}; {reused:,} are there already", flush=True)
    try:
        clock["training"] = clock["looking up"] + _run_jobs(plan, runs, parent_id)
        clock["recording"] = time.monotonic()
        keep_models(runs, plan.sweep.keep_models)
        clock["models kept"] = time.monotonic()
        close_sweep(runs, parent_id, plan)
        clock["summary"] = time.monotonic()
    except BaseException:
        print(
            f"one-neuron: {len(runs.finished):,} of {total:,} configurations are recorded; the same command again "
            "goes on from there",
            file=sys.stderr,
        )
        with suppress(Exception):  # the first error is the one to show
            abandon_sweep(connection, parent_id)
        raise
    entries = list(runs.entries.values())
    place = connection.store.place
    for line in summary_lines(entries, reused=reused, swept=plan.swept, place=place, sweep_id=parent_id):
        print(line)
    parts = [f"{end} {clock[end] - clock[begin]:.1f}" for begin, end in itertools.pairwise(clock)]
    print(f"took {clock['summary'] - clock['']:.1f} s: {', '.join(parts)}")
    failed = next((entry for entry in entries if entry.status == FAILED), None)
    if failed is not None:
        words = name_configuration(failed.settings, plan.swept)
        raise EnvironmentProblem(f"{words} failed ({failed.reason}); the same command again tries it again")


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
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


def _run_jobs(plan: Plan, runs: ConfigurationRuns, parent_id: str) -> float:
    """Train and record what is missing; return the seconds that training took in this process."""
    finished = runs.finished
    missing = [configuration for key, configuration in runs.requested.items() if key not in finished]
    batches = pack_batches(missing, folds=plan.sweep.folds, one_by_one=plan.one_by_one)
    if not batches:
        return 0.0
    with sweep_bar(len(runs.requested), "configurations recorded", already=len(finished)) as show:
        jobs = SweepJobs(
            root=runs.connection.root,
            parent_id=parent_id,
            sweep=plan.sweep,
            swept=plan.swept,
            batches=batches,
            runs=runs,
            on_progress=lambda: show(len(runs.finished), _best_note(runs)),
        )
        _start_hydra(jobs, plan.hydra)
    runs.refresh_under_lock()  # the jobs may have run in other processes
    return jobs.seconds


def _start_hydra(jobs: SweepJobs, overrides: Sequence[str]) -> None:
    """Have Hydra's sweeper and launcher call `jobs` once for each batch."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    arguments, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [arguments[0], "--multirun", *overrides, f"+batch=range({len(jobs.batches)})"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them
    folder = str(jobs.root / CONF_FOLDER)
    try:
        hydra.main(config_path=folder, config_name="config", version_base="1.3")(jobs)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"Hydra cannot run this: {one_line(error)}") from error
    finally:
        sys.argv = arguments
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _best_note(runs: ConfigurationRuns) -> str:
    """Return the score of the best configuration so far, for the progress bar."""
    best = runs.best
    if best is None:
        return ""
    accuracy = best.metrics.get("validation_accuracy")
    return f"best so far {accuracy:.1%}" if accuracy is not None else f"best cost {best.get_metric('final_cost'):.4f}"
