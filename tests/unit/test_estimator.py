"""The scikit-learn estimator: scikit-learn's own checks, and the same bits and scores as the stages and sweeps."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from one_neuron.errors import DataError
from one_neuron.estimator import OneNeuronClassifier, PictureRows
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.gradient_descent.passes import LocalPasses
from one_neuron.neuron import predict_probability
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.settings.params import TrainSettings
from one_neuron.sweep.folds import assign_folds
from one_neuron.sweep.screening import screen

Pixels = NDArray[np.uint8]


@parametrize_with_checks([OneNeuronClassifier(num_iterations=500)])  # type: ignore[untyped-decorator]
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore:.*SCIPY_ARRAY_API")
def test_scikit_learn_accepts_it(estimator: Any, check: Any) -> None:
    """All checks of `check_estimator`; none is expected to fail."""
    check(estimator)


@pytest.fixture
def pictures() -> tuple[Pixels, NDArray[np.int64]]:
    """Return 60 rows of pixels with labels that depend on them."""
    generator = np.random.default_rng(1)
    y = np.arange(60) % 2
    X = generator.integers(0, 200, (60, 27)) + 30 * y[:, np.newaxis]
    return X.astype(np.uint8), y


def test_pixels_give_the_bits_of_the_stage(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """Weights, costs and probabilities equal those of `optimize` and `predict_probability`."""
    X, y = pictures
    expected = optimize(X, y, learning_rate=0.1, num_iterations=250, record_every=50)
    model = OneNeuronClassifier(learning_rate=0.1, num_iterations=250, record_every=50).fit(X, y)
    assert model.coef_.tobytes() == expected.parameters.w.tobytes()
    assert (model.coef_.shape, model.intercept_.shape) == ((1, 27), (1,))
    assert model.intercept_[0] == expected.parameters.b
    assert model.costs_.tolist() == expected.costs.tolist()
    assert model.iterations_.tolist() == [0, 50, 100, 150, 200, 250]
    assert (model.n_iter_, model.stability_bound_) == (250, expected.stability_bound)
    assert model.predict_proba(X)[:, 1].tolist() == predict_probability(X, expected.parameters).tolist()


def test_rows_in_another_order_of_memory_give_the_same_bits(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """scikit-learn passes slices and columns of a larger array."""
    X, y = pictures
    one = OneNeuronClassifier(num_iterations=20).fit(X, y)
    other = OneNeuronClassifier(num_iterations=20).fit(np.asfortranarray(np.repeat(X, 2, axis=1))[:, ::2], y)
    assert other.coef_.tobytes() == one.coef_.tobytes()


def test_it_reaches_the_minimum_that_scikit_learn_finds() -> None:
    """Without a penalty, both minimise the same cost; the classes overlap, so that the minimum is finite."""
    generator = np.random.default_rng(2)
    X = generator.normal(size=(200, 3))
    y = X @ [1.0, -2.0, 0.5] + generator.normal(size=200) > 0.3
    model = OneNeuronClassifier(learning_rate=1.0, num_iterations=3000).fit(X, y)
    expected = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-5)
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    assert model.predict(X).tolist() == expected.predict(X).tolist()


def test_a_grid_search_over_the_folds_of_a_sweep_gives_its_accuracies(
    pictures: tuple[Pixels, NDArray[np.int64]],
) -> None:
    """The same validation accuracy of each learning rate, fold by fold."""
    X, y = pictures
    rates, folds = [0.001, 0.02, 0.3], assign_folds(y, folds=5, seed=3)
    settings = [TrainSettings(rate, 300, record_every=100, tolerance=0.0, threshold=0.5) for rate in rates]
    outcomes = screen(X, y, X[:2], y[:2], settings, folds=folds)
    expected = [outcome.measures["validation_accuracy"] for outcome in outcomes]
    search = GridSearchCV(
        OneNeuronClassifier(num_iterations=300), {"learning_rate": rates}, cv=PredefinedSplit(folds)
    ).fit(X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-15)
    spread = [outcome.measures["validation_accuracy_std"] for outcome in outcomes]
    assert len(set(expected)) > 1
    np.testing.assert_allclose(search.cv_results_["std_test_score"], spread, rtol=1e-12)


def test_it_works_in_a_pipeline_and_in_cross_validation(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """Behind a scaler the features are floats."""
    X, y = pictures
    scores = cross_val_score(make_pipeline(StandardScaler(), OneNeuronClassifier(learning_rate=0.1)), X, y)
    assert scores.mean() > 0.85


def test_one_neuron_for_each_digit() -> None:
    """scikit-learn's one-versus-rest scheme makes ten classes of ten neurons."""
    X, y = load_digits(return_X_y=True)
    X = (X * (255 / 16)).astype(np.uint8)
    model = OneVsRestClassifier(OneNeuronClassifier(learning_rate=0.1, num_iterations=500)).fit(X[:900], y[:900])
    assert len(model.estimators_) == 10
    assert model.score(X[900:], y[900:]) > 0.88


@pytest.mark.parametrize("threshold", [0.2, 0.9])
def test_the_threshold_decides(pictures: tuple[Pixels, NDArray[np.int64]], threshold: float) -> None:
    """The second class is predicted where its probability is above it."""
    X, y = pictures
    model = OneNeuronClassifier(num_iterations=5, threshold=threshold).fit(X, np.array(["dog", "cat"])[y])
    assert model.classes_.tolist() == ["cat", "dog"]
    expected = ["dog" if p > threshold else "cat" for p in model.predict_proba(X)[:, 1]]
    assert model.predict(X).tolist() == expected
    assert len(set(expected)) == 1  # after five iterations all probabilities are near a half


