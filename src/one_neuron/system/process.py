"""Programs that this process starts, and that end with all their children when this process is stopped."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from one_neuron.system.command import defer_signals, end_with_parent, has_parent_signal
from one_neuron.system.files import make_locked_folder, remove_unlocked
from one_neuron.system.terminal import ForegroundTerminal

_END_SECONDS = 10


def run_program(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a program with its errors on stderr and without its output; return its exit code.

    If an exception ends the wait, such as that of Ctrl-C, the program and all its children have ended before the
    exception continues. If this process is killed (kill -9), the program receives SIGTERM.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        process_group=0,
        preexec_fn=partial(_ask_for_signal, os.getpid()),  # noqa: PLW1509
    ) as process:
        try:
            with _watched_by_shell(process.pid):
                return process.wait()
        except BaseException:
            with defer_signals():
                _end_group(process)
            raise


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code as subprocess has it, and the signal that this process received meanwhile."""

    code: int
    stopped_by: int | None


def run_in_terminal(command: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run a program in a process group of its own, with the input, the output and the terminal of this process.

    Ctrl-C and Ctrl-Z act on the program as if it had been typed in the shell. SIGINT, SIGTERM and SIGHUP that this
    process receives reach the whole group as SIGINT, at which DVC releases its locks; what is left of the group after
    ten seconds is killed. When the function returns, no process of the group is left. If this process is killed
    (kill -9), the program receives SIGTERM.
    """
    parent, group, received = os.getpid(), 0, list[int]()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job starts with Ctrl-C ignored
        _ask_for_signal(parent)

    def forward(number: int, _: object) -> None:
        received.append(number)
        if group:
            _signal_group(group, signal.SIGINT)
            signal.setitimer(signal.ITIMER_REAL, _END_SECONDS)

    def kill(*_: object) -> None:
        _signal_group(group, signal.SIGKILL)

    handlers: dict[int, Callable[[int, object], None]] = dict.fromkeys(
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), forward
    )
    with ForegroundTerminal() as terminal, _signal_handlers({**handlers, signal.SIGALRM: kill}):
        process = subprocess.Popen(command, env=environment, process_group=0, preexec_fn=prepare)  # noqa: PLW1509
        group = process.pid
        try:
            if received:  # before the program had started
                forward(received.pop(), None)
            terminal.lend(group)
            with _watched_by_shell(group):
                process.returncode = _wait(group, terminal)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            _end_group(process)
    return Ended(process.returncode, received[0] if received else None)


def _ask_for_signal(parent: int) -> None:
    """Ask for SIGTERM at the end of the parent, if the system offers that, in a process that starts a program."""
    if has_parent_signal():
        end_with_parent(signal.SIGTERM, parent)


@contextmanager
def _watched_by_shell(group: int) -> Iterator[None]:
    """Where the system has no parent signal: send a group SIGTERM if this process is killed during a `with` block.

    A shell waits for a line, which is sent at the end of the block. If this process ends without sending it, the system
    closes the pipe, and the shell reads the end of the input instead.
    """
    if has_parent_signal():
        yield
        return
    command = ["/bin/sh", "-c", 'read -r _ || kill -s TERM -- "-$1"', "sh", str(group)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0) as shell:
        try:
            yield
        finally:
            shell.communicate(b"\n")


@contextmanager
def _signal_handlers(handlers: Mapping[int, Callable[[int, object], None]]) -> Iterator[None]:
    """Handle signals in another way during a `with` block, except those that this process was told to ignore."""
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] != signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _wait(number: int, terminal: ForegroundTerminal) -> int:
    """Wait for the leader of a group, and return its exit code; stop with it after Ctrl-Z."""
    while True:
        _, status = os.waitpid(number, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            return os.waitstatus_to_exitcode(status)
        if os.WSTOPSIG(status) in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            terminal.take_back()
            os.killpg(0, signal.SIGTSTP)  # the shell takes the terminal; `fg` or `bg` continue here
            terminal.lend(number)
            _signal_group(number, signal.SIGCONT)


def _signal_group(number: int, sent: signal.Signals) -> None:
    """Send a signal to a process group, unless it has ended."""
    with suppress(ProcessLookupError, PermissionError):  # macOS reports a dead group as not permitted
        os.killpg(number, sent)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the process group of a program: by SIGTERM, and after ten seconds by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _END_SECONDS
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # the group has ended; macOS reports a dead one as not permitted
            return


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder, which is removed whatever happens; a signal that arrives meanwhile waits for that.

    Folders with the same prefix that killed processes left are removed first.
    """
    for left in sorted(Path(tempfile.gettempdir()).glob(f"{prefix}*")):
        remove_unlocked(left)
    folder, handle = make_locked_folder(prefix)
    try:
        yield folder.resolve()
    finally:
        with defer_signals():
            shutil.rmtree(folder)
            os.close(handle)
