"""Passes on the workers of a Ray cluster: each holds a shard, some of the rows with their labels.

A worker reads its rows from the prepared file, which lies at the same path on every machine, or downloads them from a
copy; rows that are only in memory are sent. In an iteration w and b go out, and the exact sums come back; z comes back
when a cost is recorded. So neither the number of workers, nor which of them end and are replaced, changes a bit. For
the many configurations of a sweep all w and b go out, and sums in float64 come back.
"""

import sys
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import ExitStack
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem, one_line
from one_neuron.gradient_descent.engines.ray_connection import connect
from one_neuron.gradient_descent.many_rows import ManyWanted
from one_neuron.gradient_descent.passes import LocalPasses, Passes, Sums, Wanted
from one_neuron.layout import hash_code
from one_neuron.neuron import Array
from one_neuron.rows import Pixels, RowsOnDisk
from one_neuron.system.machine import one_blas_thread

_MOST_REPLACEMENTS = 3  # of one worker in one pass
_WAIT_SECONDS = 30.0
_SMALL_BYTES = 64 * 2**10  # Ray's own limit for what travels with a call is 100 kB


class Shard:
    """Some of the rows, in the process of a worker."""

    def load(self, rows: Callable[[], RowsOnDisk] | NDArray[np.uint8], Y: NDArray[Any], cores: int) -> str:
        """Open the rows; return the SHA-256 of the code that computes here."""
        # A copy of Ray's: in memory of its own a process has large pages, with which a pass takes 0.9 of the time.
        X = rows() if callable(rows) else rows.copy()
        self._passes = LocalPasses(X, Y, cores=cores)
        return hash_own_code()

    def add_up(self, wanted: Wanted) -> Sums:
        """Do one pass over these rows."""
        return self._passes.add_up(wanted)

    def add_up_many(self, wanted: ManyWanted, folds: NDArray[Any] | None) -> tuple[Array, Array]:
        """Do one pass over these rows for many configurations."""
        with one_blas_thread():
            return self._passes.add_up_many(wanted, folds)


