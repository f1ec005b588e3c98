"""Time whole sweeps from the command line to the last MLflow run, and a plain script under Hydra's basic sweeper."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from report import CORES, Table, duration, factor, median_ratio

from one_neuron.settings.params import load_settings
from one_neuron.sources.catvnoncat import FOLDER_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "performance-sweeps.png"
MOST_ROUNDS = 3
NUMBERS = (100, 250, 500, 1000)  # configurations: a tenth as many learning rates
COMPARED = (250, 1000)  # does a configuration cost the same among few and among many?
FOLDS = (0, 5)
ITERATIONS = range(200, 2001, 200)
# The same 20 both ways. Each five have 200, 650 ... 2,000 iterations, on average as many as those of the large grids.
TWENTY = ("train.learning_rate=0.0001,0.0005,0.002,0.01", "train.num_iterations=range(200,2001,450)")
PARTS = ("start", "looking up", "training", "recording", "starting jobs", "models kept", "summary")
OURS, AGAIN, PLAIN = "ours", "ours, the same again", "plain script, Hydra's basic sweeper"

# What one writes without this project. It gets its pictures as floats, and stops after five, ten or fifteen jobs when
# another five would take it past a minute.
_PLAIN_SCRIPT = """
import sys
import time
from pathlib import Path

import hydra
import mlflow
import numpy as np
from hydra.core.hydra_config import HydraConfig
from peers import textbook

from one_neuron.storage.prepared_set import load_prepared

TRAIN = load_prepared(Path("data/prepared/train.h5"))
X, Y = np.asarray(TRAIN.X).T / 255, TRAIN.Y[np.newaxis]
BEGAN = []


@hydra.main(version_base="1.3", config_path=".", config_name="plain")
def train(config):
    now, number = time.monotonic(), HydraConfig.get().job.num
    BEGAN.append(now)
    if number and number % 5 == 0 and (now - BEGAN[0]) / number * (number + 5) > 60:
        sys.exit()
    with mlflow.start_run():
        mlflow.log_params(dict(config.train))
        cost = textbook(X, Y, config.train.learning_rate, config.train.num_iterations)
        for point in range(20):  # which values does not matter to the clock
            mlflow.log_metric("cost", cost, step=point)
    print(f"\\njobs {number + 1} took {time.monotonic() - BEGAN[0]}", flush=True)


if __name__ == "__main__":
    mlflow.set_experiment("plain")
    train()
"""
_PLAIN_CONFIG = "train: {learning_rate: 0.005, num_iterations: 2000}\n"


@dataclass(frozen=True, order=True)
class Kind:
    """What is timed.

    Parameters
    ----------
    name : str
    folds : int
    number : int
        Of configurations.
    """

    name: str
    folds: int
    number: int


@dataclass(frozen=True)
class Timing:
    """How long a command took.

    Parameters
    ----------
    number : int
        Configurations that were done.
    whole : float
        Seconds from outside, from the start of the process to its end.
    parts : mapping of str to float
        Seconds as the command itself saw them.
    """

    number: int
    whole: float
    parts: Mapping[str, float]

    @property
    def each(self) -> float:
        """Seconds per configuration, beyond the start that all share."""
        return (sum(self.parts.values()) - self.parts["start"]) / self.number

    @property
    def outside(self) -> float:
        """Seconds before the command's own clock starts and after it stops."""
        return self.whole - sum(self.parts.values())


Timings = dict[Kind, list[Timing]]


