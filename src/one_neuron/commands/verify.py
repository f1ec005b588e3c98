"""The command `one-neuron verify`: make the result of a run again and compare every byte."""

import argparse

from one_neuron.errors import escape_control_characters
from one_neuron.system.files import find_root

DIFFERS = 3  # the exit code: the data of the store are not what the code makes


def add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "make the result of a run again from its commit, and compare every file that the run stores"
    verify = commands.add_parser("verify", help=what, description=what, allow_abbrev=False)
    verify.add_argument("run_id", metavar="RUN_ID", help="the run of a result, by the first characters of its id")
    what = "apply the uncommitted changes that a run on a tracking server carries; they are code that then runs here"
    verify.add_argument("--trust-diff", action="store_true", help=what)
    verify.set_defaults(run=run_verify)


def run_verify(options: argparse.Namespace) -> int:
    """Print "same", or a line for each thing that differs; return the exit code 0 or 3."""
    from one_neuron.tracking.verify import verify

    found = verify(find_root(), options.run_id, trust_diff=options.trust_diff)
    for line in found.notes:
        print(f"note: {escape_control_characters(line)}")
    for line in found.differences:
        print(f"differs: {escape_control_characters(line)}")
    which = f"run {found.run_id[:8]}, made again from commit {found.commit[:12]}"
    if found.differences:
        print(f"{which}: {len(found.differences)} differ, {found.num_same} are the same")
        return DIFFERS
    print(f"same: {found.num_same} files, digests, parameters and metrics of {which}")
    return 0
