"""The main job with tracking servers that do not work, and once more when the server is back."""

import random
import socket
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from tests.bad_servers import Proxy, dripping, failing, proxy, real, refusing, silent
from tests.faults.project import Case, Counts, Workshop, check_nothing_left, hash_outputs, run_timed, run_to_the_end

MAX_DELAY = 15.0  # seconds that an outage may take
_RECEIPT = "data/tracked.json"  # says that the result was tracked, so it is missing after an outage

Server = Callable[[str, random.Random], AbstractContextManager[object]]
# What answers instead of the real server, whose address is given; the last one passes on a random number of requests.
SERVERS: dict[str, Server] = {
    "refuses": lambda _server, _chance: refusing(),
    "never answers": lambda _server, _chance: silent(),
    "sends a byte a second": lambda _server, _chance: dripping(),
    "returns 500": lambda _server, _chance: failing(),
    "artifact store returns 500": lambda server, _: proxy(server, fails=lambda path: "artifacts" in path),
    "dies half-way": lambda server, chance: proxy(
        server, dies_at=chance.randrange(5, 60), passes_last=chance.random() < 0.5
    ),
}


def lose_server(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Run the main job with a bad server, then with the real one at the same address; count runs and seconds."""
    name, open_bad = list(SERVERS.items())[number % len(SERVERS)]
    # The usual time is measured now: the machine may have been less busy when the folders were made.
    usual = run_timed(workshop.copy(workshop.earlier, f"outage-{number}"))
    case = workshop.copy(workshop.earlier, f"outage-{number}")
    with real(case.folder.parent / "server") as server:
        with open_bad(server, chance) as bad:
            address = bad.address if isinstance(bad, Proxy) else str(bad)
            port = int(address.rpartition(":")[2])
            started = time.monotonic()
            during = run_to_the_end(case, MLFLOW_TRACKING_URI=address)
            seconds = time.monotonic() - started
        at = f"the server {name}"
        assert seconds - usual < MAX_DELAY, f"{at}: {seconds:.1f} s instead of {usual:.1f} s: {during.stdout}"
        assert during.returncode == 4, f"{at}: exit code {during.returncode}: {during.stdout}"
        assert "Traceback" not in during.stdout, f"{at}: {during.stdout}"
        assert _results(case) == _results(workshop.done), f"{at}: other files"
        _wait_for_port(port)
        with proxy(server, port=port):
            for attempt in range(2):
                after = run_to_the_end(case, MLFLOW_TRACKING_URI=address)
                assert after.returncode == 0, f"{at}, then back: exit code {after.returncode}: {after.stdout}"
                keys = _read_keys(case.folder.parent / "server/s.db", "result")
                assert len(keys) == 1, f"{at}, then back {attempt}: {keys}"
    assert hash_outputs(case) == hash_outputs(workshop.done), f"{at}, then back: other files"
    check_nothing_left(case, workshop.done)
    workshop.remove(case)
    return Counter([name])


def lose_server_in_sweep(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Run a sweep of 24 configurations while the server dies, then send what was kept: each has exactly one run."""
    case = workshop.copy(workshop.done, f"sweep-outage-{number}")
    rates = ",".join(f"{0.0001 * step:.4f}" for step in range(1, 25))
    sweep = (sys.executable, "pipeline/sweep.py", "-m", f"train.learning_rate={rates}")
    with real(case.folder.parent / "server") as server:
        dies_at = 0 if number == 0 else chance.randrange(1, 60)
        with proxy(server, dies_at=dies_at) as bad:
            port = int(bad.address.rpartition(":")[2])
            during = run_to_the_end(case, *sweep, MLFLOW_TRACKING_URI=bad.address)
        _wait_for_port(port)
        at = f"the server died at request {dies_at}"
        assert during.returncode in (0, 4), f"{at}: exit code {during.returncode}: {during.stdout}"
        assert "Traceback" not in during.stdout, f"{at}: {during.stdout}"
        with proxy(server, port=port) as good:
            for _ in range(2):
                after = run_to_the_end(case, "one-neuron", "track", "--all", MLFLOW_TRACKING_URI=good.address)
                assert after.returncode == 0, f"{at}, then back: exit code {after.returncode}: {after.stdout}"
        keys = _read_keys(case.folder.parent / "server/s.db", "configuration")
    assert len(keys) == len(set(keys)) == 24, f"{at}: {len(keys)} runs of {len(set(keys))} configurations"
    workshop.remove(case)
    return Counter({"configurations": 24})


def _wait_for_port(port: int) -> None:
    """Wait until a server that has ended has left its port."""
    deadline = time.monotonic() + 5
    while True:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < deadline, f"port {port} is still in use"
            time.sleep(0.05)
        else:
            return


def _results(case: Case) -> dict[str, str]:
    """Return the hashes of all outputs but the receipt of the tracking."""
    return {name: digest for name, digest in hash_outputs(case).items() if name != _RECEIPT}


def _read_keys(store: Path, kind: str) -> list[str]:
    """Return the keys of all finished runs of a kind on a server; an unfinished one is an error."""
    with closing(sqlite3.connect(store, timeout=60)) as database:
        found = database.execute(
            "SELECT keys.value, runs.status FROM runs JOIN tags kind ON kind.run_uuid = runs.run_uuid "
            "AND kind.key = 'one_neuron.kind' JOIN tags keys ON keys.run_uuid = runs.run_uuid "
            "AND keys.key = 'one_neuron.keys' WHERE kind.value = ? AND runs.lifecycle_stage = 'active'",
            [kind],
        ).fetchall()
    assert {status for _, status in found} <= {"FINISHED"}, found
    return [keys for keys, _ in found]
