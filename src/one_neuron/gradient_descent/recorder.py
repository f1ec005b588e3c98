"""The records of a training: its costs, whether it stops, and the state from which it resumes after a kill."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import functions
from one_neuron.gradient_descent.stop_rule import find_stops
from one_neuron.neuron import Array, Parameters, losses

# The costs of at most this many iterations, and of at most this many numbers, are computed together.
_PENDING_RECORDS, _PENDING_NUMBERS = 256, 2**17


@dataclass(frozen=True)
class TrainingState:
    """All that training needs to resume.

    Parameters
    ----------
    iteration : int
        Number of updates done.
    parameters : Parameters
        w and b after these updates.
    iterations, costs : list
        The records up to here.
    snapshots : mapping of int to Parameters
        w and b at some of these iterations; see `snapshots.Snapshots`.
    """

    iteration: int
    parameters: Parameters
    iterations: list[int]
    costs: list[float]
    snapshots: Mapping[int, Parameters]


class Checkpoint(Protocol):
    """Keeps the state of a training between a kill and the next start."""

    def load(self) -> TrainingState | None:
        """Return the newest state, or None if there is none."""

    def offer(self, state: Callable[[], TrainingState]) -> None:
        """Keep the state if the last one was kept long enough ago."""


class Recorder:
    """Records the cost at every `record_every` iterations and at the last one, and stops training early.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    num_iterations, record_every : int
    tolerance : float
        Stop when the cost changes by less than this from one record to the next; see `stop_rule.find_stops`.
    on_progress : callable, optional
        on_progress(updates, cost) takes the last cost known, nan before the first.
    """

    def __init__(
        self,
        Y: NDArray[Any],
        *,
        num_iterations: int,
        record_every: int,
        tolerance: float,
        on_progress: Callable[[int, float], None] | None,
    ) -> None:
        self.iterations: list[int] = []
        self.costs: list[float] = []
        self.stopped = False
        self.num_iterations, self._record_every = num_iterations, record_every
        self._Y, self._tolerance, self._on_progress = Y, tolerance, on_progress
        # Rare records are computed one at a time, so that progress shows the newest cost.
        self._batch = 1 if tolerance else max(1, min(_PENDING_RECORDS // record_every, _PENDING_NUMBERS // len(Y)))
        self._pending: list[Array] = []

    def is_due(self, iteration: int) -> bool:
        """Return whether the cost of this iteration is to be recorded."""
        return iteration % self._record_every == 0 or iteration == self.num_iterations

    def record(self, iteration: int, z: Array) -> bool:
        """Record the cost that follows from z, perhaps with later ones; return whether training stops here."""
        self.iterations.append(iteration)
        self._pending.append(z)
        if len(self._pending) >= self._batch or iteration == self.num_iterations:
            self._flush()
        return self.stopped

    def recorded(self) -> tuple[list[int], list[float]]:
        """Return iterations and costs up to now."""
        self._flush()
        return self.iterations, self.costs

    def resume(self, iterations: list[int], costs: list[float]) -> None:
        """Continue after the records of another process."""
        self.iterations, self.costs = list(iterations), list(costs)

    def show(self, iteration: int) -> None:
        """Report progress to the caller."""
        if self._on_progress is not None:
            self._on_progress(iteration, self.costs[-1] if self.costs else float("nan"))

    def _flush(self) -> None:
        """Compute the costs that are pending."""
        if self._pending:
            self.costs += (functions.mean(row) for row in losses(np.array(self._pending), self._Y))
            self._pending.clear()
            self.stopped = bool(find_stops(self.costs[-2:], self._tolerance)[-1])
