"""Time training compared with the usual alternatives.

Every comparison is made in one process, the cases taking turns; docs/performance.md says how to read it.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import peers
from large import time_large
from numpy.typing import NDArray
from picture_files import time_pictures
from report import (
    CORES,
    Case,
    Seconds,
    Table,
    comparison,
    describe_machine,
    duration,
    factor,
    load_torch,
    median_ratio,
    paired,
    peak_memory,
    size,
    threads_of,
    write_section,
)
from serving import time_serving
from sweeps import time_sweeps

from one_neuron.gradient_descent.many import optimize_many
from one_neuron.gradient_descent.many_forms import split_columns
from one_neuron.gradient_descent.optimize import GRAM_LIMIT, choose_form, optimize

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
GROWTH_PICTURE = ROOT / "docs" / "pictures" / "performance-growth.png"
COURSE_FOLDER = "ONE_NEURON_CATVNONCAT_DIR"
LEARNING_RATE, NUM_ITERATIONS = 0.005, 2000  # the course's
_LABELS = {"textbook": "textbook NumPy, 1 thread", "ours": "ours (all cores for blocks and many configurations)"}
NEVER = 10**9  # as record_every: the cost is kept at the first and the last iteration only

Pixels = NDArray[np.uint8]
Labels = NDArray[np.uint8]


def time_train(options: argparse.Namespace) -> Table:
    """Time the course's training: 209 pictures of 12,288 values, 2,000 iterations."""
    X, Y, origin = load_course()
    floats = {name: X / np.array(255, name) for name in ("float64", "float32")}
    train_all = partial(_train, X, Y)
    cases = {
        "textbook NumPy": _textbook_case(X, Y, NUM_ITERATIONS),
        "textbook NumPy, all cores": _textbook_case(X, Y, NUM_ITERATIONS, threads=CORES),
        "loops in Python alone (1 iteration, scaled)": Case(
            partial(peers.python_iteration, floats["float64"].tolist(), Y.tolist(), LEARNING_RATE), scale=NUM_ITERATIONS
        ),
        "loop over examples, NumPy over values (10 iterations, scaled)": Case(
            partial(peers.example_loop, floats["float64"], Y, LEARNING_RATE, 10), scale=NUM_ITERATIONS / 10
        ),
        **{
            f"NumPy row by row, {name}": Case(partial(peers.row_major, floats[name], Y, LEARNING_RATE, NUM_ITERATIONS))
            for name in floats
        },
        **_torch_cases(partial(peers.torch_training, floats["float32"], Y, LEARNING_RATE, NUM_ITERATIONS)),
        **_sklearn_cases(floats["float64"], Y, target=train_all(record_every=100)),
        "ours: optimize": Case(partial(train_all, record_every=100)),
        "ours: optimize, cost at every iteration": Case(partial(train_all, record_every=1)),
        "ours: optimize_many with one configuration": Case(partial(_train_one_of_many, X, Y)),
    }
    seconds = paired(cases, options.rounds)

    def last_cost(name: str) -> str:
        return "" if "scaled" in name else f"{cases[name].result:.6f}"

    note = f"{origin} Learning rate {LEARNING_RATE}, cost at every 100 iterations unless the case says otherwise."
    return comparison(seconds, threads_of(cases), note, {"last cost": last_cost})


