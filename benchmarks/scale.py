"""Measure an iteration on several processes: the engine "ray" beside "local", plain Dask and PyTorch's DDP.

    PYTHONPATH=src python benchmarks/scale.py                  200,000 pictures of 3,072 values, 50 iterations
    PYTHONPATH=src python benchmarks/scale.py 20000 3072 10

All have two cores: `local` two threads, the others two processes of one thread. Start-up and loading are not measured.
`local` and `ray` take turns, five iterations each. Dask and DDP compute in float32, from rows that are float32 in
memory already; all costs are printed, so that it shows if one computes something else. It needs the extra `ray`,
`dask[array,distributed]` and `torch`; what is missing is left out.
"""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.gradient_descent.engines.on_ray import RayPasses
from one_neuron.gradient_descent.passes import LocalPasses, Passes
from one_neuron.neuron import Parameters, cost, initialize_with_zeros

PROCESSES, TURN, LEARNING_RATE = 2, 5, 0.01
Labels = NDArray[np.uint8]


def main() -> None:
    """Measure all of them and print a table."""
    m, n_x, iterations = map(int, [*sys.argv[1:], *("200000", "3072", "50")[len(sys.argv) - 1 :]])
    X, Y = make_pictures(m, n_x)
    print(f"{m:,} pictures of {n_x:,} values, {iterations} iterations, {PROCESSES} cores\n")
    print("| engine | ms per iteration | time, relative to local | cost at the end |\n| --- | --- | --- | --- |")
    found = measure_engines(X, Y, iterations)
    reference = found["local, 2 threads"][0]
    for name, measure in (("Dask, float32", measure_dask), ("PyTorch DDP (gloo), float32", measure_ddp)):
        try:
            found[name] = measure(X, Y, iterations)
        except ModuleNotFoundError as error:
            print(f"{name}: {error.name} is not installed", file=sys.stderr)
    for name, (seconds, last_cost) in found.items():
        print(f"| {name} | {1000 * seconds:.1f} | {seconds / reference:.2f} | {last_cost:.6f} |")


def make_pictures(m: int, n_x: int) -> tuple[NDArray[np.uint8], Labels]:
    """Return pixels of two classes, of which one is a little brighter."""
    rng = np.random.default_rng(0)
    X, Y = np.empty((m, n_x), np.uint8), rng.integers(0, 2, m, dtype=np.uint8)
    for start in range(0, m, 4096):
        part = slice(start, start + 4096)
        X[part] = rng.integers(0, 236, X[part].shape, dtype=np.uint8) + 20 * Y[part, np.newaxis]
    return X, Y


