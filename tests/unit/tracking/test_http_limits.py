"""The limit on all answers of a server together, against servers that misbehave. MLflow is not imported here."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import requests
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from one_neuron.tracking import http_limits
from one_neuron.tracking.http_limits import BUDGET, limit_http
from tests import bad_servers

TOTAL = 0.8


@pytest.fixture(autouse=True)
def _limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(TOTAL))
    monkeypatch.setattr(HTTPConnectionPool, "ConnectionCls", None)  # put back after the test
    monkeypatch.setattr(HTTPSConnectionPool, "ConnectionCls", None)
    limit_http()
    yield
    monkeypatch.undo()
    BUDGET.restart()


@pytest.mark.parametrize("server", [bad_servers.silent, bad_servers.dripping])
def test_an_answer_that_never_ends_is_cut_off(server: Callable[[], AbstractContextManager[str]]) -> None:
    """Though each byte comes in time for the limit that `requests` has."""
    with server() as address:
        start = time.monotonic()
        with pytest.raises(requests.RequestException):
            requests.get(address, timeout=30)
        assert TOTAL <= time.monotonic() - start < TOTAL + 1
        assert BUDGET.is_spent
        with pytest.raises(requests.RequestException):  # the next call does not wait again
            requests.get(address, timeout=30)
        assert time.monotonic() - start < TOTAL + 1.2


def test_many_threads_are_cut_off_together() -> None:
    """MLflow sends artifacts from a pool, whose threads would keep Python from ending."""
    with bad_servers.dripping() as address:
        threads = [threading.Thread(target=_try, args=[address]) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TOTAL + 2)
        assert not any(thread.is_alive() for thread in threads)


def _try(address: str) -> None:
    with pytest.raises(requests.RequestException):
        requests.get(address, timeout=30)


def _ask_often(address: str) -> None:
    for _ in range(20):
        requests.get(address, timeout=30)


def test_slow_answers_share_the_budget_and_quick_ones_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy server may be asked any number of times; one that is slow each time is given up."""
    monkeypatch.setattr(http_limits, "QUICK_SECONDS", 0.2)
    with bad_servers.failing(404) as address, bad_servers.proxy(address, delay=0.3) as slow:
        for _ in range(20):
            assert requests.get(address, timeout=30).status_code == 404
        assert BUDGET.left() == TOTAL
        with pytest.raises(requests.RequestException):
            _ask_often(slow.address)
        assert 1 <= len(slow.requests) <= 4


class _SlowFile(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        time.sleep(TOTAL / 20)
        return super().read(size)


def test_an_upload_that_moves_may_take_longer_than_the_budget() -> None:
    """The limit is for each block."""
    with bad_servers.failing(404) as address:
        start = time.monotonic()
        assert requests.put(address, data=_SlowFile(bytes(40 * 16384)), timeout=30).status_code == 404
        assert time.monotonic() - start > 1.5 * TOTAL
        assert not BUDGET.is_spent


def test_a_server_that_stops_reading_an_upload_is_given_up() -> None:
    """Nothing moves, so the budget ends it."""
    with bad_servers.silent() as address:
        start = time.monotonic()
        with pytest.raises(requests.RequestException):
            requests.put(address, data=bytes(50_000_000), timeout=30)
        assert time.monotonic() - start < TOTAL + 1.5


def test_a_name_that_cannot_be_looked_up_does_not_hold_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver of the system may wait for half a minute."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    start = time.monotonic()
    with pytest.raises(requests.RequestException, match="cannot be looked up"):
        requests.get("http://localhost:9", timeout=30)
    assert time.monotonic() - start < TOTAL + 1
