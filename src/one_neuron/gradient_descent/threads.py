"""Threads that share the work of one training and end together."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from typing import Any

_PROGRESS_SECONDS = 0.2


class Crew:
    """A pool whose threads all end soon after an error or Ctrl-C, and a count of the updates done.

    Parameters
    ----------
    pool : Executor
    total : int
        Number of updates in all.
    on_progress : callable, optional
        on_progress(done, total) is called a few times a second, from any thread, never twice at once.
    """

    def __init__(self, pool: Executor, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self._pool, self.stopped = pool, False
        self._total, self._done, self._on_progress = total, 0, on_progress
        self._lock, self._next = threading.Lock(), 0.0

    def map(self, function: Callable[[slice], Any], items: list[slice]) -> list[Any]:
        """Return the results in the order of the items."""
        if len(items) == 1:
            return [function(items[0])]
        tasks: list[Future[Any]] = []
        try:
            tasks.extend(self._pool.submit(function, item) for item in items)
            wait(tasks, return_when=FIRST_EXCEPTION)
        finally:  # also after Ctrl-C
            self.stopped = not all(task.done() for task in tasks)
        return [task.result() for task in tasks]

    def advance(self, number: int) -> bool:
        """Count `number` more updates as done; return whether to go on."""
        if self._on_progress is not None:
            with self._lock:
                self._done += number
                if time.monotonic() >= self._next or self._done == self._total:
                    self._on_progress(self._done, self._total)
                    self._next = time.monotonic() + _PROGRESS_SECONDS
        return not self.stopped


def split_evenly(number: int, parts: int) -> list[slice]:
    """Return slices that cut `number` items into `parts` of almost equal size."""
    return [slice(number * i // parts, number * (i + 1) // parts) for i in range(parts)]