def measure_engines(X: NDArray[np.uint8], Y: Labels, iterations: int) -> dict[str, tuple[float, float]]:
    """Return the seconds per iteration of `local` and `ray`, taking turns, and the cost at the end."""
    with LocalPasses(X, Y, cores=PROCESSES) as local, RayPasses(X, Y, shards=PROCESSES) as ray:
        engines: dict[str, Passes] = {"local, 2 threads": local, "Ray, 2 workers": ray}
        parameters = dict.fromkeys(engines, initialize_with_zeros(X.shape[1]))
        seconds: dict[str, list[float]] = {name: [] for name in engines}
        for name, passes in engines.items():
            passes.run(parameters[name], z=False)  # loads and compiles
        for _ in range(-(-iterations // TURN)):
            for name, passes in engines.items():
                started = time.perf_counter()
                for _ in range(TURN):
                    parameters[name] = update(parameters[name], passes, len(Y))
                seconds[name].append((time.perf_counter() - started) / TURN)
        (first, *others) = parameters.values()
        assert all(np.array_equal(first.w, each.w) and first.b == each.b for each in others), "the bits differ"
        z, _, _ = local.run(first, z=True, gradient=False)
        assert z is not None
        return {name: (float(np.median(taken)), cost(z, Y)) for name, taken in seconds.items()}


def update(parameters: Parameters, passes: Passes, m: int) -> Parameters:
    """Return w and b after one iteration."""
    _, dw, db = passes.run(parameters, z=False)
    return Parameters(parameters.w - LEARNING_RATE * (dw / m), parameters.b - LEARNING_RATE * (db / m))


def measure_dask(X: NDArray[np.uint8], Y: Labels, iterations: int) -> tuple[float, float]:
    """Return the seconds per iteration of the same step in Dask, and the cost at the end."""
    import dask
    import dask.array as da
    from distributed import Client, LocalCluster, wait

    def predict(w: NDArray[np.float32], b: np.float32) -> Any:
        return 1 / (1 + da.exp(-(rows @ w + b)))

    options: dict[str, Any] = {"dashboard_address": None, "processes": True, "host": "127.0.0.1", "memory_limit": 0}
    with LocalCluster(n_workers=PROCESSES, threads_per_worker=1, **options) as cluster, Client(cluster):
        size = -(-len(Y) // (4 * PROCESSES))
        rows = (da.from_array(X, chunks=(size, -1)).astype(np.float32) / np.float32(255)).persist()
        labels = da.from_array(Y.astype(np.float32), chunks=size).persist()
        wait([rows, labels])
        w, b, seconds = np.zeros(X.shape[1], np.float32), np.float32(0), []
        for _ in range(iterations + 1):
            started = time.perf_counter()
            dz = predict(w, b) - labels
            dw, db = dask.compute(rows.T @ dz, dz.sum())
            seconds.append(time.perf_counter() - started)
            if len(seconds) > 1:  # the first one is not counted
                w, b = w - np.float32(LEARNING_RATE / len(Y)) * dw, b - np.float32(LEARNING_RATE / len(Y)) * db
        z = (rows @ w + b).compute()
    return float(np.median(seconds[1:])), cost(z.astype(np.float64), Y)


def measure_ddp(X: NDArray[np.uint8], Y: Labels, iterations: int) -> tuple[float, float]:
    """Return the seconds per iteration of DistributedDataParallel, full batch, and the cost at the end."""
    import torch  # noqa: F401 - fails here rather than in the processes

    context = multiprocessing.get_context("fork")  # the processes share the pixels
    results = context.SimpleQueue()
    with free_port() as port:
        processes = [
            context.Process(target=train_ddp, args=(rank, port, X, Y, iterations, results)) for rank in range(PROCESSES)
        ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes), "a process of DDP failed"
    seconds, w, b = results.get()
    z = np.concatenate([X[i : i + 4096] / 255 @ w for i in range(0, len(Y), 4096)]) + b
    return seconds, cost(z, Y)


@contextmanager
def free_port() -> Iterator[int]:
    """Yield a port of this machine that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def train_ddp(rank: int, port: int, X: NDArray[np.uint8], Y: Labels, iterations: int, results: Any) -> None:
    """Train on some of the rows; the first process puts seconds, w and b into the queue."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    own = slice(len(Y) * rank // PROCESSES, len(Y) * (rank + 1) // PROCESSES)
    rows = torch.from_numpy(X[own].astype(np.float32) / np.float32(255))
    labels = torch.from_numpy(Y[own].astype(np.float32)[:, np.newaxis])
    layer = torch.nn.Linear(X.shape[1], 1)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    model = torch.nn.parallel.DistributedDataParallel(layer)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE), torch.nn.BCEWithLogitsLoss()

    def step(apply: Callable[[], object]) -> float:
        started = time.perf_counter()
        optimizer.zero_grad()
        loss(model(rows), labels).backward()
        apply()
        return time.perf_counter() - started

    step(lambda: None)  # not counted
    seconds = [step(optimizer.step) for _ in range(iterations)]
    if rank == 0:
        weight, bias = (parameter.detach().double().numpy() for parameter in layer.parameters())
        results.put((float(np.median(seconds)), weight[0], float(bias[0])))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
