"""A file in an object store: the bytes of a range, and what is said when they cannot be read."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import pytest

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.storage import remote_file
from one_neuron.storage.remote_file import RemoteFile

URL = "memory://bucket/train.h5"
CONTENT = bytes(range(200))


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the file into a store in memory; read seven bytes at a time."""
    monkeypatch.setattr(remote_file, "_PART_BYTES", 7)
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/train.h5", CONTENT)
    yield
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(("start", "stop"), [(0, 200), (0, 7), (13, 14), (5, 180), (9, 9)])
def test_a_range(start: int, stop: int) -> None:
    """Exactly its bytes, in parts."""
    file = RemoteFile(URL)
    parts = list(file.read(start, stop))
    assert file.size == 200
    assert b"".join(parts) == CONTENT[start:stop]
    assert all(len(part) <= 7 for part in parts)


def test_a_range_behind_the_end() -> None:
    """The file is shorter than it should be."""
    with pytest.raises(DataError, match=f"'{URL}' ends after 200 bytes; upload the prepared set again"):
        list(RemoteFile(URL).read(190, 210))


def test_a_file_that_does_not_exist() -> None:
    """The message names it."""
    with pytest.raises(DataError, match=r"'memory://bucket/other' does not exist; upload the prepared set"):
        RemoteFile("memory://bucket/other")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            ModuleNotFoundError("Install s3fs to access S3"),
            r"\(Install s3fs to access S3\); .*`pip install -r requirements",
        ),
        (
            PermissionError("Access\nDenied"),
            r"\(Access Denied\); check ONE_NEURON_PIXELS_URL, and in the environment of Ray's",
        ),
        (TimeoutError(), r"\(TimeoutError\); check ONE_NEURON_PIXELS_URL"),
        (RuntimeError("no credentials"), r"\(no credentials\); check ONE_NEURON_PIXELS_URL"),  # a store's own kind
    ],
)
def test_a_store_that_cannot_be_read(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file is opened, or later."""

    def fail(*_: object, **__: object) -> None:
        raise error

    file = RemoteFile(URL)
    monkeypatch.setattr(file, "_file", type("Failing", (), {"seek": fail})())
    with pytest.raises(EnvironmentProblem, match=f"'{URL}' cannot be read .*{told}"):
        list(file.read(0, 1))
    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(EnvironmentProblem, match=f"'{URL}' cannot be read .*{told}"):
        RemoteFile(URL)


def test_a_protocol_that_is_unknown() -> None:
    """It is a problem with the store as well."""
    with pytest.raises(EnvironmentProblem, match=r"'abc://x' cannot be read on .* \(Protocol not known: abc\); check"):
        RemoteFile("abc://x")


@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [
        (404, DataError, "does not exist; upload"),
        (403, EnvironmentProblem, r"cannot be read on .* \(403, .*; check ONE_NEURON_PIXELS_URL"),
        (500, EnvironmentProblem, r"cannot be read on .* \(500, "),
        (None, EnvironmentProblem, r"cannot be read on .* \(Cannot connect to host "),
    ],
)
def test_a_web_server_that_does_not_send_it(status: int | None, kind: type[Exception], told: str) -> None:
    """Only 404 says that the file does not exist; None stands for a server that is away."""
    pytest.importorskip("aiohttp", reason="fsspec reads http:// with it")

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Any:
            if name in ("do_GET", "do_HEAD"):
                return partial(self.send_error, status or 0)
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/train.h5"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        if status is None:
            server.server_close()
        else:
            thread.start()
        try:
            with pytest.raises(kind, match=f"'{url}' {told}"):
                RemoteFile(url)
        finally:
            if status is not None:
                server.shutdown()
                thread.join()
