"""The command `one-neuron ui`: when a browser is opened, and on which page. A test in tests/e2e opens the links."""

import os
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from one_neuron.commands import ui
from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.store import Store

LINKS = {"Best run": "#/experiments/2/runs/b?x", "Results": "#/experiments/1/runs?viewStateShareKey=results"}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Replace everything that would start a process; return what was started."""
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    store = Store("sqlite:///mlflow.db", "mlflow.db", "file:///artifacts", tmp_path / "mlflow.db", tmp_path / "lock")
    monkeypatch.setattr(ui, "ensure_store", lambda root: store)
    monkeypatch.setattr(ui, "find_links", lambda root: LINKS)
    monkeypatch.setattr(os, "execv", lambda _, command: found.update(server=command))
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: found.update(browser=command[-2:]))
    monkeypatch.setattr(os, "environ", {**os.environ})
    return found


def free_port() -> int:
    """Return a port that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


@pytest.mark.parametrize(
    ("variables", "terminal", "opens"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, True),
        ({"BROWSER": "firefox"}, True, True),
        ({}, True, False),  # a machine without a screen, or reached by ssh
        ({"DISPLAY": ":0"}, False, False),  # a script, or `make ui | cat`
    ],
)
def test_a_browser_is_opened_where_a_person_sees_it(
    started: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    *,
    terminal: bool,
    opens: bool,
) -> None:
    """On the first saved view; the links are printed in any case."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    os.environ.update(variables)
    port = free_port()
    ui.run_ui(Namespace(port=port))
    address = f"http://127.0.0.1:{port}"
    assert started.get("browser") == ([f"{address}/{LINKS['Results']}", str(port)] if opens else None)
    assert started["server"][-5:] == ["127.0.0.1", "--port", str(port), "--workers", "1"]
    assert capsys.readouterr().out.splitlines() == [
        f"MLflow is at {address}; stop it with Ctrl-C. Open:",
        f"  Best run  {address}/{LINKS['Best run']}",
        f"  Results   {address}/{LINKS['Results']}",
    ]


def test_a_server_is_named_with_its_own_address(
    started: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is started."""
    server = Store("http://me:secret@host:8080", "http://host:8080", None, None, Path("lock"))
    monkeypatch.setattr(ui, "ensure_store", lambda root: server)
    ui.run_ui(Namespace(port=5000))
    assert capsys.readouterr().out.splitlines() == [
        "MLFLOW_TRACKING_URI names a server; open http://host:8080",
        f"  Best run  http://host:8080/{LINKS['Best run']}",
        f"  Results   http://host:8080/{LINKS['Results']}",
    ]
    assert started == {}


def test_the_browser_waits_for_the_server(tmp_path: Path) -> None:
    """The process that opens it ends when the server has answered."""
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n', encoding="utf-8")
    browser.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        command = [sys.executable, "-c", ui._OPEN_BROWSER, f"http://127.0.0.1:{port}/#/x", port]
        subprocess.run(command, env={**os.environ, "BROWSER": f"{browser} %s"}, check=True, timeout=60)
    assert seen.read_text(encoding="utf-8") == f"http://127.0.0.1:{port}/#/x"


def test_the_ui_opens_without_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store that cannot be read, or a deleted experiment, which is restored in the UI."""

    def refuse(*_: object) -> SimpleNamespace:
        raise EnvironmentProblem("the experiment is deleted")

    monkeypatch.setattr(ui, "connect", refuse)
    assert ui.find_links(tmp_path) == {}
