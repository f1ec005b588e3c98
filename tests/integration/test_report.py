"""`one-neuron report --html` with a real MLflow store, and the page in a real browser without a network."""

import os
from pathlib import Path
from typing import Any

import pytest

from one_neuron.cli import main
from one_neuron.tracking.record import record_result
from one_neuron.tracking.store import ensure_store, prepare_mlflow
from tests.browser import open_browser
from tests.results import write_result

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a result in it and names that are not plain letters."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "DVC_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return write_result(tmp_path, classes=("<b>other</b>", "\u732b & co"), names=("a<i>.png", "\u0627.png"))


def client_of(root: Path) -> Any:
    """Return an MLflow client of the store in `root`."""
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(ensure_store(root).uri)


def test_the_page_is_stored_with_the_run_and_replaced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the top of the artifacts, under the same name whatever the file is called; the result stays the same."""
    key = record_result(folder, folder).content_key
    for name, arguments in (("report.html", []), ("other.html", ["other.html"])):
        assert main(["report", "--html", *arguments]) == 0
        run = record_result(folder, folder)
        assert capsys.readouterr().out == (
            f"wrote '{name}' ({(folder / name).stat().st_size / 1e6:.1f} MB); open it in a browser\n"
            f"also stored with the MLflow run {run.run_id}, as report.html\n"
        )
        assert (run.created, run.content_key) == (False, key)
        client = client_of(folder)
        assert [item.path for item in client.list_artifacts(run.run_id) if item.path.endswith("html")] == [
            "report.html"
        ]
        page = (folder / name).read_text(encoding="utf-8")
        assert Path(client.download_artifacts(run.run_id, "report.html")).read_text(encoding="utf-8") == page
        assert f"({run.run_id}) in mlflow.db" in page


def test_without_a_run_the_page_is_written_all_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line says why it is in no run: there is none, and no store is made for it, or the store is damaged."""
    assert main(["report", "--html"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("wrote 'report.html'")
    assert printed.err == (
        "one-neuron: warning: no MLflow run shows this result; `make track` makes it, and the same command again adds "
        "the page to it\n"
    )
    assert not (folder / "mlflow.db").exists()
    (folder / "report.html").unlink()
    (folder / "mlflow.db").write_text("not a database")
    assert main(["report", "--html"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("wrote 'report.html'")
    assert printed.err.startswith("one-neuron: warning: ")
    assert printed.err.count("\n") == 1
    assert "none found when this page was written" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_that_cannot_take_the_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page is written, and one line says that the run lacks it, as when the store does not answer."""

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "mlartifacts")

    record_result(folder, folder)
    monkeypatch.setattr("mlflow.MlflowClient.log_text", fail)
    assert main(["report", "--html"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("wrote 'report.html'")
    assert printed.out.count("\n") == 1
    assert printed.err.startswith("one-neuron: warning: ")
    assert "Permission denied" in printed.err
    assert "the page was written without it; run the same command again" in printed.err


def test_the_page_in_a_browser_without_a_network(folder: Path) -> None:
    """On a desktop and on a phone: nothing is requested, all pictures are loaded, nothing sticks out of the window."""
    assert main(["report", "--html"]) == 0
    asked: list[str] = []
    with open_browser() as browser:
        for width in (1280, 390):
            context = browser.new_context(offline=True, viewport={"width": width, "height": 800})
            page = context.new_page()
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: pytest.fail(message.text))
            page.on("pageerror", lambda error: pytest.fail(str(error)))
            page.goto((folder / "report.html").as_uri())
            assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert page.evaluate("document.images.length") == 3 + 3
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("document.querySelectorAll('b, i:not([class]), script').length") == 1  # the verdict
            assert page.inner_text("h1") == "One neuron: \u732b & co or <b>other</b>?"
            context.close()
    assert [url for url in asked if not url.startswith("data:")] == [(folder / "report.html").as_uri()] * 2