class Copy:
    """A copy of the project with prepared pictures.

    Parameters
    ----------
    folder : Path
        Where to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        course = os.environ.get(FOLDER_VARIABLE, "")
        variables = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        sources = os.pathsep.join([str(folder / "src"), str(folder / "benchmarks")])
        self._environment = os.environ | variables | {"PATH": path, "PYTHONPATH": sources}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps what it compiled
        self.is_course = Path(course, "train_catvnoncat.h5").is_file() if course else False
        if self.is_course:
            self._environment[FOLDER_VARIABLE] = str(Path(course).absolute())
        self._fill()

    def _fill(self) -> None:
        """Copy the files that git tracks or does not ignore, and prepare the pictures with DVC."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, self.folder / name)
        if self.is_course:
            params = asdict(load_settings(ROOT / "params.yaml"))
            params["data"]["source"] = "catvnoncat"
            (self.folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")  # JSON is also YAML
        (self.folder / "plain.py").write_text(_PLAIN_SCRIPT, encoding="utf-8")
        (self.folder / "plain.yaml").write_text(_PLAIN_CONFIG, encoding="utf-8")
        self._run("git", "init", "--quiet")
        self._run("git", "add", "--all")
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        self._run("git", *who, "commit", "--quiet", "--no-gpg-sign", "--message", "copy")
        self._run(sys.executable, "-m", "dvc", "repro", "--quiet", "prepare")

    def _run(self, *command: str, **variables: str) -> str:
        """Run a command there; return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment | variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{command} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def fresh_store(self) -> Iterator[str]:
        """Yield the address of an MLflow store that does not exist yet."""
        with TemporaryDirectory(dir=self.folder.parent, prefix="store-") as name:
            yield f"sqlite:///{Path(name, 'mlflow.db')}"

    def sweep(self, store: str, kind: Kind) -> Timing:
        """Run a sweep."""
        rates = f"geomspace(0.0001,0.01,{kind.number // len(ITERATIONS)})"
        iterations = f"range({ITERATIONS.start},{ITERATIONS.stop},{ITERATIONS.step})"
        large = (f"train.learning_rate={rates}", f"train.num_iterations={iterations}")
        overrides = [*(TWENTY if kind.number == 20 else large), f"sweep.folds={kind.folds}"]
        start = time.perf_counter()
        printed = self._run(sys.executable, "pipeline/sweep.py", "-m", *overrides, MLFLOW_TRACKING_URI=store)
        whole = time.perf_counter() - start
        reused = kind.number if kind.name == AGAIN else 0
        if not re.search(rf"^{kind.number:,} configurations, .*; {reused:,} are there already", printed, re.MULTILINE):
            raise SystemExit(f"the sweep did not begin with {kind.number:,} configurations and {reused:,} of them done")
        return Timing(kind.number, whole, read_parts(printed))

    def plain_sweep(self, store: str) -> Timing:
        """Run the plain script for as many of the 20 configurations as take a minute."""
        start = time.perf_counter()
        printed = self._run(sys.executable, "plain.py", "-m", *TWENTY, MLFLOW_TRACKING_URI=store)
        whole = time.perf_counter() - start
        number, jobs = re.findall(r"^jobs (\d+) took (\S+)$", printed, re.MULTILINE)[-1]
        return Timing(int(number), whole, {"start": whole - float(jobs), "jobs": float(jobs)})


def time_sweeps(options: argparse.Namespace) -> Table:
    """Time whole sweeps with their MLflow runs, and a plain script under Hydra's basic sweeper."""
    rounds = min(MOST_ROUNDS, options.rounds)
    with TemporaryDirectory(prefix="one-neuron-") as name:
        copy = Copy(Path(name, "project"))
        timings = _take_turns(copy, rounds)
    curves = {folds: _find_curve(timings, folds) for folds in FOLDS}
    if options.write:
        draw_sweeps(curves)
    columns = ["case", "configurations", "folds", "whole command", "min to max", "each", "each beyond the start"]
    table = Table([*columns, *PARTS, "Python's start and end"])
    for kind, values in timings.items():
        _add_row(table, kind, values)
    which = "The course's pictures." if copy.is_course else "The project's own pictures."
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("dvc", "hydra-core", "mlflow"))
    how = f"Each command is a separate process that may use all {CORES} cores. Medians of {rounds} rounds."
    table.notes += [f"{which} {how} {versions}.", _describe_growth(timings, curves), _describe_plain(timings)]
    return table


def read_parts(printed: str) -> dict[str, float]:
    """Read the seconds of each part from the last line of a sweep: "took 4.2 s: start 2.8, looking up 0.1, ..."."""
    *_, last = printed.strip().splitlines()
    match = re.fullmatch(r"took [\d.]+ s: (.+)", last)
    found = dict(re.findall(r"([a-z ]+) (-?[\d.]+)(?:, |$)", match[1])) if match else {}
    if found.keys() != set(PARTS):
        raise SystemExit(f"the last line of a sweep is {last!r}; expected seconds of {', '.join(PARTS)}")
    return {name: float(found[name]) for name in PARTS}


