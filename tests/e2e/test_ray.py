"""A real Ray: the same bytes with workers and machines that are killed, nothing on the network, nothing left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from tests.team_servers import find_rclone, s3
from tests.values import DATA, HDF5

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (requirements-extras.txt)"),
]

MANY = 6001  # one more than the limit of the gram form
OUTPUTS = ("models/model.h5", "plots/costs.csv", "metrics/train.json", "models/snapshots.h5")
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
# The stage, which waits at iteration 10 until it is told to go on.
PAUSING = """
import runpy, time
from pathlib import Path
from one_neuron.gradient_descent.passes import Passes
run, done = Passes.run, []
def pause(*arguments, **wanted):
    done.append(1)
    if len(done) == 10:
        Path("paused").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    return run(*arguments, **wanted)
Passes.run = pause
runpy.run_path("pipeline/train.py", run_name="__main__")
"""
# Training from a file of pixels, with pauses as above.
FROM_A_FILE = """
import os, sys, time
from pathlib import Path
import numpy as np
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.gradient_descent.passes import Passes
from one_neuron.storage.pixel_file import PixelFile
run, done = Passes.run, []
def pause(*arguments, **wanted):
    done.append(1)
    if len(done) == 10 and sys.argv[1] != "local":
        Path("paused").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    return run(*arguments, **wanted)
Passes.run = pause
Y = np.arange(6001) % 3 == 0
X = PixelFile(Path("pixels"), offset=8, shape=(6001, 12))
if "ONE_NEURON_PIXELS_URL" in os.environ:
    Path("pixels").unlink()
result = optimize(X, Y, learning_rate=0.5, num_iterations=40, record_every=7, engine=sys.argv[1])
print(result.parameters.w.tobytes().hex(), result.costs.tobytes().hex(), result.stability_bound)
"""
# Many configurations, with a pause after the first update.
MANY_CONFIGURATIONS = """
import sys, time
from pathlib import Path
import numpy as np
from one_neuron.gradient_descent.many import optimize_many
from one_neuron.storage.pixel_file import PixelFile
def pause(done, total):
    if sys.argv[1] != "local":
        Path("paused").touch()
        while not Path("go").exists():
            time.sleep(0.01)
m = 6001
X = PixelFile(Path("pixels"), offset=8, shape=(m, 12))
result = optimize_many(
    X, np.arange(m) % 3 == 0, learning_rates=[0.1, 0.5, 0.5], num_iterations=40, record_every=10,
    folds=np.arange(m) % 2, held_out=[-1, -1, 1], engine=sys.argv[1], on_progress=pause,
)
print(result.form, result.train_costs.ravel().tolist(), result.validation_accuracies[:, 2].tolist(), sep="\\n")
"""
# Ray in every order: imported before, started here, started by the program itself, and an address that is wrong.
EVERY_ORDER = """
import sys
import numpy as np
import ray
from one_neuron.errors import EnvironmentProblem
from one_neuron.gradient_descent import optimize as gradient_descent
gradient_descent.GRAM_LIMIT = 0
X = np.random.default_rng(0).integers(0, 256, (500, 12), np.uint8)
def train(engine):
    result = gradient_descent.optimize(X, X[:, 0] > 99, learning_rate=0.5, num_iterations=9, engine=engine)
    return result.parameters.w.tobytes()
def own(inside=None):
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", _temp_dir=sys.argv[1])
    assert ray.get(ray.remote(lambda: 5).remote()) == 5
    found = inside and train(inside)
    ray.shutdown()
    return found
expected = train("local")
assert train("ray") == expected
own()
assert own("ray") == train("ray") == expected
try:
    train("ray://127.0.0.1:1")
except EnvironmentProblem as error:
    print(error)
