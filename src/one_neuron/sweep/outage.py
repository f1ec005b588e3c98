"""A sweep whose store cannot be used goes on with the spool, and says at its end what is to be sent."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from one_neuron.errors import StoreOutage
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.configuration_runs import REMEDY, ConfigurationRuns
from one_neuron.tracking.connection import connect
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.send import count_runs, send_spool
from one_neuron.tracking.spool import SPOOL, connect_to_spool
from one_neuron.tracking.sqlite_file import SWEEPS

KEPT = Remedy(
    "run the same command or `one-neuron track --all`", f"the sweep is kept in '{SPOOL}' until it can be sent"
)
Value = TypeVar("Value")


def open_runs(root: Path, configurations: Iterable[Configuration]) -> ConfigurationRuns:
    """Open the store of the repository `root`, or the spool if the store cannot be used.

    Raises
    ------
    EnvironmentProblem
        If neither can be used.
    """
    try:
        return ConfigurationRuns(connect(root, REMEDY, experiment=SWEEPS), configurations)
    except StoreOutage as outage:
        runs = ConfigurationRuns(connect_to_spool(root, SWEEPS, outage), configurations)
        runs.outage = outage
        return runs


def or_in_spool(runs: ConfigurationRuns, action: Callable[[], Value]) -> Value:
    """Do something with the store; if it cannot be used, do it with the spool."""
    try:
        return action()
    except StoreOutage as outage:
        runs.use_spool(outage)
        return action()


def send_kept(runs: ConfigurationRuns) -> None:
    """Send what waits for the store, so that it is found there: of earlier commands, and of jobs in other processes."""
    if runs.connection.store.waits_for:
        return
    sent = send_spool(runs.connection)
    if sent.number:
        print(f"{count_runs(sent.number)} sent that had been kept")
    if sent.damaged:
        print(f"one-neuron: warning: {sent.warning}", file=sys.stderr)


def raise_outage(runs: ConfigurationRuns) -> None:
    """Raise StoreOutage if the runs of a sweep are in the spool."""
    if runs.outage is not None:
        raise KEPT.outage(runs.outage.problem, runs.outage.repair)
