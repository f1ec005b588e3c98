"""The command `one-neuron ui`: MLflow's UI on this machine, with links to what is worth a look."""

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path

from one_neuron.commands.serve import bind_reason
from one_neuron.errors import EnvironmentProblem
from one_neuron.system.files import find_root
from one_neuron.tracking.connection import connect, mlflow_errors
from one_neuron.tracking.links import find_address, link_run, link_views, list_links
from one_neuron.tracking.store import NO_TELEMETRY, SERVERS, ensure_store
from one_neuron.tracking.tags import BEST, KIND

# Run by a process of its own, because this one becomes the server.
_OPEN_BROWSER = """
import socket, sys, time, webbrowser
address, port = sys.argv[1], int(sys.argv[2])
for _ in range(300):
    time.sleep(0.2)
    with socket.socket() as attempt:
        if attempt.connect_ex(("127.0.0.1", port)) == 0:
            webbrowser.open(address)
            break
"""
# MLflow's command line. Ctrl-C ends it without a traceback while it imports its libraries.
_MLFLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
from mlflow.cli import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(cli(prog_name="mlflow"))
"""


def run_ui(options: argparse.Namespace) -> None:
    """Replace this process by an MLflow server on 127.0.0.1, with the store that the stage `track` uses."""
    root = find_root()
    store = ensure_store(root)
    address = find_address(store, options.port)
    if store.uri.startswith(SERVERS):
        lines = list_links(address, find_links(root))
        print("\n".join([f"MLFLOW_TRACKING_URI names a server; open {address}", *lines]))
        return
    try:
        socket.create_server(("127.0.0.1", options.port)).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"port {options.port} cannot be used ({bind_reason(error)}); try another one: make ui "
            f"PORT={options.port % 65535 + 1}"
        ) from error
    links = find_links(root)
    print("\n".join([f"MLflow is at {address}; stop it with Ctrl-C. Open:", *list_links(address, links)]), flush=True)
    if _has_browser():
        start = next((link for link in links.values() if "viewStateShareKey" in link), "")
        command = [sys.executable, "-c", _OPEN_BROWSER, f"{address}/{start}", str(options.port)]
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # The background jobs are for GenAI evaluations; without them the server is one process instead of ten.
    os.environ.update(NO_TELEMETRY, PYTHONWARNINGS="ignore", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    command = [sys.executable, "-P", "-c", _MLFLOW, "ui", "--backend-store-uri", store.uri]
    if store.artifact_location:
        command += ["--default-artifact-root", store.artifact_location]
    os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", str(options.port), "--workers", "1"])  # noqa: S606


def find_links(root: Path) -> dict[str, str]:
    """Return links to the best run of the sweep that finished last and to the saved views, by what they show.

    The UI opens without them, so there are none if the store cannot be read, or if an experiment was deleted.
    """
    try:
        connection = connect(root)
        client, ids = connection.client, connection.experiment_ids
        with mlflow_errors(connection.store):
            experiments = {name: client.get_experiment(number) for name, number in ids.items()}
            sweeps = client.search_runs(
                list(ids.values()),
                filter_string=f"tags.`{KIND}` = 'sweep' AND attributes.status = 'FINISHED'",
                order_by=["attributes.end_time DESC"],
                max_results=1,
            )
            best = [client.get_run(run.data.tags[BEST]).info for run in sweeps if run.data.tags.get(BEST)]
    except EnvironmentProblem:
        return {}
    first = {"Best run of the last sweep": link_run(best[0].experiment_id, best[0].run_id)} if best else {}
    return first | link_views({name: (ids[name], one.tags) for name, one in experiments.items()})


def _has_browser() -> bool:
    """Return whether someone is at a terminal who can see a browser: output to a pipe or a file opens none."""
    shown = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    return sys.stdout.isatty() and shown