def time_sweep(options: argparse.Namespace) -> Table:
    """Time batches of learning rates on the course's data: microseconds for one configuration and one iteration."""
    X, Y, origin = load_course()
    counts = (1, 10, 100, 1000)
    cases = {
        "textbook": _textbook_case(X, Y, 500, scale=1 / 500),
        "optimize": Case(partial(_train, X, Y, record_every=100), scale=1 / NUM_ITERATIONS),
    }
    for c in counts:
        many = partial(optimize_many, X, Y, num_iterations=NUM_ITERATIONS)
        rates = np.geomspace(1e-5, 1e-2, c)
        cases[f"many {c}"] = Case(partial(many, learning_rates=rates), scale=1 / (c * NUM_ITERATIONS))
        for name, work in (("product", _multiply_only), ("exp", _exp_only)):
            cases[f"{name} {c}"] = Case(partial(work, len(X), c), own_clock=True)
    seconds = paired(cases, options.rounds)
    columns = "configurations | threads | whole sweep | each iteration | speed, textbooks = 1 | speed, optimizes = 1"
    table = Table([*columns.split(" | "), "floor: products", "floor: exp", "floors / ours"])
    for c in counts:
        ours, floors = seconds[f"many {c}"], [seconds[f"{name} {c}"] for name in ("product", "exp")]
        each = statistics.median(ours)
        ratios = [factor(median_ratio(seconds[name], ours)) for name in ("textbook", "optimize")]
        both = [sum(pair) for pair in zip(*floors, strict=True)]
        medians = [duration(statistics.median(floor)) for floor in floors]
        used = str(_batch_blocks(c)[1])
        whole = duration(each * c * NUM_ITERATIONS)
        table.add(f"{c:,}", used, whole, duration(each), *ratios, *medians, f"{median_ratio(both, ours):.0%}")
    table.notes.append(
        f"{origin} {NUM_ITERATIONS:,} iterations, rates from 1e-5 to 1e-2. In the same rounds, an iteration of the "
        f"textbook on one thread took {duration(statistics.median(seconds['textbook']))} and one of a whole optimize "
        f"{duration(statistics.median(seconds['optimize']))}. Medians of {options.rounds} rounds."
    )
    return table


def time_tall(options: argparse.Namespace) -> Table:
    """Time one iteration over 200,000 pictures of 3,072 values."""
    X, Y = draw_pictures(200_000, 3072)
    floats = np.empty(X.shape, np.float32)
    np.divide(X, np.float32(255), out=floats)
    step = peers.row_major_stepper(floats, Y, LEARNING_RATE)
    floor = "floor: read the {} once, all cores"
    cases = {
        "NumPy float32, two passes": Case(step),
        "NumPy float32, two passes, all cores": Case(step, threads=CORES),
        **(_torch_cases(peers.torch_stepper(floats, Y, LEARNING_RATE)) if load_torch() else {}),
        "ours: optimize": Case(partial(_seconds_of_iteration, X, Y, 3), threads=CORES, own_clock=True),
        "ours: optimize_many, each of 32 configurations": Case(
            partial(_seconds_of_update, X, Y, 32), threads=CORES, own_clock=True
        ),
        floor.format("float32 array"): Case(partial(_read, floats), threads=CORES),
        floor.format("uint8 array"): Case(partial(_read, X), threads=CORES),
    }
    seconds = paired(cases, options.rounds)

    def held(name: str) -> int:
        return X.nbytes if "ours" in name or "uint8" in name else floats.nbytes

    def rate(name: str) -> str:
        return "" if "each of" in name else f"{held(name) / statistics.median(seconds[name]) / 1e9:.1f} GB/s"

    columns = {"pixels held": lambda name: size(held(name)), "pixels held / time": rate}
    note = "Random pictures. A step from raw pixels holds a quarter of the bytes."
    return comparison(seconds, threads_of(cases), note, columns)


def time_stream(options: argparse.Namespace) -> Table:
    """Time iterations over a prepared file larger than the memory bound, in a separate process."""
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.storage.prepared_set import PreparedSet, save_prepared

    X, Y = draw_pictures(4096, 12288)
    m = int(options.gigabytes * 1e9) // X.shape[1]
    prepared = PreparedSet(_Repeated(X, m), np.resize(Y, m), [""] * m, Preprocessing(64), ("other", "cat"), "folder")
    with TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as process:
        path = Path(folder) / "train.h5"
        start = time.perf_counter()
        save_prepared(path, prepared)
        written = time.perf_counter() - start
        times, before, peak = process.submit(_train_from_file, path, max(3, options.rounds)).result()
        cold, *_ = process.submit(_train_from_file, path, 3, cold=True).result()
    threads = {"reading the bytes": 1, "one iteration of optimize": CORES}
    nbytes = m * X.shape[1]
    rates = {"bytes / time": lambda name: f"{nbytes / statistics.median(times[name]) / 1e9:.1f} GB/s"}
    reading, iterating = (duration(statistics.median(values)) for values in cold.values())
    note = (
        f"{m:,} pictures of 12,288 values, {size(nbytes)}, written in {duration(written)}; memory bound 500 MB. The "
        f"process took {size(before)} before it opened the file and {size(peak)} at most. With the file "
        f"dropped from the page cache before each turn: reading {reading}, an iteration {iterating}, "
        f"{median_ratio(*cold.values()):.0%} of the speed of reading."
    )
    return comparison(times, threads, note, rates)


