"""Batch gradient descent as the course teaches it. Read this module first.

The neuron starts at w = 0 and b = 0. Each iteration looks at all m examples at once:

    z = X w + b,  A = sigmoid(z)                                   forward
    J = -1/m sum(y log(a) + (1 - y) log(1 - a))                    cost
    dw = 1/m X^T (A - Y),  db = 1/m sum(a - y)                     backward
    w := w - learning_rate dw,  b := b - learning_rate db          update

X holds one example per row, (m, n_x); the course writes its transpose. `docs/course.md` derives the formulas, and
`neuron` computes them.

`optimize` runs this loop for features that are not pixels. For pixels it takes a quicker form, `gram` or `blocks`,
which follows the same trajectory: `tests/unit/gradient_descent/test_textbook.py` compares them. This loop takes pixels
as well, so it can be read and stepped through with any data: set a breakpoint at the update and run

    python -m one_neuron.gradient_descent.textbook
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.gradient_descent.stop_rule import find_stops
from one_neuron.neuron import Parameters, compute_z, cost, gradient, initialize_with_zeros


def descend(  # noqa: PLR0913 - the options are keywords
    X: NDArray[Any],
    Y: NDArray[Any],
    *,
    learning_rate: float,
    num_iterations: int,
    record_every: int = 100,
    tolerance: float = 0.0,
    on_progress: Callable[[int, float], None] | None = None,
    on_record: Callable[[int, Parameters], None] | None = None,
) -> tuple[Parameters, list[int], list[float]]:
    """Train the neuron by batch gradient descent, starting at zero.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels (p stands for p / 255) or float64
    Y : ndarray of shape (m,), values in {0, 1}
    learning_rate : float
        Length of a step along the gradient.
    num_iterations : int
        Number of updates.
    record_every : int
        The cost is recorded at iteration 0, at every multiple of this number, and at the last one.
    tolerance : float
        Stop when the cost changes by less than this from one record to the next; see `stop_rule.find_stops`.
    on_progress : callable, optional
        on_progress(updates, cost) is called at each iteration with the last recorded cost.
    on_record : callable, optional
        on_record(updates, parameters) is called at each recorded iteration with its w and b.

    Returns
    -------
    parameters : Parameters
        w and b after the last update.
    iterations : list of int
        The recorded iterations.
    costs : list of float
        The cost after that many updates.

    Examples
    --------
    The label of an example is 1 where its first feature is the larger one.

    >>> X, Y = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 0.0], [0.0, 2.0]]), np.array([1, 0, 1, 0])
    >>> parameters, iterations, costs = descend(X, Y, learning_rate=0.5, num_iterations=200)
    >>> iterations, [f"{cost:.4f}" for cost in costs]
    ([0, 100, 200], ['0.6931', '0.0101', '0.0050'])
    """
    parameters = initialize_with_zeros(X.shape[1])
    iterations: list[int] = []
    costs: list[float] = []
    for iteration in range(num_iterations + 1):
        z = compute_z(X, parameters)  # forward
        if iteration % record_every == 0 or iteration == num_iterations:
            iterations.append(iteration)
            costs.append(cost(z, Y))  # cost
            if on_record is not None:
                on_record(iteration, parameters)
            if find_stops(costs[-2:], tolerance)[-1]:
                break
        if on_progress is not None:
            on_progress(iteration, costs[-1])
        if iteration == num_iterations:
            break
        dw, db = gradient(X, Y, z)  # backward
        parameters = Parameters(w=parameters.w - learning_rate * dw, b=parameters.b - learning_rate * db)  # update
    return parameters, iterations, costs


def main() -> None:
    """Train on four pictures of two pixels, and print the costs and the parameters."""
    X = np.array([[255, 0], [204, 51], [102, 204], [0, 255]], dtype=np.uint8)
    Y = np.array([1, 1, 0, 0])
    parameters, iterations, costs = descend(X, Y, learning_rate=1.0, num_iterations=10, record_every=1)
    for iteration, value in zip(iterations, costs, strict=True):
        print(f"cost after {iteration:2} updates: {value:.6f}")
    print(f"w = {parameters.w.round(4)}, b = {parameters.b:.4f}")


if __name__ == "__main__":
    main()
