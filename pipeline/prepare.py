"""Stage `prepare`: pictures -> data/prepared/train.h5 and test.h5, one row of pixels each."""

import sys

from one_neuron.errors import run_command


def main() -> None:
    """Load, resize and flatten the pictures of the source that params.yaml names."""
    from pathlib import Path

    from one_neuron.settings import load_settings
    from one_neuron.sources import load_source
    from one_neuron.storage import save_prepared

    train, test = load_source(load_settings().data, Path("data/drawn"))
    save_prepared(Path("data/prepared/train.h5"), train)
    save_prepared(Path("data/prepared/test.h5"), test)


if __name__ == "__main__":
    sys.exit(run_command(main))
