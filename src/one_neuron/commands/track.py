"""The command `one-neuron track`: record the present result in MLflow, and send what waits in the spool."""

import argparse
import sys
from pathlib import Path

from one_neuron.system.files import find_root


def add_track(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "record the result in MLflow, and send what waits because the store could not be used"
    track = commands.add_parser("track", help=what, description=what, allow_abbrev=False)
    track.add_argument("--all", action="store_true", help="only send what waits: results and sweeps")
    track.set_defaults(run=run_track)


def run_track(options: argparse.Namespace) -> None:
    """Record the result in the current folder, or only send what waits.

    Raises
    ------
    StoreOutage
        If the store cannot be used.
    DataError
        If runs that waited are damaged.
    """
    root = find_root()
    if options.all:
        _send(root)
        return
    from one_neuron.tracking.record import record_result

    run = record_result(Path.cwd(), root)
    print("\n".join(run.lines))
    if run.note:
        print(f"one-neuron: {run.note}", file=sys.stderr)


def _send(root: Path) -> None:
    """Send what waits for the store that MLFLOW_TRACKING_URI names, and name the other stores that are waited for."""
    from one_neuron.errors import DataError
    from one_neuron.tracking.connection import connect
    from one_neuron.tracking.send import count_runs, send_spool
    from one_neuron.tracking.spool import KEPT, find_waiting

    connection = connect(root, KEPT)
    sent = send_spool(connection)
    print(f"{count_runs(sent.number)} sent to {connection.store.place}" if sent.number else "nothing waits to be sent")
    for place, number in find_waiting(root).items():
        print(
            f"for '{place}': {count_runs(number)} kept; set MLFLOW_TRACKING_URI to it and run this again to send them"
        )
    if sent.damaged:
        raise DataError(sent.warning)