def time_stage(options: argparse.Namespace) -> Table:
    """Time the stage `train` as a process, compared with a process that only imports NumPy and h5py."""
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.settings.params import load_settings
    from one_neuron.storage.prepared_set import PreparedSet, save_prepared

    X, Y, origin = load_course()
    environment = {**os.environ, "PYTHONPATH": "src"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps what it compiled
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "src", folder / "src")
        (folder / "pipeline").mkdir()
        shutil.copy(ROOT / "pipeline" / "train.py", folder / "pipeline")
        params = asdict(load_settings(ROOT / "params.yaml"))
        params["train"] |= {"learning_rate": LEARNING_RATE, "num_iterations": NUM_ITERATIONS, "record_every": 100}
        (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")  # JSON is also YAML
        prepared = PreparedSet(X, Y, [""] * len(Y), Preprocessing(64), ("non-cat", "cat"), "catvnoncat")
        (folder / "data" / "prepared").mkdir(parents=True)
        save_prepared(folder / "data" / "prepared" / "train.h5", prepared)

        def start(*arguments: str) -> None:
            command = [sys.executable, *arguments]
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)

        cases = {
            "import numpy, h5py": Case(partial(start, "-c", "import numpy, h5py"), threads=CORES),
            "the stage: pipeline/train.py": Case(partial(start, "pipeline/train.py"), threads=CORES),
        }
        seconds = paired(cases, max(10, options.rounds))
    more = statistics.median(b - a for a, b in zip(*seconds.values(), strict=True))
    return comparison(seconds, threads_of(cases), f"{origin} The stage takes {duration(more)} more than the imports.")


def time_growth(options: argparse.Namespace) -> Table:
    """Time how a training of 2,000 iterations grows with pictures, values and configurations."""
    few, small, batches = (48, 192, 768, 3072, 12288, 49152), (50, 100, 200, 500, 1000, 2000, 4000), (1, 10, 100, 1000)
    panels = {
        "pictures (3,072 values each)": {m: draw_pictures(m, 3072) for m in (*small, GRAM_LIMIT, 8000, 16000, 32000)},
        "values of a picture (209 pictures)": {n_x: draw_pictures(209, n_x) for n_x in few},
        "configurations (209 pictures of 12,288)": dict.fromkeys(batches, draw_pictures(209, 12288)),
    }
    table = Table(
        ["what grows", "number", "form", "threads", "ours", "textbook NumPy, 1 thread", "speed, textbook = 1"]
    )
    curves: dict[str, Seconds] = {}
    rounds = min(3, options.rounds)
    for label, points in panels.items():
        cases = _growth_cases(points, configurations=label.startswith("configurations"))
        seconds = curves[label] = paired(cases, rounds)
        for number, (X, _) in points.items():
            ours, textbook = seconds[f"ours {number}"], seconds[f"textbook {number}"]
            medians = [duration(statistics.median(values)) for values in (ours, textbook)]
            form = choose_form(X)
            threads = _batch_blocks(number)[1] if label.startswith("config") else CORES if form == "blocks" else 1
            table.add(label, f"{number:,}", form, f"{threads}", *medians, factor(median_ratio(textbook, ours)))
    if options.write:
        draw_growth(curves)
    table.notes.append(
        f"Long trainings do fewer iterations, and their time is scaled up to 2,000. Medians of {rounds} rounds."
    )
    return table


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Table], str]] = {
    "train": (time_train, "2 minutes"),
    "sweep": (time_sweep, "1 minute"),
    "tall": (time_tall, "2 minutes, 4 GB of memory"),
    "stream": (time_stream, "half a minute, as many GB of disk as --gigabytes, at least 3 rounds"),
    "stage": (time_stage, "15 seconds, at least 10 rounds"),
    "growth": (time_growth, "2 minutes, at most 3 rounds"),
    "sweeps": (time_sweeps, "15 minutes, at most 3 rounds"),
    "serving": (time_serving, "a minute"),
    "large": (time_large, "a minute; 10 minutes and 40 GB of disk with --most 1000000, as on the page; one round"),
    "pictures": (time_pictures, "10 minutes and 2 GB of disk with the --pictures of the page, at most 3 rounds"),
}


