"""Measure seconds and memory of every stage for sets of up to a million pictures.

`python benchmarks/large.py FILE M` only writes a set of M pictures. The pixels are drawn and written chunk by chunk.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
from numpy.typing import NDArray
from report import Table, duration, size

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "performance-large.png"
STAGES = ("prepare", "train", "evaluate", "track")
NUM_PX = 64
N_X = NUM_PX * NUM_PX * 3
ITERATIONS = 20
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
COPIES = 3  # of the pixels that lie on the disk at once: the file, the rows of `prepare`, and the prepared sets
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
    resident : int
        The most bytes in use, of all its processes together.
    anonymous : int
        Those of them that belong to no file.
    processes : int
        The most processes at a time.
    """

    seconds: float
    resident: int
    anonymous: int
    processes: int


def time_large(options: argparse.Namespace) -> Table:
    """Run the stages on sets of up to --most pictures in one HDF5 file, and measure seconds and memory."""
    sizes = [m for m in SIZES if m < options.most] + [options.most]
    found: dict[int, dict[str, Usage]] = {}
    table = Table(["pictures", "pixels", "stage", "seconds", "pictures a second", "memory", "anonymous", "processes"])
    for m in sizes:
        with TemporaryDirectory(prefix="one-neuron-", dir=options.folder) as name:
            found[m] = measure(Path(name), m)
        for stage, usage in found[m].items():
            memory = size(usage.resident), size(usage.anonymous)
            rate = f"{m / usage.seconds:,.0f}"
            table.add(f"{m:,}", size(m * N_X), stage, duration(usage.seconds), rate, *memory, str(usage.processes))
    if options.write:
        draw(found)
    table.notes.append(
        f"Generated pictures of {NUM_PX} x {NUM_PX} in one HDF5 file, a fifth of them held out; {ITERATIONS} "
        "iterations. "
        "Every stage is a process of its own; memory is the sum over it and the processes that it starts, looked up "
        f"{1 / _EVERY:.0f} times a second, or the peak that Linux keeps of one process if that is higher."
    )
    return table


def measure(folder: Path, m: int) -> dict[str, Usage]:
    """Write a set of m pictures, and run every stage on it in a copy of the project."""
    write_pictures(folder / "pictures.h5", m)
    for name in ("src", "pipeline"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    write_params(folder)
    found = {}
    for stage in STAGES:
        found[stage] = run(folder, stage)
        print(f"{m:,} {stage}: {found[stage]}", flush=True)
    return found


def write_params(folder: Path) -> None:
    """Write the default params.yaml, but for the source and the number of iterations."""
    from one_neuron.settings.params import load_settings

    params = asdict(load_settings(ROOT / "params.yaml"))
    params["data"] |= {"source": "hdf5", "path": "pictures.h5"}
    params["hdf5"] |= {"train_x": "X", "train_y": "Y", "test_x": "", "test_y": "", "classes": ""}
    params["train"] |= {"learning_rate": 0.001, "num_iterations": ITERATIONS, "record_every": 5}
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


def run(folder: Path, stage: str) -> Usage:
    """Run a stage, and look at its memory until it has ended."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    for name in ("DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI", "ONE_NEURON_MEMORY_MB"):
        environment.pop(name, None)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, f"pipeline/{stage}.py"], cwd=folder, env=environment)
    resident = anonymous = most = 0
    while process.poll() is None:
        found = [_read_memory(number) for number in _family(process.pid)]
        now = sum(one["Pss_Anon"] for one in found)
        resident = max(resident, now + sum(one["RssFile"] + one["RssShmem"] for one in found))
        resident = max(resident, *(one["VmHWM"] for one in found))
        anonymous, most = max(anonymous, now), max(most, len(found))
        time.sleep(_EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the stage '{stage}' ended with {process.returncode}")
    return Usage(seconds, resident, anonymous, most)


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
    """Draw seconds and memory against the number of pictures."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(10, 4.2), dpi=100, layout="constrained")
        seconds, memory = figure.subplots(1, 2)
        for stage, marker in zip(STAGES, "os^D", strict=True):
            points = {m: usages[stage] for m, usages in found.items()}
            style = {"marker": marker, "markersize": 4, "label": stage}
            seconds.loglog(points, [one.seconds for one in points.values()], **style)
            memory.loglog(points, [one.resident / 1e6 for one in points.values()], **style)
        for axes, label in ((seconds, "seconds"), (memory, "peak memory, MB")):
            axes.set(xlabel="pictures of 64 x 64", ylabel=label)
            axes.grid(alpha=0.3, which="both")
        figure.savefig(PICTURE, metadata={"Software": None})


def main() -> None:
    """Write a set of pictures."""
    path, m = sys.argv[1:]
    write_pictures(Path(path), int(m))


if __name__ == "__main__":
    main()
