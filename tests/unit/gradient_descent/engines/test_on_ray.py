"""Passes on workers, with a Ray that runs everything in this process. `tests/e2e/test_ray.py` uses a real one."""

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.engines import on_ray
from one_neuron.gradient_descent.engines.on_ray import RayPasses, cores_per_worker
from one_neuron.gradient_descent.many import optimize_many
from one_neuron.gradient_descent.optimize import TrainingResult, optimize
from one_neuron.rows import RowsOnDisk
from one_neuron.storage.pixel_file import PixelFile
from one_neuron.storage.remote_file import RemoteFile

X = np.random.default_rng(0).integers(0, 256, (97, 12), np.uint8)
Y = (np.arange(97) % 3 == 0).astype(np.uint8)
URL = "memory://bucket/pixels"
OPTIONS: dict[str, Any] = {"learning_rate": 2.0, "num_iterations": 9, "record_every": 4}


class RayError(Exception):
    """Ray's base class: a worker or an object is lost."""


class RayTaskError(RayError):
    """An exception of the code that ran on a worker."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a long traceback")
        self.cause = cause


class FakeRay:
    """Calls run when their result is asked for; arguments are pickled, as on their way to another process.

    Parameters
    ----------
    cpus : list of int
        Of the machines.
    fail : set of int
        The numbers of the calls during which the worker ends, in the order in which results are asked for.
    """

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cpus: tuple[int, ...] = (2,), fail: set[int] | range = frozenset()) -> None:  # type: ignore[assignment]
        self.cpus, self.fail, self.calls = cpus, fail, 0
        self.started: list[dict[str, Any]] = []
        self.killed: list[Any] = []
        self.returned: list[Any] = []
        self.sizes: list[int] = []
        self.connected = False

    def nodes(self) -> list[dict[str, Any]]:
        """Return the machines, one of which has ended."""
        alive = [{"Alive": True, "Resources": {"CPU": float(cpu)}} for cpu in self.cpus]
        return [*alive, {"Alive": False, "Resources": {"CPU": 64.0}}, {"Alive": True, "Resources": {}}]

    def put(self, value: Any) -> Any:
        """Return what stands for the value."""
        self.sizes.append(len(pickle.dumps(value)))
        return partial(pickle.loads, pickle.dumps(value))

    def remote(self, kind: type) -> Any:
        """Return a class whose objects are workers."""

        def options(**chosen: Any) -> Any:
            self.started.append(chosen)
            return SimpleNamespace(remote=lambda: Worker(self, kind()))

        return SimpleNamespace(options=options)

    def get(self, result: Any) -> Any:
        """Return a result; calls of a worker run in their order."""
        for call in result.before:
            call()
        self.calls += 1
        if self.calls in self.fail or result.worker in self.killed:
            self.killed.append(result.worker)
            raise RayError("the worker\ndied")
        self.returned.append(result())
        return self.returned[-1]

    def kill(self, worker: Any) -> None:
        """End a worker."""
        self.killed.append(worker)


class Worker:
    """A worker: `worker.name.remote(...)` returns a future result."""

    def __init__(self, ray: FakeRay, shard: Any) -> None:
        self.ray, self.shard = ray, shard
        self.earlier: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: Any) -> Any:
            sent = [
                value if isinstance(value, partial) and not value.keywords else self.ray.put(value)
                for value in arguments
            ]
            found: list[Any] = []

            def result() -> Any:
                if not found:
                    try:
                        found.append(getattr(self.shard, name)(*(value() for value in sent)))
                    except Exception as error:
                        raise RayTaskError(error) from error
                return found[0]

            result.worker, result.before = self, tuple(self.earlier)  # type: ignore[attr-defined]
            result.future = lambda: SimpleNamespace(result=partial(self.ray.get, result))  # type: ignore[attr-defined]
            self.earlier.append(result)
            return result

        return SimpleNamespace(remote=remote)


@pytest.fixture(autouse=True)
def only_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the form "blocks" for few pictures as well."""
    monkeypatch.setattr(gradient_descent, "GRAM_LIMIT", 0)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that puts a fake in the place of Ray."""

    def put(fake: FakeRay) -> FakeRay:
        @contextmanager
        def connect(address: str, object_bytes: int) -> Iterator[FakeRay]:
            fake.connected = True
            yield fake
            fake.connected = False

        monkeypatch.setattr(on_ray, "connect", connect)
        monkeypatch.setattr(on_ray, "wait", lambda results, **_: (results[:-1], results[-1:]))  # the last is not there
        return fake

    return put


def bits(result: TrainingResult) -> bytes:
    """Return the bytes of w, b, the costs and the bound."""
    numbers = [result.parameters.b, result.stability_bound]
    return result.parameters.w.tobytes() + np.array(numbers).tobytes() + result.costs.tobytes()


def train(shards: int | None = None, rows: Any = X) -> bytes:
    """Train on workers; return the bits."""
    return bits(optimize(rows, Y, engine=partial(RayPasses, shards=shards), **OPTIONS))


@pytest.mark.parametrize("shards", [1, 2, 5, 97, 1000])
def test_any_number_of_shards_gives_the_same_bits(shards: int, use: Any) -> None:
    """A shard has at least one row; all workers end with the training."""
    fake = use(FakeRay())
    assert train(shards) == bits(optimize(X, Y, **OPTIONS))
    assert len(fake.started) == min(shards, 97) == len(fake.killed)
    assert not fake.connected


@pytest.mark.parametrize("order", ["F", "every second"])
def test_any_memory_layout_gives_the_same_bits(order: str, use: Any) -> None:
    """Rows in memory are sent."""
    use(FakeRay())
    rows = np.asfortranarray(X) if order == "F" else np.repeat(X, 2, axis=0)[::2]
    assert train(3, rows) == bits(optimize(X, Y, **OPTIONS))


@pytest.mark.parametrize(("small", "share"), [(8 * 12, 1), (8 * 12 - 1, 1 / 3)])
def test_a_large_w_goes_out_once_for_all_workers(
    small: int, share: float, use: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a small one with each call; the bits are the same."""
    monkeypatch.setattr(on_ray, "_SMALL_BYTES", small)
    fake = use(FakeRay())
    assert train(3) == bits(optimize(X, Y, **OPTIONS))
    loads = [found for found in fake.returned if isinstance(found, str)]
    assert len(fake.sizes) == 3 * len(loads) + share * (len(fake.returned) - len(loads))  # a load has three arguments


