"""A pool of processes for work in pure Python, one for each core if memory allows."""

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.command import end_with_parent
from one_neuron.system.machine import count_cores
from one_neuron.system.memory import memory_left
from one_neuron.system.memory_limits import MEGABYTE

P = ParamSpec("P")
T = TypeVar("T")
_WORKER_BYTES = 100 * MEGABYTE  # a process that draws plots takes 80 MB of its own


@contextmanager
def worker_processes(preload: str = "") -> Iterator[Executor]:
    """Yield a pool of processes that end with this process, however it ends.

    After an error, Ctrl-C or SIGTERM the processes are killed at once. If memory is too short for another process, this
    process does the work itself.

    Parameters
    ----------
    preload : str
        A module whose import takes long. The pool then is one new process, which starts at once and imports it. By
        default the processes start with the first job, on Linux as copies of this process: that is quicker, but such a
        copy may wait for ever for a lock that another thread held.

    Raises
    ------
    EnvironmentProblem
        If one of the processes was killed, as Linux does when memory is short.
    """
    number = min(count_cores(), memory_left() // _WORKER_BYTES - 1)  # this process works as well
    if number < 1:
        yield _OneProcess()
        return
    context = multiprocessing.get_context("spawn" if preload else None)
    pool = ProcessPoolExecutor(1 if preload else number, context, _prepare_worker, (os.getpid(), preload))
    try:
        if preload:
            _start_process(pool)
        yield pool
    except BaseException as error:
        for worker in list(pool._processes.values()):  # only Python 3.14 has kill_workers()
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise EnvironmentProblem("a worker process was killed; free some memory and run it again") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


class _OneProcess(Executor):
    """An executor that does the work in this process at once."""

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Return the result of `function` as a future; its errors are raised here."""
        future: Future[T] = Future()
        future.set_result(function(*args, **kwargs))
        return future


def _start_process(pool: ProcessPoolExecutor) -> None:
    """Start a process of the pool, in which Ctrl-C is blocked: it would end the imports with a traceback."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(owner: int, preload: str) -> None:
    """Leave Ctrl-C, which the terminal sends to all processes, to the owner of the pool; import a module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL, owner)
    if preload:
        importlib.import_module(preload)
