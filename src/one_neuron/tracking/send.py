"""Send what waits in the spool to its store, each run once.

A run is found in the store by the same tag as ever, so whatever the store had taken before it failed is completed, and
two senders write nothing twice: they take turns by the spool's lock, a few runs at a time. A run leaves the list of
those that wait when the store has confirmed that it is finished.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from one_neuron.errors import DataError, StoreOutage
from one_neuron.tracking import http_limits
from one_neuron.tracking import tags as tag
from one_neuron.tracking.connection import Connection, find_experiment, mlflow_errors
from one_neuron.tracking.copy_run import Translation, copy_configurations, copy_result, copy_sweep, find_sweep
from one_neuron.tracking.spool import SEALS, Seals, find_spool, read_seals, remove_spool, write_seals
from one_neuron.tracking.spooled_run import SpooledRun, read_kinds, read_spooled
from one_neuron.tracking.sqlite_file import follow_move, read_experiments
from one_neuron.tracking.store import Store, store_lock
from one_neuron.tracking.views import copy_views

_AT_ONCE = 50  # runs that are sent under one lock: a few seconds
_ORDER = ("result", "configuration", "sweep")  # a sweep names its best configuration


@dataclass
class Sent:
    """What was sent from a spool.

    Attributes
    ----------
    number : int
        Of runs.
    damaged : set of str
        The ids in the spool of runs that are not as they were written.
    aside : Path or None
        Where the spool with the damaged runs lies now.
    """

    number: int = 0
    damaged: set[str] = field(default_factory=set)
    aside: Path | None = None

    @property
    def warning(self) -> str:
        """What to tell about damaged runs; "" if there are none."""
        if not self.damaged:
            return ""
        place = f"; they were moved to '{self.aside}'" if self.aside else ""
        return (
            f"of the runs that were kept to be sent, some are damaged ({', '.join(sorted(self.damaged)[:3])}) and were "
            f"not sent{place}; go back to the commit or the parameters of such a result and run `dvc repro`, or run "
            "the same sweep again"
        )


def count_runs(number: int) -> str:
    """Return a number of runs with its verb: "1 run is", "2 runs are"."""
    return "1 run is" if number == 1 else f"{number:,} runs are"


def send_spool(connection: Connection) -> Sent:
    """Send the runs that wait for the store of a connection, and remove the spool when nothing is left of it.

    Raises
    ------
    StoreOutage
        If the store cannot be used; the runs that were not sent wait on.
    """
    spool, sent = find_spool(connection.root, connection.store), Sent()
    assert spool.database is not None
    folder = spool.database.parent
    while folder.is_dir():
        with store_lock(spool):
            try:
                seals = read_seals(folder)
            except DataError:
                sent.damaged.add(SEALS)
                seals = None
            batch = _read_batch(spool, seals, sent.damaged) if seals else []
            if seals is None or not batch:
                sent.aside = remove_spool(spool, aside=bool(sent.damaged))
                break
            there = _send(connection, spool, batch, seals.sent)
            waiting = {key: value for key, value in seals.waiting.items() if key not in there}
            write_seals(folder, replace(seals, waiting=waiting, sent=seals.sent | there))
        sent.number += len(batch)
    return sent


def _read_batch(spool: Store, seals: Seals, damaged: set[str]) -> list[SpooledRun]:
    """Return the next runs to send, all of one kind; add the ids of damaged ones."""
    assert spool.database is not None
    assert spool.artifact_location is not None
    batch: list[SpooledRun] = []
    try:
        follow_move(spool.database, spool.artifact_location)
        kinds = read_kinds(spool.database)
    except (StoreOutage, sqlite3.Error):
        damaged.update(seals.waiting)
    names = [name for name in seals.waiting if name not in damaged]
    for name in sorted(names, key=lambda name: _ORDER.index(kinds.get(name, _ORDER[0]))):
        try:
            (run,) = read_spooled(spool.database, [name])
            if run.sha256 != seals.waiting[name]:
                raise ValueError
        except (sqlite3.Error, OSError, ValueError, TypeError):
            damaged.add(name)
            continue
        if len(batch) == _AT_ONCE or (batch and batch[0].kind != run.kind):
            break
        batch.append(run)
    return batch


def _send(connection: Connection, spool: Store, batch: Sequence[SpooledRun], known: dict[str, str]) -> dict[str, str]:
    """Write runs of one kind into the store; return their ids there by those in the spool."""
    assert spool.database is not None
    http_limits.BUDGET.restart()
    with mlflow_errors(connection.store), store_lock(connection.store):
        number = find_experiment(connection.client, connection.store, batch[0].experiment)
        target, kind = replace(connection, experiment_id=number), batch[0].kind
        if kind == "result":
            there = {run.run_id: copy_result(target, run) for run in batch}
        elif kind == "configuration":
            parents = {run.tags.get(tag.PARENT, "") for run in batch}
            sweeps = {run.run_id: find_sweep(target, run) for run in read_spooled(spool.database, parents)}
            there = copy_configurations(target, batch, sweeps)
        else:
            translation = Translation(known, {batch[0].experiment_id: number})
            there = {run.run_id: copy_sweep(target, run, translation) for run in batch}
        name, translation = batch[0].experiment, Translation(known | there, {batch[0].experiment_id: number})
        copy_views(target, read_experiments(spool.database)[name][1], translation.text)
    return there
