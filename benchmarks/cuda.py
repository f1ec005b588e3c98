"""Check and measure the engine for GPUs on a device: a few minutes, and one line for each figure.

    PYTHONPATH=src python benchmarks/cuda.py            on "cuda"
    PYTHONPATH=src python benchmarks/cuda.py cpu        small sizes on the CPU, to try the script itself

It needs the base install and PyTorch. A part that fails is printed, and the next one runs. The exit code is 1 if a part
failed or a bit differs.
"""

import hashlib
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from one_neuron.exact import functions
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.engines.on_torch import INT8_DEVICES, TorchPasses
from one_neuron.gradient_descent.passes import LocalPasses, Wanted
from one_neuron.neuron import Parameters, sigmoid
from one_neuron.rows import RowsOnDisk

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda"
GPU = DEVICE != "cpu"
SHAPES = [(1, 1), (2, 5), (7, 12288), (16, 48), (17, 49), (33, 101), (209, 768), (1001, 77), (4097, 131)]
SHAPES += [(9, 70001), (70001, 9)] if GPU else []
failures: list[str] = []
say = partial(print, flush=True)


class Float64Passes(TorchPasses):
    """The fallback of the engine: float64 products."""

    def _multiplies_int8(self, _: Any) -> bool:
        return False


class Tall(RowsOnDisk):
    """Many rows of pixels, made of one block that is repeated."""

    def __init__(self, m: int, n_x: int) -> None:
        super().__init__((m, n_x))
        self._block = np.random.default_rng(0).integers(0, 256, (min(m, 8192), n_x), dtype=np.uint8)

    def _read_rows(self, start: int, out: NDArray[np.uint8]) -> None:
        np.take(self._block, np.arange(start, start + len(out)) % len(self._block), axis=0, out=out)


def check(name: str, right: bool) -> None:
    """Print whether something has the right bits, and remember if not."""
    say(f"{name}: {'the same bits' if right else 'DIFFERENT'}")
    if not right:
        failures.append(name)


def measure(function: Callable[[], object], rounds: int = 5) -> float:
    """Return the median of some rounds in seconds, after one that is not counted."""
    taken = []
    for _ in range(rounds + 1):
        _wait()
        before = time.perf_counter()
        function()
        _wait()
        taken.append(time.perf_counter() - before)
    return sorted(taken[1:])[rounds // 2]


def _wait() -> None:
    """Wait until the device is idle."""
    if GPU:
        torch.cuda.synchronize()


def environment() -> None:
    """Print the versions, the device, and whether it has int8 products."""
    say(torch.__version__, np.__version__, torch.cuda.get_device_name(DEVICE) if GPU else "cpu")
    passes = TorchPasses(np.full((300, 200), 255, np.uint8), np.zeros(300), device=DEVICE)
    say("int8 products:", passes._int8)
    if GPU and not passes._int8:
        failures.append("int8 products")


def elementwise() -> None:
    """Compare exp and the sigmoid with NumPy's; count quotients that another rounding changes."""
    passes, rng = TorchPasses(np.zeros((1, 1), np.uint8), np.zeros(1), device=DEVICE), np.random.default_rng(1)
    for scale in (1e-9, 1.0, 10.0, 300.0, 1e200):
        x = rng.normal(size=10**6 if GPU else 10**4) * scale
        there = torch.from_numpy(x).to(DEVICE)
        check(f"exp at {scale}", np.array_equal(functions.exp(x), passes._exp(there).cpu().numpy()))
        check(f"sigmoid at {scale}", np.array_equal(sigmoid(x), passes._sigmoid(there).cpu().numpy()))
    x = rng.normal(size=10**5)
    there = torch.from_numpy(x).to(DEVICE)
    say("share of quotients that differ, by a number:", float(np.mean((there / 7.3291).cpu().numpy() != x / 7.3291)))
    by_tensor = (there / (passes._one * 7.3291)).cpu().numpy()
    check("quotients by a tensor", np.array_equal(by_tensor, x / 7.3291))


def trainings() -> None:
    """Train sets of many shapes at three learning rates with both products; compare with the local engine."""
    gradient_descent.GRAM_LIMIT = 0
    wrong = 0
    for m, n_x in SHAPES:
        rng = np.random.default_rng(7 * m + n_x)
        X, Y = rng.integers(0, 256, (m, n_x), dtype=np.uint8), rng.integers(0, 2, m)
        for rate in (0.003, 0.5, 1e4):
            expected = train(X, Y, rate, LocalPasses)
            for kind in (TorchPasses, Float64Passes):
                for block in (2**16, 4112):
                    found = train(X, Y, rate, partial(kind, device=DEVICE, block=block))
                    if found != expected:
                        wrong += 1
                        say("DIFFERENT", m, n_x, rate, kind.__name__, block)
    check(f"{len(SHAPES) * 12} trainings", wrong == 0)


def train(X: NDArray[np.uint8], Y: NDArray[Any], learning_rate: float, engine: Any) -> str:
    """Return the SHA-256 of a short training."""
    result = gradient_descent.optimize(
        X, Y, learning_rate=learning_rate, num_iterations=8, record_every=7, engine=engine
    )
    numbers = np.array([result.parameters.b, result.stability_bound])
    return hashlib.sha256(result.parameters.w.tobytes() + numbers.tobytes() + result.costs.tobytes()).hexdigest()


def passes() -> None:
    """Measure one pass over a million pictures of 64 x 64, and compare its sums with those of the local engine."""
    m, n_x = (1_000_000, 12288) if GPU else (5000, 768)
    X, Y = Tall(m, n_x), np.random.default_rng(1).integers(0, 2, m).astype(np.uint8)
    wanted = Wanted(Parameters(w=np.random.default_rng(2).normal(size=n_x) * 0.001, b=0.1), z=True)
    without_z = Wanted(wanted.parameters)
    with LocalPasses(X, Y) as local:
        expected = local.add_up(wanted)
        taken = measure(lambda: local.add_up(without_z), 2)
        say(f"local engine: {taken:.3f} s a pass, {m * n_x / taken / 1e9:.1f} GB/s of pixels")
    for kind in (TorchPasses, Float64Passes):
        before = time.perf_counter()
        with kind(X, Y, device=DEVICE) as there:
            say(f"{kind.__name__}: loaded in {time.perf_counter() - before:.1f} s")
            if GPU:
                kept, planned = torch.cuda.max_memory_allocated() / 1e9, there._bytes_needed() / 1e9
                say(f"   device memory {kept:.2f} GB, planned {planned:.2f} GB")
            found = there.add_up(wanted)
            same = np.array_equal(found.z, expected.z) and np.array_equal(found.dw, expected.dw)  # type: ignore[arg-type]
            check(f"   z, dw and db of {kind.__name__}", same and found.db == expected.db)
            taken = measure(partial(there.add_up, without_z))
            say(f"   {taken * 1e3:.2f} ms a pass, {m * n_x / taken / 1e9:.0f} GB/s of pixels")
        del there
        if GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main() -> int:
    """Run all parts."""
    if GPU and DEVICE.split(":")[0] not in INT8_DEVICES:
        say(f"usage: cuda.py [cuda | cuda:1 | cpu], not {DEVICE!r}")
        return 2
    for part in (environment, elementwise, trainings, passes):
        before = time.perf_counter()
        try:
            part()
        except Exception:  # noqa: BLE001 - the other parts are worth their time on a rented device
            traceback.print_exc()
            failures.append(part.__name__)
        say(f"-- {part.__name__}: {time.perf_counter() - before:.1f} s\n")
    say("failed:", ", ".join(failures) or "nothing")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
