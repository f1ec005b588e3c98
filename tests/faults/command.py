"""Disturb the real pipeline and check that nothing is lost or misread; write the counts into docs/reliability.md.

    python -m tests.faults                          all kinds, in full
    python -m tests.faults kill-parent flips        some kinds
    python -m tests.faults flips --count 20         fewer cases
    python -m tests.faults flips --only 17          one case again
    python -m tests.faults --write                  the same, and write the counts into docs/reliability.md

Each result is kept in .one-neuron/faults as soon as it is there; an interrupted run is continued. Results of other
sources or another seed do not count. Exit code: 0 without failures, else 1.
"""

import argparse
import hashlib
import json
import random
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from one_neuron.system.machine import count_cores
from tests.e2e.conftest import ROOT
from tests.faults.kinds import KINDS, count, play, prepare
from tests.faults.page import describe, describe_machine, write_page
from tests.faults.project import Workshop

KEPT = ROOT / ".one-neuron/faults"
PAGE = ROOT / "docs/reliability.md"


def hash_sources() -> str:
    """Return a hash of everything that the results depend on."""
    digest = hashlib.sha256()
    for path in sorted([*ROOT.glob("src/**/*.py"), *ROOT.glob("pipeline/*.py"), ROOT / "dvc.yaml"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


class Results:
    """The results of one seed for the present sources, in a file with one line of JSON for each case."""

    def __init__(self, seed: int) -> None:
        self.path = KEPT / f"{hash_sources()}-{seed}.jsonl"
        self.cases: dict[tuple[str, int], dict[str, Any]] = {}
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                result = json.loads(line)
                self.cases[result["kind"], result["case"]] = result

    def add(self, result: dict[str, Any]) -> None:
        """Keep a result; a later one of the same case replaces it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(result) + "\n")
        self.cases[result["kind"], result["case"]] = result

    def passed(self, kind: str, case: int) -> bool:
        """Return whether a case is done and without a failure."""
        found = self.cases.get((kind, case))
        return found is not None and not found["failure"]


def play_case(folder: Path, kind: str, case: int, seed: int) -> dict[str, Any]:
    """Play one case; return its result for the file."""
    started, outcome, failure = time.monotonic(), Counter[str](), ""
    try:
        outcome = play(Workshop(folder), kind, case, seed)
    except Exception as error:  # noqa: BLE001 - an error of the harness counts as a failure
        failure = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
    seconds = round(time.monotonic() - started, 1)
    return {"kind": kind, "case": case, "seed": seed, "outcome": outcome, "failure": failure, "seconds": seconds}


def play_all(options: argparse.Namespace, results: Results, folder: Path) -> None:
    """Play what is asked for and not done yet, in `options.workers` processes."""
    workshop = Workshop(folder)
    prepare(workshop)
    wanted = [
        (kind, case)
        for kind in options.kinds or KINDS
        for case in ([options.only] if options.only is not None else range(options.count or count(workshop, kind)))
        if options.only is not None or not results.passed(kind, case)
    ]
    random.Random(options.seed).shuffle(wanted)  # after a part of the time, a part of each kind is done
    with ProcessPoolExecutor(options.workers) as pool:
        waiting = [pool.submit(play_case, folder, kind, case, options.seed) for kind, case in wanted]
        for done, future in enumerate(as_completed(waiting), 1):
            result = future.result()
            results.add(result)
            what = f"{result['kind']} {result['case']}"
            outcome = "FAILED" if result["failure"] else describe(Counter(result["outcome"]))
            print(f"{done} of {len(wanted)}: {what}: {outcome} ({result['seconds']} s)", flush=True)
            if result["failure"]:
                again = f"python -m tests.faults {result['kind']} --only {result['case']} --seed {options.seed}"
                print(f"{result['failure']}\n    again: {again}", flush=True)


def print_counts(results: Results) -> int:
    """Print a line for each kind; return the number of failures."""
    failed = 0
    for kind in KINDS:
        found = [result for (name, _), result in results.cases.items() if name == kind]
        wrong = sum(bool(result["failure"]) for result in found)
        counts = sum((Counter(result["outcome"]) for result in found), Counter[str]())
        print(f"{kind}: {len(found):,} cases, {wrong} failed; {describe(counts)}")
        failed += wrong
    return failed


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--count", type=int, help="cases of each kind; default: as the page says")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--only", type=int, metavar="CASE", help="play one case")
    parser.add_argument("--workers", type=int, default=2, help="cases at the same time; default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where copies of the project are made, and kept after a failure")
    parser.add_argument("--write", action="store_true", help=f"write the counts into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    results = Results(options.seed)
    with tempfile.TemporaryDirectory(prefix="one-neuron-faults-") as folder:
        place = options.folder or Path(folder)
        play_all(options, results, place)
        machine = describe_machine(count_cores(), place)
    if options.write:
        write_page(PAGE, results.cases.values(), machine)
    return 1 if print_counts(results) else 0
