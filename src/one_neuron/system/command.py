"""Run a command: signals, exit codes, and one line for each error."""

import atexit
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from one_neuron.errors import EnvironmentProblem, OneNeuronError, one_line, report_error

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The libraries that are not in the extra `pipeline`
_EXTRAS = dict.fromkeys(("anyio", "multipart", "python_multipart", "starlette", "uvicorn"), "serve")
_NEW_OBJECTS = 100_000  # between two searches for garbage; Python's own 700 suit programs that import little
_PR_SET_PDEATHSIG = 1  # Linux's prctl(2): the signal to receive when the parent process ends


class _Terminated(BaseException):
    """SIGTERM was received; a BaseException, so that no `except Exception` catches it."""


def _terminate(*_: object) -> None:
    """Handle SIGTERM as Python handles Ctrl-C: by an exception."""
    raise _Terminated


def _handle_termination() -> None:
    """Turn SIGTERM into an exception, so that clean-up code runs; make a stage end with the DVC that started it.

    A stage that outlives a killed `dvc repro` would overwrite the outputs of the next one.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _terminate)
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)


def end_with_parent(number: signal.Signals) -> None:
    """Have Linux send this process a signal when its parent ends, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


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
        0 done, 2 usage or parameter, 3 data, 4 environment, 130 interrupted, 141 closed pipe, 143 terminated.
    """
    if debug is None:
        debug = os.environ.get("ONE_NEURON_DEBUG", "") not in ("", "0")
    # Pillow warns about odd metadata; what matters is checked by this project and stops the command.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    # MLflow brings 340,000 objects. To look for garbage among them, during imports and twice before Python exits, takes
    # a second.
    gc.set_threshold(_NEW_OBJECTS)
    atexit.register(gc.freeze)
    _handle_termination()
    try:
        code = command() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a closed pipe raises here instead of at exit
        return code
    except (KeyboardInterrupt, _Terminated) as stopped:
        terminated = isinstance(stopped, _Terminated)
        word = "terminated" if terminated else "interrupted"
        print(f"one-neuron: {word}; nothing half-written is left behind", file=sys.stderr)
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of the output (`| head`) has ended. Python would print an error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except (OneNeuronError, ImportError, MemoryError, OSError, RuntimeError) as error:
        if debug:
            raise
        if isinstance(error, OneNeuronError):
            return report_error(error)
        problem = _find_problem(error)
        if not problem:  # a mistake of the program keeps its traceback
            raise
        return report_error(EnvironmentProblem(problem))


def _find_problem(error: Exception) -> str:
    """Return what this machine lacks, and the remedy; "" for an error that has another cause."""
    if isinstance(error, ModuleNotFoundError):
        extra = _EXTRAS.get(str(error.name).split(".")[0], "pipeline")
        remedy = f"in the project's folder, run `make setup` and `. .venv/bin/activate`, or `pip install '.[{extra}]'`"
        return f"{error.name} is not installed for {sys.executable}; {remedy}"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({one_line(error)}); remove .venv and run `make setup`"
    if isinstance(error, RuntimeError):
        no_thread = "start new thread" in str(error)
        return "no thread can be started; allow this user more threads (ulimit -u)" if no_thread else ""
    if isinstance(error, BlockingIOError):
        return "no process can be started; allow this user more processes (ulimit -u)"
    if isinstance(error, OSError):
        where = f"'{error.filename}': " if error.filename else ""
        return f"{where}{error.strerror or error}; check the disk's space and the permissions"
    return "out of memory; use fewer or smaller pictures (data.num_px)"
