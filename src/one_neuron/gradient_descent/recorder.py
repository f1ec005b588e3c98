"""What training keeps of its course: costs, when to stop, and what it needs to go on after a kill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import functions
from one_neuron.neuron import Array, Parameters, losses

# So many iterations, and so many numbers, wait at most for their costs to be worked out at once.
_PENDING, _PENDING_NUMBERS = 256, 2**17


@dataclass(frozen=True)
class TrainingState:
    """All that training needs to go on from where it was.

    Parameters
    ----------
    iteration : int
        Updates done.
    parameters : Parameters
        w and b after so many updates.
    iterations, costs : list
        What is recorded so far.
    """

    iteration: int
    parameters: Parameters
    iterations: list[int]
    costs: list[float]


class Checkpoint(Protocol):
    """Where the state is kept between a kill and the next start."""

    def load(self) -> TrainingState | None:
        """Return the newest state that was kept."""

    def offer(self, state: Callable[[], TrainingState]) -> None:
        """Keep the state if the last one was kept long enough ago."""


def has_diverged(costs: NDArray[Any]) -> NDArray[np.bool_]:
    """Say whether training went wrong: the last costs lie above the first, or one is not finite.

    The last costs are the last tenth of them, at least one, and their mean counts.

    Parameters
    ----------
    costs : ndarray of shape (k,) or (k, c), float64
        Recorded costs, the first one before any update; a column each where there are many trainings.

    Returns
    -------
    ndarray of shape () or (c,), bool
    """
    last = costs[-max(1, len(costs) // 10) :]
    with np.errstate(invalid="ignore"):
        above = np.mean(last - costs[0], axis=0) > 0  # the mean of equal numbers may lie a bit above them
        return np.asarray(above | ~np.isfinite(costs).all(axis=0))


class Recorder:
    """Keeps the costs at every `record_every` iterations and the last, and says when to stop early.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    num_iterations, record_every : int
    tolerance : float
        Stop when the cost changes by less than this from one record to the next; 0 never stops.
    on_progress : callable, optional
        Is told the number of updates done and the last cost known.
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
        self._Y, self._num_iterations, self._record_every = Y, num_iterations, record_every
        self._tolerance, self._on_progress = tolerance, on_progress
        # Costs that are seldom wanted are worked out at once, so that progress shows them.
        self._most = 1 if tolerance else max(1, min(_PENDING // record_every, _PENDING_NUMBERS // len(Y)))
        self._pending: list[Array] = []
        self._next = 0

    def due(self, iteration: int) -> bool:
        """Say whether the cost of this iteration is to be kept."""
        return iteration == self._next

    def keep(self, iteration: int, z: Array) -> bool:
        """Keep the cost that belongs to z, soon; say whether training should stop here."""
        self.iterations.append(iteration)
        self._pending.append(z)
        self._next = min(iteration + self._record_every, self._num_iterations)
        if len(self._pending) >= self._most or iteration == self._num_iterations:
            self._work_out()
        return self.stopped

    def recorded(self) -> tuple[list[int], list[float]]:
        """Return iterations and costs up to now."""
        self._work_out()
        return self.iterations, self.costs

    def resume(self, iterations: list[int], costs: list[float]) -> None:
        """Go on from what another process had recorded."""
        self.iterations, self.costs = list(iterations), list(costs)
        self._next = min(self.iterations[-1] + self._record_every, self._num_iterations)

    def show(self, iteration: int) -> None:
        """Tell the user how far training is."""
        if self._on_progress is not None:
            self._on_progress(iteration, self.costs[-1] if self.costs else float("nan"))

    def _work_out(self) -> None:
        """Turn the waiting z into costs."""
        if not self._pending:
            return
        for row in losses(np.array(self._pending), self._Y):
            self.costs.append(functions.mean(row))
        self._pending.clear()
        settled = len(self.costs) > 1 and abs(self.costs[-1] - self.costs[-2]) < self._tolerance
        self.stopped = settled or not np.isfinite(self.costs[-1])
