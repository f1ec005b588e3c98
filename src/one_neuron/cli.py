"""The `one-neuron` command.

Nothing is imported before `main` has said what Ctrl-C does.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see one_neuron/__init__.py
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

# Shown by `one-neuron COMMAND --help`
EXAMPLES = {
    "predict": ("photo.jpg holiday/", "--json - <photo.jpg"),
    "promote": ("", "--run 1a2b3c4d"),
    "repro": ("", "--no-wait", "--force evaluate"),
    "report": ("", "--html result.html"),
    "register": ("", "--run 1a2b3c4d --alias candidate"),
    "serve": ("--open", "--model models:/one-neuron@champion --port 8001"),
    "track": ("", "--all"),
    "verify": ("1a2b3c4d",),
    "settings": ("", "train.learning_rate=0.01 data.num_px=32"),
    "ui": ("", "--port 5001"),
    "doctor": ("",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default from the arguments of the process; return the exit code of `run_command`."""
    from one_neuron.system.interrupts import end_on_interrupt

    end_on_interrupt()
    from one_neuron.system.command import run_command

    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: _run(given), debug="--debug" in given or None)


def _run(arguments: Sequence[str]) -> int | None:
    """Read the arguments and run the command that they name."""
    from one_neuron.dvc_repair import damage_set_aside
    from one_neuron.system.memory import check_start

    options = _parse(arguments)
    check_start(options.command if getattr(options, "html", None) is None else "report --html")
    with damage_set_aside():
        code: int | None = options.run(options)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed arguments; those that `repro` does not know are DVC's."""
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if "dvc_arguments" in options:
        options.dvc_arguments = unknown
    elif unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    import argparse
    from contextlib import suppress
    from pathlib import Path

    from one_neuron import __version__
    from one_neuron.commands.doctor import add_doctor
    from one_neuron.commands.predict import add_predict
    from one_neuron.commands.register import add_register
    from one_neuron.commands.report import run_report
    from one_neuron.commands.repro import add_repro
    from one_neuron.commands.serve import add_serve, parse_port
    from one_neuron.commands.settings import add_settings
    from one_neuron.commands.track import add_track
    from one_neuron.commands.verify import add_verify

    what = "Is there a cat in this picture? Logistic regression as one neuron."
    parser = argparse.ArgumentParser(prog="one-neuron", description=what, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"one-neuron {__version__}")
    what_debug = "show the traceback of an error"
    parser.add_argument("--debug", action="store_true", help=what_debug)
    with suppress(ModuleNotFoundError):  # shtab comes with the extra `pipeline`
        import shtab

        shtab.add_argument_to(parser, help="print the completion of a shell, for its start-up file")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    add_predict(commands)

    what = "write the parameters of an MLflow run into params.yaml"
    promote = commands.add_parser("promote", help=what, allow_abbrev=False)
    chosen = promote.add_mutually_exclusive_group()
    chosen.add_argument("--sweep", metavar="ID", help="the best run of this sweep (default: the last one)")
    chosen.add_argument("--run", metavar="ID", dest="run_id", help="this run, whichever sweep it belongs to")
    what = "overwrite uncommitted changes, and accept a run that diverged or is not better than the baseline"
    promote.add_argument("--force", action="store_true", help=what)
    promote.set_defaults(run=run_promote)

    what = "print the result of the last `dvc repro`, or write a page about it"
    report = commands.add_parser("report", help=what, allow_abbrev=False)
    what = "write one self-contained HTML page (default: %(const)s), and store it with the MLflow run of the result"
    report.add_argument("--html", nargs="?", type=Path, const=Path("report.html"), metavar="FILE", help=what)
    report.set_defaults(run=run_report)

    add_register(commands)
    add_serve(commands)
    add_track(commands)
    add_verify(commands)

    add_repro(commands)
    add_settings(commands)

    ui = commands.add_parser("ui", help="start the MLflow UI on 127.0.0.1")
    ui.add_argument("--port", type=parse_port, default=5000, help="the port (default: %(default)s)")
    ui.set_defaults(run=run_ui)
    add_doctor(commands)
    for name, command in commands.choices.items():
        # Before the command or behind it
        command.add_argument("--debug", action="store_true", help=what_debug, default=argparse.SUPPRESS)
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        command.epilog = "examples:\n" + "\n".join(f"  one-neuron {name} {each}".rstrip() for each in EXAMPLES[name])
    return parser


def run_promote(options: argparse.Namespace) -> None:
    """Write the parameters of a run into params.yaml; print the difference and the next step."""
    from one_neuron import errors
    from one_neuron.layout import PARAMS_FILE
    from one_neuron.system.files import find_root
    from one_neuron.tracking.find_run import find_run
    from one_neuron.tracking.promote import promote
    from one_neuron.tracking.promotion import record_promotion

    root = find_root()
    found = find_run(root, sweep=options.sweep, run=options.run_id)
    if found.diverged and not options.force:
        raise errors.SettingsError(f"run {found.run_id} diverged; choose another one, or accept it with --force")
    if found.warning and not options.force:
        raise errors.SettingsError(
            f"run {found.run_id}: {found.warning}; choose another one, or accept it with --force"
        )
    name = f"run {found.run_id}" + (f" of sweep {found.sweep_id}" if found.sweep_id else "")
    difference = promote(PARAMS_FILE, found.params, force=options.force)
    record_promotion(root, found)
    if not difference:
        advice = "; `make track` links the result to that run" if found.sweep_id else ""
        print(f"'{PARAMS_FILE}' already has the values of {name}{advice}.")
        return
    expected = f"; the model's SHA-256 will be {found.model_sha256}" if found.model_sha256 else ""
    print(f"{difference}Promoted {name}: now run `dvc repro`{expected}.")


def run_ui(options: argparse.Namespace) -> None:
    """Start MLflow's UI; its module imports MLflow, which the other commands do without."""
    from one_neuron.commands import ui

    ui.run_ui(options)


if __name__ == "__main__":
    sys.exit(main())
