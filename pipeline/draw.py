"""Stage `draw`: params.yaml -> data/drawn, the default pictures, and their digests."""

import sys

from one_neuron.system.interrupts import end_on_interrupt


def main() -> None:
    """Draw all pictures, and put them in the place of earlier ones."""
    from pathlib import Path

    from drawn_pictures import draw_pictures
    from one_neuron.layout import DRAW_DIGESTS, DRAWN_FOLDER
    from one_neuron.settings.params import load_settings
    from one_neuron.system.files import atomic_folder
    from one_neuron.system.outputs import write_digests
    from one_neuron.system.workers import worker_processes

    draw = load_settings().draw
    DRAW_DIGESTS.unlink(missing_ok=True)
    with atomic_folder(DRAWN_FOLDER) as folder, worker_processes() as pool:
        draw_pictures(folder, seed=draw.seed, num_train=draw.num_train, num_test=draw.num_test, apply=pool.map)
    write_digests(DRAW_DIGESTS, filter(Path.is_file, DRAWN_FOLDER.rglob("*")))


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.stage import run_stage

    sys.exit(run_stage(main))
