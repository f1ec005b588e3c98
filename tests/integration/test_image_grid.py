"""MLflow's image grid in a real browser: w of two runs side by side, at several steps."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from one_neuron import layout
from one_neuron.neuron import Parameters
from one_neuron.plots.snapshots import draw_snapshots
from one_neuron.storage.model import load_model
from one_neuron.tracking.links import RESULT_CHARTS
from one_neuron.tracking.record import record_result
from tests.browser import open_browser
from tests.results import write_result

pytestmark = pytest.mark.integration

STEPS = [0, 400, 800, 1200, 2000]


@pytest.mark.slow
def test_two_runs_side_by_side_at_five_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved view opens on the last step; the slider leads to the others, and every picture is shown."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    for rate in ("0.005", "0.002"):
        write_result(tmp_path)
        params = tmp_path / layout.PARAMS_FILE
        params.write_text(params.read_text().replace("learning_rate: 0.005", f"learning_rate: {rate}"))
        model = load_model(tmp_path / layout.MODEL_FILE)
        snapshots = {step: Parameters(model.parameters.w * step * float(rate), 0.0) for step in STEPS}
        strip = tmp_path / layout.PLOTS_FOLDER / "weights_over_time.png"
        draw_snapshots(tmp_path / layout.WEIGHTS_FOLDER, strip, snapshots, model)
        recorded = record_result(tmp_path, tmp_path)
    (link,) = {found for line in recorded.links for found in re.findall(rf"#/\S*={RESULT_CHARTS}\S*", line)}

    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    command = [sys.executable, "-m", "one_neuron.cli", "ui", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_server(port)
        with open_browser() as browser:
            page = browser.new_page(viewport={"width": 1500, "height": 1400})
            page.goto(f"http://127.0.0.1:{port}/{link}")
            card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_title("weights"))
            card.locator("[data-component-id=fullscreen_button_chartcard]").click(force=True)
            dialog = page.get_by_role("dialog")
            seen = {}
            for step in reversed(STEPS):
                page.wait_for_function(LOADED, arg=step, timeout=30_000)
                seen[int(dialog.get_by_role("slider").get_attribute("aria-valuenow") or -1)] = np.array(
                    [picture.evaluate(GREY) for picture in dialog.locator("img").all()]
                )
                dialog.get_by_role("slider").press("ArrowLeft")
            assert {text for text in ("lr 0.005", "lr 0.002") if text in dialog.inner_text()} == {
                "lr 0.005",
                "lr 0.002",
            }
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert sorted(seen) == STEPS
    # w is positive everywhere and grows in steps, as far as white at the last step of each run.
    for step, greys in seen.items():
        assert greys == pytest.approx(np.rint(127.5 + 127.5 * step / 2000), abs=1), step
        assert greys.shape == (2,)


# Two pictures of a step are loaded.
LOADED = """step => {
    const pictures = [...document.querySelectorAll('[role=dialog] img')];
    return pictures.length === 2 && pictures.every(
        picture => picture.complete && picture.naturalWidth > 0 && picture.src.includes(`%2Bstep%2B${step}%2B`));
}"""
# The red value of the pixel in the middle.
GREY = """picture => {
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    context.drawImage(picture, -picture.naturalWidth / 2, -picture.naturalHeight / 2);
    return context.getImageData(0, 0, 1, 1).data[0];
}"""


def wait_for_server(port: int) -> None:
    """Wait until a server listens on a port of this machine."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the server did not start")
