"""Passes with PyTorch, on its CPU build: all logic but CUDA's own products.

The tests need torch, which is in no lock. They are skipped without it, except where ONE_NEURON_TEST_TORCH=required.
int8 products are right on a CPU with VNNI only, so their tests compute them in another way (`int_mm`).
"""

import os
import weakref
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem
from one_neuron.exact import functions
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.engines import on_torch
from one_neuron.gradient_descent.many import optimize_many
from one_neuron.gradient_descent.many_rows import ManyWanted
from one_neuron.gradient_descent.optimize import TrainingResult, optimize
from one_neuron.gradient_descent.passes import Wanted
from one_neuron.neuron import initialize_with_zeros, sigmoid
from one_neuron.rows import RowsOnDisk

if os.environ.get("ONE_NEURON_TEST_TORCH") == "required":
    import torch
else:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)", exc_type=ImportError)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Fewer rows and columns than cuBLAS multiplies, and odd numbers, at learning rates that converge and diverge; and more
# columns than one product adds up.
SHAPES = [(1, 1), (2, 5), (16, 48), (17, 49), (33, 101), (209, 300), (1001, 77)]
PROBLEMS = [(4, 70001, 0.5), *((*shape, rate) for shape in SHAPES for rate in (0.003, 0.5, 1e4))]


@pytest.fixture(autouse=True)
def only_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the form "blocks" for few pictures as well."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)


def int_mm(matrix: Any, digits: Any) -> Any:
    """Return the product that `torch._int_mm` defines, and refuse what cuBLAS refuses."""
    assert matrix.dtype == digits.dtype == torch.int8
    assert matrix.shape[0] > 16
    assert matrix.shape[1] % 8 == digits.shape[1] % 8 == 0
    assert matrix.stride(1) == 1  # by rows
    assert digits.stride(0) == 1  # by columns
    assert matrix.stride(0) % 16 == matrix.data_ptr() % 16 == digits.data_ptr() % 16 == 0
    product = matrix.double() @ digits.double()
    assert product.abs().max() < 2**31
    return product.int()


@pytest.fixture
def int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the passes use int8 products on the CPU as well."""
    monkeypatch.setattr(torch, "_int_mm", int_mm)
    monkeypatch.setattr(on_torch, "INT8_DEVICES", ("cpu",))


def make_problem(m: int, n_x: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return random pixels and labels."""
    rng = np.random.default_rng(7 * m + n_x)
    return rng.integers(0, 256, (m, n_x), np.uint8), rng.integers(0, 2, m, np.uint8)


def bits(result: TrainingResult) -> bytes:
    """Return the bytes of w, b, the costs and the bound."""
    numbers = [result.parameters.b, result.stability_bound]
    return result.parameters.w.tobytes() + np.array(numbers).tobytes() + result.costs.tobytes()


def train(X: Any, Y: NDArray[np.uint8], learning_rate: float, **options: Any) -> bytes:
    """Train a few iterations with PyTorch; return the bits."""
    engine = partial(on_torch.TorchPasses, device="cpu", **options)
    return bits(optimize(X, Y, learning_rate=learning_rate, num_iterations=6, record_every=4, engine=engine))


@pytest.mark.parametrize(("m", "n_x", "learning_rate"), PROBLEMS)
def test_float64_gives_the_bits_of_the_local_engine(m: int, n_x: int, learning_rate: float) -> None:
    """In one block and in several."""
    X, Y = make_problem(m, n_x)
    expected = bits(optimize(X, Y, learning_rate=learning_rate, num_iterations=6, record_every=4))
    assert train(X, Y, learning_rate) == train(X, Y, learning_rate, block=32) == expected


