"""Fair timing of cases side by side, and tables of the results."""

import gc
import importlib
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_PAUSE = 0.05  # seconds in which threads of the case before stop spinning


@dataclass
class Case:
    """One thing to time.

    Parameters
    ----------
    run : callable
        What is timed.
    threads : int
        How many threads BLAS, OpenMP and PyTorch may use.
    scale : float
        What a time is multiplied by: above 1 where `run` does a part of the work only, below 1 for a time per step.
    own_clock : bool
        `run` returns the seconds itself.
    result : Any
        What the last run returned.
    """

    run: Callable[[], Any]
    threads: int = 1
    scale: float = 1.0
    own_clock: bool = False
    result: Any = None


Seconds = dict[str, list[float]]


def paired(cases: dict[str, Case], rounds: int) -> Seconds:
    """Return the scaled seconds of each case in each round: A B C A B C ..., after one warm-up round.

    A slow phase of the machine affects all cases of a round alike, so the ratios within a round stay the same.
    """
    seconds: Seconds = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, case in cases.items():
            taken = _measure(case)
            if number > 0:
                seconds[name].append(taken)
    return seconds


def threads_of(cases: Mapping[str, Case]) -> dict[str, int]:
    """Return how many threads each case takes."""
    return {name: case.threads for name, case in cases.items()}


def median_ratio(reference: Sequence[float], seconds: Sequence[float]) -> float:
    """Return how many times faster than the reference a case is: the median of the ratios within one round each."""
    return statistics.median(a / b for a, b in zip(reference, seconds, strict=True))


@contextmanager
def limit_threads(number: int) -> Iterator[None]:
    """Limit BLAS, OpenMP and PyTorch to `number` threads."""
    with threadpool_limits(limits=number):
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(number)
        yield


def load_torch() -> Any:
    """Return PyTorch, or None if it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


@dataclass
class Table:
    """The results of a section."""

    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(list(cells))

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [self.columns, *self.rows]
        ]
        return "\n".join([*self.notes, *lines])

    def as_markdown(self) -> str:
        """Return the notes as a paragraph, and the table."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, rule, *self.rows]]
        return "\n".join([*self.notes, "", *lines])


def comparison(
    seconds: Seconds, threads: Mapping[str, int], note: str, extra: Mapping[str, Callable[[str], str]] | None = None
) -> Table:
    """Return a table of times, and of speeds relative to the first case.

    Parameters
    ----------
    seconds : dict
        From `paired`.
    threads : mapping
        How many each case takes.
    note : str
        What stands above the table.
    extra : mapping, optional
        More columns: what gives a cell from the name of a case.
    """
    extra = extra or {}
    reference = next(iter(seconds.values()))
    table = Table(["case", "threads", "median", "min to max", "speed", "min to max", *extra])
    table.notes.append(f"{note} Medians of {len(reference)} rounds.")
    for name, values in seconds.items():
        ratios = [a / b for a, b in zip(reference, values, strict=True)]
        spreads = [f"{show(min(some))} to {show(max(some))}" for show, some in ((duration, values), (factor, ratios))]
        medians = duration(statistics.median(values)), factor(statistics.median(ratios))
        more = [cell(name) for cell in extra.values()]
        table.add(name, str(threads[name]), medians[0], spreads[0], medians[1], spreads[1], *more)
    return table


def duration(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_three_digits(seconds / size)} {unit}"
    return f"{_three_digits(seconds / 1e-6)} µs"


def factor(ratio: float) -> str:
    """Return a ratio with two or three digits."""
    return _three_digits(ratio) if ratio >= 10 else f"{ratio:.2g}"


def size(count: float) -> str:
    """Return a number of bytes."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def peak_memory() -> int:
    """Return the largest amount of memory that this process has had in use, in bytes.

    On Linux, getrusage would count the process that started this one as well.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def describe_machine() -> str:
    """Return CPU, cores, versions, and how many threads the libraries use of those requested."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("numpy", "numba", "scikit-learn", "torch"):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    blas = {f"{pool['internal_api']} {pool['version']} ({pool.get('architecture')})" for pool in _pools("blas")}
    asked = "; ".join(f"{number} requested: {_found_threads(number)}" for number in sorted({1, CORES}))
    return f"{_name_of_cpu()}, {CORES} cores. {', '.join(versions)}; {', '.join(sorted(blas))}. Threads, {asked}."


def write_section(path: Path, name: str, text: str) -> None:
    """Put the text between the comments `<!-- name -->` and `<!-- end of name -->` of a Markdown file."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"'{path}' has no '{begin}' with '{end}' behind it")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _measure(case: Case) -> float:
    """Run a case once; return its scaled seconds."""
    with limit_threads(case.threads):
        time.sleep(_PAUSE)
        gc.collect()
        gc.disable()
        try:
            start = time.perf_counter()
            case.result = case.run()
            taken = time.perf_counter() - start
        finally:
            gc.enable()
    return float(case.result if case.own_clock else taken) * case.scale


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _pools(kind: str) -> list[dict[str, Any]]:
    return [pool for pool in threadpool_info() if pool["user_api"] == kind]


def _found_threads(number: int) -> str:
    """Return the number of threads that each library really uses, as text."""
    with limit_threads(number):
        found = {kind: {pool["num_threads"] for pool in _pools(kind)} for kind in ("blas", "openmp")}
        counts = {kind: "/".join(map(str, sorted(numbers))) for kind, numbers in found.items() if numbers}
        if torch := sys.modules.get("torch"):
            counts["torch"] = str(torch.get_num_threads())
    return ", ".join(f"{kind} {count}" for kind, count in counts.items())


def _name_of_cpu() -> str:
    """Return the name of the CPU."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
