"""Training by blocks: the textbook's trajectory, and the same bits for any blocks, threads and kills."""

import threading
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron.gradient_descent import blocks, passes
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.optimize import TrainingResult, optimize
from one_neuron.gradient_descent.recorder import TrainingState
from one_neuron.rows import RowsOnDisk


@pytest.fixture(autouse=True)
def only_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the form "blocks" for few pictures as well."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)


def make_problem(m: int, n_x: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random pixels and labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (m, n_x), np.uint8), rng.integers(0, 2, m, np.uint8)


def bits(result: TrainingResult) -> bytes:
    """Return the bytes of w, b and the costs."""
    return result.parameters.w.tobytes() + np.float64(result.parameters.b).tobytes() + result.costs.tobytes()


class OnDisk(RowsOnDisk):
    """A file of pixels that may become unreadable."""

    def __init__(self, X: NDArray[np.uint8], fail_at: int = 10**9) -> None:
        super().__init__((len(X), X.shape[1]))
        self.X, self.reads, self.fail_at = X, 0, fail_at

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        self.reads += 1
        if self.reads >= self.fail_at:
            raise OSError("the disk is gone")
        out[...] = self.X[start : start + len(out)]


@pytest.mark.parametrize("block_bytes", [1, 1000, 12 * 256, 10**6])
@pytest.mark.parametrize("cores", [1, 2, 5])
@pytest.mark.parametrize("on_disk", [False, True])
def test_blocks_threads_and_disk_change_no_bit(
    block_bytes: int, cores: int, on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of whole numbers are the same in any order."""
    X, Y = make_problem(300, 12)
    options: dict[str, Any] = {"learning_rate": 3.0, "num_iterations": 12, "record_every": 5}
    expected = optimize(X, Y, **options)
    monkeypatch.setattr(passes, "_BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(passes, "count_cores", lambda: cores)
    result = optimize(OnDisk(X) if on_disk else X, Y, **options)
    assert result.form == "blocks"
    assert bits(result) == bits(expected)
    assert result.stability_bound == expected.stability_bound


@pytest.mark.slow
def test_any_memory_layout() -> None:
    """Columns first, every second row, read-only: the same bits."""
    X, Y = make_problem(300, 12)
    wide = np.repeat(X, 2, axis=0)
    frozen = X.copy()
    frozen.flags.writeable = False
    options: dict[str, Any] = {"learning_rate": 1.0, "num_iterations": 5}
    assert len({bits(optimize(x, Y, **options)) for x in (X, np.asfortranarray(X), wide[::2], frozen)}) == 1


@pytest.mark.parametrize(("m", "n_x", "learning_rate"), [(3, 2, 0.5), (1, 1, 0.5), (5, 7, 0.05)])
@pytest.mark.parametrize("gram_limit", [0, 6000])
def test_against_60_digits(
    m: int, n_x: int, learning_rate: float, gram_limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The textbook's update in mpmath, both forms: every cost, w and b to 1e-9."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", gram_limit)
    X, Y = make_problem(m, n_x, seed=m)
    result = optimize(X, Y, learning_rate=learning_rate, num_iterations=30, record_every=1)
    with mpmath.workdps(60):
        pixels = mpmath.matrix(X.tolist()) / 255
        w, b, rate = mpmath.matrix(n_x, 1), mpmath.mpf(0), mpmath.mpf(learning_rate)
        for cost in result.costs.tolist():
            z = [(pixels[i, :] * w)[0] + b for i in range(m)]
            true = sum(mpmath.log1p(mpmath.exp(-z[i] if Y[i] else z[i])) for i in range(m)) / m
            assert abs(cost - true) < 1e-9
            last_w, last_b = w, b
            dz = mpmath.matrix([1 / (1 + mpmath.exp(-z[i])) - int(Y[i]) for i in range(m)])
            w, b = w - rate / m * (pixels.T * dz), b - rate / m * sum(dz)
        assert result.parameters.w.tolist() == pytest.approx([float(value) for value in last_w], abs=1e-9)
        assert result.parameters.b == pytest.approx(float(last_b), abs=1e-9)


def test_the_gradient_against_finite_differences() -> None:
    """One update from zero is -learning_rate dw; dw is the slope of the cost in each direction."""
    X, Y = make_problem(40, 6)
    w = optimize(X, Y, learning_rate=1.0, num_iterations=1).parameters.w

    def cost(weights: NDArray[np.float64]) -> float:
        z = X / 255 @ weights
        return float(np.mean(np.logaddexp(0, z) - Y * z))

    step = 1e-5
    slopes = [(cost(step * e) - cost(-step * e)) / (2 * step) for e in np.eye(6)]
    assert (-w).tolist() == pytest.approx(slopes, abs=1e-9)


def test_the_stability_bound_is_that_of_the_gram_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """X X^T + 1 and (X, 1)^T (X, 1) have the same largest eigenvalue."""
    X, Y = make_problem(150, 20)
    blocks = optimize(X, Y, learning_rate=0.1, num_iterations=1)
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 6000)
    gram = optimize(X, Y, learning_rate=0.1, num_iterations=1)
    largest = np.linalg.eigvalsh(X / 255 @ (X / 255).T + 1)[-1]
    assert blocks.stability_bound == pytest.approx(gram.stability_bound, rel=2e-6)
    assert gram.stability_bound == pytest.approx(8 * 150 / largest, rel=2e-6)


class Memory:
    """A checkpoint that keeps every state, and stops training after some."""

    def __init__(self, kill_after: int = 10**9) -> None:
        self.state: TrainingState | None = None
        self.kill_after = kill_after

    def load(self) -> TrainingState | None:
        """Return the newest state."""
        return self.state

    def offer(self, state: Callable[[], TrainingState]) -> None:
        """Keep it."""
        self.state = state()
        if self.state.iteration == self.kill_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("killed", range(1, 21))
@pytest.mark.parametrize("record_every", [1, 6])
def test_going_on_after_a_kill_gives_the_same_bits(killed: int, record_every: int) -> None:
    """At any iteration, and twice in a row."""
    X, Y = make_problem(60, 12)
    options: dict[str, Any] = {"learning_rate": 2.0, "num_iterations": 20, "record_every": record_every}
    expected = optimize(X, Y, **options)
    memory = Memory(killed)
    with pytest.raises(KeyboardInterrupt):
        optimize(X, Y, checkpoint=memory, **options)
    if killed < 20:
        memory.kill_after = killed + 1
        with pytest.raises(KeyboardInterrupt):
            optimize(X, Y, checkpoint=memory, **options)
        memory.kill_after = 10**9
    result = optimize(X, Y, checkpoint=memory, **options)
    assert bits(result) == bits(expected)
    assert result.iterations.tolist() == expected.iterations.tolist()


def test_a_disk_that_fails_ends_training_and_its_threads() -> None:
    """The error reaches the caller, and no thread stays alive."""
    X, Y = make_problem(700, 12)
    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        optimize(OnDisk(X, fail_at=3), Y, learning_rate=0.1, num_iterations=5)
    assert threading.active_count() == before


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their sums would not fit into 64 bits."""
    monkeypatch.setattr(blocks, "ROWS_LIMIT", 9)
    with pytest.raises(ValueError, match=r"X has shape \(10, 3\); expected at most 9 rows"):
        optimize(*make_problem(10, 3), learning_rate=0.1, num_iterations=1)