def test_an_engine_changes_no_bit() -> None:
    """It trains more rows than the gram form does; scikit-learn can copy the estimator that has one."""
    started = []

    def engine(X: NDArray[np.uint8], Y: NDArray[np.uint8]) -> LocalPasses:
        started.append(X.shape)
        return LocalPasses(X, Y, cores=1)

    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (1001, 5), np.uint8), rng.integers(0, 2, 1001)
    plain = OneNeuronClassifier(num_iterations=3).fit(X, y)
    other = clone(OneNeuronClassifier(num_iterations=3, engine=engine)).fit(X, y)
    assert other.coef_.tobytes() == plain.coef_.tobytes()
    assert started == [(1001, 5)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"num_iterations": 2.5}, "num_iterations is 2.5"),
        ({"threshold": 1}, "threshold is 1; expected a number between 0 and 1"),
    ],
)
def test_a_wrong_parameter_is_named(
    pictures: tuple[Pixels, NDArray[np.int64]], parameters: dict[str, Any], message: str
) -> None:
    """As in scikit-learn, at fit."""
    with pytest.raises(ValueError, match=message):
        OneNeuronClassifier(**parameters).fit(*pictures)


def test_three_classes_are_refused_with_the_remedy(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """One neuron has one output."""
    X, _ = pictures
    with pytest.raises(ValueError, match=r"use sklearn.multiclass.OneVsRestClassifier\(OneNeuronClassifier\(\)\)"):
        OneNeuronClassifier().fit(X, np.arange(60) % 3)


def test_divergence_is_a_warning(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """It names the learning rate, and one that is low enough."""
    X, y = np.repeat(pictures[0][:20], 3, axis=0), np.arange(60) % 3 == 0  # each row has both labels: no cost of 0
    with pytest.warns(
        ConvergenceWarning, match="training diverged with learning_rate = 5000.0; up to 1.18803 the cost"
    ):
        model = OneNeuronClassifier(learning_rate=5000.0, num_iterations=400).fit(X, y)
    OneNeuronClassifier(learning_rate=model.stability_bound_, num_iterations=400).fit(X, y)


def test_copies_predict_the_same(pictures: tuple[Pixels, NDArray[np.int64]]) -> None:
    """A pickled model, and a clone that is trained again."""
    X, y = pictures
    model = OneNeuronClassifier(num_iterations=30).fit(X, y)
    for copy in (pickle.loads(pickle.dumps(model)), clone(model).fit(X, y)):
        assert copy.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


# --- pictures -----------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Write a picture of noise."""
    pixels = np.random.default_rng(4).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    path = tmp_path / "a photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_paths_bytes_and_arrays_give_the_rows_of_the_pipeline(photo: Path, resize: str) -> None:
    """Each form of a picture becomes the same row."""
    expected = load_picture(photo, Preprocessing(16, resize)).reshape(-1)
    with Image.open(photo) as image:
        pixels = np.asarray(image)
    rows = PictureRows(num_px=16, resize=resize).transform([photo, str(photo), photo.read_bytes(), pixels])
    assert rows.shape == (4, 768)
    assert rows.dtype == np.uint8
    assert all(row.tobytes() == expected.tobytes() for row in rows)


def test_the_transformer_is_cloned_and_searched_like_any_other() -> None:
    """Its parameters are scikit-learn parameters."""
    rows = PictureRows(num_px=8, resize="pad", decode="fast")
    assert clone(rows).get_params() == {"num_px": 8, "resize": "pad", "decode": "fast"}
    white, black = np.full((6, 6, 3), 255, np.uint8), np.zeros((5, 5, 3), np.uint8)
    model = make_pipeline(PictureRows(), OneNeuronClassifier())
    search = GridSearchCV(model, {"picturerows__num_px": [2, 4]}, cv=2)
    search.fit([white, black, black, white], ["white", "black", "black", "white"])
    assert search.predict([black, white]).tolist() == ["black", "white"]


def test_no_pictures_are_no_rows() -> None:
    """The number of columns stays."""
    assert PictureRows(num_px=2).fit([]).transform([]).shape == (0, 12)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("missing.png", "'missing.png' does not exist"),
        (b"GIF", r"the picture X\[1\] is not a picture that can be read"),
        (5, r"the picture X\[1\] is of type int; expected a path, the bytes of a file, or pixels"),
        (np.zeros((4, 4), np.uint8), r"the picture X\[1\] is an array of shape \(4, 4\) and type uint8; expected"),
        (np.zeros((4, 4, 3)), r"the picture X\[1\] is an array of shape \(4, 4, 3\) and type float64; expected"),
        (np.zeros((0, 4, 3), np.uint8), r"the picture X\[1\] is an array of shape \(0, 4, 3\) and type uint8"),
        (np.zeros((4, 4, 4), np.uint8), r"the picture X\[1\] has 4 channels; expected 3: red, green, blue"),
    ],
    ids=str,
)
def test_a_bad_picture_is_named(picture: Any, message: str) -> None:
    """By its path, or by its place."""
    with pytest.raises(DataError, match=message):
        PictureRows(num_px=4).transform([np.zeros((4, 4, 3), np.uint8), picture])


@pytest.mark.parametrize("parameters", [{"num_px": 0}, {"resize": "fit"}, {"decode": "slow"}])
def test_a_wrong_treatment_is_refused_at_fit(parameters: dict[str, Any]) -> None:
    """Before any picture is read."""
    with pytest.raises(DataError, match="expected"):
        PictureRows(**parameters).fit([])