@pytest.mark.parametrize(("m", "n_x", "learning_rate"), PROBLEMS)
def test_int8_gives_the_bits_of_the_local_engine(
    m: int, n_x: int, learning_rate: float, int8: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the one memory layout that cuBLAS supports."""
    X, Y = make_problem(m, n_x)
    expected = bits(optimize(X, Y, learning_rate=learning_rate, num_iterations=6, record_every=4))
    assert train(X, Y, learning_rate) == train(X, Y, learning_rate, block=32) == expected
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("products", ["float64", "int8"])
@pytest.mark.parametrize("height", [1, 10, 1000])
def test_many_configurations(
    products: str, height: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores, w and b are those of the local engine up to the last digits, however many rows are taken at a time."""
    if products == "int8":
        request.getfixturevalue("int8")
    X, Y = make_problem(97, 12)
    options: dict[str, Any] = {"learning_rates": [0.5, 2.0, 0.5, 2.0, 0.5], "num_iterations": 9, "record_every": 4}
    folds: dict[str, Any] = {"folds": np.arange(97) % 3, "held_out": [-1, -1, 0, 2, 2]}
    for more in ({}, folds, folds | {"X_test": X[:7], "Y_test": Y[:7]}):
        local = optimize_many(X, Y, **options, **more)
        with monkeypatch.context() as patch:
            patch.setattr(on_torch, "_FLOAT_BYTES", 8 * height * (2 * 12 + 6 * 5))
            other = optimize_many(X, Y, engine=partial(on_torch.TorchPasses, device="cpu", block=32), **options, **more)
        for name in (
            f"{kind}_{score}" for kind in ("train", "validation", "test") for score in ("costs", "accuracies")
        ):
            assert getattr(other, name) == pytest.approx(getattr(local, name), rel=1e-12, nan_ok=True), name
        for j in range(5):
            assert other.parameters(j).w == pytest.approx(local.parameters(j).w, rel=1e-10, abs=1e-14)
            assert other.parameters(j).b == pytest.approx(local.parameters(j).b, rel=1e-10)


def test_no_int8_products_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without VNNI they are wrong."""
    monkeypatch.setattr(torch, "_int_mm", None)
    X, Y = make_problem(50, 30)
    assert train(X, Y, 0.5) == bits(optimize(X, Y, learning_rate=0.5, num_iterations=6, record_every=4))


@pytest.mark.parametrize("wrong", ["by rows", "by columns", "refused"])
def test_wrong_int8_products_are_not_used(
    wrong: str, int8: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single wrong number in either direction, or an error: float64 products instead, and a line that says so."""
    X, Y = make_problem(60, 200)

    def broken(matrix: Any, digits: Any) -> Any:
        if wrong == "refused":
            raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nwhen calling cublasLtMatmul")
        product = int_mm(matrix, digits)
        if len(matrix) == (64 if wrong == "by rows" else 208):
            product[59 if wrong == "by rows" else 199, 2] += 1
        return product

    monkeypatch.setattr(torch, "_int_mm", broken)
    assert train(X, Y, 0.5) == bits(optimize(X, Y, learning_rate=0.5, num_iterations=6, record_every=4))
    reason = "CUBLAS_STATUS_NOT_SUPPORTED" if wrong == "refused" else "they are wrong"
    assert capsys.readouterr().err == f"one-neuron: no int8 products on cpu ({reason}); float64 takes longer\n"


@pytest.mark.parametrize("scale", [1e-9, 1.0, 10.0, 300.0, 1e200])
def test_exp_and_sigmoid_operation_for_operation(scale: float) -> None:
    """The bits of NumPy's."""
    x = np.random.default_rng(1).normal(size=20_000) * scale
    X, Y = make_problem(1, 1)
    passes = on_torch.TorchPasses(X, Y, device="cpu")
    assert passes._exp(torch.from_numpy(x)).numpy().tobytes() == functions.exp(x).tobytes()
    assert passes._sigmoid(torch.from_numpy(x)).numpy().tobytes() == sigmoid(x).tobytes()


class OnDisk(RowsOnDisk):
    """A file of pixels."""

    def __init__(self, X: NDArray[np.uint8]) -> None:
        super().__init__((len(X), X.shape[1]))
        self.X = X

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        out[...] = self.X[start : start + len(out)]


@pytest.mark.parametrize("kind", ["on disk", "columns first", "read-only"])
def test_pixels_of_any_kind(kind: str) -> None:
    """They are copied, so nothing of the caller's can change."""
    X, Y = make_problem(100, 12)
    rows: Any = OnDisk(X) if kind == "on disk" else np.asfortranarray(X) if kind == "columns first" else X.copy()
    if kind == "read-only":
        rows.flags.writeable = False
    assert train(rows, Y, 0.5, block=32) == train(X, Y, 0.5)


def test_the_memory_needed_is_at_least_that_of_the_tensors() -> None:
    """All that the passes keep, both with and without int8."""
    X, Y = make_problem(3000, 500)
    passes = on_torch.TorchPasses(X, Y, device="cpu", block=1024)
    for int8 in (False, True):
        passes._int8 = int8
        kept = [part for start in (0, 1024, 2048) for part in _parts(passes._load(X, start))]
        assert 3000 * 500 * (1 + int8) <= sum(part.numel() for part in kept) < passes._bytes_needed()


@pytest.mark.parametrize("name", ["_load", "_rows_times", "_float64_pixels"])
def test_a_device_that_fills_up_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever PyTorch reports it; the text is that of a CUDA device."""
    full = torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB of which 5.00 MiB is "
        "free. Process 1 has 79.14 GiB memory in use. Of the allocated memory 78.00 GiB is allocated by PyTorch."
    )
    monkeypatch.setattr(on_torch.TorchPasses, name, Mock(side_effect=full))
    X, Y = make_problem(50, 30)
    engine = partial(on_torch.TorchPasses, device="cpu")
    one = partial(optimize, X, Y, engine=engine, learning_rate=0.5, num_iterations=6)
    many = partial(optimize_many, X, Y, engine=engine, learning_rates=[0.5], num_iterations=6)
    with pytest.raises(EnvironmentProblem) as caught:
        (many if name == "_float64_pixels" else one)()
    assert str(caught.value) == (
        "the memory of the device is full (Tried to allocate 20.00 MiB; GPU 0 has a total capacity of 79.15 GiB of "
        "which 5.00 MiB is free); choose a larger device, or ONE_NEURON_ENGINE=local or ray"
    )


class Storages(TorchDispatchMode):  # type: ignore[misc, no-untyped-call, unused-ignore]
    """Counts the bytes of the tensors that PyTorch holds, inside a `with` block: now and at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self._sizes: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage.data_ptr() not in self._sizes:
                self._sizes[storage.data_ptr()] = storage.nbytes()
                weakref.finalize(storage, self._sizes.pop, storage.data_ptr())
                self.peak = max(self.peak, sum(self._sizes.values()))
        return result


@pytest.mark.parametrize("configurations", [1, 60])
def test_the_memory_needed_is_at_least_what_passes_take(configurations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all tensors at once, in float64; a pass for many configurations also has w, gradients and their addends."""
    monkeypatch.setattr(on_torch, "_FLOAT_BYTES", 2**20)
    X, Y = make_problem(5000, 300)
    with Storages() as used:
        passes = on_torch.TorchPasses(X, Y, device="cpu", block=1024)
        needed = passes._bytes_needed()
        passes.add_up(Wanted(initialize_with_zeros(300), z=True))
        assert needed / 2 < used.peak <= needed
        weights = np.zeros((configurations, 301))
        wanted = ManyWanted(
            weights, np.arange(configurations) % 3, np.zeros(configurations), scores=True, gradient=True
        )
        passes.add_up_many(wanted, np.arange(5000) % 3)
        assert used.peak <= needed + 3 * weights.nbytes


def _parts(block: Any) -> tuple[Any, ...]:
    """Return the tensors of a block."""
    return block if isinstance(block, tuple) else (block,)
