"""A pool of processes for work in pure Python, one for each core."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from one_neuron.errors import EnvironmentProblem
from one_neuron.system.command import end_with_parent
from one_neuron.system.machine import count_cores


@contextmanager
def worker_processes() -> Iterator[Executor]:
    """Yield a pool of processes that end with this process, however it ends.

    After an error, Ctrl-C or SIGTERM the processes are killed at once.

    Raises
    ------
    EnvironmentProblem
        If one of the processes was killed, as Linux does when memory is short.
    """
    pool = ProcessPoolExecutor(count_cores(), initializer=_prepare_worker, initargs=(os.getpid(),))
    try:
        yield pool
    except BaseException as error:
        for worker in list(pool._processes.values()):  # only Python 3.14 has kill_workers()
            worker.kill()
        if isinstance(error, BrokenProcessPool):
            raise EnvironmentProblem("a worker process was killed; free some memory and run it again") from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker(owner: int) -> None:
    """Leave Ctrl-C, which the terminal sends to all processes, to the owner of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    end_with_parent(signal.SIGKILL, owner)
