"""Try many configurations: python pipeline/sweep.py -m train.learning_rate=0.001,0.01 train.num_iterations=500,2000."""

import sys

from one_neuron.system.interrupts import end_on_interrupt


# Hydra completes the arguments of a script in fish only if the script contains the text "@hydra.main".
def main() -> None:
    """Run the sweep that the command line asks for."""
    from one_neuron.dvc_repair import damage_set_aside
    from one_neuron.system.memory import check_start

    check_start("sweep")
    from one_neuron.sweep.command import run_sweep

    with damage_set_aside():
        run_sweep(sys.argv[1:])


if __name__ == "__main__":
    end_on_interrupt()
    from one_neuron.system.command import run_command

    sys.exit(run_command(main))
