"""scikit-learn's LogisticRegression on the rows of the neuron, for the HTML report alone.

Its solver, lbfgs, calls BLAS, so the last bits differ between CPUs. Nothing that DVC or MLflow keys depend on uses it.
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.metrics import evaluate
from one_neuron.storage.pixel_file import row_blocks
from one_neuron.storage.prepared_set import PreparedSet

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

MOST_VALUES = 50_000_000  # m * n_x in the training: 4,069 pictures of 64 x 64, which take 400 MB and seconds
MAX_ITERATIONS = 1_000  # scikit-learn's own limit of 100 is too low for some sets of pictures


@dataclass(frozen=True)
class Comparison:
    """What scikit-learn reached.

    Parameters
    ----------
    train, test : mapping
        From `metrics.evaluate`, on all rows of both sets.
    num_rows : int
        Number of training pictures that it was trained on; below the size of the set if that is too large.
    iterations : int
        Number of iterations of lbfgs.
    converged : bool
        Whether lbfgs ended before MAX_ITERATIONS.
    """

    train: dict[str, Any]
    test: dict[str, Any]
    num_rows: int
    iterations: int
    converged: bool


def compare(
    train: PreparedSet, test: PreparedSet, *, threshold: float, most_values: int = MOST_VALUES
) -> Comparison | None:
    """Train LogisticRegression with its defaults (L2 penalty, C = 1) on the pixels / 255, as the neuron sees them.

    If the training set has more than `most_values` values, only evenly spaced pictures of it are used.

    Parameters
    ----------
    train, test : PreparedSet
    threshold : float
        That of the neuron: a probability above it means label 1.

    Returns
    -------
    Comparison or None
        None if the pictures to train on have only one label.
    """
    m, n_x = train.X.shape
    num_rows = min(m, max(1, most_values // n_x))
    rows = np.arange(num_rows) * m // num_rows
    Y = train.Y[rows]
    if len(np.unique(Y)) < 2:
        return None
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.asarray(train.X[rows]) / 255, Y)
    iterations = int(model.n_iter_.max())
    scores = {
        name: evaluate(_compute_z(model, prepared), prepared.Y, threshold=threshold)
        for name, prepared in (("train", train), ("test", test))
    }
    return Comparison(**scores, num_rows=num_rows, iterations=iterations, converged=iterations < MAX_ITERATIONS)


def _compute_z(model: "LogisticRegression", prepared: PreparedSet) -> NDArray[np.float64]:
    """Return z = X w + b, with one block of rows in memory at a time."""
    return np.concatenate([model.decision_function(block / 255) for block in row_blocks(prepared.X)])
