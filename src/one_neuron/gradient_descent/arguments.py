"""Checks of what a caller passes to `optimize` and `optimize_many`.

Every function raises a ValueError that has the name of the argument, which is `name`, and its value.
"""

import math
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RATES = "a number from 1e-100 to 1e100"


def read_features(X: Any, name: str = "X") -> Any:
    """Return X of shape (m, n_x): pixels as they are, anything else as float64.

    Only a uint8 ndarray, or a `rows.RowsOnDisk`, holds pixels.
    """
    is_array = isinstance(X, np.ndarray)
    if is_array or getattr(X, "dtype", None) != np.uint8 or not hasattr(X, "shape"):  # not rows on disk
        X = _to_array(X, name)
        if X.dtype.kind not in "biuf":
            raise ValueError(f"{name} has type {X.dtype}; expected numbers: uint8 pixels, or features of any real type")
        if X.dtype != np.uint8 or not is_array:
            with np.errstate(over="ignore"):  # a long double may become infinity, which is refused below
                X = X.astype(np.float64, copy=False)
    if len(X.shape) != 2 or 0 in X.shape:
        raise ValueError(f"{name} has shape {X.shape}; expected (m, n_x) with at least one example and one feature")
    if X.dtype != np.uint8 and not np.isfinite(X).all():
        raise ValueError(f"{name} holds nan or infinity; remove or replace them")
    return X


def read_labels(Y: Any, m: int, name: str = "Y", of: str = "X") -> NDArray[np.uint8]:
    """Return m labels in {0, 1}, given as numbers or booleans, as uint8; `of` is the name of their examples."""
    labels = _to_array(Y, name)
    if labels.shape != (m,):
        remedy = f"; pass {name}.ravel()" if labels.shape in ((m, 1), (1, m)) else ""
        raise ValueError(f"{name} has shape {labels.shape}; expected ({m},), one label for each row of {of}{remedy}")
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"{name} has type {labels.dtype}; expected 0 and 1 as integers, booleans or floats")
    refuse_first(name, labels, (labels != 0) & (labels != 1), "0 or 1")
    return labels.astype(np.uint8)


def read_count(name: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value}; expected a whole number of at least 1")
    return int(value)


def read_learning_rate(value: Any) -> float:
    """Return a learning rate as a float64: a float32 would lower the precision of what it is multiplied with."""
    return _read_number("learning_rate", value, 1e-100, 1e100, _RATES)


def read_tolerance(value: Any) -> float:
    """Return a tolerance: finite, at least 0."""
    return _read_number("tolerance", value, 0.0, np.finfo(np.float64).max, "a number of at least 0")


def read_learning_rates(values: Any) -> NDArray[np.float64]:
    """Return learning rates of shape (c,), at least one."""
    rates = read_vector("learning_rates", values, "f")
    refuse_first("learning_rates", rates, ~((rates >= 1e-100) & (rates <= 1e100)), _RATES)
    return rates


def read_vector(name: str, values: Any, kinds: str, length: int | None = None) -> NDArray[Any]:
    """Return whole numbers ("iu") as int64, or any numbers ("f") as float64; by default any `length` from 1."""
    numbers = _to_array(values, name)
    if numbers.ndim != 1 or len(numbers) != (length or max(1, len(numbers))):
        raise ValueError(f"{name} has shape {numbers.shape}; expected ({length or 'c'},) with at least one number")
    if numbers.dtype.kind not in kinds + "iu":
        raise ValueError(f"{name} has type {numbers.dtype}; expected {'numbers' if kinds == 'f' else 'whole numbers'}")
    return numbers.astype(np.float64 if kinds == "f" else np.int64)


def refuse_first(name: str, values: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> None:
    """Raise ValueError for the first wrong value, if there is one."""
    for i in np.flatnonzero(wrong)[:1]:
        raise ValueError(f"{name}[{i}] is {values[i]}; expected {expected}")


def _to_array(values: Any, name: str) -> NDArray[Any]:
    """Return the values as an ndarray of the base class, not copied if they are one."""
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} cannot become an array ({error}); expected rows of equal length") from None


def _read_number(name: str, value: Any, lowest: float, highest: float, expected: str) -> float:
    """Return a number within its range as a float."""
    array, number = np.asarray(value), math.nan
    if array.ndim == 0 and array.dtype.kind in "iufO":  # O: a whole number above 2**64, a Fraction
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
    if not lowest <= number <= highest:
        raise ValueError(f"{name} is {value}; expected {expected}")
    return number
