"""A connection to a Ray cluster, or to a Ray of this machine alone, which starts and ends with it."""

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Event, Thread, current_thread, main_thread
from typing import Any

from one_neuron.errors import EnvironmentProblem, one_line
from one_neuron.system.machine import count_cores

_LOOPBACK = ("127.0.0.1", "::1")
_SPARE_BYTES = 128 * 2**20  # of Ray's memory for objects, beside what the caller sends
_LOCAL = "choose ONE_NEURON_ENGINE=local"
_ANSWER_SECONDS = 5.0
_CONNECT_SECONDS = 30.0
_STOP_SECONDS = 10.0


@contextmanager
def connect(address: str, object_bytes: int) -> Iterator[Any]:
    """Yield the module `ray`, connected to a cluster. A connection that this process already has is used as it is.

    Parameters
    ----------
    address : str
        "ray://host:port" is a server of Ray Client. "" is the cluster that Ray's variable RAY_ADDRESS names; without
        that, a Ray of this machine alone, which listens on loopback only and ends with the block.
    object_bytes : int
        What processes will send to each other; that Ray gets memory for it.

    Raises
    ------
    EnvironmentProblem
        If no cluster answers, or Ray cannot be started here.
    """
    loaded = sys.modules.get("ray")
    if loaded is not None and loaded.is_initialized():
        yield loaded
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    local = where == "local"
    with ExitStack() as stack:
        if not local:
            _check_answer(where)
            options: dict[str, Any] = {"address": where}
        else:
            stack.enter_context(_loopback_only())
            # In /tmp: the path of a socket must be short.
            folder = tempfile.mkdtemp(prefix="one-neuron-ray-", dir="/tmp")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            options = {
                "num_cpus": count_cores(),
                "include_dashboard": False,
                "object_store_memory": object_bytes + _SPARE_BYTES,
                "_temp_dir": folder,
            }
        import ray as library

        ray: Any = library  # typed in parts only
        session = _Session(ray, options)
        stack.callback(session.stop)
        try:
            session.start()
            session.wait_for_start()
        except ImportError as error:
            raise EnvironmentProblem(
                f"no connection to Ray ({one_line(error)}); run `pip install 'ray[client]'`"
            ) from error
        except (ConnectionError, OSError, RuntimeError, ValueError) as error:
            what, remedy = ("Ray does not start", _LOCAL) if local else ("no connection to Ray", "check its address")
            raise EnvironmentProblem(f"{what} ({one_line(error)}); {remedy}") from error
        if local and (host := ray.util.get_node_ip_address()) not in _LOOPBACK:
            raise EnvironmentProblem(
                f"Ray would listen on {host}: it was imported before it could be limited to this machine. Call "
                "ray.init() yourself, or set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before the import"
            )
        yield ray


def _check_answer(where: str) -> None:
    """Raise EnvironmentProblem if nothing listens at an address: Ray itself would try for minutes, or for ever."""
    found = re.fullmatch(r"(?:ray://)?\[?(?P<host>[^/\s]+?)\]?:(?P<port>[0-9]{1,5})", where)
    if not found:
        return  # "auto", for example
    try:
        socket.create_connection((found["host"], int(found["port"])), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or one_line(error)
        raise EnvironmentProblem(
            f"no Ray answers at {where} ({reason}); start it with `ray start --head`, or correct RAY_ADDRESS or "
            "ONE_NEURON_ENGINE"
        ) from error


class _Session(Thread):
    """Has Ray start, and end, in a thread of its own, in which Ray does not replace the handlers of signals.

    So Ctrl-C and SIGTERM interrupt the main thread at once. Ray's processes end when the thread that started them ends.
    """

    def __init__(self, ray: Any, options: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._ray, self._options = ray, options
        self._ready: Future[None] = Future()
        self._end = Event()

    def run(self) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)  # it would warn that it has set no handlers
        try:
            self._ray.init(log_to_driver=False, logging_level="error", **self._options)
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self._ready.set_exception(error)
            return
        self._ready.set_result(None)
        self._end.wait()
        self._ray.shutdown()

    def wait_for_start(self) -> None:
        """Return when Ray has started; raise its exception if it has not."""
        where = self._options.get("address")
        try:
            self._ready.result(_CONNECT_SECONDS if where else None)
        except TimeoutError:
            raise ConnectionError(f"{where} does not answer as Ray does") from None
        handler = signal.getsignal(signal.SIGTERM)  # None: not Python's
        if handler is not None and current_thread() is main_thread():
            # Ray's library in C++ puts a handler before Python's, which prints a stack.
            signal.signal(signal.SIGTERM, handler)

    def stop(self) -> None:
        """End Ray, also one that is still starting."""
        self._end.set()
        if self.ident is not None:  # it has begun
            self.join(_STOP_SECONDS)


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Set the variables with which a Ray that starts in the block listens on loopback only and demands a token."""
    before = dict(os.environ)
    os.environ.update(
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # the only switch for loopback; on these systems it is the default
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=_token(),  # otherwise Ray writes one into the home folder
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",  # without a warning
    )
    _reread_environment()
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        _reread_environment()


def _reread_environment() -> None:
    """Have Ray read these variables again, if it has been imported: it reads them once, at its import."""
    constants: Any = sys.modules.get("ray._private.ray_constants")
    raylet: Any = sys.modules.get("ray._raylet")
    if constants and raylet:
        name = constants.ENABLE_RAY_CLUSTERS_ENV_VAR
        constants.ENABLE_RAY_CLUSTER = constants.env_bool(name, not constants.IS_WINDOWS_OR_OSX)
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


@cache
def _token() -> str:
    """Return a secret, the same one until this process ends."""
    return secrets.token_hex(32)
