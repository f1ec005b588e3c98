"""Batch gradient descent from a zero start: the one door to training is `optimize`.

The update of the course, with X of shape (m, n_x) and one example per row:

    w := w - learning_rate * dw,    b := b - learning_rate * db

is done in one of two forms that follow the same trajectory. Which one runs depends on the type and shape of X alone.

features
    The update as it stands above: 4 m n_x operations an iteration.
gram
    From a zero start w stays a sum of pictures, w = X^T alpha and b = sum(alpha), so z = (X X^T + 1) alpha: training
    needs of the pictures only their m * m scalar products, 2 m^2 operations an iteration, and those of raw pixels are
    exact integers. `docs/exact-arithmetic.md` derives it.

For uint8 pixels each form gives the same bits on every machine, at any learning rate.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron import portable
from one_neuron.neuron import Array, Parameters, compute_z, cost, gradient, initialize_with_zeros

GRAM_LIMIT = 6000  # examples; their m * m Gram matrix takes 288 MB of float64
_UPDATE_BITS = 38  # resolution of one update in the gram form, relative to its largest possible size
_CARRY_EVERY = 2 ** (portable.STATE_BITS - _UPDATE_BITS - 1)  # so many updates and a remainder fit into one number


@dataclass(frozen=True)
class TrainingResult:
    """What training gives.

    Parameters
    ----------
    parameters : Parameters
        w and b after num_iterations updates.
    iterations : ndarray of shape (k,), int64
        The recorded iterations: 0, record_every, 2 record_every, ... and num_iterations.
    costs : ndarray of shape (k,), float64
        The cost after so many updates.
    form : str
        "gram" or "features".
    """

    parameters: Parameters
    iterations: NDArray[np.int64]
    costs: Array
    form: str


def choose_form(X: NDArray[Any]) -> str:
    """Return "gram" for at most GRAM_LIMIT rows of raw pixels, else "features"."""
    return "gram" if X.dtype == np.uint8 and len(X) <= GRAM_LIMIT else "features"


def optimize(
    X: NDArray[Any], Y: NDArray[Any], *, learning_rate: float, num_iterations: int, record_every: int = 100
) -> TrainingResult:
    """Train the neuron by batch gradient descent on the cross-entropy cost, starting at zero.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels (p stands for p / 255) or float64
        One example per row. It is not changed.
    Y : ndarray of shape (m,), values in {0, 1}
    learning_rate : float
        Length of a step along the gradient; from 1e-100 to 1e100.
    num_iterations : int
        Number of updates, at least 1.
    record_every : int
        The cost is kept at every so many iterations and at the last one; at least 1.

    Returns
    -------
    TrainingResult

    Raises
    ------
    ValueError
        If a shape, a label or a parameter is not as above.

    References
    ----------
    Andrew Ng, Neural Networks and Deep Learning, week 2, "Logistic Regression with a Neural Network mindset",
    `optimize`.
    """
    from threadpoolctl import threadpool_limits  # its import sets an environment variable

    _check(X, Y, learning_rate, num_iterations, record_every)
    form = choose_form(X)
    costs = _Costs(Y, record_every)
    descend = _descend_gram if form == "gram" else _descend_features
    # The products of one iteration are so small that handing them to several threads takes longer than doing them.
    with threadpool_limits(limits=1, user_api="blas"):
        parameters = descend(X, Y, learning_rate, num_iterations, costs)
    return TrainingResult(parameters, np.array(costs.iterations), np.array(costs.values), form)


class _Costs:
    """The costs that are kept: at every `record_every` iterations, and whenever a form says so (at the last one)."""

    def __init__(self, Y: NDArray[Any], record_every: int) -> None:
        self.iterations: list[int] = []
        self.values: list[float] = []
        self._Y, self._record_every = Y, record_every

    def due(self, iteration: int) -> bool:
        """Say whether the cost of this iteration is to be kept."""
        return iteration % self._record_every == 0

    def keep(self, iteration: int, z: Array) -> None:
        """Work the cost out and keep it."""
        self.iterations.append(iteration)
        self.values.append(cost(z, self._Y))


def _descend_features(
    X: NDArray[Any], Y: NDArray[Any], learning_rate: float, num_iterations: int, costs: _Costs
) -> Parameters:
    """Train as the course does: one pass for z, one for the gradient."""
    parameters = initialize_with_zeros(X.shape[1])
    for iteration in range(num_iterations):
        z = compute_z(X, parameters)  # forward
        if costs.due(iteration):
            costs.keep(iteration, z)
        dw, db = gradient(X, Y, z)  # backward
        parameters = Parameters(w=parameters.w - learning_rate * dw, b=parameters.b - learning_rate * db)  # update
    costs.keep(num_iterations, compute_z(X, parameters))
    return parameters


def _descend_gram(
    X: NDArray[np.uint8], Y: NDArray[Any], learning_rate: float, num_iterations: int, costs: _Costs
) -> Parameters:
    """Train on scalar products of pictures, in whole numbers.

    With s = 2 y - 1 in {-1, 1} and w = X^T (s beta), an update of w is beta += (learning_rate / m) / (1 + exp(u)) where
    u = s z = Q beta and Q = s s^T (X X^T + 1). beta is kept as whole multiples of a power of two, an update being at
    most 2**_UPDATE_BITS of them, and Q in units of 1 / 255**2, so that Q beta is exact in any order of summation. The
    multiples outgrow one float64 after some thousand updates, so they are kept as low + 2**_UPDATE_BITS high.
    """
    m = len(X)
    s = np.where(Y, 1.0, -1.0)
    Q = portable.gram_matrix(X)
    Q += portable.PIXEL_MAX**2
    bits = portable.digit_bits(int(Q.sum(axis=1).max()))  # Q is not negative yet
    Q *= s[:, np.newaxis]
    Q *= s

    step = learning_rate / m
    unit = math.ldexp(1.0, math.frexp(step)[1] - _UPDATE_BITS)
    carry_unit = 2.0**_UPDATE_BITS
    low, high = np.zeros(m), np.zeros(m)  # beta = (low + carry_unit * high) * unit

    def compute_u(iteration: int) -> Array:
        u = portable.combine(portable.split(low, bits) @ Q, bits)  # Q is symmetric
        if iteration >= _CARRY_EVERY:
            u += portable.combine(portable.split(high, bits) @ Q, bits) * carry_unit
        u *= unit / portable.PIXEL_MAX**2
        return u

    for iteration in range(num_iterations):
        u = compute_u(iteration)
        if costs.due(iteration):
            costs.keep(iteration, s * u)
        update = portable.exp(u)
        update += 1.0
        np.divide(step / unit, update, out=update)
        low += np.rint(update)
        if (iteration + 1) % _CARRY_EVERY == 0:
            carry = np.rint(low / carry_unit)
            low -= carry * carry_unit
            high += carry
    costs.keep(num_iterations, s * compute_u(num_iterations))

    parts = [portable.FixedPoint(s * low, unit), portable.FixedPoint(s * high, unit * carry_unit)]
    w_low, w_high = (portable.transposed_pixels_times(X, part) for part in parts)
    b_low, b_high = (math.fsum(part.counts) * part.unit for part in parts)
    return Parameters(w=w_low + w_high, b=b_low + b_high)


def _check(X: NDArray[Any], Y: NDArray[Any], learning_rate: float, num_iterations: int, record_every: int) -> None:
    """Refuse what would train to nonsense in silence."""
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"X has shape {X.shape}; expected (m, n_x) with at least one example and one feature")
    if Y.shape != (len(X),):
        raise ValueError(f"Y has shape {Y.shape}; expected ({len(X)},), one label for each row of X")
    wrong = np.flatnonzero((Y != 0) & (Y != 1))
    if wrong.size:
        raise ValueError(f"Y[{wrong[0]}] is {Y[wrong[0]]}; labels are 0 or 1")
    if X.dtype != np.uint8 and not np.isfinite(X).all():
        raise ValueError("X holds nan or infinity")
    if not 1e-100 <= learning_rate <= 1e100:
        raise ValueError(f"learning_rate is {learning_rate}; expected a number from 1e-100 to 1e100")
    numbers: dict[str, Any] = {"num_iterations": num_iterations, "record_every": record_every}
    for name, value in numbers.items():
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
