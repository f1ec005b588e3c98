"""The command `one-neuron repro`: `dvc repro` after checks and repairs, and the result."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from one_neuron.dvc_locks import LOCK_FILE, remove_copies, repair_rwlock, reserve_dvc
from one_neuron.dvc_repair import DAMAGED_FOLDER, count_moved, damage_set_aside
from one_neuron.errors import DataError, EnvironmentProblem, report_error
from one_neuron.layout import (
    EVALUATE_DIGESTS,
    MODEL_FILE,
    PREPARE_DIGESTS,
    SNAPSHOTS_FILE,
    TEST_FILE,
    TRAIN_DIGESTS,
    TRAIN_FILE,
    WORK_FOLDER,
)
from one_neuron.stage import REPORT_VARIABLE, read_exit_codes
from one_neuron.system.files import find_root, remove_partial_files, write_json
from one_neuron.system.process import Ended, run_in_terminal

_MOST_REPAIRS = 20  # each one moves at least one damaged file away
_CHECKED = WORK_FOLDER / "checked.json"  # which prepared files have been compared with their digests
_OUTPUT_FOLDERS = ("data", "models", "metrics", "plots")
_WRITTEN_FOLDERS = (*_OUTPUT_FOLDERS, ".dvc/tmp", WORK_FOLDER)
# The exit codes of DVC that are not those of a failed stage
_DVC_CODES = {251: 2, 252: 128 + signal.SIGINT, 253: 2, 254: 2}
_USAGE = "one-neuron repro [-h] [--no-wait] [--debug] [arguments of dvc repro]"
# DVC's command line. Ctrl-C ends it without a traceback while it imports its libraries, which takes a second. The
# search for damaged listings needs the same libraries.
_DVC = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
from dvc.cli import main
from one_neuron.dvc_repair import set_aside_listings
from one_neuron.errors import OneNeuronError, report_error
try:
    set_aside_listings()
except OneNeuronError as error:
    sys.exit(report_error(error))
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv[0] = "dvc"
sys.exit(main())
"""
_DVC_HELP = """\
Every other argument goes to `dvc repro`: the stages to run (default: all), and options such as

  -f, --force          run the stages although nothing has changed
  -s, --single-item    run the named stages without those that they depend on
  --dry                print what would run
  -q, -v               print less, print more

`dvc repro --help` lists all of them. The result is printed unless stages are named.
"""


