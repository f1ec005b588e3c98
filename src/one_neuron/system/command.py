"""Run a command: signals, exit codes, and one line for each error."""

import atexit
import ctypes
import errno
import gc
import logging
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from one_neuron.errors import EnvironmentProblem, OneNeuronError, one_line, report_error
from one_neuron.system.interrupts import raise_on_interrupt
from one_neuron.system.memory import describe_shortage, memory_left, save_address_space
from one_neuron.system.streams import closed_streams_error, flush_streams, open_closed_streams, unwritable_error

_TERMINATIONS = (signal.SIGTERM, signal.SIGHUP)
_STOP_SIGNALS = (signal.SIGINT, *_TERMINATIONS)
# The libraries that are not in the extra `pipeline`
_EXTRAS = dict.fromkeys(("anyio", "multipart", "python_multipart", "starlette", "uvicorn"), "serve")
_NEW_OBJECTS = 100_000  # between two searches for garbage; Python's own 700 suit programs that import little
_CLOSED_PIPE = 141  # the exit code of a program that SIGPIPE ends
_NOT_MAPPED = "failed to map segment|[Cc]annot allocate memory"
_MOST_CAUSES = 50
_RESERVE = 4 * 2**20  # bytes that are freed when memory runs out, so that this can be reported
_LITTLE = 64 * 2**20  # with less memory left, a SystemError is taken for a sign that it ran out
_PR_SET_PDEATHSIG = 1  # Linux's prctl(2): the signal to receive when the parent process ends
_WATCH_SECONDS = 1.0
_report_thread = threading.excepthook
_lost_threads: list[threading.Thread | None] = []  # that ended because memory ran out


class _Terminated(BaseException):
    """SIGTERM or SIGHUP was received; a BaseException, so that no `except Exception` catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def _terminate(number: int, _: object) -> None:
    """Handle the signal as Python handles Ctrl-C: by an exception. A second one must not interrupt the clean-up."""
    for each in _TERMINATIONS:
        signal.signal(each, signal.SIG_IGN)
    if _lost_threads:
        raise MemoryError
    raise _Terminated(number)


def _handle_termination() -> None:
    """Turn SIGTERM, and SIGHUP unless it is ignored (nohup), into an exception, so that clean-up code runs."""
    if threading.current_thread() is threading.main_thread():
        threading.excepthook = _end_with_thread
        for number in _TERMINATIONS:
            if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _terminate)


def _end_with_thread(lost: threading.ExceptHookArgs) -> None:
    """End this process if memory ran out in the code that runs a thread: a pool would wait for its work for ever."""
    if not issubclass(lost.exc_type, MemoryError):
        _report_thread(lost)
        return
    _lost_threads.append(lost.thread)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def end_with_parent(number: signal.Signals, parent: int) -> None:
    """Have this process receive a signal when its parent ends, even by kill -9; send it now if that has happened.

    Linux sends the signal, also to a program that replaces this one (exec). Elsewhere a thread checks once a second.
    """
    if has_parent_signal():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number))
    else:
        threading.Thread(target=_watch_parent, args=(number, parent), daemon=True).start()
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def has_parent_signal() -> bool:
    """Return whether the system can send a process a signal when its parent ends."""
    return sys.platform == "linux"


def _watch_parent(number: signal.Signals, parent: int) -> None:
    """Wait until the parent of this process has ended, then send this process a signal."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.kill(os.getpid(), number)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of a `with` block, so that they cannot break into a database transaction.

    The block should take seconds at most. In a thread other than the main one nothing changes, because Python handles
    signals in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.signal(number, lambda *what: received.append(what[0])) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Do not look for garbage during a `with` block, which imports a large library: its objects stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def run_command(command: Callable[[], int | None], *, debug: bool | None = None) -> int:
    """Run `command`; report an error that a user can cause as one line on stderr and an exit code.

    Parameters
    ----------
    command : callable
        Does the work; returns an exit code, or None for 0.
    debug : bool, optional
        Raise errors with their traceback. By default the environment variable ONE_NEURON_DEBUG decides: 1 for yes.

    Returns
    -------
    int
        0 done, 2 usage or parameter, 3 data, 4 environment, 129 terminal closed, 130 interrupted, 141 closed pipe,
        143 terminated.
    """
    if closed := open_closed_streams():
        return report_error(closed_streams_error(closed))
    save_address_space()
    # Pillow warns about odd metadata; what matters is checked by this project and stops the command.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # MLflow brings 340,000 objects. To look for garbage among them, during imports and twice before Python exits, takes
    # a second.
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
    _handle_termination()
    code = _run(command, debug=debug)
    for name, error in flush_streams():
        if isinstance(error, BrokenPipeError):
            code = _CLOSED_PIPE
        elif not code:
            code = report_error(unwritable_error(name, error))
    return code


def _run(command: Callable[[], int | None], *, debug: bool | None) -> int:
    """Run `command` and report its errors, as `run_command`."""
    reserve = bytes(_RESERVE)
    try:
        if threading.current_thread() is threading.main_thread():
            raise_on_interrupt()
        return command() or 0
    except SystemExit as stopped:  # argparse, after the help or a wrong usage
        return stopped.code if isinstance(stopped.code, int) else 0
    except (KeyboardInterrupt, _Terminated) as stopped:
        word = "terminated" if isinstance(stopped, _Terminated) else "interrupted"
        print(f"one-neuron: {word}; nothing half-written is left behind", file=sys.stderr)
        return stopped.exit_code if isinstance(stopped, _Terminated) else 130
    except BrokenPipeError:  # the reader of the output (`| head`) has ended
        list(flush_streams())
        return _CLOSED_PIPE
    except Exception as error:
        del reserve
        if debug if debug is not None else os.environ.get("ONE_NEURON_DEBUG", "") not in ("", "0"):
            raise
        if isinstance(error, OneNeuronError):
            return report_error(error)
        problem = _find_problem(error)
        if not problem:  # a mistake of the program keeps its traceback
            raise
        return report_error(EnvironmentProblem(problem))


def _find_problem(error: Exception) -> str:
    """Return what this machine lacks, and the remedy; "" for an error that has another cause."""
    if _is_short_of_memory(error):
        return describe_shortage()
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get(str(error.name).split(".")[0], "pipeline")
        remedy = f"in the project's folder, run `make setup` and `. .venv/bin/activate`, or `pip install '.[{extra}]'`"
        return f"{error.name} is not installed for {sys.executable}; {remedy}"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({one_line(error)}); remove .venv and run `make setup`"
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if no_thread or isinstance(error, BlockingIOError):
        one, many = ("thread", "threads") if no_thread else ("process", "processes")
        return f"no {one} can be started; allow this user more {many} (ulimit -u)"
    if isinstance(error, OSError):
        where = f"'{error.filename}': " if error.filename else ""
        return f"{where}{error.strerror or error}; check the disk's space and the permissions"
    return ""


def _is_short_of_memory(error: BaseException | None) -> bool:
    """Return whether memory was short, which libraries report as an error of their own that follows from another."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return False
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        # Modules in C that do not check what they allocate
        if isinstance(error, SystemError) and memory_left() < _LITTLE:
            return True
        # Of a shared library, only the text of the error names the reason.
        if isinstance(error, (ImportError, OSError)) and re.search(_NOT_MAPPED, str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
