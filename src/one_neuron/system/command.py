"""Running a command: signals, exit codes and one line for each error."""

import ctypes
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from one_neuron.errors import EnvironmentProblem, OneNeuronError, one_line, report_error

_ENDING = (signal.SIGINT, signal.SIGTERM)


_PR_SET_PDEATHSIG = 1  # Linux's prctl(2): the signal to get when the parent ends


class _Terminated(BaseException):
    """SIGTERM came; no `except Exception` on the way may stop it."""


def _terminate(*_: object) -> None:
    """Handle SIGTERM as Python handles Ctrl-C."""
    raise _Terminated


def _prepare_to_be_ended() -> None:
    """Let SIGTERM remove half-written files first, and let a stage end with the DVC that started it.

    A stage that outlives a killed `dvc repro` would overwrite what the next one writes.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _terminate)
    if sys.platform == "linux" and "DVC_STAGE" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is done: a database must not be left in the middle of a write.

    Blocks should take seconds at most. In other threads than the main one nothing changes: Python never stops them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda *what: came.append(what[0])) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def run_command(command: Callable[[], int | None], *, debug: bool | None = None) -> int:
    """Run `command` and turn what a user can cause into one line on stderr and an exit code.

    Parameters
    ----------
    command : callable
        Does the work; returns an exit code or None for 0.
    debug : bool, optional
        Let errors through with their traceback. By default the environment variable ONE_NEURON_DEBUG=1 asks for it.

    Returns
    -------
    int
        0 done, 2 usage or parameter, 3 data, 4 environment, 130 interrupted, 141 closed pipe, 143 terminated.
    """
    if debug is None:
        debug = os.environ.get("ONE_NEURON_DEBUG", "") not in ("", "0")
    # Pillow's remarks on odd metadata; what matters is checked by us and stops the command.
    warnings.filterwarnings("ignore", module="PIL")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    _prepare_to_be_ended()
    try:
        code = command() or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # a closed pipe shows here, not only when Python has left us
        return code
    except (KeyboardInterrupt, _Terminated) as stopped:
        terminated = isinstance(stopped, _Terminated)
        word = "terminated" if terminated else "interrupted"
        print(f"one-neuron: {word}; nothing half-written is left behind", file=sys.stderr)
        return 143 if terminated else 130
    except BrokenPipeError:
        # The reader of our output (`| head`) went away. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except (OneNeuronError, ImportError, MemoryError, OSError, RuntimeError) as error:
        explained = None if debug else _explain(error)
        if explained is None:
            raise
        return report_error(explained)


def _explain(error: Exception) -> OneNeuronError | None:
    """Say what to do about an error of Python's own that a user can cause; None where it is a mistake of ours."""
    if isinstance(error, OneNeuronError):
        return error
    explanation = _explain_environment(error)
    return EnvironmentProblem(explanation) if explanation else None


def _explain_environment(error: Exception) -> str:
    """Return what is missing on this machine, and the remedy."""
    if isinstance(error, ModuleNotFoundError):
        remedy = "in the project's folder, run `make setup` and `. .venv/bin/activate`, or `pip install '.[pipeline]'`"
        return f"{error.name} is not installed for {sys.executable}; {remedy}"
    if isinstance(error, ImportError):
        return f"a library cannot be loaded ({one_line(error)}); remove .venv and run `make setup`"
    if isinstance(error, RuntimeError):
        no_thread = "start new thread" in str(error)
        return "no thread can be started; allow this user more of them (ulimit -u)" if no_thread else ""
    if isinstance(error, OSError):
        where = f"'{error.filename}': " if error.filename else ""
        return f"{where}{error.strerror or error}; check the disk's space and the permissions"
    return "out of memory; use fewer or smaller pictures (data.num_px)"
