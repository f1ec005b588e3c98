"""Hydra's sweeper `hydra/sweeper=vectorized`: a job is a batch of configurations that are trained together.

Hydra finds plugins in the namespace package `hydra_plugins` only, and imports all of them at every start.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class VectorizedSweeper(Sweeper):
    """Hands one job for each batch to the launcher, without composing each job first as Hydra's basic sweeper does."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher that the configuration names."""
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run a job for each value of the only override, the indices of the batches; return what the jobs returned."""
        (override,) = OverridesParser.create().parse_overrides(arguments)
        jobs = [[f"{override.get_key_element()}={index}"] for index in override.sweep_string_iterator()]
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        for done in returns:
            if done.status == JobStatus.FAILED:
                raise done._return_value  # `return_value` would also print a line
        return [done.return_value for done in returns]
