"""Stage `draw`: params.yaml -> data/drawn, the default pictures."""

import shutil
import sys
from pathlib import Path

from one_neuron.drawing import draw_pictures
from one_neuron.errors import run_command
from one_neuron.settings import load_settings

DRAWN = Path("data/drawn")


def main() -> None:
    """Draw all pictures anew."""
    draw = load_settings().draw
    shutil.rmtree(DRAWN, ignore_errors=True)
    draw_pictures(DRAWN, seed=draw.seed, num_train=draw.num_train, num_test=draw.num_test)


if __name__ == "__main__":
    sys.exit(run_command(main))
