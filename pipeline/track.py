"""Stage `track`: what the other stages wrote -> exactly one MLflow run that shows it, and data/tracked.json."""

import sys

from one_neuron.system.command import run_command


def main() -> None:
    """Record the result in the current folder."""
    import os
    from pathlib import Path

    from one_neuron.system.files import write_json
    from one_neuron.tracking.record import record_result

    folder = Path.cwd()
    # A queued experiment runs in a temporary copy; DVC names the repository itself, where the store outlives it.
    root = Path(os.environ.get("DVC_ROOT") or folder)
    run = record_result(folder, root)
    # A receipt that depends on the content alone. DVC skips a stage whose inputs and outputs are as dvc.lock says:
    # without an output, a fresh clone would never get its run.
    write_json(Path("data/tracked.json"), {"content_key": run.content_key})
    print(f"tracked: run {run.run_id[:8]} ({'new' if run.created else 'already there'}) in {run.place}")


if __name__ == "__main__":
    sys.exit(run_command(main))
