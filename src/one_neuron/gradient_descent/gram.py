"""Gradient descent through the Gram matrix, in whole numbers: the form for up to a few thousand pictures.

From a zero start w stays a weighted sum of the pictures: w = X^T alpha and b = sum(alpha), so z = (X X^T + 1) alpha.
Training therefore needs only the m * m scalar products of the pictures, which are exact integers for pixels.
`docs/exact-arithmetic.md` derives it.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.exact import functions, products
from one_neuron.gradient_descent.recorder import Recorder
from one_neuron.gradient_descent.snapshots import Snapshots
from one_neuron.gradient_descent.stability import largest_eigenvalue
from one_neuron.neuron import Parameters

_RANGE_EVERY = 64  # iterations with the same grid for beta


def descend(
    X: NDArray[np.uint8], Y: NDArray[Any], learning_rate: float, recorder: Recorder, snapshots: Snapshots
) -> tuple[dict[int, Parameters], float]:
    """Train; return w and b by their iterations, the trained ones last, and the largest eigenvalue of X X^T + 1.

    With s = 2 y - 1 in {-1, 1} and w = X^T (s beta), the update of w becomes

        beta += (learning_rate / m) / (1 + exp(u)),    u = s z = Q beta,    Q = s s^T * (X X^T + 1)
    """
    m = len(X)
    s = np.where(Y, 1.0, -1.0)
    Q = products.gram_matrix(X)
    Q += products.PIXEL_MAX**2  # in units of 1 / 255**2
    bits = products.digit_bits(int(Q.sum(axis=1).max()))  # before the signs: all entries of Q are positive
    Q *= s[:, np.newaxis]
    Q *= s
    update_of = functions.ReverseSigmoid(m)
    multiply = products.SymmetricProduct(Q, bits, factor=update_of.STEPS / products.PIXEL_MAX**2)
    step = learning_rate / m
    beta, u, update = np.zeros(m), np.empty(m), np.empty(m)  # u in units of 1 / STEPS

    for iteration in range(recorder.num_iterations + 1):
        if iteration % _RANGE_EVERY == 0:
            multiply.set_range(float(beta.max()) + _RANGE_EVERY * step)
        multiply(beta, u)
        if recorder.is_due(iteration):
            snapshots.offer(iteration, s * beta)
            if recorder.record(iteration, s * u / update_of.STEPS):
                break
        recorder.show(iteration)
        if iteration == recorder.num_iterations:
            break
        np.add(beta, update_of(u, numerator=step, out=update), beta)

    alphas = np.array(list(snapshots.kept.values()))
    weights = products.transposed_pixels_times(X, *products.to_fixed_point(alphas))
    parameters = (Parameters(w=w, b=math.fsum(alpha)) for w, alpha in zip(weights, alphas, strict=True))
    multiply.set_range(1.0)
    eigenvalue = largest_eigenvalue(lambda v: s * multiply(s * v, u) / update_of.STEPS, m)
    return dict(zip(snapshots.kept, parameters, strict=True)), eigenvalue