def load_course() -> tuple[Pixels, Labels, str]:
    """Return the course's pictures, or random ones of the same shape, and a sentence that says which."""
    path = Path(os.environ.get(COURSE_FOLDER, "")) / "train_catvnoncat.h5"
    if not path.is_file():
        X, Y = draw_pictures(209, 12288)
        return X, Y, f"Random pictures ({COURSE_FOLDER} does not name the folder of the course's)."
    import h5py

    with h5py.File(path) as file:
        X, Y = file["train_set_x"][:], file["train_set_y"][:]
    return X.reshape(len(X), -1), Y.astype(np.uint8), "The course's pictures."


def draw_pictures(m: int, n_x: int) -> tuple[Pixels, Labels]:
    """Return the same random pictures every time: 20 patterns mixed, with noise; the label follows the first."""
    random = np.random.default_rng(1)
    patterns = 12 * random.standard_normal((20, n_x), np.float32)
    amounts = random.standard_normal((m, 20), np.float32)
    X = np.empty((m, n_x), np.uint8)
    for start in range(0, m, 4096):
        part = X[start : start + 4096]
        noise = random.integers(0, 64, part.shape, np.uint8)
        part[:] = np.clip(amounts[start : start + 4096] @ patterns + 96 + noise, 0, 255)
    return X, (amounts[:, 0] + 0.5 * random.standard_normal(m) > 0).astype(np.uint8)


def draw_growth(curves: dict[str, Seconds]) -> None:
    """Draw one panel per quantity that grows, with straight lines for linear and quadratic growth."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(12, 4.2), dpi=100, layout="constrained")
        for axes, (label, seconds) in zip(figure.subplots(1, 3, sharey=True), curves.items(), strict=True):
            for name, color in (("textbook", "0.5"), ("ours", "tab:blue")):
                points = {
                    int(key.split()[1]): statistics.median(values) for key, values in seconds.items() if name in key
                }
                axes.loglog(points.keys(), points.values(), marker="o", markersize=4, color=color, label=_LABELS[name])
            x = np.array(list(points))
            for slope, dashes, name in ((1, ":", "growth in proportion"), (2, "--", "growth with the square")):
                line = points[x[0]] * (x / x[0]) ** slope
                axes.plot(x, line, color="0.7", linestyle=dashes, linewidth=0.8, label=name)
            axes.set(xlabel=label, ylim=(1e-2, 1e4))
            axes.grid(alpha=0.3)
            axes.tick_params(labelleft=True)
        figure.axes[0].set_ylabel("seconds for 2,000 iterations")
        lines, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside upper center", ncols=4)
        figure.savefig(GROWTH_PICTURE, metadata={"Software": None})


class _Repeated:
    """A large set that needs no memory: the rows of a small one, repeated."""

    dtype = np.dtype(np.uint8)

    def __init__(self, X: Pixels, m: int) -> None:
        self._X = X
        self.shape = (m, X.shape[1])

    def __getitem__(self, rows: slice) -> Pixels:
        return self._X.take(np.arange(rows.start, rows.stop), axis=0, mode="wrap")


class _EnoughError(Exception):
    """Ends a training of which only the first iterations are timed."""


def _train(X: Pixels, Y: Labels, *, record_every: int) -> float:
    """Train in our exact form; return the last cost."""
    result = optimize(X, Y, learning_rate=LEARNING_RATE, num_iterations=NUM_ITERATIONS, record_every=record_every)
    return float(result.costs[-1])


def _train_one_of_many(X: Pixels, Y: Labels) -> float:
    """Train one configuration with `optimize_many`; return the last cost."""
    result = optimize_many(X, Y, learning_rates=[LEARNING_RATE], num_iterations=NUM_ITERATIONS)
    return float(result.train_costs[-1, 0])


def _textbook_case(X: Pixels, Y: Labels, num_iterations: int, *, scale: float = 1.0, threads: int = 1) -> Case:
    """Return the case of the course's training, with floats converted beforehand."""
    run = partial(peers.textbook, X.T / 255, Y[np.newaxis], LEARNING_RATE, num_iterations)
    return Case(run, scale=scale, threads=threads)


