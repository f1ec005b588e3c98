"""The iterations at which a training keeps w and b, so that one can watch the neuron learn.

Most changes early, so the chosen records lie a constant factor apart. The choice is made before training begins, and a
training that stops early has the early ones: evenly spaced records would leave it little more than the first and the
last.
"""

from bisect import bisect_left
from functools import partial
from typing import Any

LIMIT = 20  # snapshots of one training
_LIMIT_NUMBERS = 2**24  # and their weights, 128 MB: pictures of more than 528 pixels a side have fewer snapshots


class Snapshots:
    """Keeps the state of a training at the first record, at the last one, and at chosen ones between them.

    Parameters
    ----------
    n_x : int
        Number of features.
    num_iterations, record_every : int
        As in `optimize`.

    Attributes
    ----------
    kept : dict
        The states by their iterations, in order.
    """

    def __init__(self, n_x: int, *, num_iterations: int, record_every: int) -> None:
        limit = max(3, min(LIMIT, _LIMIT_NUMBERS // n_x))
        records = choose_records(-(-num_iterations // record_every), limit)
        self._chosen = {min(record * record_every, num_iterations) for record in records}
        self.kept: dict[int, Any] = {}

    def offer(self, iteration: int, state: Any) -> None:
        """Keep the state of a record. Unless the record before was a chosen one, its state is dropped.

        Parameters
        ----------
        iteration : int
            Larger than those offered before.
        state : object
            It must not be changed later.
        """
        before = next(reversed(self.kept), None)
        if before is not None and before not in self._chosen:
            del self.kept[before]
        self.kept[iteration] = state


def choose_records(last: int, limit: int) -> list[int]:
    """Return 0, `last` and numbers between them that lie a constant factor apart, as far as whole numbers can.

    From a number n on, with k more to choose, the factor is (last / n)**(1 / k), and the next number is the first one
    above n that is at least as large. Powers of integers decide, so the choice is the same on every machine.

    Parameters
    ----------
    last : int
        At least 1.
    limit : int
        The most numbers to choose, at least 3.

    Returns
    -------
    list of int
        In ascending order; all numbers from 0 to `last` if there are at most `limit`.

    Examples
    --------
    >>> choose_records(1000, 8)
    [0, 1, 4, 13, 39, 116, 341, 1000]
    """
    chosen = [0, 1]
    for more in range(limit - 2, 0, -1):
        n = chosen[-1]
        above = range(n + 1, last + 1)
        if not above:
            break
        chosen.append(above[bisect_left(above, n ** (more - 1) * last, key=partial(pow, exp=more))])
    return chosen
