"""DVC's experiments as users run and compare them: the queue, the table, plots without a network."""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser import open_browser
from tests.e2e.conftest import Project, make_project

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PAGE = ".venv/dvc-plots.html"


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project in which four queued experiments on a new store are done; its code was changed for them."""
    project = make_project(tmp_path_factory.mktemp("experiments") / "one neuron")
    project.run("dvc", "repro")
    project.run("git", "add", "dvc.lock")
    project.run("git", "commit", "--quiet", "--message", "first result")
    (project.folder / "mlflow.db").unlink()
    shutil.rmtree(project.folder / "mlartifacts")
    right = "return max(positives, len(Y) - positives) / len(Y)"
    project.edit("src/one_neuron/metrics.py", right, "return 0.125")
    project.run("dvc", "exp", "run", "--queue", "-S", "train.learning_rate=0.001,0.002,0.003,1e-4")
    project.run("git", "checkout", "src/one_neuron/metrics.py")
    project.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = project.run("dvc", "queue", "status")
        if "Queued" not in status and "Running" not in status:
            break
        time.sleep(2)
    assert status.count("Success") == 4, status
    return project


def test_queued_experiments_keep_their_runs_and_run_their_own_code(queued: Project) -> None:
    """Four runs, artifacts that open, each with the code as it was when it was queued."""
    runs = queued.runs()
    assert sorted(run["learning_rate"] for run in runs) == ["0.0001", "0.001", "0.002", "0.003"]
    for run in runs:
        artifacts = Path(unquote(urlsplit(run["artifacts"]).path))
        assert (artifacts / "plots" / "evaluation.png").read_bytes().startswith(b"\x89PNG")
        evaluated = json.loads((artifacts / "metrics" / "evaluate.json").read_text(encoding="utf-8"))
        assert evaluated["baseline_accuracy"] == 0.125
    table = queued.run("dvc", "exp", "show", "--csv")
    assert "0.125" in table


def test_the_table_of_experiments_fits_the_screen(queued: Project) -> None:
    """A line for the workspace, the commit and each experiment, with what it changed; queued ones are marked."""
    queued.run("dvc", "exp", "run", "--queue", "--name", "waiting", "-S", "data.num_px=8")
    lines = queued.run(sys.executable, "scripts/show_experiments.py").splitlines()
    queued.run("dvc", "queue", "remove", "--queued")
    assert max(map(len, lines)) <= 120
    assert lines[0].split()[:4] == ["experiment", "created", "train", "test"]
    assert [line.split()[0] for line in lines[1:3]] == ["workspace", "master"]
    measures = json.loads((queued.folder / "metrics/evaluate.json").read_text(encoding="utf-8"))
    assert f"{100 * measures['test_accuracy']:.1f} %" in lines[1]
    assert f"{measures['test']['roc_auc']:.4f}" in lines[2]
    experiments = lines[3:8]
    assert all(line.startswith("  ") for line in experiments)
    changed = {line.split()[-1] for line in experiments}
    rates = {f"train.learning_rate={rate}" for rate in ("0.001", "0.002", "0.003", "0.0001")}
    assert changed == rates | {"data.num_px=8"}
    assert [line.split()[0] for line in experiments if "[queued]" in line] == ["waiting"]


def test_plots_of_experiments_are_drawn_without_a_network(queued: Project, tmp_path: Path) -> None:
    """`dvc plots show` and `dvc plots diff`: the page asks for nothing, and shows curve and matrix with their data."""
    queued.run(sys.executable, "scripts/offline_plots.py", PAGE)
    queued.run("dvc", "config", "--local", "plots.html_template", f"../{PAGE}")  # as in scripts/setup.sh
    names = queued.run("dvc", "exp", "list", "--name-only").split()[:2]
    costs = (queued.folder / "plots/costs.csv").read_text(encoding="utf-8").splitlines()[1:]
    test = json.loads((queued.folder / "metrics/evaluate.json").read_text(encoding="utf-8"))["test"]
    counts = {
        f"actual: {actual}; predicted: {predicted}; xy_count: {test[name]}"
        for actual, predicted, name in (
            ("cat", "cat", "true_positives"),
            ("cat", "non-cat", "false_negatives"),
            ("non-cat", "cat", "false_positives"),
            ("non-cat", "non-cat", "true_negatives"),
        )
        if test[name]
    }
    for command, curves in (("show", 1), ("diff", 2)):
        queued.run("dvc", "plots", command, *(names if command == "diff" else []))
        page = inspect_page(queued.folder / "dvc_plots/index.html", tmp_path / f"{command}.png")
        assert page["asked"] == []
        assert page["errors"] == []
        assert len(page["Cost"]["lines"]) == curves
        assert all(path.count("L") == len(costs) - 1 for path in page["Cost"]["lines"])
        assert len(page["Accuracy"]["lines"]) >= 2 * curves  # of training and test set
        cells = page["Confusion_matrix_of_the_test_set"]["cells"]
        assert counts <= set(cells) if command == "show" else len(cells) > 2
        assert page["pictures"]
        assert min(page["pictures"]) >= 1000


def inspect_page(path: Path, screenshot: Path) -> dict[str, Any]:
    """Open a page with the network off; return what it asked for, errors, and the marks of its charts."""
    asked: list[str] = []
    errors: list[str] = []

    def answer(route: "Route") -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    with open_browser() as browser:
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        context.set_offline(True)
        context.route("**/*", answer)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("#Confusion_matrix_of_the_test_set svg .mark-rect path")
        found = page.evaluate(
            """() => Object.assign(
                {pictures: [...document.images].map(image => image.naturalWidth)},
                ...[...document.querySelectorAll("div.vega-embed")].map(chart => ({[chart.id]: {
                    lines: [...chart.querySelectorAll(".mark-line path")].map(path => path.getAttribute("d")),
                    cells: [...chart.querySelectorAll(".mark-rect path")].map(path => path.getAttribute("aria-label")),
                }})),
            )"""
        )
        page.screenshot(path=screenshot, full_page=True)
    return {**found, "asked": asked, "errors": errors}