class RayPasses(Passes):
    """Passes on the workers of a Ray cluster.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8, or a `RowsOnDisk`
    Y : ndarray of shape (m,), values in {0, 1}
    address : str
        Of the cluster; see `connect`.
    shards : int, optional
        Number of workers; by default one for each CPU of the cluster. There are no more workers than rows. Each
        computes on as many threads as there are CPUs for it.
    url : str, optional
        A copy of the file of the pixels, from which the workers download their rows.

    Raises
    ------
    EnvironmentProblem
        If there is no cluster, a worker runs other code, or it cannot read from `url`.
    DataError
        If a worker cannot read the file of the pixels.
    """

    def __init__(
        self, X: Pixels, Y: NDArray[Any], *, address: str = "", shards: int | None = None, url: str | None = None
    ) -> None:
        self._X, self._Y, self._url = X, Y, url
        with ExitStack() as stack:
            object_bytes = 16 * len(Y) + (0 if isinstance(X, RowsOnDisk) else X.nbytes)  # z twice, and pixels
            self._ray = stack.enter_context(connect(address, object_bytes))
            cpus = [int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]]
            number = min(shards or max(1, sum(cpus)), len(Y))
            self._cores = cores_per_worker(cpus, number)
            cuts = [len(Y) * i // number for i in range(number + 1)]
            self._rows = [slice(*ends) for ends in pairwise(cuts)]
            stack.callback(self._end_workers)
            # More workers than CPUs reserve none: otherwise some would wait for ever.
            self._workers = [self._start(rows, reserve=self._cores) for rows in self._rows]
            self._wait_for_workers()
            self._session = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def add_up(self, wanted: Wanted) -> Sums:
        """Do one pass over all rows."""
        sent = wanted
        if wanted.parameters.w.nbytes > _SMALL_BYTES:
            sent = self._ray.put(wanted)  # once, not for each worker; but fetching it takes a worker 2 ms
        parts = self._ask(lambda i: self._workers[i][0].add_up.remote(sent))
        z = [part.z for part in parts if part.z is not None]
        dw = np.sum([part.dw for part in parts], axis=0)
        return Sums(np.concatenate(z) if z else None, dw, sum(part.db for part in parts))

    def add_up_many(self, wanted: ManyWanted, folds: NDArray[Any] | None) -> tuple[Array, Array]:
        """Do one pass over all rows for many configurations. The last bits depend on the number of workers."""
        sent = self._ray.put(wanted)
        shares = [None if folds is None else folds[rows] for rows in self._rows]
        parts = self._ask(lambda i: self._workers[i][0].add_up_many.remote(sent, shares[i]))
        return sum(gradients for gradients, _ in parts), sum(scores for _, scores in parts)

    def _ask(self, call: Callable[[int], Any]) -> list[Any]:
        """Return the results of all workers; call(i) asks worker i for one."""
        running = [call(i) for i in range(len(self._workers))]
        return [self._finish(i, call, result) for i, result in enumerate(running)]

    def _start(self, rows: slice, *, reserve: int) -> tuple[Any, Any]:
        """Start a worker and have it load its rows; return it and the future result of that."""
        options = {"num_cpus": reserve, "scheduling_strategy": "SPREAD"}
        worker = self._ray.remote(Shard).options(**options).remote()
        X = self._X.locate(rows, self._url) if isinstance(self._X, RowsOnDisk) else None
        pixels = np.ascontiguousarray(self._X[rows]) if X is None else X
        return worker, worker.load.remote(pixels, self._Y[rows], max(1, self._cores))

    def _wait_for_workers(self) -> None:
        """Wait until all workers have loaded their rows; check that their code is that of this process."""
        loads = [load for _, load in self._workers]
        ready, missing = wait([load.future() for load in loads], timeout=_WAIT_SECONDS)
        if missing:
            _report(f"{len(ready)} of {len(loads)} workers of Ray are ready; waiting for the others")
        for i in range(len(self._workers)):
            self._finish(i, None, self._workers[i][1])

    def _finish(self, i: int, call: Callable[[int], Any] | None, result: Any) -> Any:
        """Return a result of worker i. If the worker ends, start another one and have it do the same.

        Without `call`, the result is that of loading the rows.
        """
        errors, reason = self._ray.exceptions, ""
        for attempt in range(1 + _MOST_REPLACEMENTS):
            try:
                if attempt:
                    self._ray.kill(self._workers[i][0])  # its result may be lost while it is alive
                    # It reserves no CPU: after the loss of a machine there may be too few.
                    self._workers[i] = self._start(self._rows[i], reserve=0)
                    result = None if call is None else call(i)
                if attempt or call is None:
                    self._check_code(_get(self._workers[i][1]))
                return None if call is None else _get(result)
            except errors.RayTaskError as error:
                raise error.cause from None
            except errors.RayError as error:
                reason = one_line(error)
                _report(f"worker {i + 1} of {len(self._rows)} ended; another one takes over its rows")
        raise EnvironmentProblem(
            f"worker {i + 1} of {len(self._rows)} ended {attempt + 1} times; Ray reports: {reason}"
        )

    def _check_code(self, code: str) -> None:
        """Raise EnvironmentProblem if a worker computes with other code than this process."""
        if code != hash_own_code():
            raise EnvironmentProblem(
                "a worker of Ray runs another version of one_neuron; install the same one on every machine"
            )

    def _end_workers(self) -> None:
        """End all workers."""
        for worker, _ in getattr(self, "_workers", ()):
            self._ray.kill(worker)


def cores_per_worker(cpus: list[int], workers: int) -> int:
    """Return how many CPUs each of some workers can have on machines with so many CPUs, 0 if there are too few.

    Examples
    --------
    >>> cores_per_worker([4, 4], 8), cores_per_worker([4, 4], 2), cores_per_worker([4, 3], 3), cores_per_worker([2], 5)
    (1, 4, 2, 0)
    """
    return next((k for k in range(max(cpus, default=0), 0, -1) if sum(cpu // k for cpu in cpus) >= workers), 0)


@cache
def hash_own_code() -> str:
    """Return the SHA-256 of the code that a pass runs."""
    return hash_code("one_neuron/gradient_descent/passes.py", aside=["one_neuron.system"])


def _get(result: Any) -> Any:
    """Return a result when it is there. `ray.get` would delay Ctrl-C and SIGTERM, or lose them."""
    return result.future().result()


def _report(text: str) -> None:
    """Print a line on stderr."""
    print(f"one-neuron: {text}", file=sys.stderr)
