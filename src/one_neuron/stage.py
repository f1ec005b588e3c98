"""Run a stage of the pipeline: what all stages have in common around the work of each."""

import sys
from collections.abc import Callable
from pathlib import Path

from one_neuron.dvc_repair import damage_set_aside
from one_neuron.system.command import run_command
from one_neuron.system.memory import check_start


def run_stage(main: Callable[[], None]) -> int:
    """Run the work of a stage in the current folder; return the exit code of `run_command`."""

    def work() -> None:
        check_start(Path(sys.argv[0]).stem)
        with damage_set_aside():
            main()

    return run_command(work)
