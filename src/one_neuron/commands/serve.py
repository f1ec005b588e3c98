"""The command `one-neuron serve`: a model behind HTTP on this machine."""

import argparse
import socket
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.commands.predict import load_chosen_model
from one_neuron.errors import DataError, EnvironmentProblem, one_line
from one_neuron.layout import EVALUATE_METRICS, MODEL_FILE, TEST_FILE, find_repository
from one_neuron.system.outputs import read_json

if TYPE_CHECKING:
    from one_neuron.serving.predictor import Predictor

REGISTRY = "models:/"


def add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "answer HTTP requests with predictions, and show a page to try the model"
    serve = commands.add_parser("serve", help=what, allow_abbrev=False)
    chosen = serve.add_mutually_exclusive_group()
    what = "a trained model (default: %(default)s in the current folder), or models:/NAME@ALIAS of MLflow's registry"
    chosen.add_argument("--model", default=str(MODEL_FILE), metavar="MODEL", help=what)
    chosen.add_argument("--run", metavar="ID", dest="run_id", help="the model of this MLflow run")
    serve.add_argument(
        "--host", type=_host, default="127.0.0.1", help="the address to listen on (default: %(default)s)"
    )
    serve.add_argument("--port", type=parse_port, default=8000, help="the port (default: %(default)s)")
    serve.add_argument("--open", action="store_true", help="open the page in a browser")
    serve.set_defaults(run=run_serve)


def _host(text: str) -> str:
    """Return a host; "" would listen on all addresses, for which there is 0.0.0.0."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a host; expected for example 127.0.0.1")
    return text


def parse_port(text: str) -> int:
    """Return a port number; argparse reports a wrong one."""
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a whole number from 1 to 65535")
    return int(text)


def run_serve(options: argparse.Namespace) -> None:
    """Serve a model until Ctrl-C or SIGTERM."""
    import uvicorn

    from one_neuron.serving.app import create_app

    check_port(options.host, options.port)
    predictor = load_predictor(options.model, options.run_id)
    address = write_address(options.host, options.port)
    names = " or ".join(predictor.model.classes)
    print(f"Serving {names} ({next(iter(predictor.origin.values()))}) on {address}; stop with Ctrl-C.", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(predictor),
            host=options.host,
            port=options.port,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=30,
            limit_concurrency=1000,  # connections
            timeout_graceful_shutdown=10,
        )
    )
    if options.open:
        threading.Timer(0.5, webbrowser.open, [address]).start()
    server.run()


def load_predictor(name: str, run_id: str | None) -> "Predictor":
    """Return the predictor of a model file, of an MLflow run, or of a registered model.

    Raises
    ------
    SettingsError, DataError, EnvironmentProblem
        If there is no such run or registered model, if its model cannot be read, or if the store cannot be used.
    """
    from one_neuron.serving.predictor import Predictor

    if run_id is not None or name.startswith(REGISTRY):
        from one_neuron.tracking.logged_model import fetch_model

        logged = fetch_model(find_repository(), run=run_id, registered=name if run_id is None else None)
        return Predictor(logged.model, logged.origin, logged.metrics)
    path = Path(name)
    model = load_chosen_model(path)
    if path != MODEL_FILE:
        return Predictor(model, {"file": path.name})
    metrics: dict[str, float] = {}
    with suppress(DataError):  # without the outputs of `evaluate`, their numbers are not shown
        metrics = {key: value for key, value in read_json(EVALUATE_METRICS).items() if isinstance(value, float)}
    return Predictor(model, {"file": str(path)}, metrics, TEST_FILE if TEST_FILE.is_file() else None)


def write_address(host: str, port: int) -> str:
    """Return the address of the page."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_port(host: str, port: int) -> None:
    """Raise EnvironmentProblem if a port cannot be used."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise EnvironmentProblem(
            f"port {port} of {host} cannot be used ({bind_reason(error)}); name another one: --port {port % 65535 + 1}"
        ) from error


def bind_reason(error: OSError) -> str:
    """Return why a port cannot be used, without the address that Python adds."""
    return one_line(error.strerror or error).partition(" (while")[0]
