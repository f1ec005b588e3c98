"""The command `one-neuron serve`: a model behind HTTP on this machine."""

import argparse
import socket
from pathlib import Path

from one_neuron.errors import EnvironmentProblem, SettingsError, one_line
from one_neuron.layout import EVALUATE_METRICS, MODEL_FILE, TEST_FILE


def add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "answer HTTP requests with predictions, and show a page to try the model"
    serve = commands.add_parser("serve", help=what, allow_abbrev=False)
    chosen = serve.add_mutually_exclusive_group()
    what = "a trained model (default: %(default)s in the current folder), or models:/NAME@ALIAS of MLflow's registry"
    chosen.add_argument("--model", default=str(MODEL_FILE), metavar="MODEL", help=what)
    chosen.add_argument("--run", metavar="ID", dest="run_id", help="the model of this MLflow run")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=parse_port, default=8000, help="the port (default: %(default)s)")
    serve.add_argument("--open", action="store_true", help="open the page in a browser")
    serve.set_defaults(run=run_serve)


def parse_port(text: str) -> int:
    """Return a port number; argparse reports a wrong one."""
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; expected a whole number from 1 to 65535")
    return int(text)


def run_serve(options: argparse.Namespace) -> None:
    """Serve a model until Ctrl-C or SIGTERM."""
    import uvicorn

    from one_neuron.serving.app import create_app

    predictor = _load(options)
    with check_port(options.host, options.port):
        app = create_app(predictor)
    address = f"http://{options.host}:{options.port}"
    names = " or ".join(predictor.model.classes)
    print(f"Serving {names} ({next(iter(predictor.origin.values()))}) on {address}; stop with Ctrl-C.", flush=True)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
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
        import threading
        import webbrowser

        threading.Timer(0.5, webbrowser.open, [address]).start()
    server.run()


def check_port(host: str, port: int) -> socket.socket:
    """Return a socket that shows that the port is free, to be closed before it is used.

    Raises
    ------
    EnvironmentProblem
        If the port cannot be used.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise EnvironmentProblem(
            f"{host}:{port} cannot be used ({one_line(error)}); name another port, for example --port {port % 65535 + 1}"
        ) from error
