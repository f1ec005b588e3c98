"""A fresh MLflow store: many processes that need it at once, and kills while it is made."""

import json
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.faults.project import Case, Counts, Workshop, read_runs
from tests.results import write_result

PROCESSES = 32
KILLS = 10  # in one case

# Both programs import MLflow once, before their children need it.
_START = """
import json, os, random, signal, sys, time, traceback
from pathlib import Path
from one_neuron.tracking import store
from one_neuron.tracking.record import record_result
store.prepare_mlflow()
import alembic.command, mlflow.store.tracking.sqlalchemy_store
root, number, seed = Path.cwd(), int(sys.argv[1]), sys.argv[2]
store.EMPTY_STORES = root.parent / "environment"  # no template from the set-up: the tables are made here
"""
_CROWD = (
    _START
    + """
children = []
begin = time.time() + 0.3
for _ in range(number):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            time.sleep(max(0, begin - time.time()))
            record_result(root, root)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    children.append(child)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""
)
_KILLS = (
    _START
    + """
from one_neuron.tracking.sqlite_file import remove_database
chance, killed, length = random.Random(seed), 0, 1.0
while killed < number:
    child = os.fork()
    started = time.monotonic()
    if child == 0:
        store.ensure_store(root)
        os._exit(0)
    time.sleep(chance.random() * length)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    if code == 0:  # it was faster: an earlier moment
        length = time.monotonic() - started
    else:
        killed += 1
    if (root / "mlflow.db").exists():
        store.ensure_store(root)  # checks the schema
        remove_database(root / "mlflow.db")
    if chance.random() < 0.5:  # in the other half, the template is there
        remove_database(store.EMPTY_STORES / f"mlflow-{mlflow.__version__}.db")
record_result(root, root)
print(json.dumps([killed]))
"""
)


def start_together(workshop: Workshop, number: int, _: random.Random) -> Counts:
    """Record a result from many processes at the same moment, without a store: all succeed, and there is one run."""
    case = _make_result(workshop, f"crowd-{number}")
    codes = _run(case, _CROWD, PROCESSES, str(number))
    assert codes == [0] * PROCESSES, codes
    return _check_store(workshop, case, {"processes at once": PROCESSES})


def kill_creation(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Kill the first creation of a store at random moments, then record a result."""
    case = _make_result(workshop, f"creation-{number}")
    (killed,) = _run(case, _KILLS, KILLS, str(chance.random()))
    return _check_store(workshop, case, {"kills": killed})


def _make_result(workshop: Workshop, name: str) -> Case:
    """Return a folder with the files of a small result."""
    case = Case(workshop.folder / "cases" / name / "one neuron")
    shutil.rmtree(case.folder.parent, ignore_errors=True)
    write_result(case.folder)
    return case


def _run(case: Case, program: str, number: int, seed: str) -> list[int]:
    """Run a program in a case, with the library of this tree; return the numbers that it prints last."""
    sources = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", program, str(number), seed],
        cwd=case.folder,
        env=case.environment(PYTHONPATH=sources),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    numbers: list[int] = json.loads(done.stdout.splitlines()[-1])
    return numbers


def _check_store(workshop: Workshop, case: Case, counts: dict[str, int]) -> Counts:
    """Check that the store has one finished run and that nothing else was left; return the counts."""
    runs = read_runs(case)
    assert [status for _, status in runs] == ["FINISHED"], runs
    left = [path.name for path in case.folder.parent.rglob("*.partial-*")]
    left += [path.name for path in case.folder.parent.rglob("*") if path.name.startswith(".partial-")]
    assert not left, f"left behind: {left}"
    workshop.remove(case)
    return Counter(counts)
