"""Where outputs lie, and which source files they depend on. The oracles are Python's modulefinder and dvc.yaml."""

import shutil
import subprocess
import sys
from modulefinder import ModuleFinder
from pathlib import Path

import pytest
import yaml

from one_neuron import layout
from one_neuron.layout import SOURCE_ROOT, find_code, find_repository, hash_code

STAGES = ("draw", "prepare", "train", "evaluate", "track")
PACKAGES = {"one_neuron", "drawn_pictures"}


@pytest.fixture(scope="session")
def runtime_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the sources without the imports for type checkers: the compiler drops what stands below `if 0:`."""
    folder = tmp_path_factory.mktemp("sources")
    for name in PACKAGES:
        shutil.copytree(SOURCE_ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        path.write_text(path.read_text().replace("if TYPE_CHECKING:", "if 0:"))
    return folder


def modules_of(script: Path, sources: Path) -> list[Path]:
    """Return the modules that Python's modulefinder finds in the bytecode of a script and of what it imports."""
    finder = ModuleFinder(path=[str(sources)])
    finder.run_script(str(script))
    files = (
        getattr(module, "__file__", None) for name, module in finder.modules.items() if name.split(".")[0] in PACKAGES
    )
    return sorted(Path(file).relative_to(sources) for file in files if file)


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_what_modulefinder_finds(stage: str, repository: Path, runtime_sources: Path) -> None:
    """Imports inside functions included, those for type checkers not."""
    script = repository / "pipeline" / f"{stage}.py"
    found = find_code(script)
    assert len(found) > 5
    assert found == modules_of(script, runtime_sources)