def add_repro(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "check the settings, repair what a kill left behind, run `dvc repro`, and print the result"
    repro = commands.add_parser("repro", help=what, usage=_USAGE, description=_DVC_HELP, allow_abbrev=False)
    what = "exit with code 4 if another one is running in this folder, instead of waiting for it"
    repro.add_argument("--no-wait", action="store_true", help=what)
    repro.set_defaults(run=run_repro, dvc_arguments=[])


def run_repro(options: argparse.Namespace) -> int:
    """Run DVC, and print the result if all stages were run, also if only its recording in MLflow failed.

    Returns
    -------
    int
        The exit code of the stage that failed, or of this command.
    """
    from one_neuron.commands.report import run_report
    from one_neuron.commands.settings import check_settings
    from one_neuron.pruning import prune_work_folder

    root, arguments = find_root(), list(options.dvc_arguments)
    check_settings()
    with reserve_dvc(root, no_wait=options.no_wait) as waited:
        if waited:
            check_settings()  # they may have been edited meanwhile
        remove_partial_files(root, _WRITTEN_FOLDERS)
        remove_copies(root, _OUTPUT_FOLDERS)
        code, failed = _run_and_repair(root, arguments)
        prune_work_folder(root)
        untracked = _is_untracked(code, failed)
        if (code == 0 or untracked) and _runs_all(arguments):
            run_report(argparse.Namespace(html=None))  # before another command may change the files
    if untracked:
        print("one-neuron: this result is not in MLflow yet; `make track` records it", file=sys.stderr)
    return code


def _is_untracked(code: int, failed: Collection[str]) -> bool:
    """Return whether the result is there and only its recording in MLflow failed."""
    return code == EnvironmentProblem.exit_code and set(failed) == {"track"}


def _run_and_repair(root: Path, arguments: Sequence[str]) -> tuple[int, Collection[str]]:
    """Run DVC, and again after damaged files were moved away; return the exit code and the stages that failed."""
    from one_neuron.dvc_guard import check_dvc_lock, forget_dvc_lock, restore_dvc_lock, save_dvc_lock

    for _ in range(_MOST_REPAIRS):
        moved = count_moved(root)
        save_dvc_lock(root)
        ended, failed = _run_dvc(root, arguments)
        if ended.code > 0:
            restore_dvc_lock(root)
        if ended.code >= 0:
            forget_dvc_lock(root)
        repair_rwlock(root)
        code = _find_code(ended, failed)
        if code and not failed and ended.stopped_by is None:
            check_dvc_lock(root)
        if (code == 0 or _is_untracked(code, failed)) and _runs_all(arguments):
            _check_result(root)
        if count_moved(root) == moved or ended.stopped_by is not None:
            return code, failed
        print("one-neuron: running DVC again, which makes the damaged files again", file=sys.stderr)
    raise EnvironmentProblem(
        f"files are damaged again and again (see '{DAMAGED_FOLDER}'); check the disk and the memory of this machine"
    )


def _check_prepared(root: Path) -> None:
    """Compare the prepared sets with their digests, unless these very files have been compared before.

    DVC takes them from its cache unread, and no stage reads them if nothing else has changed.
    """
    from one_neuron.storage.prepared_set import load_prepared

    seen = {}
    for path in filter(Path.exists, (TRAIN_FILE, TEST_FILE)):  # `dvc repro --allow-missing` does without them
        status = path.stat()
        seen[path.as_posix()] = [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    try:
        known = json.loads((root / _CHECKED).read_bytes())
    except (OSError, ValueError):
        known = None
    if seen == known:
        return
    for name in seen:
        load_prepared(name, on_disk=True)
    write_json(root / _CHECKED, seen)


def _check_result(root: Path) -> None:
    """Check the files of the result, and move damaged ones away, with a message on stderr.

    Raises
    ------
    DataError
        If a file is missing, or is not what it should be for another reason than damage.
    """
    from one_neuron.storage.model import load_model
    from one_neuron.storage.snapshots import load_snapshots
    from one_neuron.system.outputs import check_outputs

    def check_model() -> None:
        load_snapshots(SNAPSHOTS_FILE, load_model(MODEL_FILE))

    lists = PREPARE_DIGESTS, TRAIN_DIGESTS, EVALUATE_DIGESTS
    checks: list[Callable[[], object]] = [partial(check_outputs, path) for path in lists]
    checks += [check_model, partial(_check_prepared, root)]
    for check in checks:
        moved = count_moved(root)
        try:
            with damage_set_aside():
                check()
        except DataError as error:
            if count_moved(root) == moved:
                raise
            report_error(error)


def _run_dvc(root: Path, arguments: Sequence[str]) -> tuple[Ended, dict[str, int]]:
    """Run `dvc repro`; return how it ended, and the exit codes of the stages that failed."""
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1", REPORT_VARIABLE: str(root / LOCK_FILE)}
    # The stages call `python`, and the environment need not be activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    sys.stdout.flush()
    ended = run_in_terminal([sys.executable, "-P", "-c", _DVC, "repro", *arguments], environment)
    return ended, {name: code for name, code in read_exit_codes(root / LOCK_FILE).items() if code}


def _find_code(ended: Ended, failed: Mapping[str, int]) -> int:
    """Return the exit code of the command, which never is one of DVC's own."""
    if ended.stopped_by is not None:
        return 128 + ended.stopped_by
    if ended.code == 0:
        return 0
    if -ended.code in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        return 128 - ended.code
    if ended.code < 0:  # the stage has received a signal as well, because its parent ended
        name = signal.Signals(-ended.code).name
        raise EnvironmentProblem(f"dvc was ended by {name}; is there enough memory? Run the same command again")
    for code in failed.values():
        return code
    return _DVC_CODES.get(ended.code, EnvironmentProblem.exit_code)


def _runs_all(arguments: Sequence[str]) -> bool:
    """Return whether DVC was asked to run all stages: the files of the result then belong together."""
    return all(each.startswith("-") for each in arguments) and not {"--dry", "-q", "--quiet"} & set(arguments)
