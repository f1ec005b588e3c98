"""The neuron against the course's published values, numbers worked by hand, finite differences and mpmath."""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron import neuron
from one_neuron.neuron import Array, Parameters

# The course's example for `propagate`, X transposed to one example per row.
COURSE_X = np.array([[1.0, 2.0, -1.0], [3.0, 4.0, -3.2]]).T
COURSE_Y = np.array([1, 0, 1])
COURSE_PARAMETERS = Parameters(w=np.array([1.0, 2.0]), b=2.0)


def random_problem(m: int, n_x: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Parameters]:
    """Return random pixels, labels and parameters."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 256, size=(m, n_x), dtype=np.uint8)
    Y = rng.integers(0, 2, size=m).astype(np.uint8)
    return X, Y, Parameters(w=rng.normal(size=n_x), b=float(rng.normal()))


def test_course_values_of_propagate() -> None:
    """dw, db and cost as the course publishes them, eight and more digits."""
    z = neuron.compute_z(COURSE_X, COURSE_PARAMETERS)
    dw, db = neuron.gradient(COURSE_X, COURSE_Y, z)
    assert dw == pytest.approx([0.99845601, 2.39507239], abs=5e-9)
    assert db == pytest.approx(0.00145557813678, abs=5e-15)
    assert neuron.cost(z, COURSE_Y) == pytest.approx(5.801545319394553, rel=1e-15)


def test_forward_pass_by_hand() -> None:
    """Two features: 1 * 1 + 2 * 3 + 2 = 9 and so on."""
    assert neuron.compute_z(COURSE_X, COURSE_PARAMETERS).tolist() == pytest.approx([9.0, 12.0, -5.4])
    X = np.array([[255, 0], [51, 102]], dtype=np.uint8)  # stands for [[1, 0], [0.2, 0.4]]
    z = neuron.compute_z(X, Parameters(w=np.array([2.0, -1.0]), b=0.5))
    assert z.tolist() == pytest.approx([2.5, 0.5], rel=1e-15)


@pytest.mark.parametrize(
    ("z", "a"), [(0.0, 0.5), (math.log(3), 0.75), (-math.log(3), 0.25), (math.log(9), 0.9), (800.0, 1.0)]
)
def test_sigmoid_by_hand(z: float, a: float) -> None:
    """sigmoid(ln 3) is 3 / 4."""
    assert neuron.sigmoid(np.array([z]))[0] == pytest.approx(a, rel=4e-16)


def test_sigmoid_against_mpmath() -> None:
    """Within three units in the last place on both sides, the small values included (measured: 1.9)."""
    z = np.concatenate([np.linspace(-708, 708, 1501), np.random.default_rng(0).normal(0, 3, 1500)])
    with mpmath.workprec(120):
        for a, value in zip(neuron.sigmoid(z).tolist(), z.tolist(), strict=True):
            true = 1 / (1 + mpmath.exp(-mpmath.mpf(value)))
            assert abs(mpmath.mpf(a) - true) <= 4 * math.ulp(float(true))


def test_losses_against_mpmath() -> None:
    """-ln a or -ln(1 - a) of 120 bits, within five units in the last place (measured: 4.4), for |z| up to 700."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(-700, 700, 1500), rng.normal(0, 3, 1500), rng.normal(0, 1e-9, 200)])
    Y = rng.integers(0, 2, size=len(z))
    with mpmath.workprec(120):
        for loss, value, y in zip(neuron.losses(z, Y).tolist(), z.tolist(), Y.tolist(), strict=True):
            true = mpmath.log1p(mpmath.exp(mpmath.mpf(-value if y else value)))
            assert abs(mpmath.mpf(loss) - true) <= 5 * math.ulp(float(true))


@pytest.mark.parametrize("y", [0, 1])
@pytest.mark.parametrize("size", [40.0, 708.0, 800.0, 1e5, 1e300])
def test_everything_is_finite_far_out(y: int, size: float) -> None:
    """A wrong prediction with |z| = 800 costs 800, a right one nothing; no overflow, no nan."""
    wrong, right = np.array([-size if y else size]), np.array([size if y else -size])
    Y = np.array([y])
    assert neuron.cost(wrong, Y) == size
    assert 0 <= neuron.cost(right, Y) < 1e-15
    dw, db = neuron.gradient(np.ones((1, 1)), Y, wrong)
    assert db == pytest.approx(-1.0 if y else 1.0)
    assert dw.tolist() == [db]


@pytest.mark.parametrize("m", [1, 2, 7, 209])
def test_cost_of_a_zero_start_is_ln_2(m: int) -> None:
    """Where the neuron knows nothing, every loss is ln 2, whatever the labels."""
    X, Y, _ = random_problem(m, 12)
    z = neuron.compute_z(X, neuron.initialize_with_zeros(12))
    assert (z == 0).all()
    assert neuron.cost(z, Y) == pytest.approx(math.log(2), rel=5e-16)


def test_zero_start() -> None:
    """One zero for each feature and b = 0."""
    parameters = neuron.initialize_with_zeros(5)
    assert parameters.w.tolist() == [0.0] * 5
    assert parameters.w.dtype == np.float64
    assert parameters.b == 0.0


