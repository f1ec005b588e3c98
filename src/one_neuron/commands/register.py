"""The command `one-neuron register`: a result into MLflow's registry."""

import argparse

from one_neuron.system.files import find_root


def add_register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "put the model of a run into MLflow's registry, with a model card"
    register = commands.add_parser("register", help=what, allow_abbrev=False)
    what = "the run, by the first characters of its id (default: the last result)"
    register.add_argument("--run", metavar="ID", dest="run_id", help=what)
    what = "the name by which others find it, as models:/one-neuron@ALIAS (default: %(default)s)"
    register.add_argument("--alias", default="champion", help=what)
    what = "accept a model that diverged or is not better than the baseline"
    register.add_argument("--force", action="store_true", help=what)
    register.set_defaults(run=run_register)


def run_register(options: argparse.Namespace) -> None:
    """Register a model; print its version and how to use it."""
    from one_neuron.tracking.register import REGISTERED_NAME, register

    done = register(find_root(), run=options.run_id, alias=options.alias, force=options.force)
    word = "registered" if done.created else "already registered"
    address = f"models:/{REGISTERED_NAME}@{options.alias}"
    print(f"{word}: version {done.version} of {REGISTERED_NAME}, run {done.run_id[:8]}; {address} is this version now")
    print(f"use it: one-neuron serve --model {address}")
