"""A limit on how long all answers of a tracking server take together.

`requests` limits each read of a socket, so a server that sends one byte a second holds MLflow for ever. Here all
waiting counts against one budget: connecting, waiting for an answer, and reading it. When the budget is spent, the
sockets are shut down, further requests fail at once, and no thread is left that could keep the process alive.

Two things are free, so that a slow link or a busy server is not cut off. An answer that is complete within
QUICK_SECONDS costs nothing, so any number of calls may be made. An upload or a download may take any time as long as it
moves: a block of an upload (16 kB) may take what is left of the budget, and a download must bring LEAST_RATE bytes a
second.
"""

import os
import socket
import threading
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

DEFAULT_SECONDS = 8.0  # of waiting, if MLFLOW_HTTP_REQUEST_TIMEOUT does not say otherwise
QUICK_SECONDS = 2.0
LEAST_RATE = 2_000  # bytes a second
_LOOK_SECONDS = 0.05


@dataclass
class _Watched:
    """An answer that is being waited for or read."""

    sock: socket.socket
    since: float
    limit: float  # seconds
    answer: Any = None  # urllib3's, when its head has arrived

    @property
    def is_complete(self) -> bool:
        """Return whether nothing more is read of it."""
        return self.answer is not None and bool(self.answer.closed or self.answer._original_response.isclosed())

    def is_late(self, now: float) -> bool:
        """Return whether the limit has passed, and less has arrived than a slow link brings."""
        waited = now - self.since
        received = self.answer.tell() if self.answer is not None else 0
        return waited > self.limit and received < LEAST_RATE * waited


class _Budget:
    """The seconds that are left for waiting, and a thread that ends what takes longer."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._watched: list[_Watched] = []
        self._thread: threading.Thread | None = None
        self.total = self._left = DEFAULT_SECONDS
        self.last_status = 0  # of HTTP

    def restart(self) -> None:
        """Begin again with the whole budget."""
        try:
            self.total = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", ""))
        except ValueError:
            self.total = DEFAULT_SECONDS
        self._left, self.last_status = self.total, 0

    @property
    def is_spent(self) -> bool:
        """Return whether nothing is left."""
        return self._left <= 0

    def left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        TimeoutError
            If nothing is left.
        """
        if self.is_spent:
            raise TimeoutError(f"no answer within {self.total:g} s")
        return self._left

    def spend(self, seconds: float) -> None:
        """Count a wait, unless it was quick."""
        if seconds > QUICK_SECONDS:
            self._left -= seconds

    def watch(self, sock: socket.socket) -> _Watched:
        """Begin to watch for an answer on a socket."""
        watched = _Watched(sock, time.monotonic(), self.left())
        with self._lock:
            self._watched.append(watched)
            if self._thread is None or not self._thread.is_alive():  # after a fork there is none
                self._thread = threading.Thread(target=self._look, name="http-limits", daemon=True)
                self._thread.start()
            self._lock.notify()
        return watched

    def end(self, watched: _Watched, *, failed: bool = False) -> None:
        """Stop watching, and count the time that an answer took."""
        with self._lock:
            if watched not in self._watched:
                return
            self._watched = [each for each in self._watched if each is not watched]
        waited = time.monotonic() - watched.since
        moved = not failed and watched.answer is not None and watched.answer.tell() > LEAST_RATE * waited
        self.spend(0 if moved else waited)

    def _look(self) -> None:
        """Shut down the sockets whose answers are late."""
        while True:
            with self._lock:
                while not self._watched:
                    self._lock.wait()
                watched = list(self._watched)
            now = time.monotonic()
            for each in watched:
                if each.is_complete:
                    self.end(each)
                elif each.is_late(now):
                    self.end(each, failed=True)
                    self._left = 0.0
                    _shut_down(each.sock)
            time.sleep(_LOOK_SECONDS)


def _shut_down(sock: socket.socket) -> None:
    """End all reads and writes of a socket, in whichever thread they wait."""
    try:
        # Not the method of an SSLSocket, which would change the object that another thread is using.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:  # it is closed
        return


BUDGET = _Budget()


class _Limited:
    """What both kinds of connections do within the budget."""

    host: str
    port: int
    timeout: float | None
    sock: socket.socket

    def connect(self) -> None:
        """Connect within the budget."""
        start = time.monotonic()
        self.timeout = _at_most(self.timeout, BUDGET.left())
        try:
            _resolve(self.host, self.port, self.timeout)
            super().connect()  # type: ignore[misc]
        finally:
            BUDGET.spend(time.monotonic() - start)

    def send(self, data: Any) -> None:
        """Send a part of a request; each block has the whole of what is left."""
        left = BUDGET.left()
        if self.sock is not None:
            self.sock.settimeout(left)
        start = time.monotonic()
        try:
            super().send(data)  # type: ignore[misc]
        except OSError:
            BUDGET.spend(time.monotonic() - start)
            raise

    def getresponse(self) -> Any:
        """Wait for the head of an answer; its body is watched until it has been read."""
        watched = BUDGET.watch(self.sock)
        self.timeout = _at_most(self.timeout, watched.limit + 1)  # the watch comes first
        try:
            watched.answer = super().getresponse()  # type: ignore[misc]
        except BaseException:
            BUDGET.end(watched, failed=True)
            raise
        BUDGET.last_status = watched.answer.status
        return watched.answer


class _LimitedHTTP(_Limited, HTTPConnection):
    pass


class _LimitedHTTPS(_Limited, HTTPSConnection):
    pass


def _at_most(timeout: float | None, seconds: float) -> float:
    """Return the shorter of two limits; None is none."""
    return seconds if timeout is None else min(timeout, seconds)


def _resolve(host: str, port: int, seconds: float) -> None:
    """Look up a name, in a thread that may be left behind: no timeout of a socket covers this.

    Raises
    ------
    TimeoutError
        If the name servers do not answer.
    """

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, port)
        except OSError:
            return  # the connection reports it

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"the name {host} cannot be looked up within {seconds:.0f} s")


def limit_http() -> None:
    """Have all HTTP connections that this process opens from now on share one budget, and begin with all of it."""
    HTTPConnectionPool.ConnectionCls = _LimitedHTTP
    HTTPSConnectionPool.ConnectionCls = _LimitedHTTPS
    if find_spec("botocore"):
        _limit_botocore()
    BUDGET.restart()


def _limit_botocore() -> None:
    """Limit the connections of boto3 as well: a server may have its clients write into a bucket themselves."""
    from botocore import awsrequest

    class LimitedHTTP(_Limited, awsrequest.AWSHTTPConnection):
        pass

    class LimitedHTTPS(_Limited, awsrequest.AWSHTTPSConnection):
        pass

    awsrequest.AWSHTTPConnectionPool.ConnectionCls = LimitedHTTP
    awsrequest.AWSHTTPSConnectionPool.ConnectionCls = LimitedHTTPS
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "2")  # as for MLflow's own requests; boto3 alone would try five times
