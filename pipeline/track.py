"""Stage `track`: what the other stages wrote -> exactly one MLflow run that shows it. It has no outputs of its own."""

import os
import sys
from pathlib import Path

from one_neuron.errors import run_command
from one_neuron.tracking import record_result


def main() -> None:
    """Record the result in the current folder."""
    folder = Path.cwd()
    # A queued experiment runs in a temporary copy; DVC names the repository itself, where the store outlives it.
    root = Path(os.environ.get("DVC_ROOT") or folder)
    run = record_result(folder, root)
    print(f"tracked: run {run.run_id[:8]} ({'new' if run.created else 'already there'}) in {run.place}")


if __name__ == "__main__":
    sys.exit(run_command(main))
