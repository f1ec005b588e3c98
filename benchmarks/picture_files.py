"""Time how picture files become a prepared set, compared with the plain loop that one would write with Pillow.

Each run is a process of its own: `python benchmarks/picture_files.py CASE FOLDER` is what it runs.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from report import CORES, Table, duration, factor, median_ratio, peak_memory, size

NUM_PX = 64
WIDTH, HEIGHT, QUALITY = 500, 375, 85  # what the photographs of many collections have
SLOPES = (1.3, 1.35, 1.4, 1.45, 1.5)  # how quickly detail fades in a scene: natural ones have files of 25 to 60 KB
KILLED_AT = 0.9  # of the pictures
MOST_ROUNDS = 3
PLAIN, EXACT, FAST = "plain", "exact", "fast"
NAMES = {
    PLAIN: "plain loop: open, convert, resize, one array",
    EXACT: "ours, decode: exact",
    FAST: "ours, decode: fast",
}


@dataclass(frozen=True)
class Run:
    """What a process took.

    Parameters
    ----------
    seconds : float
        From the listing of the folder to the end, imports left out.
    cpu : float
        Seconds of all cores, user and system together.
    memory : int
        Most bytes the process took.
    """

    seconds: float
    cpu: float
    memory: int


def time_pictures(options: argparse.Namespace) -> Table:
    """Time how JPEG files become a prepared set in HDF5, from nothing, again, and after a kill at 90 %."""
    rounds = min(MOST_ROUNDS, options.rounds)
    runs: dict[str, list[Run]] = {}
    lost: dict[str, list[float]] = {EXACT: [], FAST: []}
    with TemporaryDirectory(prefix="one-neuron-") as name:
        folder = Path(name)
        sizes = make_pictures(folder / "pictures", options.pictures)
        for _ in range(rounds):
            _take_turns(folder, options.pictures, runs, lost)
    table = Table(
        ["case", "whole", "pictures a second", "min to max", "speed, plain loop = 1", "min to max", "CPU", "memory"]
    )
    for label, some in runs.items():
        _add_row(table, label, some, runs[NAMES[PLAIN]], options.pictures)
    shares = ", ".join(f"{decode} {statistics.median(some):.0%}" for decode, some in lost.items())
    table.notes.append(
        f"{options.pictures:,} generated JPEGs of {WIDTH} x {HEIGHT}, quality {QUALITY}, median "
        f"{np.median(sizes) / 1000:.0f} KB, to {NUM_PX} x {NUM_PX}, in the page cache. Ours reads, decodes, checks and "
        f"writes an HDF5 file, on all {CORES} cores; the plain loop writes nothing. A kill -9 at {KILLED_AT:.0%} costs "
        f"this share of a run: {shares} (both attempts together, compared with one that was not killed). "
        f"Medians of {rounds} rounds."
    )
    return table


def make_pictures(folder: Path, count: int) -> list[int]:
    """Write JPEG files of random pixels with the detail of photographs; return their sizes in bytes."""
    folder.mkdir()
    random = np.random.default_rng(1)
    scenes = [Image.fromarray(_make_scene(random, slope)) for slope in SLOPES for _ in range(2)]
    places = random.integers(0, (len(scenes), 1200 - WIDTH, 1000 - HEIGHT), (count, 3)).tolist()

    def write(number: int) -> int:
        scene, left, top = places[number]
        path = folder / f"{number:06}.jpg"
        scenes[scene].crop((left, top, left + WIDTH, top + HEIGHT)).save(path, quality=QUALITY)
        return path.stat().st_size

    with ThreadPoolExecutor(CORES) as pool:
        return list(pool.map(write, range(count)))


def _make_scene(random: np.random.Generator, slope: float) -> NDArray[np.uint8]:
    """Return random pixels of shape (1000, 1200, 3) with the power spectrum of natural scenes."""
    frequencies = np.hypot(np.fft.fftfreq(1000)[:, np.newaxis], np.fft.rfftfreq(1200))
    frequencies[0, 0] = 1
    planes = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * random.random(frequencies.shape))
        plane = np.fft.irfft2(phases / frequencies**slope, (1000, 1200))
        planes.append((plane - plane.mean()) / plane.std())
    light, red, blue = planes
    colours = np.stack([light + 0.4 * red, light - 0.2 * (red + blue), light + 0.4 * blue], axis=-1)
    pixels: NDArray[np.uint8] = np.clip(120 + 50 * colours, 0, 255).astype(np.uint8)
    return pixels


def _take_turns(folder: Path, count: int, runs: dict[str, list[Run]], lost: dict[str, list[float]]) -> None:
    """Run each case once."""

    def note(label: str, run: Run) -> Run:
        runs.setdefault(label, []).append(run)
        return run

    note(NAMES[PLAIN], _run(PLAIN, folder))
    for decode in (EXACT, FAST):
        _forget_rows(folder)
        whole = note(NAMES[decode], _run(decode, folder))
        note(f"{NAMES[decode]}, again", _run(decode, folder))
        _forget_rows(folder)
        until_kill = _run_and_kill(decode, folder, int(KILLED_AT * count))
        rest = note(f"{NAMES[decode]}, after a kill at {KILLED_AT:.0%}", _run(decode, folder))
        lost[decode].append((until_kill + rest.seconds) / whole.seconds - 1)


def _forget_rows(folder: Path) -> None:
    """Remove the cached rows of an earlier case."""
    shutil.rmtree(folder / ".one-neuron", ignore_errors=True)


def _start(case: str, folder: Path) -> subprocess.Popen[str]:
    """Start a run and wait until its imports are done."""
    environment = {**os.environ, "DVC_ROOT": str(folder)}
    environment.pop("ONE_NEURON_CACHE_MB", None)
    command = [sys.executable, __file__, case, str(folder)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    if process.stdout is None or process.stdout.readline() != "begin\n":
        raise SystemExit(f"{command} did not begin")
    return process


def _run(case: str, folder: Path) -> Run:
    """Run a case to its end."""
    with _start(case, folder) as process:
        printed, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run of {case} ended with {process.returncode}")
    return Run(**json.loads(printed))


def _run_and_kill(case: str, folder: Path, count: int) -> float:
    """Start a case, kill it when `count` pictures are decoded, and return the seconds until then."""
    with _start(case, folder) as process:
        start = time.perf_counter()
        while _count_rows(folder) < count and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        taken = time.perf_counter() - start
    if process.returncode != -signal.SIGKILL:
        raise SystemExit(f"the run of {case} had ended before it was killed")
    return taken


def _count_rows(folder: Path) -> int:
    """Return the number of rows in the cache."""
    return sum(path.stat().st_size for path in folder.glob(".one-neuron/rows/*/*.keys")) // 8


def _add_row(table: Table, label: str, runs: list[Run], plain: list[Run], count: int) -> None:
    """Add the medians of a case to the table."""
    seconds, reference = ([run.seconds for run in some] for some in (runs, plain))
    ratios = [a / b for a, b in zip(reference, seconds, strict=True)]
    whole = statistics.median(seconds)
    rates = f"{count / whole:,.0f}", f"{count / max(seconds):,.0f} to {count / min(seconds):,.0f}"
    speeds = factor(median_ratio(reference, seconds)), f"{factor(min(ratios))} to {factor(max(ratios))}"
    cpu = duration(statistics.median(run.cpu for run in runs))
    table.add(label, duration(whole), *rates, *speeds, cpu, size(max(run.memory for run in runs)))


def _prepare_plainly(paths: list[Path]) -> None:
    """Decode as one would without this project, in one thread into one array."""
    X = np.empty((len(paths), NUM_PX, NUM_PX, 3), np.uint8)
    for i, path in enumerate(paths):
        with Image.open(path) as image:
            X[i] = np.asarray(image.convert("RGB").resize((NUM_PX, NUM_PX), Image.Resampling.BICUBIC))


def _prepare(paths: list[Path], decode: str, target: Path) -> None:
    """Decode and write a prepared set, as the stage does."""
    from one_neuron.pictures.cache_limit import trim_rows
    from one_neuron.pictures.decode import decode_pictures
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.storage.prepared_set import PreparedSet, save_prepared

    preprocessing = Preprocessing(NUM_PX, decode=decode)
    decoded = decode_pictures(paths, preprocessing)
    labels = (np.arange(len(paths)) % 2).astype(np.uint8)
    names = [path.name for path in paths]
    save_prepared(target, PreparedSet(decoded.X, labels, names, preprocessing, ("other", "cat"), "folder"))
    trim_rows()


def _cpu_seconds(usage: Iterable[float]) -> float:
    """Return user and system seconds together."""
    user, system, *_ = usage
    return user + system


def main() -> None:
    """Run one case and print what it took."""
    import one_neuron.pictures.decode
    import one_neuron.storage.prepared_set  # noqa: F401 - imports are not part of the times

    case, folder = sys.argv[1], Path(sys.argv[2])
    print("begin", flush=True)
    start, before = time.perf_counter(), _cpu_seconds(resource.getrusage(resource.RUSAGE_SELF))
    paths = sorted((folder / "pictures").iterdir())
    if case == PLAIN:
        _prepare_plainly(paths)
    else:
        _prepare(paths, case, folder / "train.h5")
    taken = time.perf_counter() - start
    cpu = _cpu_seconds(resource.getrusage(resource.RUSAGE_SELF)) - before
    print(json.dumps({"seconds": taken, "cpu": cpu, "memory": peak_memory()}))


if __name__ == "__main__":
    main()