def _torch_cases(run: Callable[[], Any]) -> dict[str, Case]:
    """Return the cases of PyTorch if it is installed."""
    if load_torch() is None:
        return {}
    return {
        "PyTorch float32": Case(run),
        "PyTorch float32, all cores": Case(run, threads=CORES),
    }


def _sklearn_cases(X: NDArray[np.float64], Y: Labels, target: float) -> dict[str, Case]:
    """Return the cases of scikit-learn."""
    return {
        "scikit-learn lbfgs to the same cost, another model": Case(peers.lbfgs(X, Y, target)),
        "scikit-learn SGDClassifier to the same cost, another model": Case(peers.sgd(X, Y, target)),
    }


def _batch_blocks(c: int) -> tuple[int, int]:
    """Return the number of blocks and of threads that optimize_many uses for c configurations."""
    blocks = len(split_columns(c))
    return blocks, min(CORES, blocks)


def _multiply_only(m: int, c: int) -> float:
    """Return the seconds of the products alone in an iteration, for each of c configurations."""
    Q = np.random.default_rng(1).standard_normal((m, m))
    return _seconds_of_blocks(m, c, lambda block, out: np.matmul(block, Q, out=out))


def _exp_only(m: int, c: int) -> float:
    """Return the seconds of the exponentials alone in an iteration, for each of c configurations."""
    return _seconds_of_blocks(m, c, lambda block, out: np.exp(block, out=out))


def _seconds_of_blocks(m: int, c: int, work: Callable[[NDArray[Any], NDArray[Any]], Any]) -> float:
    """Time work on blocks shaped as in optimize_many; each thread repeats it on its own block."""
    blocks, threads = _batch_blocks(c)
    rows, repeats = -(-c // blocks), max(100, 20_000 // c)

    def repeat(number: int) -> None:
        block = np.random.default_rng(number).standard_normal((rows, m))
        out = np.empty_like(block)
        for _ in range(repeats * blocks // threads):
            work(block, out)

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(repeat, range(threads)))
    return (time.perf_counter() - start) / (repeats * c)


def _seconds_of_iteration(X: Any, Y: Labels, iterations: int) -> float:
    """Return the seconds of one iteration of optimize, the first pass left out."""
    times: list[float] = []

    def stamp(*_: object) -> None:
        times.append(time.perf_counter())
        if len(times) > iterations:
            raise _EnoughError

    with suppress(_EnoughError):
        optimize(X, Y, learning_rate=LEARNING_RATE, num_iterations=NEVER, record_every=NEVER, on_progress=stamp)
    return (times[-1] - times[0]) / iterations


def _seconds_of_update(X: Any, Y: Labels, c: int) -> float:
    """Return the seconds of one iteration of optimize_many for each of c configurations, the first pass left out."""
    times: list[tuple[float, int]] = []
    optimize_many(
        *(X, Y),
        learning_rates=np.geomspace(1e-5, 1e-2, c),
        num_iterations=4,
        record_every=NEVER,
        on_progress=lambda done, _: times.append((time.perf_counter(), done)),
    )
    (start, first), *_, (end, last) = times
    return (end - start) / (last - first)


def _seconds_of_training(X: Pixels, Y: Labels) -> float:
    """Return the seconds of 2,000 iterations; a long training does fewer, and its time is scaled up."""
    done, times = int(np.clip(1e9 / len(X) ** 2, 20, NUM_ITERATIONS)), []
    start = time.perf_counter()
    optimize(
        *(X, Y),
        learning_rate=LEARNING_RATE,
        num_iterations=done,
        on_progress=lambda *_: times.append(time.perf_counter()),
    )
    taken, each = time.perf_counter() - start, (times[-1] - times[0]) / (len(times) - 1)
    return taken + (NUM_ITERATIONS - done) * each


def _growth_cases(points: dict[int, tuple[Pixels, Labels]], *, configurations: bool) -> dict[str, Case]:
    """Return two cases for each point of a panel: ours and the textbook."""
    cases, done = {}, 10
    for number, (X, Y) in points.items():
        many = partial(optimize_many, X, Y, num_iterations=NUM_ITERATIONS)
        if configurations:
            cases[f"ours {number}"] = Case(partial(many, learning_rates=np.geomspace(1e-5, 1e-2, number)))
        else:
            cases[f"ours {number}"] = Case(partial(_seconds_of_training, X, Y), own_clock=True)
        scale = NUM_ITERATIONS / done * (number if configurations else 1)
        cases[f"textbook {number}"] = _textbook_case(X, Y, done, scale=scale)
    return cases


@cache
def _compile_adding() -> Any:
    """Return a loop that reads 64-bit words at the speed of the memory."""
    from numba import njit

    @njit(nogil=True)
    def add_up(words: NDArray[np.uint64]) -> int:
        total = np.uint64(0)
        for i in range(words.size):
            total += words[i]
        return int(total)

    return add_up


def _read(array: NDArray[Any]) -> None:
    """Read an array once, on all cores."""
    words = array.reshape(-1).view(np.uint64)
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(_compile_adding(), np.array_split(words, CORES)))


