"""The spool against a real MLflow server: nothing is lost in an outage, and nothing arrives twice."""

import argparse
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from one_neuron.commands.track import run_track
from one_neuron.errors import DataError, StoreOutage
from one_neuron.layout import TEST_FILE, TRAIN_FILE
from one_neuron.storage.prepared_set import load_prepared
from one_neuron.sweep.configuration_description import name_configurations
from one_neuron.sweep.drawing import draw_plots, start_plotter
from one_neuron.sweep.outage import open_runs, or_in_spool, raise_outage
from one_neuron.sweep.prepared_data import DataFiles
from one_neuron.sweep.sweep_run import close_sweep, keep_models, open_sweep
from one_neuron.tracking import spool, sqlite_file
from one_neuron.tracking.bulk import read_runs
from one_neuron.tracking.connection import Connection, connect
from one_neuron.tracking.record import record_result
from one_neuron.tracking.result import read_result
from one_neuron.tracking.send import send_spool
from one_neuron.tracking.sqlite_file import SWEEPS
from one_neuron.tracking.tags import BEST, KEYS, MODEL_SHA256, NOTE, PARENT
from tests import bad_servers
from tests.integration.test_sweep import RATE, SWEEP, configure, identify, outcome_of, plan_of
from tests.integration.test_tracking import write_result

SOURCES = str(Path(__file__).parents[2] / "src")

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one MLflow server for all tests; each records results of its own."""
    with bad_servers.real(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def port() -> int:
    """Return a free port, which keeps its address while the server behind it goes and comes."""
    with bad_servers.refusing() as address:
        return int(address.rpartition(":")[2])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[Path]:
    """Return a repository with a result whose server does not answer yet."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    yield write_result(tmp_path)
    release()


_seeds = iter(range(1000, 2000))


def new_result(root: Path) -> str:
    """Write a result that the server does not have yet, over the one that is there; return its content key."""
    write_result(root, seed=next(_seeds))
    return read_result(root).content_key


def release() -> None:
    """Let the spool be removed, as when the process that wrote it has ended."""
    for descriptor in spool._in_use.values():
        os.close(descriptor)
    spool._in_use.clear()


def keep(root: Path) -> str:
    """Record a new result while the server is out of reach; return its content key."""
    key = new_result(root)
    with pytest.raises(StoreOutage, match=r"is kept in '\.one-neuron/spool' until it can be sent; run `make track` or"):
        record_result(root, root)
    release()
    return key


def send(root: Path) -> int:
    """Send what waits; return the number of runs."""
    return send_spool(connect(root)).number


def runs_of(connection: Connection, key: str) -> list[Any]:
    """Return all runs with a content key that are not deleted."""
    return list(connection.client.search_runs([connection.experiment_id], filter_string=f"tags.`{KEYS}` = '{key}'"))


def show(connection: Connection, run_id: str, folder: Path) -> dict[str, Any]:
    """Return everything that MLflow shows of a run, without ids and times."""
    from mlflow.artifacts import download_artifacts

    client = connection.client
    run: Any = client.get_run(run_id)
    start = run.info.start_time
    (output,) = run.outputs.model_outputs
    model: Any = client.get_logged_model(output.model_id)

    def plain(text: str) -> str:
        for word, replaced in ((run_id, "RUN"), (model.model_id, "MODEL"), (str(start), "START")):
            text = text.replace(word, replaced)
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "UNIQUE", text)

    def files(uri: str, name: str) -> dict[str, bytes]:
        (folder / name).mkdir(parents=True)
        place = Path(download_artifacts(uri, dst_path=str(folder / name), tracking_uri=connection.store.uri))
        return {
            plain(path.relative_to(place).as_posix()): path.read_bytes()
            for path in filter(Path.is_file, place.rglob("*"))
        }

    artifacts, of_model = files(run.info.artifact_uri, "run"), files(model.artifact_location, "model")
    history = {key: client.get_metric_history(run_id, key) for key in run.data.metrics}
    inputs = [(vars(one.dataset), {tag.key: tag.value for tag in one.tags}) for one in run.inputs.dataset_inputs]
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "tags": {key: plain(value) for key, value in run.data.tags.items()},
        "points": {key: sorted((p.step, p.value, p.timestamp - start) for p in each) for key, each in history.items()},
        "inputs": sorted(inputs, key=str),
        "step": output.step,
        "model": (model.name, model.params, model.tags, model.status),
        "scores": sorted((m.key, m.value, m.step, m.dataset_name, m.dataset_digest) for m in model.metrics),
        "artifacts": artifacts,
        "model files": of_model,
    }