def draw_sweeps(curves: Mapping[int, Mapping[int, float]]) -> None:
    """Draw the seconds of whole sweeps over the number of configurations, with straight lines through them."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(7, 4.2), dpi=100, layout="constrained")
        axes = figure.subplots()
        for (folds, curve), color in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
            each, start = _fit_line(curve)
            x = np.array([0, max(curve)])
            label = f"{folds} folds" if folds else "nothing held out"
            axes.plot(list(curve), list(curve.values()), "o", color=color, label=label)
            axes.plot(x, start + each * x, color=color, linewidth=0.8, label=_describe_line(each, start))
        axes.set(xlabel="configurations", ylabel="seconds of the whole command")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(PICTURE, metadata={"Software": None})


def _take_turns(copy: Copy, rounds: int) -> Timings:
    """Time all kinds in turn in each round, so that a slow phase of the machine affects all alike."""
    timings: Timings = {kind: [] for kind in _list_kinds()}
    twenty, plain = Kind(OURS, 0, 20), Kind(PLAIN, 0, 20)
    with copy.fresh_store() as store:
        copy.sweep(store, twenty)  # compiles what is imported
    for _ in range(rounds):
        for kind in (twenty, *(Kind(OURS, folds, number) for folds in FOLDS for number in NUMBERS)):
            again = Kind(AGAIN, kind.folds, kind.number)
            with copy.fresh_store() as store:
                timings[kind].append(copy.sweep(store, kind))
                if again in timings:
                    timings[again].append(copy.sweep(store, again))
        with copy.fresh_store() as store:
            timings[plain].append(copy.plain_sweep(store))
    return timings


def _list_kinds() -> list[Kind]:
    """Return what is timed, in the order of the table."""
    first = [Kind(PLAIN, 0, 20), Kind(OURS, 0, 20)]
    kinds = [[*(Kind(OURS, folds, number) for number in NUMBERS), Kind(AGAIN, folds, NUMBERS[-1])] for folds in FOLDS]
    return [*first, *(kind for some in kinds for kind in some)]


def _add_row(table: Table, kind: Kind, values: Sequence[Timing]) -> None:
    """Add the medians of a kind to the table."""
    whole = [timing.whole for timing in values]
    number = " / ".join(f"{n:,}" for n in sorted({timing.number for timing in values}))
    whole_each = duration(statistics.median(timing.whole / timing.number for timing in values))
    each = duration(statistics.median(timing.each for timing in values))
    medians = [
        f"{statistics.median(timing.parts[part] for timing in values):.1f} s" if part in values[0].parts else ""
        for part in PARTS
    ]
    outside = "" if kind.name == PLAIN else f"{statistics.median(timing.outside for timing in values):.1f} s"
    spread = f"{duration(min(whole))} to {duration(max(whole))}"
    seconds = duration(statistics.median(whole)), spread, whole_each, each
    table.add(kind.name, number, str(kind.folds), *seconds, *medians, outside)


def _find_curve(timings: Timings, folds: int) -> dict[int, float]:
    """Return the median seconds of whole sweeps by their number of configurations."""
    return {n: statistics.median(timing.whole for timing in timings[Kind(OURS, folds, n)]) for n in NUMBERS}


def _fit_line(curve: Mapping[int, float]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line."""
    slope, intercept = np.polyfit(list(curve), list(curve.values()), 1)
    return float(slope), float(intercept)


def _describe_line(each: float, start: float) -> str:
    return f"{start:.1f} s + {duration(each)} for each"


def _describe_growth(timings: Timings, curves: Mapping[int, Mapping[int, float]]) -> str:
    """Return the sentence on how time grows with the number of configurations."""
    few, many = COMPARED
    said = []
    for folds, curve in curves.items():
        seconds = [[timing.each for timing in timings[Kind(OURS, folds, number)]] for number in (many, few)]
        line = _describe_line(*_fit_line(curve))
        said.append(f"folds {folds}: {line}, {factor(median_ratio(*seconds))} times as long")
    return (
        f"The straight line through the times of whole commands, and how long a configuration takes beyond the start "
        f"among {many:,}, compared with one among {few:,}: {'; '.join(said)}."
    )


def _describe_plain(timings: Timings) -> str:
    """Return the sentence on how long the plain script would take for the largest sweep."""
    many = NUMBERS[-1]
    ours, plain = timings[Kind(OURS, 0, many)], timings[Kind(PLAIN, 0, 20)]
    long = [timing.parts["start"] + many * timing.each for timing in plain]
    faster = median_ratio(long, [timing.whole for timing in ours])
    few = median_ratio([timing.each for timing in plain], [timing.each for timing in timings[Kind(OURS, 0, 20)]])
    measured = " / ".join(str(number) for number in sorted({timing.number for timing in plain}))
    return (
        f"For {many:,} configurations the plain script would take {duration(statistics.median(long))}, extrapolated "
        f"from {measured}: {factor(faster)} times as long as ours without folds. Beyond the start, one of its "
        f"configurations takes {factor(few)} times as long as one of our 20."
    )