@pytest.mark.parametrize("as_pixels", [True, False])
@pytest.mark.parametrize(("m", "n_x"), [(1, 1), (1, 6), (9, 1), (11, 6)])
def test_gradient_against_finite_differences(m: int, n_x: int, as_pixels: bool) -> None:
    """Central differences of the cost, in every direction."""
    pixels, Y, parameters = random_problem(m, n_x, seed=m * n_x)
    X: NDArray[np.uint8] | Array = pixels if as_pixels else pixels / 255
    step = 1e-5

    def cost_at(w: Array, b: float) -> float:
        return neuron.cost(neuron.compute_z(X, Parameters(w=w, b=b)), Y)

    w, b = parameters.w, parameters.b
    expected = [
        (cost_at(w + step * direction, b) - cost_at(w - step * direction, b)) / (2 * step) for direction in np.eye(n_x)
    ]
    dw, db = neuron.gradient(X, Y, neuron.compute_z(X, parameters))
    assert dw == pytest.approx(expected, abs=1e-9)
    assert db == pytest.approx((cost_at(w, b + step) - cost_at(w, b - step)) / (2 * step), abs=1e-9)


def test_pixels_stand_for_fractions_of_255() -> None:
    """uint8 X gives what X / 255 gives in float64."""
    X, Y, parameters = random_problem(13, 300)
    z = neuron.compute_z(X, parameters)
    assert z == pytest.approx(neuron.compute_z(X / 255, parameters), abs=1e-12)
    dw, db = neuron.gradient(X, Y, z)
    float_dw, float_db = neuron.gradient(X / 255, Y, z)
    assert dw == pytest.approx(float_dw, abs=1e-12)
    assert db == float_db


def test_other_integers_are_taken_as_they_are() -> None:
    """Only uint8 means pixels."""
    X = np.array([[2, 3]], dtype=np.int64)
    assert neuron.compute_z(X, Parameters(w=np.array([1.0, 10.0]), b=1.0)).tolist() == [33.0]


def test_lists_are_features() -> None:
    """As in `optimize`: a list of whole numbers is not divided by 255."""
    X, Y = [[1, 2], [3, 4], [255, 0]], [0, 1, 1]
    parameters = Parameters(w=np.array([0.5, -1.0]), b=0.25)
    z = neuron.compute_z(X, parameters)
    assert z.tolist() == [-1.25, -2.25, 127.75]
    dw, db = neuron.gradient(X, Y, z.tolist())
    expected_dw, expected_db = neuron.gradient(np.array(X, np.float64), np.array(Y), z)
    assert (dw == expected_dw).all()
    assert db == expected_db
    assert neuron.cost(z.tolist(), Y) == neuron.cost(z, np.array(Y))
    assert neuron.predict(X, parameters).tolist() == [0, 0, 1]


@pytest.mark.parametrize(("z", "a"), [(0, 0.5), ([0.0], [0.5]), (np.zeros((1, 2), np.int64), [[0.5, 0.5]])])
def test_sigmoid_of_numbers_and_lists(z: Any, a: Any) -> None:
    """As the course calls it: sigmoid(0)."""
    assert neuron.sigmoid(z).tolist() == a


def test_inputs_are_not_changed() -> None:
    """Every function leaves its arrays alone, pixels and floats."""
    pixels, Y, parameters = random_problem(5, 4)
    for X in (pixels, pixels / 255):
        before = X.copy(), Y.copy(), parameters.w.copy()
        z = neuron.compute_z(X, parameters)
        z_before = z.copy()
        neuron.sigmoid(z)
        neuron.cost(z, Y)
        neuron.gradient(X, Y, z)
        neuron.predict(X, parameters)
        for after, array in zip((X, Y, parameters.w), before, strict=True):
            assert (after == array).all()
        assert (z == z_before).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neuron.compute_z(np.ones((3, 2)), Parameters(np.ones(3), 0.0)), r"\(3, 2\).*\(m, 3\)"),
        (lambda: neuron.compute_z(np.ones(3), Parameters(np.ones(3), 0.0)), r"\(3,\).*\(m, 3\)"),
        (lambda: neuron.compute_z(np.ones((1, 2, 3), dtype=np.uint8), Parameters(np.ones(2), 0.0)), r"\(1, 2, 3\)"),
        (lambda: neuron.losses(np.ones(3), np.ones((3, 1))), r"\(3,\).*\(3, 1\)"),
        (lambda: neuron.cost(np.ones((3, 1)), np.ones(3)), r"\(3, 1\).*\(3,\)"),
        (lambda: neuron.cost(np.ones(3), np.ones(1)), r"\(3,\).*\(1,\)"),
        (lambda: neuron.gradient(np.ones((3, 2)), np.ones((3, 1)), np.ones(3)), r"3 rows.*\(3, 1\)"),
        (lambda: neuron.gradient(np.ones((3, 2)), np.ones(3), np.ones((3, 1))), r"3 rows.*\(3, 1\)"),
        (lambda: neuron.gradient(np.ones((4, 2), dtype=np.uint8), np.ones(3), np.ones(3)), r"4 rows.*\(3,\)"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(call: Callable[[], object], message: str) -> None:
    """(m, 1) labels would give m * m losses without a word."""
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("threshold", "labels"), [(0.5, [0, 0, 1]), (0.2, [0, 1, 1]), (0.8, [0, 0, 0])])
def test_predict_is_above_the_threshold(threshold: float, labels: list[int]) -> None:
    """Probabilities 0.2 (not above 0.2 by rounding down), 0.5 and 0.75."""
    X = np.array([[-math.log(4) - 1e-12], [0.0], [math.log(3)]])
    parameters = Parameters(w=np.ones(1), b=0.0)
    assert neuron.predict_probability(X, parameters) == pytest.approx([0.2, 0.5, 0.75])
    predicted = neuron.predict(X, parameters, threshold=threshold)
    assert predicted.tolist() == labels
    assert predicted.dtype == np.uint8


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_empty_batch_gives_no_predictions(dtype: type) -> None:
    """Zero pictures give zero predictions."""
    assert neuron.predict(np.empty((0, 3), dtype=dtype), Parameters(w=np.ones(3), b=0.0)).shape == (0,)
