"""Run a stage of the pipeline: what all stages have in common around the work of each.

A stage must not outlive the `dvc` that started it: it would overwrite what the next `dvc repro` made. It ends with its
parent, but only if the parent lives when the stage asks for that, and only if no shell is between the two. So
the stage looks for its DVC when it starts, checks that DVC is still there before it replaces a file, and holds a lock
for which a second run of the same stage waits.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from one_neuron.dvc_locks import find_dvc_root, read_owners
from one_neuron.dvc_repair import damage_set_aside
from one_neuron.errors import EnvironmentProblem
from one_neuron.layout import WORK_FOLDER
from one_neuron.system.command import end_with_parent, run_command
from one_neuron.system.files import checked_replacements
from one_neuron.system.lock import hold_lock
from one_neuron.system.memory import check_start

# `one-neuron repro` names a file in this variable, to which every stage appends its name and its exit code, because DVC
# does not pass the exit code of a stage on.
REPORT_VARIABLE = "ONE_NEURON_REPRO"
LOCK_FOLDER = WORK_FOLDER / "stages"
_WATCH_SECONDS = 1.0


def run_stage(main: Callable[[], None]) -> int:
    """Run the work of a stage in the current folder; return the exit code of `run_command`."""
    name, code = Path(sys.argv[0]).stem, 1
    try:
        code = run_command(lambda: _run(name, main))
    finally:
        if report := os.environ.get(REPORT_VARIABLE):
            with suppress(OSError), Path(report).open("a", encoding="utf-8") as stream:
                stream.write(f"{name} {code}\n")
    return code


def read_exit_codes(report: Path) -> dict[str, int]:
    """Return the exit codes of the stages that ran, by name; the file is the one of `REPORT_VARIABLE`."""
    codes: dict[str, int] = {}
    try:
        lines = report.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:  # the user has deleted the folder
        return codes
    for line in lines:
        name, _, code = line.partition(" ")
        if code:  # the first line is the PID of the owner
            codes[name] = int(code)
    return codes


def _run(name: str, main: Callable[[], None]) -> None:
    """Do the work of a stage while its DVC lives and no other process runs the same stage in this folder."""

    def tell(owner: int) -> None:
        other = f"another process{f' (PID {owner})' if owner else ''} runs the stage '{name}' in this folder"
        print(f"one-neuron: {other}; waiting until it has ended", file=sys.stderr)

    check_start(name)
    ancestry = _follow_dvc() if "DVC_STAGE" in os.environ else None
    with hold_lock(LOCK_FOLDER / f"{name}.lock", on_wait=tell) as lock:

        def check() -> None:
            if ancestry is not None:
                ancestry.check()
            if not lock.is_intact():
                raise EnvironmentProblem(f"'{lock.path}' was removed while the stage '{name}' ran; run it again")

        check()
        with checked_replacements(check), damage_set_aside():
            main()


@dataclass(frozen=True)
class _Ancestry:
    """The PIDs of this process, of its parent and so on, up to the DVC that started the stage."""

    numbers: tuple[int, ...]

    def is_alive(self) -> bool:
        """Return whether each process still has the same parent, as it has until the parent ends."""
        own, parent = self.numbers[:2]
        if os.getpid() != own:  # a process of a pool, which the system ends with its owner
            return True
        if os.getppid() != parent:
            return False
        return all(map(_is_parent, self.numbers[2:], self.numbers[1:]))

    def check(self) -> None:
        """Raise EnvironmentProblem if DVC has ended."""
        if not self.is_alive():
            raise _orphaned()

    def end_with_dvc(self) -> None:
        """End this process by SIGTERM when DVC has ended; wait for that in a thread."""
        while self.is_alive():
            time.sleep(_WATCH_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)


def _follow_dvc() -> _Ancestry:
    """Have this process end with the DVC that started it, and return the way to it.

    DVC lists its PID in its rwlock while a stage runs. So an ancestor of this process that is listed there is the DVC
    that started it, also if other commands of DVC run.

    Raises
    ------
    EnvironmentProblem
        If DVC has ended already.
    """
    import psutil

    parent = os.getppid()
    end_with_parent(signal.SIGTERM, parent)
    root = find_dvc_root(Path.cwd())
    owners = read_owners(root) if root is not None else None
    numbers = [os.getpid(), *(process.pid for process in psutil.Process().parents())]
    if owners is None:  # the file is broken, or DVC works elsewhere
        ancestry = _Ancestry((os.getpid(), parent))
    else:
        place = next((place for place, number in enumerate(numbers) if number in owners), 0)
        if not place:
            raise _orphaned()
        ancestry = _Ancestry(tuple(numbers[: place + 1]))
    if len(ancestry.numbers) > 2:  # with a shell between, the parent is not DVC
        threading.Thread(target=ancestry.end_with_dvc, daemon=True).start()
    return ancestry


def _is_parent(number: int, child: int) -> bool:
    """Return whether a process is the parent of another one."""
    import psutil

    try:
        return bool(psutil.Process(child).ppid() == number)
    except psutil.NoSuchProcess:
        return False


def _orphaned() -> EnvironmentProblem:
    """Return the error of a stage whose DVC has ended."""
    return EnvironmentProblem("the dvc that started this stage has ended; run `one-neuron repro`")
