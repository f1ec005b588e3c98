"""Stage `prepare`: pictures -> data/prepared/train.h5 and test.h5, one row of pixels each."""

import sys
from pathlib import Path

from one_neuron.errors import run_command
from one_neuron.settings import load_settings
from one_neuron.sources import load_source
from one_neuron.storage import save_prepared

DRAWN = Path("data/drawn")
PREPARED = Path("data/prepared")


def main() -> None:
    """Load, resize and flatten the pictures of the source that params.yaml names."""
    train, test = load_source(load_settings().data, DRAWN)
    save_prepared(PREPARED / "train.h5", train)
    save_prepared(PREPARED / "test.h5", test)


if __name__ == "__main__":
    sys.exit(run_command(main))
