"""Hydra as an application: its command line, what its options print, and its launchers, which run the jobs of a sweep.

Hydra reads the command line from sys.argv and takes it apart with a parser of its own; both are used here, so that
every option means what it means in any other Hydra application.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from one_neuron.errors import SettingsError, one_line
from one_neuron.sweep.compose import CONF_FOLDER
from one_neuron.sweep.jobs import SweepJobs
from one_neuron.sweep.overrides import write_out

_PRINTS = ("help", "hydra_help", "cfg", "info", "shell_completion")  # options that print something instead of running
_REFUSED = ("config_path", "config_name", "config_dir", "experimental_rerun")


def read_command_line(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options and overrides of a command line, as Hydra's own parser reads them.

    Raises
    ------
    SettingsError
        If an option asks for another configuration than that of the project.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "pipeline/sweep.py"
    options = parser.parse_intermixed_args(arguments)
    for name in _REFUSED:
        if getattr(options, name) is not None:
            raise SettingsError(
                f"--{name.replace('_', '-')} is not supported; values come from params.yaml, conf/ and overrides, and "
                "sweep=NAME names a file of conf/sweep"
            )
    return options


def print_instead(options: argparse.Namespace, arguments: Sequence[str], root: Path) -> bool:
    """Print what --help, --hydra-help, --cfg, --info or -sc asks for; return False if there is none of them.

    Raises
    ------
    SettingsError
        If Hydra cannot do it.
    """
    if not any(getattr(options, name) for name in _PRINTS):
        return False

    def run_nothing(_: Mapping[str, Any]) -> None:
        """Stand in for the task, which Hydra does not call."""

    try:
        _run_hydra(run_nothing, [write_out(argument) for argument in arguments], root)
    except SystemExit as end:  # how Hydra ends after printing help
        if end.code:
            raise
    except ValueError as error:  # options that exclude each other
        raise SettingsError(one_line(error)) from error
    return True


def start_jobs(jobs: SweepJobs, overrides: Sequence[str]) -> None:
    """Have Hydra's sweeper and launcher call `jobs` once for each batch.

    Raises
    ------
    SettingsError
        If Hydra cannot compose its configuration or find the sweeper or the launcher.
    """
    _run_hydra(jobs, ["--multirun", *overrides, f"+batch=range({len(jobs.batches)})"], jobs.root)


def _run_hydra(task: Any, arguments: Sequence[str], root: Path) -> None:
    """Run Hydra on a command line."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _as_command_line(arguments):
            hydra.main(config_path=str(root / CONF_FOLDER), config_name="config", version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingsError(f"Hydra cannot run this: {one_line(error)}") from error


@contextmanager
def _as_command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Replace the command line, which Hydra reads, and have Hydra raise errors instead of printing them."""
    before, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [before[0], *arguments]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        sys.argv = before
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
