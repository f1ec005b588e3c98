"""Measure seconds and memory of every stage for sets of up to a million pictures.

`python benchmarks/large.py FILE M` only writes a set of M pictures. The pixels are drawn and written chunk by chunk.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from report import Table, duration, size

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "performance-large.png"
STAGES = ("prepare", "train", "evaluate", "track")
NUM_PX = 64
N_X = NUM_PX * NUM_PX * 3
HELD_OUT = 0.2
ITERATIONS, RECORD_EVERY = 20, 5
LONG = 2000  # the iterations of the course
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
_CHUNK = 4096  # pictures drawn at a time
_PATTERNS = 20
_EVERY = 0.01  # seconds between two looks at the memory


@dataclass(frozen=True)
class Usage:
    """What a stage took.

    Parameters
    ----------
    seconds : float
        From the start of Python to its end.
    cpu : float
        Seconds of all cores, user and system together; other programs change them less than `seconds`.
    resident : int
        The most bytes in use, of all its processes together.
    anonymous : int
        The most of them that belonged to no file.
    """

    seconds: float
    cpu: float
    resident: int
    anonymous: int


def time_large(options: argparse.Namespace) -> Table:
    """Run every stage on sets of up to --most pictures in one HDF5 file, and measure seconds and memory."""
    sizes = [m for m in SIZES if m < options.most] + [options.most]
    found: dict[int, dict[str, Usage]] = {}
    for m in sizes:
        with TemporaryDirectory(prefix="one-neuron-") as name:
            found[m], iteration = measure(Path(name), m)
    if options.write:
        draw(found)
    return make_table(found, iteration)


def make_table(found: dict[int, dict[str, Usage]], iteration: float) -> Table:
    """Return the table of what was measured; `iteration` is in CPU seconds, with the largest set."""
    table = Table(["pictures", "pixels", "stage", "seconds", "CPU", "memory", "of it anonymous"])
    for m, usages in found.items():
        for stage, usage in usages.items():
            seconds = duration(usage.seconds), duration(usage.cpu)
            table.add(f"{m:,}", size(m * N_X), stage, *seconds, size(usage.resident), size(usage.anonymous))
    largest = max(found)
    table.notes += [_describe(), _extrapolate(largest, found[largest], iteration)]
    if len(found) > 1:
        table.notes.append(_compare(*list(found.items())[-2:]))
    return table


def _describe() -> str:
    """Return how the figures were measured."""
    return (
        f"Generated pictures of {NUM_PX} x {NUM_PX} in one HDF5 file, of which the project holds out a fifth; "
        f"{ITERATIONS} iterations, the cost at every {RECORD_EVERY}. A stage is a process without DVC around it; its "
        "memory is what it and the processes that it starts have in use together (anonymous pages, and pages of files "
        f"that are mapped), looked up {1 / _EVERY:.0f} times a second, or the peak of one process that Linux keeps, if "
        "that is higher. One round."
    )


def _extrapolate(m: int, usages: dict[str, Usage], iteration: float) -> str:
    """Return what a billion pictures would take if all grows in proportion."""
    cores = {stage: usages[stage].cpu for stage in ("prepare", "evaluate", "track")}
    cores |= {"one iteration": iteration, f"{LONG:,} iterations": LONG * iteration}
    hours = ", ".join(f"{what} {1e9 / m * value / 3600:,.1f}" for what, value in cores.items())
    held = (1 - HELD_OUT) * m * N_X
    return (
        f"With {m:,} pictures, one iteration took {duration(iteration)} of CPU, {held / iteration / 1e9:.1f} GB/s for "
        f"each core. A billion pictures are {1e9 * N_X / 1e12:.1f} TB; in proportion they take, in hours of one core: "
        f"{hours}."
    )


def _compare(before: tuple[int, dict[str, Usage]], after: tuple[int, dict[str, Usage]]) -> str:
    """Return by how many bytes the memory grew for each picture."""
    growth = {
        stage: (usage.resident - before[1][stage].resident) / (after[0] - before[0])
        for stage, usage in after[1].items()
    }
    each = ", ".join(f"{stage} {max(0, value):,.0f}" for stage, value in growth.items())
    return f"From {before[0]:,} to {after[0]:,} pictures, memory grew by these bytes for each picture: {each}."


def measure(folder: Path, m: int) -> tuple[dict[str, Usage], float]:
    """Write a set of m pictures, and run every stage on it in a copy of the project.

    Returns
    -------
    usages : dict of str to Usage
        By the names of the stages.
    iteration : float
        The CPU seconds of one iteration: from a second training that is three times as long.
    """
    write_pictures(folder / "pictures.h5", m)
    for name in ("src", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(folder, ITERATIONS)
    usages = {stage: _run(folder, stage) for stage in STAGES}
    write_params(folder, 3 * ITERATIONS)
    longer = _run(folder, "train")
    return usages, (longer.cpu - usages["train"].cpu) / (2 * ITERATIONS)


def write_params(folder: Path, iterations: int) -> None:
    """Write the default params.yaml, except for the source and the training."""
    from one_neuron.settings.params import load_settings

    params = asdict(load_settings(ROOT / "params.yaml"))
    params["data"] |= {"source": "hdf5", "path": "pictures.h5", "num_px": NUM_PX, "test_fraction": HELD_OUT}
    params["hdf5"] |= {"train_x": "X", "train_y": "Y", "test_x": "", "test_y": "", "classes": ""}
    params["train"] |= {"learning_rate": 0.001, "num_iterations": iterations, "record_every": RECORD_EVERY}
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")  # JSON is also YAML


def write_pictures(path: Path, m: int) -> None:
    """Write m random pictures and labels; the first ones are the same for every m.

    A picture is a mixture of patterns, with noise; the label follows the amount of the first pattern.
    """
    patterns = 12 * np.random.default_rng(1).standard_normal((_PATTERNS, N_X), np.float32)
    with h5py.File(path, "w") as file:
        X = file.create_dataset("X", (m, NUM_PX, NUM_PX, 3), np.uint8)
        Y = file.create_dataset("Y", (m,), np.uint8)
        for start in range(0, m, _CHUNK):
            count = min(_CHUNK, m - start)
            pixels, labels = _draw_chunk(start, patterns)
            X[start : start + count] = pixels[:count]
            Y[start : start + count] = labels[:count]


def _draw_chunk(start: int, patterns: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return _CHUNK pictures and labels."""
    random = np.random.default_rng([2, start])
    amounts = random.standard_normal((_CHUNK, _PATTERNS), np.float32)
    values = amounts @ patterns
    values += 96 + random.integers(0, 64, values.shape, np.uint8)
    labels = amounts[:, 0] + 0.5 * random.standard_normal(_CHUNK) > 0
    return np.clip(values, 0, 255, out=values).astype(np.uint8).reshape(-1, NUM_PX, NUM_PX, 3), labels.astype(np.uint8)


