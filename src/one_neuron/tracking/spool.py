"""The spool: runs that could not be written to their store, kept until they can be sent.

A spool is an MLflow store like the default one, `mlflow.db` beside `mlartifacts`, in a folder of `.one-neuron/spool`
for each store that was out of reach. The same code writes it. Beside it lies `seals.json`: which runs wait, each with a
SHA-256 over everything that it shows (see `SpooledRun`), and which have been sent. Only sealed runs are sent, so a kill
at any moment leaves a run whole or not at all, and a changed bit is found before it reaches the store.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from one_neuron.errors import DataError, EnvironmentProblem, StoreOutage
from one_neuron.layout import MLFLOW_ARTIFACTS, WORK_FOLDER
from one_neuron.system.files import atomic_write
from one_neuron.tracking import sqlite_file
from one_neuron.tracking.connection import Connection, open_store
from one_neuron.tracking.outages import RECORD, Remedy
from one_neuron.tracking.spooled_run import find_unsealed, read_spooled
from one_neuron.tracking.store import Store, find_store, store_lock

SPOOL = WORK_FOLDER / "spool"
SEALS = "seals.json"
DATABASE = "mlflow.db"
KEPT = Remedy("run `make track` or `one-neuron track --all`", f"the result is kept in '{SPOOL}' until it can be sent")
_in_use: dict[Path, int] = {}  # the descriptors that keep a spool from being removed while this process writes it


@dataclass(frozen=True)
class Seals:
    """What lies in a spool.

    Parameters
    ----------
    place : str
        The store for which the runs wait, without a password.
    waiting : dict of str to str
        The SHA-256 of each run that waits, by its id in the spool.
    sent : dict of str to str
        The id in the store of each run that was sent, by its id in the spool.
    """

    place: str
    waiting: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)


def find_spool(root: Path, store: Store) -> Store:
    """Return the spool for a store; nothing is created."""
    root = root.resolve()
    folder = root / SPOOL / hashlib.sha256(store.place.encode()).hexdigest()[:16]
    database = folder / DATABASE
    return Store(
        uri=sqlite_file.sqlite_uri(database),
        place=str(database),
        artifact_location=(folder / MLFLOW_ARTIFACTS).as_uri(),
        database=database,
        lock_file=folder.with_suffix(".lock"),
        remedy=RECORD,
        waits_for=store.place,
    )


def connect_to_spool(root: Path, experiment: str, outage: StoreOutage) -> Connection:
    """Open the spool for the store that MLFLOW_TRACKING_URI names; create it if it does not exist.

    Raises
    ------
    StoreOutage
        If it cannot be used: the outage that made it necessary, with the reason.
    """
    spool = find_spool(root, find_store(root))
    with keeping(outage):
        with store_lock(spool), _spool_errors(spool):
            _use(spool)
        connection = open_store(root, spool, experiment)
        seal(connection, None)
    return connection


@contextmanager
def keeping(outage: StoreOutage) -> Iterator[None]:
    """Raise what goes wrong with the spool as a part of the outage that made it necessary."""
    try:
        yield
    except StoreOutage as problem:
        if problem.__cause__ is outage:
            raise
        raise RECORD.outage(f"{outage.problem}; nor can it be kept ({problem.problem})", outage.repair) from outage
    except EnvironmentProblem as problem:
        raise RECORD.outage(f"{outage.problem}; nor can it be kept ({problem})", outage.repair) from outage


def seal(connection: Connection, run_ids: Sequence[str] | None) -> None:
    """Mark runs of a spool as complete and waiting; None stands for those that a kill left unmarked.

    Nothing happens if the connection is not to a spool. The caller must not hold the spool's lock, which this takes.

    Raises
    ------
    StoreOutage
        If the spool cannot be written.
    """
    spool = connection.store
    if not spool.waits_for or spool.database is None:
        return
    folder = spool.database.parent
    with _spool_errors(spool), store_lock(spool):
        seals = read_seals(folder) or Seals(spool.waits_for)
        if run_ids is None:
            run_ids = find_unsealed(spool.database, seals.waiting.keys() | seals.sent.keys())
        new = {run.run_id: run.sha256 for run in read_spooled(spool.database, run_ids)}
        sent = {run_id: there for run_id, there in seals.sent.items() if run_id not in new}
        if new or not (folder / SEALS).exists():
            write_seals(folder, replace(seals, waiting=seals.waiting | new, sent=sent))


@contextmanager
def _spool_errors(spool: Store) -> Iterator[None]:
    """Raise what can go wrong with the files of a spool as StoreOutage."""
    try:
        yield
    except (OSError, sqlite3.Error, ValueError, DataError) as error:
        raise spool.remedy.outage(f"the spool '{spool.place}' cannot be written ({error})", "move it away") from error


def read_seals(folder: Path) -> Seals | None:
    """Return what lies in a spool; None if nothing was sealed there.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        content = json.loads((folder / SEALS).read_text(encoding="utf-8"))
        sha256 = content.pop("sha256")
        if sha256 == _digest(content):
            return Seals(**content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise DataError(f"'{folder / SEALS}' is damaged; see docs/results.md")


def write_seals(folder: Path, seals: Seals) -> None:
    """Write what lies in a spool. Its lock must be held."""
    content = asdict(seals)
    with atomic_write(folder / SEALS) as temporary:
        temporary.write_text(json.dumps(content | {"sha256": _digest(content)}, indent=1), encoding="utf-8")


def _digest(content: dict[str, object]) -> str:
    """Return the SHA-256 of what a file of seals says."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def find_waiting(root: Path) -> dict[str, int]:
    """Return the number of runs that wait, by the store for which they wait; damaged spools are left out."""
    found = {}
    for path in sorted((root / SPOOL).glob(f"*/{SEALS}")):
        if path.parent.suffix:  # it was moved aside
            continue
        with suppress(DataError):
            seals = read_seals(path.parent)
            if seals is not None and seals.waiting:
                found[seals.place] = len(seals.waiting)
    return found


def _use(spool: Store) -> None:
    """Keep a spool from being removed while this process lives. Its lock must be held."""
    path = _use_file(spool)
    if path not in _in_use:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        _in_use[path] = descriptor


def remove_spool(spool: Store, *, aside: bool = False) -> Path | None:
    """Delete a spool, or move it aside, unless a process may still write to it. Its lock must be held.

    Returns
    -------
    Path or None
        Where the spool lies now, if it was moved aside.
    """
    assert spool.database is not None
    folder, path = spool.database.parent, _use_file(spool)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if aside:
            target = next(one for i in range(1000) if not (one := folder.with_suffix(f".damaged-{i}")).exists())
            os.utime(folder)  # `prune_work_folder` counts from now
            return folder.rename(target)
        (folder / SEALS).unlink(missing_ok=True)  # first: without it, nothing waits
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)
    return None


def _use_file(spool: Store) -> Path:
    """Return the file that processes lock while they may write to a spool."""
    return spool.lock_file.with_suffix(".use")
