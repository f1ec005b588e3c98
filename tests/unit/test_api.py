"""The public names: lazily imported, documented, and known to type checkers."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import one_neuron
from one_neuron.errors import DataError
from one_neuron.storage.model import save_model
from one_neuron.storage.prepared_set import save_prepared

ROOT = Path(__file__).resolve().parents[2]
NAMES = [name for name in one_neuron.__all__ if name != "__version__"]
MODULES = {name: module for module, names in one_neuron._MODULES.items() for name in names}


def run_python(program: str) -> str:
    """Return what a fresh Python prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_the_one_of_its_module(name: str) -> None:
    """Also when nothing else was imported before."""
    module = importlib.import_module(f"one_neuron.{MODULES[name]}")
    assert getattr(one_neuron, name) is getattr(module, name)
    assert run_python(f"import one_neuron; print(one_neuron.{name}.__module__)") == module.__name__


def test_names_and_type_checkers_agree() -> None:
    """__all__, the table of modules and the imports for type checkers list the same names."""
    tree = ast.parse(Path(one_neuron.__file__).read_text(encoding="utf-8"))
    imported = {
        alias.name: str(node.module).removeprefix("one_neuron.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == MODULES
    assert sorted(NAMES) == sorted(imported)
    assert dir(one_neuron) == one_neuron.__all__ == sorted(one_neuron.__all__)
    assert (Path(one_neuron.__file__).parent / "py.typed").exists()


def test_the_documentation_lists_the_same_names() -> None:
    """docs/api.md has one line for each name."""
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == one_neuron.__all__


def test_an_unknown_name() -> None:
    """As for any module; a submodule is still found by `from one_neuron import`."""
    with pytest.raises(AttributeError, match="module 'one_neuron' has no attribute 'optimise'"):
        getattr(one_neuron, "optimise")  # noqa: B009 - mypy knows that it is not there
    assert run_python("from one_neuron import neuron; print(neuron.__name__)") == "one_neuron.neuron"


def test_the_import_loads_nothing() -> None:
    """Only importlib, and none of the libraries."""
    program = "import sys; before = set(sys.modules); import one_neuron; print(*sorted(set(sys.modules) - before))"
    loaded = set(run_python(program).split())
    assert {name for name in loaded if not name.startswith("importlib")} <= {
        "one_neuron",
        "_frozen_importlib",
        "warnings",
    }


def test_the_version_has_one_home() -> None:
    """The build reads it from the package."""
    with (ROOT / "pyproject.toml").open("rb") as stream:
        build = tomllib.load(stream)
    assert build["project"]["dynamic"] == ["version"]
    assert build["tool"]["hatch"]["version"]["path"] == "src/one_neuron/__init__.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+", one_neuron.__version__)


def test_the_first_line_of_a_library_user() -> None:
    """Two lists of whole numbers are enough."""
    program = (
        "import one_neuron as on;"
        "print(on.optimize([[0, 255], [255, 0]], [0, 1], learning_rate=0.1, num_iterations=5).costs)"
    )
    assert run_python(program).startswith("[6.93147181e-001 ")


def test_paths_may_be_text(
    tmp_path: Path, make_prepared: Callable[..., one_neuron.PreparedSet], make_model: Callable[..., one_neuron.Model]
) -> None:
    """What is loaded is the same, and a missing file is named."""
    prepared, model = make_prepared(), make_model()
    save_prepared(tmp_path / "train.h5", prepared)
    save_model(tmp_path / "model.h5", model)
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "grey.png")
    assert one_neuron.load_prepared(f"{tmp_path}/train.h5").sha256 == prepared.sha256
    assert one_neuron.load_model(f"{tmp_path}/model.h5").sha256 == model.sha256
    assert np.all(one_neuron.load_picture(f"{tmp_path}/grey.png", one_neuron.Preprocessing(2)) == 9)
    loads: list[Callable[[str], object]] = [
        one_neuron.load_prepared,
        one_neuron.load_model,
        lambda path: one_neuron.load_picture(path, one_neuron.Preprocessing(2)),
    ]
    for load in loads:
        with pytest.raises(DataError, match="none"):
            load("none")