@pytest.mark.parametrize("module", ["tracking/pyfunc_model.py", "sweep/screening.py", "cli.py"])
def test_the_code_of_a_module_is_what_modulefinder_finds(module: str, runtime_sources: Path) -> None:
    """The logged model gets a copy of this code; a module is not in its own list unless another one imports it."""
    found = find_code(Path("one_neuron", module))
    assert found == modules_of(runtime_sources / "one_neuron" / module, runtime_sources)


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_a_stage_loads_at_import_is_found(stage: str, repository: Path, tmp_path: Path) -> None:
    """The second oracle: sys.modules of a fresh process."""
    program = (
        "import runpy, sys\n"
        "runpy.run_path(sys.argv[1], run_name='imported')\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('one_neuron', 'drawn_pictures'): print(module.__file__)\n"
    )
    script = repository / "pipeline" / f"{stage}.py"
    done = subprocess.run(
        [sys.executable, "-c", program, script],
        env={"PYTHONPATH": str(SOURCE_ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {Path(file).relative_to(SOURCE_ROOT) for file in done.stdout.splitlines()}
    assert loaded
    assert loaded <= set(find_code(script))


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a small tree in the place of the sources."""
    monkeypatch.setattr(layout, "SOURCE_ROOT", tmp_path)
    for name, text in {
        "one_neuron/__init__.py": "",
        "one_neuron/a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import one_neuron.typed\n"
        "else:\n    import one_neuron.b\n",
        "one_neuron/b.py": "import os\ndef f():\n    try:\n        from one_neuron.deep.c import x\n"
        "    except ImportError:\n        from one_neuron import d\n",
        "one_neuron/d.py": "import one_neuron.a\n",
        "one_neuron/typed.py": "",
        "one_neuron/deep/__init__.py": "",
        "one_neuron/deep/c.py": "import drawn_pictures\nx = 1\n",
        "drawn_pictures/__init__.py": "",
        "other/__init__.py": "import one_neuron.typed\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(*starts: str, aside: tuple[str, ...] = ()) -> list[str]:
    """Return the paths that are found, as texts."""
    return [path.as_posix() for path in find_code(*starts, aside=aside)]


def test_imports_are_followed_wherever_they_stand(sources: Path) -> None:
    """In else, try and except, in functions, of packages and modules, in circles; not in `if TYPE_CHECKING`."""
    everything = [
        "drawn_pictures/__init__.py",
        "one_neuron/__init__.py",
        "one_neuron/a.py",
        "one_neuron/b.py",
        "one_neuron/d.py",
        "one_neuron/deep/__init__.py",
        "one_neuron/deep/c.py",
    ]
    assert found("one_neuron/a.py") == everything
    assert found("one_neuron/deep/c.py") == ["drawn_pictures/__init__.py"]
    assert found("one_neuron/typed.py") == []
    assert found("one_neuron/typed.py", "one_neuron/d.py") == everything


def test_what_is_put_aside_is_not_followed(sources: Path) -> None:
    """A module or a whole package, with what only they import; a longer name is another one."""
    assert "one_neuron/deep/c.py" not in found("one_neuron/a.py", aside=("one_neuron.deep",))
    assert "drawn_pictures/__init__.py" not in found("one_neuron/a.py", aside=("one_neuron.deep",))
    assert found("one_neuron/a.py", aside=("one_neuron.b",)) == []
    assert found("one_neuron/a.py", aside=("one_neuron.dee",)) == found("one_neuron/a.py")


def test_the_hash_changes_with_the_code_and_with_nothing_else(sources: Path) -> None:
    """With the module itself and whatever it imports; files that it does not import do not matter."""
    before = hash_code("one_neuron/a.py")
    assert len(before) == 64
    (sources / "one_neuron/typed.py").write_text("x = 1\n")
    (sources / "other/__init__.py").write_text("x = 1\n")
    (sources / "one_neuron/__init__.py").write_text('"""Words."""\n')
    assert hash_code("one_neuron/a.py") == before
    for name in ("one_neuron/a.py", "one_neuron/deep/c.py"):
        old = (sources / name).read_text()
        (sources / name).write_text(f"{old}# an edit\n")
        assert hash_code("one_neuron/a.py") != before
        (sources / name).write_text(old)
    assert hash_code("one_neuron/a.py") == before
    assert hash_code("one_neuron/a.py", aside=["one_neuron.deep"]) != before


def test_moving_text_between_files_changes_the_hash(sources: Path) -> None:
    """The lengths belong to it."""
    before = hash_code("one_neuron/a.py")
    first, second = sources / "one_neuron/b.py", sources / "one_neuron/d.py"
    first.write_text(first.read_text() + "# an edit\n")
    moved = hash_code("one_neuron/a.py")
    first.write_text(first.read_text().removesuffix("# an edit\n"))
    second.write_text("# an edit\n" + second.read_text())
    assert len({before, moved, hash_code("one_neuron/a.py")}) == 3


def test_the_repository_of_a_queued_experiment_is_the_one_that_dvc_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it is the current folder."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert find_repository() == tmp_path
    for value in ("", None):
        monkeypatch.delenv("DVC_ROOT") if value is None else monkeypatch.setenv("DVC_ROOT", value)
        assert find_repository() == Path()


def test_every_output_of_dvc_yaml_is_named_here(repository: Path) -> None:
    """As a constant, or as a file in the folder of plots."""
    stages = yaml.safe_load((repository / "dvc.yaml").read_text())["stages"]
    listed = [out for stage in stages.values() for out in stage.get("outs", []) + stage.get("metrics", [])]
    outputs = {Path(out if isinstance(out, str) else next(iter(out))) for out in listed}
    constants = {value for value in vars(layout).values() if isinstance(value, Path)}
    assert {path for path in outputs if path.parent != layout.PLOTS_FOLDER} <= constants
    assert {path for path in outputs if path in constants} > {layout.COSTS_FILE, layout.MODEL_FILE}


def test_every_output_has_a_digest(repository: Path) -> None:
    """HDF5 files hold their own; `track` writes a receipt that nothing reads."""
    stages = yaml.safe_load((repository / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = {
        name: {*stage.get("outs", []), *stage.get("metrics", [])} for name, stage in stages.items() if name != "track"
    }
    listed = {
        "draw": [layout.DRAW_DIGESTS, layout.DRAWN_FOLDER],
        "prepare": [layout.PREPARE_DIGESTS, layout.PREPARE_METRICS],
        "train": [layout.TRAIN_DIGESTS, layout.TRAIN_METRICS, layout.COSTS_FILE],
        "evaluate": [layout.EVALUATE_DIGESTS, layout.WEIGHTS_FOLDER, *layout.EVALUATED],
    }
    hdf5 = {str(path) for path in (layout.TRAIN_FILE, layout.TEST_FILE, layout.MODEL_FILE, layout.SNAPSHOTS_FILE)}
    assert {name: paths - hdf5 for name, paths in outs.items()} == {
        name: {path.as_posix() for path in paths} for name, paths in listed.items()
    }
