"""First starts of many processes on a store that does not exist yet, and kills in the middle of its creation.

python -m tests.faults.fresh_stores --processes 32 --stores 20 --kills 50

Each process opens the store and writes a run, as `track` does. No process may fail, and the store must hold one run of
each. After a kill at a random moment of the first creation, the next start must work and leave no file of the killed
one. The empty tables, which an environment keeps for its next store, are made anew each time, so that the migrations
are part of what is interrupted. tests/integration/test_tracking.py has a short form.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from one_neuron.tracking import store
from one_neuron.tracking.connection import connect
from one_neuron.tracking.sqlite_file import check_database, remove_database
from one_neuron.tracking.store import ensure_store, prepare_mlflow, store_lock
from tests.e2e.conftest import ROOT
from tests.faults.project import Counts, Workshop

KILLS = 10  # in one case of `make faults`


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
    first, _, rest = done.stdout.partition(" first starts")
    kills = rest.partition(" and ")[2].partition(" ")[0]
    return Counter({"first starts": int(first), "kills": int(kills)}) + Counter()


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


def kill_first_start(root: Path, seconds: float) -> tuple[bool, list[str]]:
    """Kill the first start after some seconds, and start again; return whether it was killed, and what went wrong."""
    child = os.fork()
    if child == 0:
        ensure_store(root)
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        database = ensure_store(root).database
        assert database is not None
        check_database(database)
        left = {path.name for path in (root / ".one-neuron").iterdir()} - {"store.lock"}
        return killed, [f"left behind: {sorted(left)}"] if left else []
    except Exception as error:  # noqa: BLE001 - whatever it is, this looks for it
        return killed, [repr(error)]


def measure_creation(root: Path) -> float:
    """Return the seconds that a first creation takes, migrations included."""
    start = time.monotonic()
    ensure_store(root)
    return time.monotonic() - start


def run(processes: int, stores: int, kills: int, seed: int) -> dict[str, int]:
    """Play all of it; return counts: of starts, of kills that hit the creation, and of failures, which are printed."""
    prepare_mlflow()
    import alembic.command  # noqa: F401  (or the first child alone would import it)
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    rng, counts = random.Random(seed), {"starts": 0, "kills": 0, "failures": 0}
    with tempfile.TemporaryDirectory(prefix="one-neuron-faults-") as name:
        folder = Path(name)
        store.EMPTY_STORES = folder / "environment"  # not that of this environment
        longest = measure_creation(folder / "measured")
        for number in range(stores):
            _forget_tables()
            problems = start_together(folder / f"store-{number}", processes)
            counts["starts"] += processes
            _report(f"store {number}", problems, counts)
        number = 0
        while counts["kills"] < kills and number < 10 * kills:
            _forget_tables()
            killed, problems = kill_first_start(folder / f"kill-{number}", rng.uniform(0, 1.1 * longest))
            counts["kills"] += killed
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
    counts["failures"] += len(problems)


def main() -> int:
    """Read the command line, and print the counts; return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("processes", 32), ("stores", 20), ("kills", 50), ("seed", 1)):
        parser.add_argument(f"--{option}", type=int, default=default, help="default: %(default)s")
    options = parser.parse_args()
    counts = run(options.processes, options.stores, options.kills, options.seed)
    print(
        f"{counts['starts']} first starts, {options.processes} at once, and {counts['kills']} kills during a first "
        f"creation: {counts['failures']} failures"
    )
    return int(counts["failures"] > 0)


if __name__ == "__main__":
    sys.exit(main())