@pytest.mark.slow
def test_what_was_kept_arrives_as_if_it_had_been_recorded(
    root: Path, server: str, port: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Run, model, files, data sets and views; the next result that is recorded sends it."""
    key = keep(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    direct = connect(root)
    expected = show(direct, record_result(root, root).run_id, tmp_path.parent / f"{tmp_path.name}-expected")
    second = new_result(root)
    with bad_servers.proxy(server, port=port) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.address)
        tracked = record_result(root, root)
        assert (tracked.created, tracked.note) == (True, "1 run is sent that had been kept")
        connection = connect(root)
        (run,) = runs_of(connection, key)
        found = show(connection, run.info.run_id, tmp_path.parent / f"{tmp_path.name}-found")
        assert len(runs_of(connection, second)) == 1
        # The description of the model names its run and itself; it loads and predicts from there.
        description = found["model files"].pop("MLmodel").decode()
        assert f"\nrun_id: {run.info.run_id}\n" in description
        assert "artifact_path: mlflow-artifacts:/" in description
        expected["model files"].pop("MLmodel")
        assert found["tags"].pop("one_neuron.recorder")
        for name, value in expected.items():
            assert found[name] == value, name
    assert not list(root.glob(".one-neuron/spool/*/"))


@pytest.mark.slow
@pytest.mark.parametrize(("dies_at", "passes_last"), [(3, True), (30, False), (61, True)])
def test_a_server_that_dies_at_any_moment_has_one_run_in_the_end(
    dies_at: int, root: Path, server: str, port: int, monkeypatch: pytest.MonkeyPatch, *, passes_last: bool
) -> None:
    """It may have taken half of the run, or all of it without an answer."""
    key = new_result(root)
    with bad_servers.proxy(server, port=port, dies_at=dies_at, passes_last=passes_last) as proxy:
        with pytest.raises(StoreOutage, match=r"the tracking server '.*' cannot be used \(it does not answer\)"):
            record_result(root, root)
        assert proxy.dead.is_set()
    release()
    with bad_servers.proxy(server, port=port):
        assert send(root) == 1
        connection = connect(root)
        (run,) = runs_of(connection, key)
        assert run.info.status == "FINISHED"
        filter_string = f"source_run_id = '{run.info.run_id}'"
        assert len(connection.client.search_logged_models([connection.experiment_id], filter_string=filter_string)) == 1
        history = connection.client.get_metric_history(run.info.run_id, "cost")
        assert [point.step for point in history] == list(range(0, 2001, 100))
        assert send(root) == 0
    assert spool.find_waiting(root) == {}


def test_an_artifact_store_that_fails_is_told_from_a_server_that_does(root: Path, server: str, port: int) -> None:
    """Runs can be written, files cannot; when they can, the same run is completed."""
    key = new_result(root)
    with (
        bad_servers.proxy(server, port=port, fails=lambda path: "mlflow-artifacts" in path),
        pytest.raises(
            StoreOutage,
            match=r"the artifact store of the tracking server '.*' cannot be used \(it answers with the HTTP error 500",
        ),
    ):
        record_result(root, root)
    release()
    with bad_servers.proxy(server, port=port):
        assert send(root) == 1
        (run,) = runs_of(connect(root), key)
    assert run.info.status == "FINISHED"


@pytest.mark.slow
def test_two_senders_send_each_result_once(root: Path, server: str, port: int) -> None:
    """They take turns by the lock of the spool."""
    keys = [keep(root) for _ in range(3)]
    with bad_servers.proxy(server, port=port):
        command = [sys.executable, "-m", "one_neuron.cli", "track", "--all"]
        environment = {**os.environ, "PYTHONPATH": SOURCES}
        senders = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        printed = [sender.communicate()[0] for sender in senders]
        assert [sender.returncode for sender in senders] == [0, 0]
        connection = connect(root)
        assert [len(runs_of(connection, key)) for key in keys] == [1, 1, 1]
    sent = [int(number) for text in printed for number in re.findall(r"(?m)^(\d+) runs? (?:is|are) sent", text)]
    assert sum(sent) == 3
    assert not list(root.glob(".one-neuron/spool/*/"))


def _find_bit(root: Path, what: str) -> tuple[Path, int]:
    """Return a file of the spool and the place of a byte in it."""
    (folder,) = root.glob(".one-neuron/spool/*/")
    if what == "a list":
        path = folder / "seals.json"
        return path, path.read_bytes().index(b"waiting") + 20
    if what == "a file":
        path = next(folder.rglob("curves.csv"))
        return path, path.stat().st_size // 2
    path = folder / "mlflow.db"
    return path, path.read_bytes().index(b"0.005")


@pytest.mark.parametrize("what", ["a list", "a file", "a parameter"])
def test_a_changed_bit_is_found_and_not_sent(what: str, root: Path, server: str, port: int) -> None:
    """The spool is moved aside, so that it is neither lost nor in the way; sound runs in it are sent."""
    key = keep(root)
    path, place = _find_bit(root, what)
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    sound = keep(root) if what != "a list" else ""
    with bad_servers.proxy(server, port=port):
        with pytest.raises(DataError, match=r"some are damaged .*moved to '.*damaged-0'; go back to the commit"):
            run_track(argparse.Namespace(all=True))
        connection = connect(root)
        assert runs_of(connection, key) == []
        assert not sound or len(runs_of(connection, sound)) == 1
        assert send(root) == 0


def test_runs_that_wait_for_another_store_are_named(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """Its password is not in the spool, so they can be sent only when it is set again."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2@127.0.0.1:{port}")
    keep(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    run_track(argparse.Namespace(all=True))
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "nothing waits to be sent"
    assert f"for 'http://127.0.0.1:{port}': 1 run is kept; set MLFLOW_TRACKING_URI to it" in printed
    for path in root.glob(".one-neuron/spool/**/*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_a_spool_that_cannot_be_written_says_what_is_safe(root: Path) -> None:
    """For example on a full disk or in a read-only folder."""
    new_result(root)
    (root / ".one-neuron").mkdir(exist_ok=True)
    (root / ".one-neuron/spool").touch()  # fails like a read-only folder, for root as well
    with pytest.raises(
        StoreOutage,
        match=r"it does not answer\); nor can it be kept \('.*' cannot be locked .*\); the results are safe",
    ):
        record_result(root, root)


def test_a_locked_file_is_waited_for_a_moment_and_takes_the_result_later(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program may hold the lock of SQLite for minutes; the message does not tell to move the file away."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.3)
    record_result(root, root)
    key = new_result(root)
    with closing(sqlite3.connect(root / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(
            StoreOutage, match=r"mlflow\.db' cannot be used \(database is locked\); the result is kept in"
        ):
            record_result(root, root)
        other.rollback()
    release()
    connection = connect(root)
    assert runs_of(connection, key) == []
    assert send(root) == 1
    assert [run.info.status for run in runs_of(connection, key)] == ["FINISHED"]


def test_the_stage_ends_with_4_in_time_and_keeps_its_receipt(root: Path, port: int) -> None:
    """DVC does not take it for done, and the dripping server cannot hold it."""
    new_result(root)
    (root / "data/tracked.json").write_text("{}")
    with bad_servers.dripping() as address:
        command = [sys.executable, str(Path(__file__).parents[2] / "pipeline/track.py")]
        start = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": SOURCES, "MLFLOW_TRACKING_URI": address}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "(no answer within 8 s); the result is kept in '.one-neuron/spool'" in done.stderr
    assert (root / "data/tracked.json").read_text() == "{}"
    assert seconds < 30  # 8 s of waiting, and what importing MLflow takes here


@pytest.mark.slow
@pytest.mark.parametrize("dies_at", [0, 25])
def test_a_sweep_of_24_through_an_outage_has_24_children_each_once(
    dies_at: int, root: Path, server: str, port: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server is away from the start, or dies while it takes the runs; the best one and its model arrive as well."""
    new_result(root)
    train, test = root / TRAIN_FILE, root / TEST_FILE
    files = DataFiles(train, test, load_prepared(train).sha256, load_prepared(test).sha256)
    settings = [configure(round(0.001 * 1.1**i, 6)) for i in range(24)]
    plan, configurations = plan_of(settings, RATE), [identify(each, files) for each in settings]
    names = name_configurations(configurations, (RATE,))
    outcomes = [(one.key, outcome_of(one.settings, accuracy=0.5 + i / 60)) for i, one in enumerate(configurations)]

    def finish() -> None:
        parent_id = runs.parent_id or open_sweep(runs, plan)
        drawing = draw_plots(plotter, runs, parent_id, folds=3)
        keep_models(runs, 1)
        close_sweep(runs, parent_id, plan, drawing)

    with start_plotter() as plotter, bad_servers.proxy(server, port=port, dies_at=dies_at):
        runs = open_runs(root, configurations)
        or_in_spool(runs, lambda: open_sweep(runs, plan))
        runs.record(runs.parent_id, outcomes, sweep=SWEEP, names=names)
        or_in_spool(runs, finish)
    assert len(runs.finished) == 24
    with pytest.raises(StoreOutage, match=r"; the sweep is kept in '\.one-neuron/spool' until it can be sent"):
        raise_outage(runs)
    release()
    with bad_servers.proxy(server, port=port):
        run_track(argparse.Namespace(all=True))
        connection = connect(root, experiment=SWEEPS)
        found = read_runs(connection, configurations[0].context, 0)
        assert {run.data.tags[KEYS].split()[1] for run in found} == {one.key for one in configurations}
        assert [run.info.status for run in found] == ["FINISHED"] * 24
        (parent_id,) = {run.data.tags[PARENT] for run in found}
        parent: Any = connection.client.get_run(parent_id)
        ids = {run.info.run_id for run in found}
        assert parent.info.status == "FINISHED"
        assert len(parent.inputs.dataset_inputs) == 2
        best: Any = connection.client.get_run(parent.data.tags[BEST])
        assert best.data.metrics["validation_accuracy"] == pytest.approx(0.5 + 23 / 60)
        assert len(best.outputs.model_outputs) == 1
        assert re.fullmatch("[0-9a-f]{64}", best.data.tags[MODEL_SHA256])
        # Texts name the runs of the server.
        folder = str(tmp_path_factory.mktemp("table"))
        table = Path(connection.client.download_artifacts(parent_id, "configurations.csv", folder)).read_text()
        assert set(re.findall(r"\b[0-9a-f]{32}\b", table)) == ids
        assert set(re.findall(r"\b[0-9a-f]{32}\b", parent.data.tags[NOTE])) <= ids | {parent_id}
        # The same command again finds everything, and writes nothing.
        again = open_runs(root, configurations)
        again.refresh_under_lock()
        assert len(again.finished) == 24
        assert (open_sweep(again, plan), again.duplicates) == (parent_id, set())
