"""The neuron as a scikit-learn classifier, and pictures as rows for any scikit-learn estimator.

They need the extra `sklearn`. `gradient_descent` does the work.
"""

import io
import os
import warnings
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from one_neuron import neuron
from one_neuron.errors import DataError
from one_neuron.gradient_descent.engines.choice import MakePasses
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.pictures.convert import Pixels, resize_pixels
from one_neuron.pictures.preprocessing import CHANNELS, Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture


class OneNeuronClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression of two classes, trained by batch gradient descent from a zero start.

    It minimises the mean cross-entropy without regularisation, by the same `optimize` as the stage `train`. A uint8
    array holds pixels that stand for X / 255, and the result has the same bits on every machine. Any other X is used as
    it is; scale features, as for any gradient descent.

    Parameters
    ----------
    learning_rate : float, default=0.005
        Length of a step along the gradient; from 1e-100 to 1e100.
    num_iterations : int, default=2000
        Number of updates, at least 1.
    record_every : int, default=100
        Iterations between two recorded costs, at least 1.
    tolerance : float, default=0.0
        Stop when the cost changes by less than this from one record to the next. At least 0, which never stops.
    threshold : float, default=0.5
        `predict` returns the second class where its probability is above this number in (0, 1).
    engine : str or callable, optional
        Where many rows of pixels are trained; see `optimize`. It changes no bit.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        The class labels, sorted. The second one is the positive class: cat, say.
    coef_ : ndarray of shape (1, n_x), float64
        The weights w.
    intercept_ : ndarray of shape (1,), float64
        The bias b.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_x,), object
        The names of the columns, if X was a data frame with names.
    n_iter_ : int
        Number of updates that were made.
    iterations_ : ndarray of shape (k,), int64
        The recorded iterations.
    costs_ : ndarray of shape (k,), float64
        The cost at each of them.
    stability_bound_ : float
        Up to this learning rate the cost is sure to fall.

    Warns
    -----
    ConvergenceWarning
        If training diverged: the last costs lie above the first one.

    Notes
    -----
    scikit-learn's `OneVsRestClassifier` makes it a classifier of more classes.

    References
    ----------
    Andrew Ng, Neural Networks and Deep Learning, week 2, "Logistic Regression with a Neural Network mindset".

    Examples
    --------
    Is it an 8? scikit-learn's digits are pictures of 8 x 8 pixels with 17 levels of grey:

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X = (X * (255 / 16)).astype("uint8")
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y == 8, random_state=0, stratify=y)
    >>> model = OneNeuronClassifier(learning_rate=0.3).fit(X_train, y_train)
    >>> round(model.score(X_test, y_test), 3), (~y_test).mean().round(3).item()  # the baseline: never an 8
    (0.962, 0.904)
    """

    def __init__(
        self,
        *,
        learning_rate: float = 0.005,
        num_iterations: int = 2000,
        record_every: int = 100,
        tolerance: float = 0.0,
        threshold: float = 0.5,
        engine: str | MakePasses | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.num_iterations = num_iterations
        self.record_every = record_every
        self.tolerance = tolerance
        self.threshold = threshold
        self.engine = engine

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the neuron.

        Parameters
        ----------
        X : ndarray of shape (m, n_features), uint8 pixels; or array-like of the same shape, features
        y : array-like of shape (m,)
            Two classes of any type.

        Raises
        ------
        ValueError
            If a shape, a value or a parameter does not fit, or y does not have two classes.
        """
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}; expected a number between 0 and 1")
        X, y = validate_data(self, X, y, dtype=_find_dtype(X))
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) > 2:
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {kind}. "
                "For more classes use sklearn.multiclass.OneVsRestClassifier(OneNeuronClassifier())"
            )
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only: {self.classes_[0]!r}; one neuron tells two classes apart")
        result = optimize(
            np.ascontiguousarray(X),
            labels,
            learning_rate=self.learning_rate,
            num_iterations=self.num_iterations,
            record_every=self.record_every,
            tolerance=self.tolerance,
            engine=self.engine,
        )
        self.coef_ = result.parameters.w[np.newaxis]
        self.intercept_ = np.array([result.parameters.b])
        self.n_iter_ = int(result.iterations[-1])
        self.iterations_, self.costs_ = result.iterations, result.costs
        self.stability_bound_ = result.stability_bound
        if result.diverged:
            warnings.warn(
                f"training diverged with learning_rate = {self.learning_rate}; up to {result.stability_bound} the cost "
                "is sure to fall",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return z = X w + b, of shape (m,), float64: above 0 where the second class is more probable."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_find_dtype(X), reset=False)
        parameters = neuron.Parameters(w=self.coef_[0], b=float(self.intercept_[0]))
        return neuron.compute_z(np.ascontiguousarray(X), parameters)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the two classes, of shape (m, 2), float64, in the order of `classes_`."""
        probability = neuron.sigmoid(self.decision_function(X))
        return np.column_stack([1.0 - probability, probability])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of each row, of shape (m,): the second one where its probability is above `threshold`."""
        above = self.predict_proba(X)[:, 1] > self.threshold
        return np.asarray(self.classes_[above.astype(np.intp)])

    def __sklearn_tags__(self) -> Tags:
        """Return the tags for scikit-learn: there are two classes."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class PictureRows(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn pictures into rows of pixels, as the stage `prepare` does.

    Parameters
    ----------
    num_px : int, default=64
        Height and width that each picture is resized to, 1 to 1,024.
    resize : {"stretch", "crop", "pad"}, default="stretch"
    decode : {"exact", "fast"}, default="exact"
        See `Preprocessing`.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(PictureRows(num_px=64), OneNeuronClassifier())
    >>> white, black = np.full((80, 60, 3), 255, dtype=np.uint8), np.zeros((64, 64, 3), dtype=np.uint8)
    >>> model.fit([white, black], ["white", "black"]).predict([black, white]).tolist()
    ['black', 'white']
    """

    def __init__(self, *, num_px: int = 64, resize: str = "stretch", decode: str = "exact") -> None:
        self.num_px = num_px
        self.resize = resize
        self.decode = decode

    def fit(self, X: Iterable[Any], y: object = None) -> Self:  # noqa: ARG002 - scikit-learn passes y
        """Check the parameters; there is nothing to learn from the pictures.

        Raises
        ------
        DataError
            If a parameter is not one of those above.
        """
        self.n_features_out_ = Preprocessing(self.num_px, self.resize, self.decode).n_x
        return self

    def transform(self, X: Iterable[str | os.PathLike[str] | bytes | Pixels]) -> Pixels:
        """Return one row for each picture.

        Parameters
        ----------
        X : iterable of m pictures
            Each is the path of a file, the bytes of a file, or pixels of shape (height, width, 3), uint8.

        Returns
        -------
        ndarray of shape (m, num_px * num_px * 3), uint8

        Raises
        ------
        DataError
            If a picture cannot be read. The message names its path, or its place in X, counted from 0.
        """
        preprocessing = Preprocessing(self.num_px, self.resize, self.decode)
        rows = [_read_row(picture, place, preprocessing) for place, picture in enumerate(X)]
        return np.array(rows, dtype=np.uint8).reshape(len(rows), preprocessing.n_x)

    def __sklearn_tags__(self) -> Tags:
        """Return the tags for scikit-learn: pictures are not a table of numbers, and no fit is required."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags


def _find_dtype(X: object) -> type[np.float64] | None:
    """Return the type that scikit-learn converts X to: None keeps pixels, which are a uint8 array."""
    return None if isinstance(X, np.ndarray) and X.dtype == np.uint8 else np.float64


def _read_row(picture: Any, place: int, preprocessing: Preprocessing) -> Pixels:
    """Return the pixels of one picture, of shape (num_px, num_px, 3)."""
    if isinstance(picture, str | os.PathLike):
        return load_picture(os.fspath(picture), preprocessing)
    if isinstance(picture, bytes | bytearray | memoryview):
        try:
            return read_picture(io.BytesIO(picture), preprocessing)
        except DataError as error:
            raise DataError(f"the picture X[{place}] {error}") from error
    shape, dtype = getattr(picture, "shape", None), getattr(picture, "dtype", None)
    if not isinstance(picture, np.ndarray) or dtype != np.uint8 or len(picture.shape) != 3 or 0 in picture.shape:
        found = (
            f"an array of shape {shape} and type {dtype}" if dtype is not None else f"of type {type(picture).__name__}"
        )
        raise DataError(
            f"the picture X[{place}] is {found}; expected a path, the bytes of a file, or pixels of shape "
            "(height, width, 3) and type uint8"
        )
    if picture.shape[2] != CHANNELS:
        raise DataError(
            f"the picture X[{place}] has {picture.shape[2]} channels; expected {CHANNELS}: red, green, blue"
        )
    return resize_pixels(picture, preprocessing)