def _train_from_file(path: Path, iterations: int, *, cold: bool = False) -> tuple[Seconds, int, int]:
    """Train on a file, and read it with `os.preadv` between two iterations; if cold, drop it from the page cache first.

    Returns the seconds of both, and the most memory this process took before and after.
    """
    from one_neuron.storage.pixel_file import MEMORY_VARIABLE, PixelFile
    from one_neuron.storage.prepared_set import load_prepared

    before, resumed = peak_memory(), 0.0
    os.environ[MEMORY_VARIABLE] = "500"
    prepared = load_prepared(path)
    if not isinstance(prepared.X, PixelFile):
        raise SystemExit("the file fits into the memory bound; ask for more --gigabytes")
    times: Seconds = {"reading the bytes": [], "one iteration of optimize": []}

    def read_in_between(iteration: int, _: float) -> None:
        nonlocal resumed
        start = time.perf_counter()
        if iteration > 0:
            times["one iteration of optimize"].append(start - resumed)
        if iteration == iterations:
            raise _EnoughError
        times["reading the bytes"].append(_read_bytes(path, cold=cold))
        if cold:
            _forget(path)
        resumed = time.perf_counter()

    with suppress(_EnoughError):
        optimize(
            *(prepared.X, prepared.Y),
            learning_rate=LEARNING_RATE,
            num_iterations=NEVER,
            record_every=NEVER,
            on_progress=read_in_between,
        )
    return times, before, peak_memory()


def _forget(path: Path) -> None:
    """Drop a file from the page cache."""
    if not hasattr(os, "posix_fadvise"):
        raise SystemExit("the section `stream` needs Linux: this system does not drop one file from its page cache")
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _read_bytes(path: Path, *, cold: bool) -> float:
    """Return the seconds of reading a file once, into one buffer of 4 MB."""
    if cold:
        _forget(path)
    buffer, position, start = bytearray(4 * 2**20), 0, time.perf_counter()
    with path.open("rb", buffering=0) as stream:
        while count := os.preadv(stream.fileno(), [buffer], position):
            position += count
    return time.perf_counter() - start


def main() -> None:
    """Run the requested sections."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="sections:\n" + "\n".join(f"  {name:9}{about}" for name, (_, about) in SECTIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="which to run; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case takes its turn (5)")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the file of section stream (1)")
    parser.add_argument("--pictures", type=int, default=20_000, help="files of section pictures (20,000)")
    parser.add_argument(
        "--most", type=int, default=30_000, help="pictures of the largest set of section large (30,000)"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if unknown := set(options.sections) - SECTIONS.keys():
        parser.error(f"unknown section {min(unknown)!r}; there are {', '.join(SECTIONS)}")
    if load_torch() is None:
        print("PyTorch is left out; it takes part after: pip install torch==2.13.0")
    for name in options.sections or SECTIONS:
        run, about = SECTIONS[name]
        print(f"\n{name}: {run.__doc__} (About {about}.)", flush=True)
        table = run(options)
        table.notes.append(describe_machine())
        print(table, flush=True)
        if options.write:
            write_section(PAGE, name, table.as_markdown())


if __name__ == "__main__":
    main()
