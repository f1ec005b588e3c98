"""First starts of many processes on a store that does not exist yet, and kills in the middle of its creation.

python -m tests.faults.fresh_stores --processes 32 --stores 20 --kills 50

Each process opens the store and writes a run, as `track` does. No process may fail, and the store must hold one run of
each. After a kill at a random moment of the first creation, the next start must work and leave no file of the killed
one. The empty tables, which an environment keeps for its next store, are made anew each time. Kills go on until the
number that is asked for hit a database that had its first table and not yet its last migration; the others count
separately. tests/integration/test_tracking.py runs a short form.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import closing
from pathlib import Path

from one_neuron.tracking import store
from one_neuron.tracking.connection import connect
from one_neuron.tracking.sqlite_file import check_database, remove_database
from one_neuron.tracking.store import ensure_store, prepare_mlflow, store_lock
from tests.e2e.conftest import ROOT
from tests.faults.project import Counts, Workshop

KILLS = 10  # in one case of `make faults`
MIGRATING, ELSEWHERE = "kills between the first table and the last migration", "kills before or after"
STARTS, FAILURES = "first starts", "failures"


def play_starts(_: Workshop, number: int, _chance: random.Random) -> Counts:
    """Play one store of the program; see above."""
    return _play("--stores", "1", "--kills", "0", "--seed", str(number))


def play_kills(_: Workshop, number: int, _chance: random.Random) -> Counts:
    """Play KILLS kills of the program."""
    return _play("--stores", "0", "--kills", str(KILLS), "--seed", str(number))


def _play(*arguments: str) -> Counts:
    """Run this program in a process of its own; return the counts."""
    command = [sys.executable, "-m", "tests.faults.fresh_stores", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return +Counter(json.loads(done.stdout))


def start_together(root: Path, processes: int) -> list[str]:
    """Start processes that open the store of `root` at the same moment; return what went wrong."""
    ready, go = os.pipe()
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(ready, 1)  # until the other end is closed
            os._exit(_open_and_write(root, number))
        children.append(child)
    os.close(ready)
    os.close(go)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    problems = [f"process {number} ended with {code}" for number, code in enumerate(codes) if code]
    connection = connect(root)
    runs = connection.client.search_runs([connection.experiment_id])
    if sorted(run.info.run_name for run in runs) != sorted(f"run {number}" for number in range(processes)):
        problems.append(f"the store has {len(runs)} runs instead of {processes}")
    return problems


def _open_and_write(root: Path, number: int) -> int:
    """Open the store and write a run; return an exit code."""
    try:
        connection = connect(root)
        with store_lock(connection.store):
            run = connection.client.create_run(connection.experiment_id, run_name=f"run {number}")
            connection.client.set_terminated(run.info.run_id)
    except Exception:  # noqa: BLE001 - reported, and counted as a failure
        traceback.print_exc()
        return 1
    return 0


def kill_first_start(root: Path, seconds: float, last: str) -> tuple[str, list[str]]:
    """Kill the first start after some seconds, and start again.

    Parameters
    ----------
    root : Path
        An empty project.
    seconds : float
        When.
    last : str
        The revision of a complete database.

    Returns
    -------
    str
        MIGRATING or ELSEWHERE; "" if the process ended first.
    list of str
        What went wrong.
    """
    child = os.fork()
    if child == 0:
        ensure_store(root)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    killed = ""
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
        killed = MIGRATING if any(_is_half_made(path, last) for path in _find_partial()) else ELSEWHERE
    try:
        database = ensure_store(root).database
        assert database is not None
        check_database(database)
        left = {path.name for path in (root / ".one-neuron").iterdir()} - {"store.lock"}
        left |= {path.name for path in _find_partial()}
        return killed, [f"left behind: {sorted(left)}"] if left else []
    except Exception as error:  # noqa: BLE001 - whatever it is, this looks for it
        return killed, [repr(error)]


def _find_partial() -> list[Path]:
    """Return the databases with empty tables that are not complete."""
    return sorted(store.EMPTY_STORES.glob(".partial-*.db"))


def _is_half_made(path: Path, last: str) -> bool:
    """Return whether a killed database has tables and not its last migration; only a copy of it is opened."""
    with tempfile.TemporaryDirectory(prefix="one-neuron-faults-") as folder:
        for each in path.parent.glob(f"{path.name}*"):  # with the journal, which SQLite rolls back
            shutil.copyfile(each, Path(folder, each.name))
        with closing(sqlite3.connect(Path(folder, path.name))) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            has_revision = "alembic_version" in tables
            found = database.execute("SELECT version_num FROM alembic_version").fetchall() if has_revision else []
    return bool(tables) and found != [(last,)]


def measure_creation(root: Path) -> tuple[float, str]:
    """Return the seconds that a first creation takes, migrations included, and the revision of the database."""
    start = time.monotonic()
    database = ensure_store(root).database
    assert database is not None
    return time.monotonic() - start, check_database(database)


def run(processes: int, stores: int, kills: int, seed: int) -> dict[str, int]:
    """Play all of it; return the counts of starts, of both sorts of kills, and of failures, which are printed."""
    prepare_mlflow()
    import alembic.command  # noqa: F401  (or the first child alone would import it)
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    rng, counts = random.Random(seed), {STARTS: 0, MIGRATING: 0, ELSEWHERE: 0, FAILURES: 0}
    with tempfile.TemporaryDirectory(prefix="one-neuron-faults-") as name:
        folder = Path(name)
        store.EMPTY_STORES = folder / "environment"  # not that of this environment
        longest, last = measure_creation(folder / "measured")
        for number in range(stores):
            _forget_tables()
            problems = start_together(folder / f"store-{number}", processes)
            counts[STARTS] += processes
            _report(f"store {number}", problems, counts)
        number = 0
        while counts[MIGRATING] < kills and number < 10 * kills:
            _forget_tables()
            killed, problems = kill_first_start(folder / f"kill-{number}", rng.uniform(0, 1.1 * longest), last)
            if killed:
                counts[killed] += 1
            _report(f"kill {number}", problems, counts)
            number += 1
    return counts


def _forget_tables() -> None:
    """Delete the empty tables of the environment."""
    for path in list(store.EMPTY_STORES.glob("mlflow-*.db")):
        remove_database(path)


def _report(what: str, problems: list[str], counts: dict[str, int]) -> None:
    """Print and count problems."""
    for problem in problems:
        print(f"{what}: {problem}", file=sys.stderr)
    counts[FAILURES] += len(problems)


def main() -> int:
    """Read the command line, and print the counts; return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("processes", 32), ("stores", 20), ("kills", 50), ("seed", 1)):
        parser.add_argument(f"--{option}", type=int, default=default, help="default: %(default)s")
    options = parser.parse_args()
    counts = run(options.processes, options.stores, options.kills, options.seed)
    print(json.dumps(counts))
    return int(counts[FAILURES] > 0 or counts[MIGRATING] < options.kills)


if __name__ == "__main__":
    sys.exit(main())
