"""The built wheel in an empty environment outside the repository: the base install trains and predicts."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.storage.model import Model, save_model

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BASE = {"h5py", "llvmlite", "numba", "numpy", "one-neuron", "pillow", "threadpoolctl"}  # numba requires llvmlite
Run = Callable[..., subprocess.CompletedProcess[str]]


def call(command: Sequence[object], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without the variables that would lead back to this checkout."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["UV_HTTP_RETRIES"] = "1"
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def environment(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the programs of an empty environment in which the wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build: list[object] = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    done = call(build, repository)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    locked = re.findall(r"^[\w.-]+==[^\\]+", (repository / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    (folder / "versions.txt").write_text("\n".join(locked), encoding="utf-8")  # with hashes pip would refuse the wheel
    programs = folder / "environment" / "bin"
    assert call([sys.executable, "-m", "venv", programs.parent], folder).returncode == 0
    wanted: list[object] = ["install", "--quiet", "--constraint", "versions.txt", wheel]
    uv = [Path(sys.executable).with_name("uv"), "pip", *wanted, "--python", programs.parent]
    if call(uv, folder).returncode:  # uv reads no pip configuration
        done = call([programs / "python", "-m", "pip", "--retries", "1", *wanted], folder)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"pip could not install the requirements of the wheel; is there a network? {done.stderr}")
        assert done.returncode == 0, done.stderr
    return programs


@pytest.fixture
def run(environment: Path, tmp_path: Path) -> Run:
    """Return a function that runs a program of the environment in an empty folder."""
    return lambda program, *arguments: call([environment / program, *arguments], tmp_path)


def test_the_base_install_is_small(run: Run) -> None:
    """It holds what it takes to train and predict; nothing of the pipeline."""
    names = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    found = run("python", "-c", names).stdout.lower().replace("_", "-").split()
    assert set(found) - {"pip", "setuptools"} == BASE


def test_the_public_names_need_nothing_else(run: Run) -> None:
    """Each of them can be imported; the version is that of the wheel."""
    program = (
        "import importlib.metadata, one_neuron\n"
        "for name in one_neuron.__all__:\n"
        "    if name not in ('OneNeuronClassifier', 'PictureRows'): getattr(one_neuron, name)  # extra sklearn\n"
        "print(one_neuron.__version__ == importlib.metadata.version('one-neuron'))"
    )
    done = run("python", "-c", program)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_training(run: Run) -> None:
    """By hand: the cost starts at ln 2; after the first update w = (6.375, -6.375), so z = -1625.6 and 1625.6."""
    program = (
        "import one_neuron as on; "
        "print(on.optimize([[0, 255], [255, 0]], [0, 1], learning_rate=0.1, num_iterations=5).costs)"
    )
    done = run("python", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    first, last = map(float, done.stdout.strip("[]\n").split())
    assert first == pytest.approx(np.log(2), abs=1e-8)
    assert last < 1e-300


def test_predict(run: Run, tmp_path: Path) -> None:
    """The model takes bright pictures for cats: z = 24 mean - 12 over the 12 values of 2 x 2 pixels."""
    parameters = Parameters(w=np.full(12, 2.0), b=-12.0)
    save_model(tmp_path / "model.h5", Model(parameters, Preprocessing(2, "stretch", "exact"), ("non-cat", "cat"), 0.5))
    for name, grey in (("bright.png", 255), ("dark.jpg", 0)):
        Image.new("RGB", (40, 30), (grey, grey, grey)).save(tmp_path / name)
    done = run("one-neuron", "predict", "--model", "model.h5", "bright.png", "dark.jpg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "bright.png\tcat\tP(cat) = 1.0000\ndark.jpg\tnon-cat\tP(cat) = 0.0000\n"


def test_what_would_be_published(repository: Path, tmp_path: Path) -> None:
    """`twine check` accepts both files; the wheel holds the library and its pages, no tests and no stages."""
    build = ["-m", "build", "--no-isolation", "--outdir", tmp_path]
    done = call([sys.executable, *build], repository)
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.iterdir())
    assert [path.suffix for path in files] == [".whl", ".gz"]
    done = call([sys.executable, "-m", "twine", "check", "--strict", *files], tmp_path)
    assert done.returncode == 0, done.stdout
    names = zipfile.ZipFile(files[0]).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"one_neuron", "drawn_pictures", "hydra_plugins"}
    assert {Path(name).suffix for name in names if ".dist-info/" not in name} == {
        ".py",
        ".typed",
        ".html",
        ".css",
        ".js",
    }


def test_the_dockerfile_is_linted(repository: Path) -> None:
    """A build needs an engine, which is not everywhere."""
    done = call([Path(sys.executable).with_name("hadolint"), "Dockerfile"], repository)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_template_of_the_report_is_in_the_wheel(run: Run) -> None:
    """It is not a module, so nothing imports it."""
    program = "from importlib.resources import files; print((files('one_neuron') / 'commands/report.html').is_file())"
    assert run("python", "-c", program).stdout == "True\n"


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("promote", "pipeline"),
        ("report --html", "pipeline"),
        ("serve", "serve"),
        ("settings", "pipeline"),
        ("ui", "pipeline"),
    ],
)
def test_a_command_of_an_extra_names_the_remedy(
    run: Run, environment: Path, tmp_path: Path, command: str, extra: str
) -> None:
    """One line and exit code 4; the wheel has the extra that the line names (.ci/run installs it that way)."""
    (tmp_path / "dvc.yaml").touch()  # what makes a folder the root of a project
    done = run("one-neuron", *command.split())
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert f"is not installed for {environment / 'python'}" in done.stderr
    assert f"`pip install '.[{extra}]'`" in done.stderr
    extras = "import importlib.metadata as m; print(*m.metadata('one-neuron').get_all('Provides-Extra'))"
    assert extra in run("python", "-c", extras).stdout.split()