def test_z_comes_back_only_when_a_cost_is_recorded(use: Any) -> None:
    """At iterations 0, 4, 8 and 9."""
    fake = use(FakeRay())
    train(2)
    sums = [found for found in fake.returned if not isinstance(found, str)]
    assert [found.z is not None for found in sums[:20:2]] == [i in (0, 4, 8, 9) for i in range(10)]
    assert all(found.z is None for found in sums[20:])


def compare(engine: Any, rows: Any = X) -> None:
    """Train five configurations with an engine and locally; compare all scores, w and b."""
    options: dict[str, Any] = {"learning_rates": [0.5, 2.0, 0.5, 2.0, 0.5], "num_iterations": 9, "record_every": 4}
    options |= {"folds": np.arange(97) % 3, "held_out": [-1, -1, 0, 2, 2], "X_test": X[:7], "Y_test": Y[:7]}
    local, other = optimize_many(X, Y, **options), optimize_many(rows, Y, engine=engine, **options)
    assert other.form == "blocks"
    for kind in ("train", "validation", "test"):
        for score in ("costs", "accuracies"):
            name = f"{kind}_{score}"
            assert getattr(other, name) == pytest.approx(getattr(local, name), rel=1e-12, nan_ok=True), name
    for j in range(5):
        assert other.parameters(j).w == pytest.approx(local.parameters(j).w, rel=1e-10, abs=1e-14)
        assert other.parameters(j).b == pytest.approx(local.parameters(j).b, rel=1e-10)


@pytest.mark.parametrize("shards", [1, 2, 5, 97])
def test_many_configurations(shards: int, use: Any) -> None:
    """The rows of each fold and the labels go with the shards; w and b of all configurations go out once."""
    fake = use(FakeRay(fail={shards + 2}))  # a worker ends in the first pass
    compare(partial(RayPasses, shards=shards))
    assert len(fake.started) == shards + 1
    assert not fake.connected


def test_many_configurations_of_rows_in_a_file(tmp_path: Path, use: Any) -> None:
    """Nothing is sent that is as large as the pixels."""
    fake = use(FakeRay())
    compare(partial(RayPasses, shards=3), stored(tmp_path))
    assert max(fake.sizes) < X.nbytes


