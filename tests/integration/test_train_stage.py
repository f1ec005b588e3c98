"""The stage `train` as a process: kills, files larger than memory, trainings that diverge."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.model import load_model
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.storage.snapshots import load_snapshots
from one_neuron.system.outputs import read_costs
from tests.values import DATA, HDF5

pytestmark = pytest.mark.integration

MANY = 6001  # one more than the limit of the gram form
OUTPUTS = ("models/model.h5", "plots/costs.csv", "metrics/train.json", "models/snapshots.h5")
# The stage, but every state is stored and an iteration takes longer, so that kills hit all moments.
SLOWLY = """
import runpy, sys, time
from one_neuron.gradient_descent import passes
from one_neuron.storage import checkpoint
checkpoint.EVERY_SECONDS = 0.0
run = passes.LocalPasses.run
passes.LocalPasses.run = lambda *arguments, **wanted: (time.sleep(0.02), run(*arguments, **wanted))[1]
runpy.run_path("pipeline/train.py", run_name="__main__")
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return a function that starts the stage in a new folder with some parameters."""
    for part in ("src", "pipeline"):
        shutil.copytree(repository / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "ONE_NEURON_MEMORY_MB"):
        monkeypatch.delenv(name, raising=False)

    def begin(*command: str, memory: str | None = None, **changes: object) -> "subprocess.Popen[str]":
        train = {"learning_rate": 0.01, "num_iterations": 40, "record_every": 7, "tolerance": 0, "threshold": 0.5}
        sections = {
            "draw": {"seed": 1, "num_train": 2, "num_test": 2},
            "data": DATA,
            "hdf5": HDF5,
            "train": {**train, **changes},
            "evaluate": {"num_mistakes": 1},
        }
        Path("params.yaml").write_text(json.dumps(sections), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": "src"} | ({"ONE_NEURON_MEMORY_MB": memory} if memory else {})
        return subprocess.Popen(
            [sys.executable, *(command or ("pipeline/train.py",))],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def outputs() -> list[bytes]:
    """Return the contents of the outputs."""
    return [Path(name).read_bytes() for name in OUTPUTS]


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for the stage to succeed; return what it printed."""
    printed = process.communicate(timeout=120)
    assert process.returncode == 0, printed[1]
    return printed


def checkpoint() -> list[Path]:
    """Return the stored states."""
    return sorted(Path(".one-neuron/checkpoints").glob("*"))


def saved() -> list[int]:
    """Return when each stored state was complete; it replaces the one before it."""
    states = [path for path in checkpoint() if path.suffix == ".npz" and not path.name.startswith(".")]
    return [path.stat().st_mtime_ns for path in states]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_training_goes_on_with_the_same_bits(
    sent: signal.Signals, start: Start, make_prepared: Callable[..., PreparedSet]
) -> None:
    """The stage is killed at random moments; the last start finishes, and no state is left."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(MANY))
    finish(start())
    expected = outputs()
    for name in OUTPUTS:
        Path(name).unlink()

    rng, resumed = np.random.default_rng(int(sent)), 0
    for _ in range(3):
        process = start("-c", SLOWLY)
        before = saved()
        deadline = time.monotonic() + 60
        while saved() == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(sent)
        resumed += "resuming after iteration" in process.communicate(timeout=60)[1]
    printed, said = finish(start())
    assert outputs() == expected
    assert resumed + ("resuming after iteration" in said) >= 1
    assert "blocks form, m = 6,001" in printed
    assert [path for path in checkpoint() if path.suffix == ".npz" and not path.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not hold processes to such limits")
@pytest.mark.parametrize("kilobytes", [*range(300_000, 600_000, 20_000), 800_000])
def test_many_pictures_under_a_limit_of_memory(
    kilobytes: int, start: Start, make_prepared: Callable[..., PreparedSet]
) -> None:
    """Libraries that compile abort or wait for ever where memory is short: training is done, or refused on one line."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(MANY))
    program = "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (1024 * {0}, 1024 * {0})); "
    program += "runpy.run_path('pipeline/train.py', run_name='__main__')"
    process = start("-c", program.format(kilobytes))
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said.count("\n")) in {(0, 0), (4, 1)}, said
    assert process.returncode == 4 or kilobytes > 450_000
    assert process.returncode == 0 or kilobytes < 800_000


