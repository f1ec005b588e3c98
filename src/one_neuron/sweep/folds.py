"""Which pictures are held out together: stratified folds, the same for a seed in every release of NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError


def assign_folds(
    Y: NDArray[Any], *, folds: int, seed: int, originals: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Deal out the pictures so that each fold looks like the whole.

    The pictures of class 0 are shuffled and dealt out one by one to fold 0, 1, ..., then those of class 1, going on
    where class 0 stopped. So two folds differ by at most one picture of each class, and by at most one in all.

    A copy of a picture goes where the first one went, whatever its own class: held out alone, it would be judged by a
    neuron that has seen it. The folds are even in different pictures then, and differ in all by the copies.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    folds : int
        At least 2.
    seed : int
        At least 0; another seed deals otherwise.
    originals : ndarray of shape (m,), int64, optional
        For each picture the index of the first one with the same pixels, its own where that is itself; see
        `data_report.find_originals`. By default no picture counts as a copy.

    Returns
    -------
    ndarray of shape (m,), int64
        The fold of each picture, from 0 to folds - 1.

    Raises
    ------
    DataError
        If a class has fewer different pictures than there are folds; the message names the class, their number and
        the remedy.
    ValueError
        If folds is below 2.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; expected at least 2")
    if originals is None:
        originals = np.arange(len(Y))
    dealt = np.flatnonzero(originals == np.arange(len(Y)))
    for label in (0, 1):
        count = int(np.count_nonzero(Y[dealt] == label))
        if count < folds:
            remedy = f"at most {count} folds" if count >= 2 else "no folds (0)"
            different = "training pictures" if len(dealt) == len(Y) else "different training pictures"
            raise DataError(
                f"sweep.folds is {folds}, but the number of {different} of class {label} is {count}; "
                f"ask for {remedy}, or add pictures of that class"
            )
    # NumPy promises that this stream stays as it is; what Generator.permutation makes of it may change in any release.
    keys = np.random.PCG64(seed).random_raw(len(Y))
    order = dealt[np.lexsort((keys[dealt], Y[dealt]))]  # by class, within a class by chance
    fold_of = np.empty(len(Y), np.int64)
    fold_of[order] = np.arange(len(order)) % folds
    return fold_of[originals]