@pytest.mark.parametrize("fail", [{1}, {3}, {4, 9}, {7, 8, 9}, {20}])
def test_a_worker_that_ends_is_replaced(fail: set[int], use: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """While it loads or computes, once or three times in a row: the same bits, and a line on stderr."""
    fake = use(FakeRay(fail=fail))
    assert train(2) == bits(optimize(X, Y, **OPTIONS))
    assert len(fake.started) == 2 + len(fail)
    assert all(options["num_cpus"] == 0 for options in fake.started[2:])  # there may be no free one
    told = [line for line in capsys.readouterr().err.splitlines() if "ended" in line]
    assert len(told) == len(fail)
    assert all(line.endswith(" of 2 ended; another one takes over its rows") for line in told)


def test_a_worker_that_always_ends_stops_the_training(use: Any) -> None:
    """After four times, with what Ray reports; nothing is left running."""
    fake = use(FakeRay(fail=range(5, 1000)))
    with pytest.raises(EnvironmentProblem, match="worker 1 of 2 ended 4 times; Ray reports: the worker died"):
        train(2)
    assert len(fake.started) == 2 + 3
    assert not fake.connected


def test_waiting_for_workers_is_reported(use: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster may be busy."""
    use(FakeRay())
    train(3)
    assert "one-neuron: 2 of 3 workers of Ray are ready; waiting for the others\n" in capsys.readouterr().err


def test_a_worker_with_other_code_is_refused(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bits could differ."""
    use(FakeRay())
    monkeypatch.setattr(on_ray.Shard, "load", lambda *_: "another hash")
    with pytest.raises(EnvironmentProblem, match="a worker of Ray runs another version of one_neuron"):
        train(2)


@pytest.mark.parametrize(
    ("cpus", "shards", "started", "reserved"),
    [((2,), None, 2, 1), ((4, 3), None, 7, 1), ((4, 4), 2, 2, 4), ((2,), 5, 5, 0), ((), None, 1, 0)],
)
def test_how_many_workers_there_are_and_what_they_reserve(
    cpus: tuple[int, ...], shards: int | None, started: int, reserved: int, use: Any
) -> None:
    """One for each CPU; fewer get several CPUs each, more reserve none."""
    fake = use(FakeRay(cpus))
    train(shards)
    assert [options["num_cpus"] for options in fake.started] == [reserved] * started


def test_cores_never_exceed_those_of_a_machine() -> None:
    """Three CPUs on machines of two: one worker could have two of them, two workers one each."""
    assert [cores_per_worker([2, 1], workers) for workers in (1, 2, 3, 4)] == [2, 1, 1, 0]


@pytest.fixture
def store() -> Iterator[Any]:
    """Return an object store in memory with an empty bucket."""
    memory = fsspec.filesystem("memory")
    memory.mkdir("/bucket")
    yield memory
    memory.rm("/bucket", recursive=True)


def stored(folder: Path, front: bytes = b"header") -> PixelFile:
    """Return the pixels in a file."""
    path = folder / "pixels"
    path.write_bytes(front + X.tobytes())
    return PixelFile(path, offset=len(front), shape=X.shape)


def test_rows_in_a_file_are_read_by_the_workers(tmp_path: Path, use: Any) -> None:
    """What is sent has the path and no pixels."""
    fake = use(FakeRay())
    assert train(3, stored(tmp_path)) == bits(optimize(X, Y, **OPTIONS))
    assert max(fake.sizes) < X.nbytes


def test_another_file_at_the_same_path_is_refused(tmp_path: Path, use: Any) -> None:
    """As on a machine whose copy is older; a file that is missing there is named, too."""
    use(FakeRay())
    rows = stored(tmp_path)
    (tmp_path / "pixels").rename(tmp_path / "moved")
    with pytest.raises(DataError, match=r"pixels' cannot be opened on .*; all workers need the file at this path"):
        train(2, rows)
    stored(tmp_path, b"reader")
    with pytest.raises(DataError, match=r"pixels' is another file on .*; all workers need the same file"):
        train(2, rows)
    stored(tmp_path)
    assert train(2, rows) == bits(optimize(X, Y, **OPTIONS))


def test_rows_are_downloaded_from_a_copy(tmp_path: Path, use: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without the file reads its own rows and what lies before the pixels; it keeps no file."""
    fake = use(FakeRay(fail={7}))
    rows = stored(tmp_path)
    store.pipe("/bucket/pixels", (tmp_path / "pixels").read_bytes())
    (tmp_path / "pixels").unlink()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ranges: set[tuple[int, int]] = set()
    read = RemoteFile.read

    def note(file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        ranges.add((start, stop))
        return read(file, start, stop)

    monkeypatch.setattr(RemoteFile, "read", note)
    result = optimize(X, Y, **OPTIONS)
    assert bits(optimize(rows, Y, engine=partial(RayPasses, shards=3, url=URL), **OPTIONS)) == bits(result)
    assert ranges == {(0, 6), (6, 6 + 32 * 12), (6 + 32 * 12, 6 + 64 * 12), (6 + 64 * 12, 6 + 97 * 12)}
    assert len(fake.started) == 4
    assert list(tmp_path.iterdir()) == []


def test_rows_that_cannot_be_written(tmp_path: Path, use: Any, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says how much was to be written, to which folder of which machine."""
    use(FakeRay())
    rows = stored(tmp_path)
    store.pipe("/bucket/pixels", (tmp_path / "pixels").read_bytes())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    told = rf"^0 MB of rows of '{URL}' cannot be written to '{tmp_path}/none' on .* \(No such file or directory\); free"
    with pytest.raises(EnvironmentProblem, match=told):
        optimize(rows, Y, engine=partial(RayPasses, shards=3, url=URL), **OPTIONS)


def test_a_copy_of_another_file_is_refused(tmp_path: Path, use: Any, store: Any) -> None:
    """One of another size, or with another header."""
    use(FakeRay())
    for content in (b"header" + X[:-1].tobytes(), b"reader" + X.tobytes()):
        store.pipe("/bucket/pixels", content)
        with pytest.raises(DataError, match=rf"'{URL}' is not a copy of '.*pixels'; upload that file to it"):
            optimize(stored(tmp_path), Y, engine=partial(RayPasses, url=URL), **OPTIONS)


class InMemory(RowsOnDisk):
    """Rows that no other process can read."""

    def _read_rows(self, start: int, out: Any) -> None:
        out[...] = X[start : start + len(out)]


def test_rows_that_only_this_process_can_read_are_sent(use: Any) -> None:
    """As those in memory."""
    use(FakeRay())
    assert train(3, InMemory(X.shape)) == bits(optimize(X, Y, **OPTIONS))
