"""When a training stops early and whether it has diverged, by its recorded costs."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TAIL_DIVISOR = 10  # whether training diverged is decided by the last tenth of the recorded costs


def find_stops(costs: ArrayLike, tolerance: float) -> NDArray[np.bool_]:
    """Return for each recorded cost whether training stops there.

    It stops where the cost changed by less than `tolerance` since the record before, or is not finite. A tolerance of 0
    never stops a finite training, not even one whose cost has ceased to change.

    Parameters
    ----------
    costs : array of shape (k,) or (k, c), float64
        Recorded costs, the first one before any update; one column for each of c trainings.
    tolerance : float
        At least 0.

    Returns
    -------
    ndarray of the same shape, bool

    Examples
    --------
    >>> find_stops([0.69, 0.5, 0.49], 0.1).tolist()
    [False, False, True]
    """
    values = np.asarray(costs)
    with np.errstate(invalid="ignore"):  # inf - inf
        changes = np.abs(np.diff(values, axis=0, prepend=np.inf))
    return np.asarray((changes < tolerance) | ~np.isfinite(values))


def has_diverged(costs: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether training diverged: the last costs lie above the first one, or a cost is not finite.

    The last costs are the last tenth of them, at least one; their mean is compared.

    Parameters
    ----------
    costs : ndarray of shape (k,) or (k, c), float64
        Recorded costs, the first one before any update; one column for each of c trainings.

    Returns
    -------
    ndarray of shape () or (c,), bool
    """
    last = costs[-max(1, len(costs) // _TAIL_DIVISOR) :]
    with np.errstate(invalid="ignore"):
        above = np.mean(last - costs[0], axis=0) > 0  # the mean of equal numbers may lie slightly above them
        return np.asarray(above | ~np.isfinite(costs).all(axis=0))
