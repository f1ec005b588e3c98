"""Time answers over HTTP: `one-neuron serve` beside `mlflow models serve`, the same model and the same picture."""

import argparse
import base64
import http.client
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image
from report import Table, duration, factor, median_ratio

from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.model import Model, save_model
from one_neuron.tracking.model import _save_model

ROOT = Path(__file__).resolve().parents[1]
NUM_PX = 64
REQUESTS = 200  # of each case in a round
CLIENTS = 16
OURS, PEER = "one-neuron serve", "mlflow models serve"


def time_serving(options: argparse.Namespace) -> Table:
    """Time the answer for one picture of 64 x 64 pixels, from one client and from 16 at once."""
    seconds: dict[tuple[str, int], list[float]] = {}
    waits: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory(prefix="one-neuron-") as name, ExitStack() as stack:
        folder = Path(name)
        picture = _write_model(folder)
        requests = {
            OURS: (stack.enter_context(_serving(folder, OURS)), "/predict", picture, "image/png"),
            PEER: (stack.enter_context(_serving(folder, PEER)), "/invocations", _as_json(picture), "application/json"),
        }
        answers = {label: _ask(*request) for label, request in requests.items()}
        assert answers[OURS] == answers[PEER], answers
        for _ in range(options.rounds):
            for clients in (1, CLIENTS):
                for label, request in requests.items():
                    whole, each = _time_requests(request, clients)
                    seconds.setdefault((label, clients), []).append(whole)
                    waits.setdefault((label, clients), []).append(statistics.median(each))
    table = Table(["case", "clients", "median answer", "answers a second", "speed, mlflow = 1"])
    for (label, clients), took in seconds.items():
        faster = median_ratio(waits[PEER, clients], waits[label, clients])
        rate = REQUESTS / statistics.median(took)
        middle = statistics.median(waits[label, clients])
        table.add(label, str(clients), duration(middle), f"{rate:,.0f}", factor(faster))
    table.notes.append(
        f"One PNG picture of {NUM_PX} x {NUM_PX} pixels, {REQUESTS} requests of each case in each of {options.rounds} "
        "rounds, over connections that stay open; both servers have one process. The probabilities are equal to the "
        "last bit."
    )
    return table


Request = tuple[int, str, bytes, str]


def _write_model(folder: Path) -> bytes:
    """Write a model in both forms; return a picture."""
    random = np.random.default_rng(1)
    w = random.normal(scale=0.01, size=NUM_PX * NUM_PX * 3)
    model = Model(Parameters(w, 0.0), Preprocessing(NUM_PX), ("non-cat", "cat"), 0.5)
    save_model(folder / "model.h5", model)
    stream = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (NUM_PX, NUM_PX, 3), dtype=np.uint8)).save(stream, "PNG")
    of_no_run: Any = SimpleNamespace(artifact_location="model", model_id=None, source_run_id=None)
    _save_model(folder / "pyfunc", folder / "one_neuron", folder / "model.h5", stream.getvalue(), of_no_run)
    return stream.getvalue()


def _as_json(picture: bytes) -> bytes:
    """Return a picture as MLflow's server takes it."""
    text = base64.b64encode(picture).decode()
    return json.dumps({"dataframe_split": {"columns": ["picture"], "data": [[text]]}}).encode()


@contextmanager
def _serving(folder: Path, label: str) -> Iterator[int]:
    """Start a server; yield its port, and end it with its children."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if label == OURS:
        command = ["-m", "one_neuron.cli", "serve", "--model", "../model.h5", "--port", str(port)]
    else:
        command = ["-m", "mlflow", "models", "serve", "-m", ".", "--env-manager", "local", "--port", str(port)]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT / "src")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder / "pyfunc",  # not where the copy of the package lies
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _wait_for(port: int) -> None:
    """Wait until a server accepts connections."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _ask(port: int, address: str, body: bytes, kind: str) -> float:
    """Return the probability in an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", address, body, {"Content-Type": kind})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    (first,) = answer.get("results") or answer["predictions"]
    return float(first["probability"])


def _time_requests(request: Request, clients: int) -> tuple[float, list[float]]:
    """Return the seconds of REQUESTS requests, from so many clients, and of each of them."""
    port, address, body, kind = request

    def send(count: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        took = []
        for _ in range(count):
            began = time.perf_counter()
            connection.request("POST", address, body, {"Content-Type": kind})
            response = connection.getresponse()
            response.read()
            took.append(time.perf_counter() - began)
            assert response.status == 200
        connection.close()
        return took

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(send, [REQUESTS // clients] * clients))
    return time.perf_counter() - began, [each for part in parts for each in part]