def _run(folder: Path, stage: str) -> Usage:
    """Run a stage, and look at its memory until it has ended."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    for name in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI", "ONE_NEURON_MEMORY_MB"):
        environment.pop(name, None)
    start, before = time.perf_counter(), _cpu_seconds()
    command = [sys.executable, f"pipeline/{stage}.py"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    resident = anonymous = 0
    seen: set[int] = set()
    while process.poll() is None:
        # In its first moments, before it runs its own program, a child can have all pages of its parent.
        family = _family(process.pid)
        found = [_read_memory(number) for number in family if number in seen]
        seen |= set(family)
        now = sum(one["Pss_Anon"] for one in found)
        resident = max(resident, now + sum(one["RssFile"] + one["RssShmem"] for one in found))
        resident = max(resident, *(one["VmHWM"] for one in found)) if found else resident
        anonymous = max(anonymous, now)
        time.sleep(_EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the stage '{stage}' ended with {process.returncode}")
    usage = Usage(seconds, _cpu_seconds() - before, resident, anonymous)
    print(f"{stage}: {duration(seconds)}, CPU {duration(usage.cpu)}, {size(resident)}", flush=True)
    return usage


def _cpu_seconds() -> float:
    """Return the CPU seconds of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family(number: int) -> list[int]:
    """Return the numbers of a process and of all that it started."""
    found = [number]
    for path in Path(f"/proc/{number}/task").glob("*/children"):
        try:
            children = path.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in children:
            found += _family(int(child))
    return found


def _read_memory(number: int) -> dict[str, int]:
    """Return the memory of a process by Linux's names, in bytes; 0 if it has ended.

    A page that a process shares with its children after a fork counts in parts in their Pss_Anon, and once in the sum.
    """
    values = dict.fromkeys(("VmHWM", "RssFile", "RssShmem", "Pss_Anon"), 0)
    for name in ("status", "smaps_rollup"):
        try:
            lines = Path(f"/proc/{number}/{name}").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for key, _, value in (line.partition(":") for line in lines):
            if key in values:
                values[key] = 1024 * int(value.split()[0])
    return values


def draw(found: dict[int, dict[str, Usage]]) -> None:
    """Draw seconds and memory against the number of pictures, beside what grows in proportion."""
    import matplotlib.style
    from matplotlib.figure import Figure

    m = np.array(list(found))
    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(10, 4.4), dpi=100, layout="constrained")
        seconds, memory = figure.subplots(1, 2)
        for stage, marker in zip(STAGES, "os^D", strict=True):
            usages = [found[number][stage] for number in found]
            style = {"marker": marker, "markersize": 4, "label": stage}
            seconds.loglog(m, [one.cpu for one in usages], **style)
            memory.loglog(m, [one.resident / 1e6 for one in usages], **style)
        last = found[int(m[-1])]["prepare"].cpu
        grey: dict[str, Any] = {"color": "0.6", "linestyle": ":", "linewidth": 1}
        seconds.plot(m, last * m / m[-1], label="in proportion", **grey)
        memory.plot(m, m * N_X / 1e6, label="the pixels", **grey)
        for axes, label in ((seconds, "CPU seconds"), (memory, "peak memory in MB")):
            axes.set(xlabel="pictures of 64 x 64", ylabel=label)
            axes.grid(alpha=0.3)
            axes.legend(fontsize=9)
        figure.savefig(PICTURE, metadata={"Software": None})


def main() -> None:
    """Write a set of pictures."""
    path, m = sys.argv[1:]
    write_pictures(Path(path), int(m))


if __name__ == "__main__":
    main()
