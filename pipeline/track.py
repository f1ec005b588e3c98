"""Stage `track`: the outputs of the other stages -> exactly one MLflow run that shows them, and data/tracked.json."""

import sys

from one_neuron.system.interrupts import end_on_interrupt


def main() -> None:
    """Record the result in the current folder."""
    from pathlib import Path

    from one_neuron.layout import TRACKED_FILE, find_repository
    from one_neuron.system.files import write_json
    from one_neuron.tracking.record import record_result

    run = record_result(Path.cwd(), find_repository())
    # The receipt depends on the content alone. DVC skips a stage whose inputs and outputs are as dvc.lock says: without
    # an output, a fresh clone would never get its run.
    write_json(TRACKED_FILE, {"content_key": run.content_key})
    print("\n".join(run.lines))
    if run.note:
        print(f"one-neuron: {run.note}", file=sys.stderr)


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.stage import run_stage

    sys.exit(run_stage(main))