@pytest.mark.slow
def test_a_file_larger_than_memory_gives_the_same_bits(start: Start) -> None:
    """69 MB of pixels under a limit of 64 MB."""
    rng, m = np.random.default_rng(0), 7000
    X = rng.integers(0, 256, (m, 57 * 57 * 3), np.uint8)
    names = tuple(f"{i}.png" for i in range(m))
    Y = rng.integers(0, 2, m, np.uint8)
    prepared = PreparedSet(X=X, Y=Y, names=names, preprocessing=Preprocessing(57), classes=("a", "b"), source="folder")
    save_prepared(Path("data/prepared/train.h5"), prepared)
    finish(start(num_iterations=3, memory="1000"))
    expected = outputs()
    finish(start(num_iterations=3, memory="64"))
    assert outputs() == expected


def test_a_training_that_goes_wrong_is_loud_and_a_result(
    start: Start, make_prepared: Callable[..., PreparedSet]
) -> None:
    """A line on stderr names the remedy; the outputs are written, and the metrics record it."""
    alike = np.full((9, 12), 255, np.uint8)  # not separable, so a large step overshoots for ever
    save_prepared(Path("data/prepared/train.h5"), make_prepared(9, X=alike))
    _, said = finish(start(learning_rate=900))
    metrics = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))
    assert metrics["diverged"] is True
    assert "TRAINING DIVERGED" in said
    assert f"lower train.learning_rate (900.0); up to {metrics['stability_bound']} the cost is sure to fall" in said


def test_stopping_early(start: Start, make_prepared: Callable[..., PreparedSet]) -> None:
    """With a tolerance, the costs end with training, and the model is that of the same number of iterations."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(9))
    _, said = finish(start(num_iterations=100_000, record_every=10, tolerance=1e-3, learning_rate=0.1))
    metrics = json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))
    done, stopped = metrics["iterations"], load_model(Path(OUTPUTS[0]))
    assert 10 < done < 100_000
    assert said == ""
    finish(start(num_iterations=done, record_every=10, learning_rate=0.1))
    assert load_model(Path(OUTPUTS[0])).parameters.w.tobytes() == stopped.parameters.w.tobytes()
    costs = [float(line.split(",")[1]) for line in Path(OUTPUTS[1]).read_text(encoding="utf-8").splitlines()[1:]]
    assert abs(costs[-1] - costs[-2]) < 1e-3 <= abs(costs[-2] - costs[-3])


@pytest.mark.parametrize("changes", [{"record_every": 1, "num_iterations": 3000}, {"tolerance": 0.05}])
def test_the_curves_end_with_the_metrics(
    changes: dict[str, object], start: Start, make_prepared: Callable[..., PreparedSet]
) -> None:
    """The last snapshot is the model, and the last row has exactly the numbers of the metrics."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(30, 4))
    save_prepared(Path("data/prepared/test.h5"), make_prepared(20, 4, seed=1))
    finish(start(**changes))
    finish(start("pipeline/evaluate.py", **changes))
    model = load_model(Path("models/model.h5"))
    snapshots = load_snapshots(Path("models/snapshots.h5"), model)
    first, *_, last = snapshots.values()
    assert not first.w.any()
    assert first.b == 0.0
    assert last.w.tobytes() == model.parameters.w.tobytes()
    assert last.b == model.parameters.b

    with Path("plots/curves.csv").open(encoding="utf-8") as stream:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
    assert [row["iteration"] for row in rows] == list(snapshots)
    metrics = json.loads(Path("metrics/evaluate.json").read_text(encoding="utf-8"))
    assert rows[-1] == {
        "iteration": json.loads(Path("metrics/train.json").read_text(encoding="utf-8"))["iterations"],
        "train_cost": metrics["train"]["cost"],
        "test_cost": metrics["test"]["cost"],
        "train_accuracy": metrics["train_accuracy"],
        "test_accuracy": metrics["test_accuracy"],
    }
    costs = dict(read_costs())
    assert len(rows) == min(20, len(costs))
    # Recorded costs follow from scalar products of the rows, those of the curve from w.
    assert [row["train_cost"] for row in rows] == pytest.approx(
        [costs[int(row["iteration"])] for row in rows], abs=1e-9
    )
    drawn = sorted(int(path.stem) for path in Path("plots/weights").glob("*.png"))
    assert set(drawn) <= set(snapshots)
    assert (drawn[0], drawn[-1], len(drawn)) == (0, max(snapshots), min(8, len(rows)))