assert train("ray") == expected
"""
# Two nodes of Ray on this machine; the second one is lost when a line is read.
NODES = """
from ray.cluster_utils import Cluster
size = 100 * 2**20
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": size})
second = cluster.add_node(num_cpus=1, object_store_memory=size)
print(cluster.address, flush=True)
input()
cluster.remove_node(second, allow_graceful=False)
print("lost", flush=True)
input()
cluster.shutdown()
"""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


@pytest.fixture
def folder(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the stage `train` and an empty home."""
    for part in ("src", "pipeline"):
        shutil.copytree(repository / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    train = {"learning_rate": 0.01, "num_iterations": 40, "record_every": 7, "tolerance": 0, "threshold": 0.5}
    sections = {"draw": {"seed": 1, "num_train": 2, "num_test": 2}, "data": DATA, "hdf5": HDF5}
    sections |= {"train": train, "evaluate": {"num_mistakes": 1}}
    (tmp_path / "params.yaml").write_text(json.dumps(sections), encoding="utf-8")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("DVC_ROOT", "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "ONE_NEURON_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def start(*command: str, **variables: str) -> "subprocess.Popen[str]":
    """Start Python with some environment variables."""
    environment = os.environ | {"PYTHONPATH": "src"} | variables
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen([sys.executable, *command], env=environment, text=True, **pipes)


def finish(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Wait for a process to succeed; return what it printed."""
    printed = process.communicate(timeout=240)
    assert process.returncode == 0, printed[1]
    return printed


def wait_for(condition: Callable[[], Any], process: "subprocess.Popen[str]", seconds: float = 240) -> None:
    """Wait until something is true, while a process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def find_tree(pid: int) -> dict[int, str]:
    """Return the command lines of a process and of all that it started, directly or not."""
    parents, lines = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                lines[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:  # it has ended
                continue

    def is_below(child: int) -> bool:
        while child not in (pid, 0):
            child = parents.get(child, 0)
        return child == pid

    return {child: lines[child] for child in parents if child in lines and is_below(child)}


def is_worker(pid: int) -> bool:
    """Return whether a process is a worker that has not ended."""
    try:
        return "ray::Shard" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def find_workers(process: "subprocess.Popen[str]") -> list[int]:
    """Return the workers that a process started, directly or not."""
    return [pid for pid in find_tree(process.pid) if is_worker(pid)]


def listening(pids: Iterable[int]) -> set[str]:
    """Return the addresses, as in /proc/net/tcp, on which some processes listen."""
    sockets = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # it was closed meanwhile
                sockets.add(str(file.readlink()).removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.add(fields[1].split(":")[0])
    return found


def test_the_stage_on_ray(folder: Path, make_prepared: Callable[..., PreparedSet]) -> None:
    """A worker is killed, then the whole stage; the outputs are those of the local engine, and nothing stays behind."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(MANY))
    finish(start("pipeline/train.py"))
    expected = [Path(name).read_bytes() for name in OUTPUTS]
    before = set(Path("/tmp").glob("one-neuron-ray-*"))

    stage = start("-c", PAUSING, ONE_NEURON_ENGINE="ray", ONE_NEURON_SHARDS="2")
    wait_for(Path("paused").exists, stage)
    tree = find_tree(stage.pid)
    assert listening(tree) <= LOOPBACK
    assert listening(tree)
    workers = find_workers(stage)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    Path("go").touch()
    _, said = finish(stage)
    assert re.search(r"^one-neuron: worker [12] of 2 ended; another one takes over its rows\n$", said, re.MULTILINE), (
        said
    )
    assert [Path(name).read_bytes() for name in OUTPUTS] == expected
    assert [pid for pid in tree if Path(f"/proc/{pid}").exists()] == []
    assert set(Path("/tmp").glob("one-neuron-ray-*")) == before
    assert list((folder / "home").iterdir()) == []

    Path("paused").unlink()
    Path("go").unlink()
    stage = start("-c", PAUSING, ONE_NEURON_ENGINE="ray", ONE_NEURON_SHARDS="1")
    wait_for(Path("paused").exists, stage)
    tree = find_tree(stage.pid)
    assert find_workers(stage)
    stage.kill()
    stage.communicate(timeout=30)
    deadline = time.monotonic() + 30
    # Two agents of Ray, which hold no rows, end by themselves a minute later.
    others = [pid for pid, line in tree.items() if not line.startswith(("ray::DashboardAgent", "ray::RuntimeEnvAgent"))]
    assert len(others) >= len(tree) - 2
    while any(Path(f"/proc/{pid}").exists() for pid in others):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for left in set(Path("/tmp").glob("one-neuron-ray-*")) - before:
        shutil.rmtree(left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("begun", ["gcs_server", "ray::Shard"])
def test_a_stage_that_is_stopped_early(
    number: signal.Signals, begun: str, folder: Path, make_prepared: Callable[..., PreparedSet]
) -> None:
    """While Ray starts, or workers load their rows: one line, the right exit code, and no process or folder is left."""
    save_prepared(Path("data/prepared/train.h5"), make_prepared(MANY))
    before = set(Path("/tmp").glob("one-neuron-ray-*"))
    stage = start("pipeline/train.py", ONE_NEURON_ENGINE="ray", ONE_NEURON_SHARDS="8")
    wait_for(lambda: any(begun in line for line in find_tree(stage.pid).values()), stage)
    stage.send_signal(number)
    tree = find_tree(stage.pid)
    _, said = stage.communicate(timeout=60)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert said.endswith(f"one-neuron: {word}; nothing half-written is left behind\n")
    assert "Traceback" not in said
    assert "SIGTERM" not in said
    assert stage.returncode == 128 + number
    assert set(Path("/tmp").glob("one-neuron-ray-*")) == before
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in tree):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_ray_in_every_order(folder: Path) -> None:
    """A program may use Ray itself before and after, in the same process."""
    with tempfile.TemporaryDirectory(dir="/tmp") as own:
        found, _ = finish(start("-c", EVERY_ORDER, own, RAY_AUTH_MODE="disabled"))
    assert found.startswith("no Ray answers at ray://127.0.0.1:1 (Connection refused); start it with `ray start")


def test_many_configurations(folder: Path) -> None:
    """A sweep's columns, with a worker that is killed: the scores of this machine alone, up to the last digits."""
    pixels = np.random.default_rng(0).integers(0, 256, (MANY, 12), np.uint8)
    Path("pixels").write_bytes(b"a header" + pixels.tobytes())
    expected, _ = finish(start("-c", MANY_CONFIGURATIONS, "local"))
    driver = start("-c", MANY_CONFIGURATIONS, "ray", ONE_NEURON_SHARDS="2")
    wait_for(Path("paused").exists, driver)
    workers = find_workers(driver)
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    Path("go").touch()
    found, said = finish(driver)
    assert "of 2 ended; another one takes over its rows" in said
    form, costs, accuracies = found.splitlines()[-3:]
    assert form == "blocks"
    for one, other in zip((costs, accuracies), expected.splitlines()[1:], strict=True):
        assert json.loads(one) == pytest.approx(json.loads(other), rel=1e-12)


@pytest.mark.skipif(find_rclone() is None or find_spec("s3fs") is None, reason="rclone or s3fs is not installed")
def test_rows_from_an_object_store(folder: Path) -> None:
    """Workers without the file download their rows from a bucket; so does the one that replaces a killed worker."""
    pixels = np.random.default_rng(0).integers(0, 256, (MANY, 12), np.uint8)
    Path("pixels").write_bytes(b"a header" + pixels.tobytes())
    expected, _ = finish(start("-c", FROM_A_FILE, "local"))
    with s3(folder) as bucket:
        shutil.copy("pixels", bucket.folder / "train.h5")
        variables = bucket.environment | {"ONE_NEURON_SHARDS": "2"}
        variables["ONE_NEURON_PIXELS_URL"] = f"s3://{bucket.name}/train.h5"
        driver = start("-c", FROM_A_FILE, "ray", **variables)
        wait_for(Path("paused").exists, driver)
        assert not Path("pixels").exists()
        os.kill(find_workers(driver)[0], signal.SIGKILL)
        Path("go").touch()
        found, said = finish(driver)
        assert found.splitlines()[-1] == expected.strip()
        assert "of 2 ended; another one takes over its rows" in said

        for name, wrong in (("missing", {}), ("train.h5", {"AWS_SECRET_ACCESS_KEY": "wrong"})):
            Path("pixels").write_bytes(b"a header" + pixels.tobytes())
            variables["ONE_NEURON_PIXELS_URL"] = url = f"s3://{bucket.name}/{name}"
            driver = start("-c", FROM_A_FILE, "ray", **(variables | wrong))
            _, said = driver.communicate(timeout=240)
            assert driver.returncode != 0
            assert f"'{url}' {'cannot be read on ' if wrong else 'does not exist; '}" in said


def test_two_machines_one_of_which_is_lost(folder: Path) -> None:
    """Two nodes of Ray, as in docs/scale.md; the workers read their rows from the file."""
    pixels = np.random.default_rng(0).integers(0, 256, (MANY, 12), np.uint8)
    Path("pixels").write_bytes(b"a header" + pixels.tobytes())
    expected, _ = finish(start("-c", FROM_A_FILE, "local"))
    nodes = start("-c", NODES, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", **TOKEN)
    assert nodes.stdin is not None
    assert nodes.stdout is not None
    try:
        address = nodes.stdout.readline().strip()
        driver = start("-c", FROM_A_FILE, "ray", RAY_ADDRESS=address, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", **TOKEN)
        wait_for(Path("paused").exists, driver)
        workers = find_workers(nodes)
        assert len(workers) == 2
        print(file=nodes.stdin, flush=True)
        assert nodes.stdout.readline() == "lost\n"
        wait_for(lambda: not all(map(is_worker, workers)), driver)  # it notices a moment later that its node is lost
        Path("go").touch()
        found, said = finish(driver)
    finally:
        _, problems = nodes.communicate("\n", timeout=60)
    assert found.splitlines()[-1] == expected.strip(), problems  # Ray prints about the loss before it
    assert "of 2 ended; another one takes over its rows" in said
