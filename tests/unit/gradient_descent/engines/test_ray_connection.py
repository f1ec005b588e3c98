"""Connections to Ray, with a module in its place. `tests/e2e/test_ray.py` uses a real one."""

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.gradient_descent.engines import ray_connection
from one_neuron.gradient_descent.engines.ray_connection import connect


class FakeRay:
    """The module `ray`.

    Parameters
    ----------
    host : str
        On which it listens.
    init : callable
        What happens when it starts.
    """

    def __init__(self, host: str = "127.0.0.1", init: Callable[[], object] = bool) -> None:
        self.host, self._init = host, init
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.options: dict[str, Any] = {}
        self.util = self

    def is_initialized(self) -> bool:
        """Return whether it has started."""
        return "init" in self.calls and "shutdown" not in self.calls

    def init(self, **options: Any) -> None:
        """Start."""
        self.options = options
        self.threads.add(threading.current_thread())
        self._init()
        self.calls.append("init")

    def shutdown(self) -> None:
        """End."""
        self.threads.add(threading.current_thread())
        self.calls.append("shutdown")

    def get_node_ip_address(self) -> str:
        """Return the address on which it listens."""
        return self.host


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeRay], FakeRay]:
    """Return a function that puts a fake in the place of Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def put(fake: FakeRay) -> FakeRay:
        monkeypatch.setitem(sys.modules, "ray", fake)
        return fake

    return put


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_ray_starts_and_ends_in_one_thread(use: Any) -> None:
    """Not in the main one, whose handlers of signals Ray would replace; its processes end with that thread."""
    fake = use(FakeRay())
    before = signal.getsignal(signal.SIGTERM)
    with connect("", 1000) as ray:
        assert ray is fake
        (thread,) = fake.threads
        assert thread.is_alive()
        assert fake.options["object_store_memory"] == 1000 + 128 * 2**20
        with connect("", 5) as again:
            assert again is fake
        assert fake.calls == ["init"]
    assert fake.calls == ["init", "shutdown"]
    assert fake.threads == {thread}
    assert thread is not threading.main_thread()
    assert not thread.is_alive()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("address", ["ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_nothing_answers(address: str, port: int, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the address and the reason, at once: Ray itself would wait for minutes, or for ever."""
    fake = use(FakeRay())
    free = address.format(port)
    monkeypatch.setattr(
        socket, "create_connection", Mock(side_effect=ConnectionRefusedError(111, "Connection refused"))
    )
    if "ray://" not in free:
        monkeypatch.setenv("RAY_ADDRESS", free)
    with (
        pytest.raises(EnvironmentProblem, match=rf"^no Ray answers at {free} \(Connection refused\); start it with"),
        connect(free if "ray://" in free else "", 0),
    ):
        pass
    assert fake.calls == []


def test_a_host_without_an_address(use: Any) -> None:
    """The resolver's reason is in the line."""
    use(FakeRay())
    with (
        pytest.raises(EnvironmentProblem, match=r"^no Ray answers at ray://name\.invalid:10001 \("),
        connect("ray://name.invalid:10001", 0),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ConnectionError("no server\nat 10.0.0.7"), r"no connection to Ray \(no server at 10\.0\.0\.7\); check its"),
        (ImportError("more of Ray is needed"), r"\(more of Ray is needed\); run `pip install 'ray\[client\]'`"),
    ],
)
def test_a_cluster_that_refuses(error: Exception, line: str, port: int, use: Any) -> None:
    """The error has one line and the exit code of the environment."""
    use(FakeRay(init=Mock(side_effect=error)))
    with pytest.raises(EnvironmentProblem, match=line), connect(f"ray://127.0.0.1:{port}", 0):
        pass


def test_something_else_listens(port: int, use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray tries again and again."""
    ended = threading.Event()
    use(FakeRay(init=ended.wait))
    monkeypatch.setattr(ray_connection, "_CONNECT_SECONDS", 0.01)
    monkeypatch.setattr(ray_connection, "_STOP_SECONDS", 0.01)
    with (
        pytest.raises(EnvironmentProblem, match=f"127.0.0.1:{port} does not answer as Ray"),
        connect(f"127.0.0.1:{port}", 0),
    ):
        pass
    ended.set()


def test_ray_does_not_start(use: Any) -> None:
    """Without an address, the remedy is another engine."""
    use(FakeRay(init=Mock(side_effect=RuntimeError("no space"))))
    with (
        pytest.raises(EnvironmentProblem, match=r"^Ray does not start \(no space\); choose ONE_NEURON_ENGINE=local$"),
        connect("", 0),
    ):
        pass


def test_an_interrupt_while_ray_starts(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread stops waiting, and Ray is ended when it has started."""
    main = threading.main_thread().ident
    assert main is not None
    fake = use(FakeRay(init=lambda: signal.pthread_kill(main, signal.SIGINT)))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(KeyboardInterrupt), connect("", 0):
        threading.Event().wait(60)
    assert fake.calls == ["init", "shutdown"]


def test_a_handler_that_is_not_pythons_stays(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a program in C around Python, for example: Python cannot set it again."""
    fake = use(FakeRay())
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    with connect("", 0):
        assert fake.calls == ["init"]


def test_a_ray_that_would_listen_on_the_network_is_refused(use: Any) -> None:
    """It is shut down again."""
    fake = use(FakeRay(host="192.0.2.2"))
    with pytest.raises(EnvironmentProblem, match=r"Ray would listen on 192\.0\.2\.2"), connect("", 0):
        pass
    assert fake.calls == ["init", "shutdown"]
