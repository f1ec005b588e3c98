"""The main job with tracking servers that do not work, and once more when the server is back."""

import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

from tests.bad_servers import Proxy, dripping, failing, proxy, refusing, silent
from tests.faults.project import Case, Counts, Workshop, check_nothing_left, hash_outputs, run_to_the_end

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
    case = workshop.copy(workshop.earlier, f"outage-{number}")
    with tracking_server(case.folder.parent / "server") as server:
        with open_bad(server, chance) as bad:
            address = bad.address if isinstance(bad, Proxy) else str(bad)
            port = int(address.rpartition(":")[2])
            started = time.monotonic()
            during = run_to_the_end(case, MLFLOW_TRACKING_URI=address)
            seconds = time.monotonic() - started
        at = f"the server {name}"
        delay = seconds - workshop.seconds(workshop.earlier)
        assert delay < MAX_DELAY, f"{at}: {delay:.1f} s longer than usual: {during.stdout}"
        assert during.returncode == 4, f"{at}: exit code {during.returncode}: {during.stdout}"
        assert "Traceback" not in during.stdout, f"{at}: {during.stdout}"
        assert _results(case) == _results(workshop.done), f"{at}: other files"
        with proxy(server, port=port):
            for attempt in range(2):
                after = run_to_the_end(case, MLFLOW_TRACKING_URI=address)
                assert after.returncode == 0, f"{at}, then back: exit code {after.returncode}: {after.stdout}"
                runs = _read_runs(case.folder.parent / "server/store.db")
                assert [status for _, status in runs] == ["FINISHED"], f"{at}, then back {attempt}: {runs}"
    assert hash_outputs(case) == hash_outputs(workshop.done), f"{at}, then back: other files"
    check_nothing_left(case, workshop.done)
    workshop.remove(case)
    return Counter([name])


@contextmanager
def tracking_server(folder: Path) -> Iterator[str]:
    """Yield the address of a real MLflow server, which keeps runs and artifacts in a folder."""
    folder.mkdir()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/store.db", "--artifacts-destination", f"{folder}/artifacts"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    case = Case(folder)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, *stores],
            cwd=folder,
            env=case.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not _listens(port):
                assert time.monotonic() < deadline, (folder / "log").read_text(encoding="utf-8")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            case.kill_all()


def _listens(port: int) -> bool:
    """Return whether a server listens at a port."""
    with closing(socket.socket()) as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _results(case: Case) -> dict[str, str]:
    """Return the hashes of all outputs but the receipt of the tracking."""
    return {name: digest for name, digest in hash_outputs(case).items() if name != _RECEIPT}


def _read_runs(store: Path) -> list[tuple[str, str]]:
    """Return the content key and the status of every run of a server that is not deleted."""
    with closing(sqlite3.connect(store, timeout=60)) as database:
        return database.execute(
            "SELECT t.value, r.status FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid "
            "AND t.key = 'one_neuron.keys' WHERE r.lifecycle_stage = 'active'"
        ).fetchall()
