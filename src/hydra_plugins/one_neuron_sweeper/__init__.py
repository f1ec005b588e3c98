"""Hydra's way to `hydra/sweeper=vectorized`: a job is a batch of configurations that share a matrix.

Hydra finds plugins in the namespace package `hydra_plugins` alone, and imports them all at every start: what takes time
is imported where it is needed.
"""

from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class VectorizedSweeper(Sweeper):
    """Expands the grid without composing each point, drops what is finished, and hands the rest out in batches.

    The jobs go to whatever launcher is set. It works only within a sweep of `one_neuron.sweep.command`, which has
    looked up what is finished.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Get the launcher that the configuration names."""
        self.config = config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[Any]:
        """Run all that is missing.

        Parameters
        ----------
        arguments : list of str
            The overrides, with lists of values.

        Returns
        -------
        sequence
            What the jobs returned.
        """
        from one_neuron.sweep.command import pack_jobs

        assert self.config is not None  # Hydra calls setup first
        sections = [section for section in self.config if section not in ("hydra", "sweep")]
        values = {str(section): OmegaConf.to_container(self.config[section], resolve=True) for section in sections}
        jobs = [[f"+batch={number}"] for number in range(pack_jobs(arguments, values))]
        returns = self.launcher.launch(jobs, initial_job_idx=0) if jobs else []
        for done in returns:
            if done.status == JobStatus.FAILED:
                raise done._return_value  # as it is; `return_value` would print a page first
        return [done.return_value for done in returns]
