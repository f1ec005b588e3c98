"""Run a stage of the pipeline: what all stages have in common around the work of each."""

from collections.abc import Callable

from one_neuron.system.command import run_command


def run_stage(main: Callable[[], None]) -> int:
    """Run the work of a stage in the current folder; return the exit code of `run_command`."""
    return run_command(main)
