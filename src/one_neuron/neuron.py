"""The neuron: its output, its cost and the gradient of the cost. NumPy alone.

Shapes
------
One example per row, as in NumPy, HDF5, scikit-learn and MLflow (the course writes the transpose, X of shape (n_x, m)):

    X : (m, n_x)   m examples of n_x features
    Y : (m,)       labels in {0, 1}
    w : (n_x,)     weights;  b : a number, the bias
    z : (m,)       z = X w + b
    A : (m,)       A = sigmoid(z), the probability of label 1

X of type uint8 holds pixels that stand for X / 255, and products with it are exact (`exact.products`): the same bits on
every machine. Any other X is used as it is and multiplied by NumPy; lists become float64.

References
----------
Andrew Ng, Neural Networks and Deep Learning, week 2, "Logistic Regression with a Neural Network mindset".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from one_neuron.exact import functions, products

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parameters:
    """The weights and the bias that the neuron learns.

    Parameters
    ----------
    w : ndarray of shape (n_x,), float64
        Weights.
    b : float
        Bias.
    """

    w: Array
    b: float


def initialize_with_zeros(n_x: int) -> Parameters:
    """Return w = 0 and b = 0. One neuron has no symmetry to break, and the cost is convex, so any start will do.

    Parameters
    ----------
    n_x : int
        Number of features, at least 1.
    """
    return Parameters(w=np.zeros(n_x), b=0.0)


def compute_z(X: ArrayLike, parameters: Parameters) -> Array:
    """Return z = X w + b.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels or float64
    parameters : Parameters
        w of shape (n_x,).

    Returns
    -------
    ndarray of shape (m,), float64

    Raises
    ------
    ValueError
        If X does not have one column for each weight.
    """
    X, w, b = _to_array(X), parameters.w, parameters.b
    if X.ndim != 2 or X.shape[1] != len(w):
        raise ValueError(f"X has shape {X.shape}; expected (m, {len(w)}) to fit w")
    if X.dtype == np.uint8:
        return products.pixels_times(X, w) + b
    return np.asarray(X @ w + b, dtype=np.float64)


def sigmoid(z: ArrayLike) -> Array:
    """Return 1 / (1 + exp(-z)).

    Parameters
    ----------
    z : ndarray of any shape, float64

    Returns
    -------
    ndarray of the same shape, float64, values in (0, 1]
    """
    return np.asarray(1.0 / (1.0 + functions.exp(-np.asarray(z, dtype=np.float64))))


def losses(z: ArrayLike, Y: ArrayLike) -> Array:
    r"""Return the cross-entropy of each example.

    .. math:: L(z, y) = -y \log a - (1 - y) \log(1 - a) = \log(1 + e^z) - y z, \quad a = \mathrm{sigmoid}(z)

    From z instead of a: log(a) is -inf where a rounds to 0, and 0 * -inf is nan.

    Parameters
    ----------
    z : ndarray of shape (m,) or (k, m), float64
        (k, m) holds k different z of the same examples.
    Y : ndarray of shape (m,), values in {0, 1}

    Returns
    -------
    ndarray of the shape of z, float64, values >= 0

    Raises
    ------
    ValueError
        If the shapes do not fit: (m, 1) labels would broadcast to m * m losses.
    """
    z, Y = np.asarray(z), np.asarray(Y)
    if z.shape[-1:] != Y.shape or z.ndim > 2:
        raise ValueError(f"z has shape {z.shape} and Y has shape {Y.shape}; expected the same")
    # log(1 + e^z) = max(z, 0) + log(1 + e^-|z|), so that exp never overflows. With y in {0, 1}, max(z, 0) - y z is
    # max(z, 0) or max(-z, 0): nothing is lost by cancellation.
    return np.asarray(np.maximum(np.where(Y, -z, z), 0.0) + functions.log1p(functions.exp(-np.abs(z))))


def cost(z: ArrayLike, Y: ArrayLike) -> float:
    """Return the mean of the losses over the m examples, stable at any z.

    Parameters
    ----------
    z : ndarray of shape (m,), float64
    Y : ndarray of shape (m,), values in {0, 1}

    Returns
    -------
    float
        At least 0; ln 2 = 0.693147 where z = 0.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    return functions.mean(losses(z, Y))


def gradient(X: ArrayLike, Y: ArrayLike, z: ArrayLike) -> tuple[Array, float]:
    r"""Return the gradient of the cost.

    .. math:: dw = \frac{1}{m} X^T (A - Y), \qquad db = \frac{1}{m} \sum_i (a_i - y_i), \qquad A = \mathrm{sigmoid}(z)

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels or float64
    Y : ndarray of shape (m,), values in {0, 1}
    z : ndarray of shape (m,), float64
        From `compute_z`.

    Returns
    -------
    dw : ndarray of shape (n_x,), float64
    db : float

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    X, Y, z = _to_array(X), np.asarray(Y), np.asarray(z)
    if not z.shape == Y.shape == (len(X),):
        raise ValueError(f"X has {len(X)} rows, z has shape {z.shape}, Y has shape {Y.shape}; expected ({len(X)},)")
    dz = sigmoid(z) - Y
    if X.dtype == np.uint8:
        dw = products.transposed_pixels_times(X, *products.to_fixed_point(dz))
    else:
        dw = np.asarray(X.T @ dz, dtype=np.float64)
    return dw / len(X), functions.mean(dz)


def predict_probability(X: ArrayLike, parameters: Parameters) -> Array:
    """Return the probability of label 1 for each example: sigmoid(X w + b).

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels or float64
    parameters : Parameters
        w of shape (n_x,).

    Returns
    -------
    ndarray of shape (m,), float64, values in (0, 1]
    """
    return sigmoid(compute_z(X, parameters))


def predict(X: ArrayLike, parameters: Parameters, *, threshold: float = 0.5) -> NDArray[np.uint8]:
    """Return label 1 where the probability is above `threshold`, else 0.

    Parameters
    ----------
    X : ndarray of shape (m, n_x), uint8 pixels or float64
    parameters : Parameters
        w of shape (n_x,).
    threshold : float
        In (0, 1).

    Returns
    -------
    ndarray of shape (m,), uint8, values in {0, 1}
    """
    return (predict_probability(X, parameters) > threshold).astype(np.uint8)


def _to_array(X: Any) -> NDArray[Any]:
    """Return lists as float64 features, as `optimize` takes them; arrays, and rows on disk, stay as they are."""
    return X if hasattr(X, "dtype") else np.asarray(X, dtype=np.float64)
