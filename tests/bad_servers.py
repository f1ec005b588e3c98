"""Tracking servers that misbehave, on 127.0.0.1, for tests: each is a context manager that yields its address.

Without a real server behind it: `refusing`, `silent`, `dripping` and `failing`. In front of a real MLflow server, which
is `real`: `proxy`, which fails for some paths, or dies after some requests.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
_HOP = {"connection", "transfer-encoding", "keep-alive", "host"}  # headers that a proxy does not pass on


@contextmanager
def refusing() -> Iterator[str]:
    """Yield the address of a port on which nothing listens: a connection is refused at once."""
    with socket.socket() as bound:  # without listen(), connections are refused, and no other process gets the port
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """Yield the address of a server that takes every request and never answers."""
    with _raw_server(lambda connection, stopped: stopped.wait()) as address:
        yield address


@contextmanager
def dripping(seconds: float = 1.0) -> Iterator[str]:
    """Yield the address of a server whose answers arrive one byte at a time, a byte every `seconds`."""

    def drip(connection: socket.socket, stopped: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(_HEAD)
        while not stopped.wait(seconds):
            connection.sendall(b" ")

    with _raw_server(drip) as address:
        yield address


@contextmanager
def failing(status: int = 500, *, headers: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the address of a server that answers every request with an HTTP error."""

    class Handler(_Quiet):
        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.answer(status, b"out of order", headers or {})

    with _http_server(Handler) as address:
        yield address


@contextmanager
def real(folder: Path) -> Iterator[str]:
    """Yield the address of an MLflow server that keeps its database and, in `kept`, its artifacts in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/s.db", "--artifacts-destination", str(folder / "kept")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments, *stores],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            for _ in range(900):
                time.sleep(0.1)
                with socket.socket() as attempt:
                    if attempt.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)  # its workers as well
            process.wait()


@dataclass
class Proxy:
    """A proxy in front of a real server; see `proxy`."""

    address: str = ""
    requests: list[str] = field(default_factory=list)  # method and path of those that were passed on
    dead: threading.Event = field(default_factory=threading.Event)


@contextmanager
def proxy(
    server: str,
    *,
    fails: Callable[[str], bool] = lambda path: False,
    dies_at: int | None = None,
    passes_last: bool = False,
    delay: float = 0.0,
    port: int = 0,
) -> Iterator[Proxy]:
    """Yield a proxy in front of the server at the address `server`.

    Parameters
    ----------
    fails : callable
        fails(path) says which requests are answered with the status 500.
    dies_at : int, optional
        The number of the request at which the proxy closes all connections without an answer; from then on it refuses.
    passes_last : bool
        Whether the server still gets the request at which the proxy dies, so that only the answer is lost.
    delay : float
        Seconds before each answer.
    port : int
        Of the proxy; by default a free one. One that died can be started again at its address.
    """
    state, lock = Proxy(), threading.Lock()

    class Handler(_Quiet):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with lock:
                dying = dies_at is not None and len(state.requests) >= dies_at
                if not state.dead.is_set() and (not dying or passes_last):
                    state.requests.append(f"{self.command} {self.path}")
                was_dead = state.dead.is_set()
                if dying:
                    state.dead.set()
            if was_dead or (dying and not passes_last):
                self.close_connection = True
                return
            time.sleep(delay)
            if fails(self.path):
                self.answer(500, b"out of order", {})
                return
            status, headers, content = self.pass_on(body)
            if dying:
                self.close_connection = True
                return
            self.answer(status, content, headers)

        def pass_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
            headers = {key: value for key, value in self.headers.items() if key.lower() not in _HOP}
            upstream.request(self.command, self.path, body, headers)
            response = upstream.getresponse()
            content = response.read()
            upstream.close()
            kept = {key: value for key, value in response.getheaders() if key.lower() not in _HOP}
            return response.status, kept, content

    with _http_server(Handler, state.dead, port) as state.address:
        yield state


class _Quiet(BaseHTTPRequestHandler):
    """Handles every method in one function, and prints nothing."""

    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        self.handle_any()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            if key.lower() not in ("content-length", "date", "server"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


class _HttpServer(ThreadingHTTPServer):
    """Knows its connections."""

    connections: list[socket.socket]
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def end(self) -> None:
        """Stop listening, and end the connections that clients keep open."""
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Take a connection."""
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, *_: object) -> None:
        return  # the client has gone


@contextmanager
def _http_server(
    handler: type[BaseHTTPRequestHandler], dead: threading.Event | None = None, port: int = 0
) -> Iterator[str]:
    """Serve in a thread; stop listening when `dead` is set."""
    server = _HttpServer(("127.0.0.1", port), handler)
    server.connections = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stopped = threading.Event()

    def watch() -> None:
        while dead is not None and not stopped.is_set():
            if dead.wait(0.02):
                server.end()
                return

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        stopped.set()
        if dead is None or not dead.is_set():
            server.end()


@contextmanager
def _raw_server(handle: Callable[[socket.socket, threading.Event], object]) -> Iterator[str]:
    """Serve each connection in a thread by `handle(connection, stopped)`."""
    stopped = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            handle(connection, stopped)

    def accept() -> None:
        while not stopped.is_set():
            with suppress(OSError):
                connection, _ = server.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.settimeout(0.2)
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            stopped.set()
