"""The usual alternatives: the same training as the course writes it, and with the usual libraries.

All start at w = 0, b = 0 and work out the cost every 100 iterations. They get their pictures as floats in [0, 1], which
costs them nothing here, and return the training cost after the last update.
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import load_torch

Array = NDArray[Any]
_COST_EVERY = 100


def textbook(X: Array, Y: Array, learning_rate: float, num_iterations: int) -> float:
    """Train as the course does: X of shape (n_x, m), Y of shape (1, m)."""
    m = X.shape[1]
    w, b = np.zeros((len(X), 1)), 0.0
    for i in range(num_iterations):
        A = 1 / (1 + np.exp(-(w.T @ X + b)))
        if i % _COST_EVERY == 0:
            -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / m
        dz = A - Y
        w = w - learning_rate * (X @ dz.T / m)
        b = b - learning_rate * np.sum(dz) / m
    return cost((w.T @ X + b)[0], Y[0])


def row_major(X: Array, Y: Array, learning_rate: float, num_iterations: int) -> float:
    """Train with X of shape (m, n_x) in memory row by row, in the type of X, with few temporaries."""
    step = row_major_stepper(X, Y, learning_rate)
    for i in range(num_iterations):
        z = step()
        if i % _COST_EVERY == 0:
            cost(z, Y)
    return cost(step(), Y)


def row_major_stepper(X: Array, Y: Array, learning_rate: float) -> Callable[[], Array]:
    """Return a function that does one iteration in two passes over X and returns the z before its update."""
    m, n_x = X.shape
    w, b, step = np.zeros(n_x, X.dtype), np.zeros(1, X.dtype), X.dtype.type(learning_rate / m)
    labels = Y.astype(X.dtype)

    def iterate() -> Array:
        z = X @ w
        z += b
        dz = 1 / (1 + np.exp(-z))
        dz -= labels
        dz *= step
        w[:] -= X.T @ dz
        b[:] -= dz.sum()
        return z

    return iterate


def example_loop(X: Array, Y: Array, learning_rate: float, num_iterations: int) -> float:
    """Train with a Python loop over the examples, and NumPy for the features."""
    m, n_x = X.shape
    w, b = np.zeros(n_x), 0.0
    for _ in range(num_iterations):
        dw, db = np.zeros(n_x), 0.0
        for x, y in zip(X, Y, strict=True):
            dz = 1 / (1 + np.exp(-(np.dot(w, x) + b))) - y
            dw += x * dz
            db += dz
        w -= learning_rate / m * dw
        b -= learning_rate / m * db
    return cost(X @ w + b, Y)


def python_iteration(X: list[list[float]], Y: list[float], learning_rate: float) -> None:
    """Do the first iteration with Python loops over examples and features."""
    m, n_x = len(X), len(X[0])
    w, b, dw, db = [0.0] * n_x, 0.0, [0.0] * n_x, 0.0
    for x, y in zip(X, Y, strict=True):
        z = b
        for j in range(n_x):
            z += w[j] * x[j]
        dz = 1 / (1 + math.exp(-z)) - y
        for j in range(n_x):
            dw[j] += x[j] * dz
        db += dz
    for j in range(n_x):
        w[j] -= learning_rate / m * dw[j]
    b -= learning_rate / m * db


def torch_training(X: Array, Y: Array, learning_rate: float, num_iterations: int) -> float:
    """Train with PyTorch in float32."""
    step = torch_stepper(X, Y, learning_rate)
    for i in range(num_iterations):
        loss = step()
        if i % _COST_EVERY == 0:
            loss.item()
    return float(step().item())


def torch_stepper(X: Array, Y: Array, learning_rate: float) -> Callable[[], Any]:
    """Return a function that does one step with Linear, BCEWithLogitsLoss and SGD, and returns the cost before it."""
    torch = load_torch()
    inputs, labels = torch.from_numpy(X), torch.from_numpy(Y.astype(np.float32))
    linear, loss_of = torch.nn.Linear(X.shape[1], 1), torch.nn.BCEWithLogitsLoss()
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    optimizer = torch.optim.SGD(linear.parameters(), lr=learning_rate)

    def iterate() -> Any:
        optimizer.zero_grad()
        loss = loss_of(linear(inputs).squeeze(1), labels)
        loss.backward()
        optimizer.step()
        return loss

    return iterate


def lbfgs(X: Array, Y: Array, target: float) -> Callable[[], float]:
    """Return scikit-learn's LogisticRegression without penalty, with the fewest iterations that reach the cost."""
    from sklearn.linear_model import LogisticRegression

    def train(iterations: int) -> float:
        return _fit(LogisticRegression(C=np.inf, tol=1e-12, max_iter=iterations), X, Y)

    return _first_to_reach(target, train, range(1, 200))


def sgd(X: Array, Y: Array, target: float) -> Callable[[], float]:
    """Return scikit-learn's SGDClassifier with the fewest epochs that reach the cost, at the best of some rates."""
    from sklearn.linear_model import SGDClassifier

    def train(epochs_and_rate: tuple[int, float]) -> float:
        epochs, rate = epochs_and_rate
        model = SGDClassifier("log_loss", penalty=None, learning_rate="constant", eta0=rate, tol=None, max_iter=epochs)
        return _fit(model.set_params(random_state=0), X, Y)

    choices = [(epochs, rate) for epochs in (*range(1, 30), *range(30, 200, 10)) for rate in (0.001, 0.003, 0.01)]
    return _first_to_reach(target, train, choices)


def cost(z: Array, Y: Array) -> float:
    """Return the cross-entropy, stable at any z."""
    return float(np.mean(np.logaddexp(0, z) - Y * z))


def _fit(model: Any, X: Array, Y: Array) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # told to stop early, it complains
        model.fit(X, Y)
    return cost(model.decision_function(X), Y)


def _first_to_reach(target: float, train: Callable[[Any], float], choices: Any) -> Callable[[], float]:
    """Return the training with the first choice that reaches the cost, or with the last one if none does."""
    for choice in choices:
        if train(choice) <= target:
            break
    return partial(train, choice)
