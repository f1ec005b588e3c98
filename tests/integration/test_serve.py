"""`one-neuron serve` as a process: the page in Chromium, hostile requests, and its end."""

import base64
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.browser import open_browser
from tests.results import write_result

pytestmark = pytest.mark.integration

# Paste or drop a picture: what a browser does then, as far as a script may.
TRANSFER = """([kind, data]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], `${kind}.jpg`, { type: "image/jpeg" }));
    const options = { bubbles: true, cancelable: true, clipboardData: transfer, dataTransfer: transfer };
    document.body.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, options) : new DragEvent(kind, options));
}"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a result, a bright picture, which is a cat, a dark one and a hostile one."""
    write_result(tmp_path)
    for name, grey in (("bright.png", 230), ("dark.jpg", 20), ("middle.webp", 100)):
        Image.new("RGB", (40, 30), (grey, grey, grey)).save(tmp_path / name)
    hostile = b"\x89PNG\r\n\x1a\n"
    header = b"IHDR" + (2**31 - 1).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    for chunk in (header, b"IDAT" + zlib.compress(b""), b"IEND"):
        hostile += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "hostile.png").write_bytes(hostile)
    return tmp_path


@contextmanager
def serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a server in a folder; yield its process and port, and end it by its process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "one_neuron.cli", "serve", "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert f"on http://127.0.0.1:{port}; stop with Ctrl-C." in process.stdout.readline()
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    assert ask(port, "GET", "/health")[1] == {"status": "ok"}
                    break
                except ConnectionError:
                    time.sleep(0.05)
            yield process, port
        finally:
            process.kill()


def ask(port: int, method: str, address: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    """Return the status and the JSON of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, address, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def predict(folder: Path, *names: str) -> dict[str, float]:
    """Return the probabilities that `one-neuron predict` prints."""
    command = [sys.executable, "-m", "one_neuron.cli", "predict", "--json", *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    lines = map(json.loads, done.stdout.splitlines())
    return {line["file"]: line["probability"] for line in lines}


def test_the_page_says_what_the_command_says(folder: Path, tmp_path: Path) -> None:
    """A cat, a picture that is none, and a hostile file, through the page; nothing is loaded from elsewhere."""
    expected = predict(folder, "bright.png", "dark.jpg", "middle.webp")
    messages: list[str] = []
    requested: list[str] = []
    with serving(folder) as (_, port), open_browser() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector("#mistakes figure")
        assert page.inner_text("h1") == "Is there a cat in this picture?"
        for name, answer in (("bright.png", "cat"), ("dark.jpg", "non-cat"), ("middle.webp", "non-cat")):
            page.set_input_files("#file", folder / name)
            page.wait_for_selector(f"#original[alt='{name}']")
            assert float(page.get_attribute("#answer", "data-probability") or "nan") == expected[name]
            assert page.inner_text("#answer").startswith(f"{answer}, P(cat) = ")
            sizes = page.evaluate("['seen', 'contributions'].map((id) => document.getElementById(id).naturalWidth)")
            assert sizes == [4, 4]
        data = base64.b64encode((folder / "dark.jpg").read_bytes()).decode()
        for kind in ("paste", "drop"):
            page.evaluate(TRANSFER, [kind, data])
            page.wait_for_selector(f"#original[alt='{kind}.jpg']")
            assert float(page.get_attribute("#answer", "data-probability") or "nan") == expected["dark.jpg"]
        page.set_input_files("#file", folder / "hostile.png")
        page.wait_for_selector("#result", state="hidden")
        assert page.inner_text("#message").startswith("hostile.png has 2147483647 x 2147483647 pixels")
        page.set_input_files("#file", folder / "bright.png")
        page.wait_for_selector("#result", state="visible")
    assert messages == []
    assert all(url.startswith((f"http://127.0.0.1:{port}/", "data:", "blob:")) for url in requested)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_server_ends_when_asked(folder: Path, number: signal.Signals) -> None:
    """One line, and the exit code of every command."""
    with serving(folder) as (process, _):
        process.send_signal(number)
        _, error = process.communicate(timeout=20)
    word, code = ("interrupted", 130) if number == signal.SIGINT else ("terminated", 143)
    assert process.returncode == code
    assert error == f"one-neuron: {word}; nothing half-written is left behind\n"


def test_nonsense_does_not_stop_the_server(folder: Path) -> None:
    """Bytes that are not HTTP, a request that ends early, and hostile pictures."""
    content = (folder / "hostile.png").read_bytes()
    with serving(folder) as (process, port):
        for sent in (b"\x00\xff\r\n\r\n", b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nshort"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(sent)
        for body in (content, b"", np.random.default_rng(1).bytes(100_000), b"\xff\xd8\xff" + bytes(1000)):
            status, answer = ask(port, "POST", "/predict", body)
            assert status == 400
            assert str(folder) not in json.dumps(answer)
        status, answer = ask(port, "POST", "/predict", (folder / "bright.png").read_bytes())
        assert (status, answer["results"][0]["class"]) == (200, "cat")
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=20)
    assert "Traceback" not in error
