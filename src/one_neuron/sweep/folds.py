"""Stratified folds for cross-validation: the same for a seed in every release of NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError


def assign_folds(
    Y: NDArray[Any], *, folds: int, seed: int, originals: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Assign each picture to a fold, so that each fold has the class frequencies of the whole.

    The pictures of class 0 are shuffled and dealt to the folds 0, 1, ... in turn, and those of class 1 after them,
    starting where class 0 ended. So the sizes of two folds differ by at most one picture, in each class and in all.

    A copy of a picture is assigned to the fold of the first one, whatever its own class; otherwise it would be scored
    by a training that has seen it. Then only the numbers of different pictures are balanced.

    Parameters
    ----------
    Y : ndarray of shape (m,), values in {0, 1}
    folds : int
        At least 2.
    seed : int
        At least 0.
    originals : ndarray of shape (m,), int64, optional
        For each picture the index of the first one with the same pixels, which may be its own; see
        `sources.report.find_originals`. By default no picture is a copy.

    Returns
    -------
    ndarray of shape (m,), int64
        The fold of each picture, from 0 to folds - 1.

    Raises
    ------
    DataError
        If a class has fewer different pictures than there are folds.
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
    # NumPy guarantees that this stream never changes; Generator.permutation may change in any release.
    keys = np.random.PCG64(seed).random_raw(len(Y))
    order = dealt[np.lexsort((keys[dealt], Y[dealt]))]  # by class, shuffled within a class
    fold_of = np.empty(len(Y), np.int64)
    fold_of[order] = np.arange(len(order)) % folds
    return fold_of[originals]
