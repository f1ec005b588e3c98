"""The house: which room may know which, what each stage depends on, and that nothing happens at import.

The imports are read from the source text, those inside functions too. Imports for the type checker alone do not count.
"""

import ast
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
import yaml

from one_neuron.storage import checkpoint
from one_neuron.sweep import shared_state
from one_neuron.tracking.model import MODEL_MODULES

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
PACKAGE = SOURCES / "one_neuron"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "pipeline").glob("*.py"))

# Each outside library has one door. Patterns are relative to src/one_neuron.
DOORS = {
    "hydra": ["composition.py", "sweep/plan.py", "sweep/run.py"],
    "omegaconf": ["settings.py", "composition.py", "sweep/run.py"],
    "yaml": ["settings.py", "composition.py", "sweep/data.py"],
    "ruamel": ["promotion.py"],
    "PIL": ["images.py", "drawing/*.py"],
    "h5py": ["storage.py", "hdf5.py"],
    "matplotlib": ["plots.py", "sweep/plots.py"],
    "mlflow": ["tracking*.py", "pyfunc_model.py", "sweep/tracking.py", "sweep/children.py", "sweep/candidate.py"],
    "sqlalchemy": ["tracking*.py"],
    "filelock": ["tracking*.py", "sweep/data.py"],
    "pandas": ["pyfunc_model.py", "tracking_model.py"],
    "pooch": ["sources/catvnoncat.py"],
    "requests": ["sources/catvnoncat.py"],
    "threadpoolctl": ["machine.py"],
    "numba": ["pixel_kernels.py"],
    "tqdm": ["progress.py"],
    "numpy": ["*.py", "*/*.py"],
}
MATHS = "portable neuron gradient_descent gram_descent block_descent batch_descent pixel_kernels".split()
MATHS += "recording stability metrics machine".split()
# What a stage has no use for and would pay for: an import of MLflow takes a second.
HEAVY = {
    "draw": {"mlflow", "matplotlib", "sklearn", "scipy", "pandas", "h5py", "requests", "hydra", "dvc"},
    "prepare": {"mlflow", "matplotlib", "sklearn", "scipy", "pandas", "pooch", "requests", "hydra", "dvc"},
    "train": {"mlflow", "numba", "tqdm", "matplotlib", "sklearn", "scipy", "pandas", "PIL", "requests", "hydra", "dvc"},
    "evaluate": {"mlflow", "sklearn", "scipy", "pandas", "pooch", "requests", "hydra", "dvc"},
}


def name_of(path: Path) -> str:
    """Return the dotted name of a module of the library."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


BY_NAME = {name_of(path): path for path in MODULES}


def is_for_type_checkers(node: ast.AST) -> bool:
    """Tell `if TYPE_CHECKING:` from other statements."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imported_names(tree: ast.AST) -> set[str]:
    """Return all dotted names that a module imports, `from a import b` as a and a.b."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}: write the whole name"
            names.add(str(node.module))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif is_for_type_checkers(node):
            assert isinstance(node, ast.If)
            names |= imported_names(ast.Module(body=node.orelse, type_ignores=[]))
        else:
            names |= imported_names(node)
    return names


@cache
def imports(path: Path) -> frozenset[str]:
    """Return what a file imports."""
    return frozenset(imported_names(ast.parse(path.read_text(encoding="utf-8"))))


def outside(path: Path) -> set[str]:
    """Return the libraries that a file imports, without our own and Python's."""
    return {name.split(".")[0] for name in imports(path)} - {"one_neuron"} - sys.stdlib_module_names


def inside(path: Path) -> set[Path]:
    """Return the library's files that a file makes Python read: each module, and the __init__ of each package above it.

    A name of a file in a string counts too: MLflow is handed the model's code by its file's name.
    """
    found: set[Path] = set()
    for name in imports(path):
        parts = name.split(".")
        found |= {BY_NAME[above] for i in range(len(parts)) if (above := ".".join(parts[: i + 1])) in BY_NAME}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            found |= {module for module in MODULES if module.name == node.value}
    return found


def reachable(path: Path) -> set[Path]:
    """Return all of the library's files that a file depends on, directly or not."""
    seen: set[Path] = set()
    waiting = inside(path)
    while waiting:
        module = waiting.pop()
        seen.add(module)
        waiting |= inside(module) - seen
    return seen


def stages() -> dict[str, dict[str, list[str]]]:
    """Return the stages of dvc.yaml."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert isinstance(found, dict)
    return found


def relative(path: Path) -> str:
    """Return a path as dvc.yaml writes it."""
    return path.relative_to(ROOT).as_posix()


def test_the_import_reader_sees_all_kinds_of_imports() -> None:
    """Plain, from, renamed, inside functions and branches; not those for the type checker alone."""
    tree = ast.parse(
        "import a.b as c\nfrom d import e\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import hidden\nelse:\n    import other\n"
        "def f():\n    import g\n    try:\n        from h.i import j\n    except ImportError:\n        pass\n"
    )
    assert imported_names(tree) >= {"a.b", "d", "d.e", "g", "h.i", "h.i.j", "other"}
    assert "hidden" not in imported_names(tree)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_library_never_looks_back(path: Path) -> None:
    """Scripts know the library, never the other way; nor does the library know its tests or its command."""
    forbidden = {"pipeline", "tests", "conftest", "scripts", *(script.stem for script in SCRIPTS)}
    assert not {name.split(".")[0] for name in imports(path)} & forbidden
    assert path.name == "cli.py" or "one_neuron.cli" not in imports(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_stages_know_the_library_and_not_each_other(path: Path) -> None:
    """A stage reads, calls the library and writes: besides it, NumPy at most."""
    assert outside(path) <= {"numpy"}
    assert not {name.split(".")[0] for name in imports(path)} & {script.stem for script in SCRIPTS}
    assert inside(path)


@pytest.mark.parametrize("name", MATHS)
def test_the_maths_knows_numbers_only(name: str) -> None:
    """Neither files, settings, trackers nor pictures: NumPy, each other, and of Python what computes."""
    path = PACKAGE / f"{name}.py"
    assert outside(path) - {"threadpoolctl", "numba"} <= {"numpy"}
    assert {name_of(module) for module in reachable(path)} <= {
        "one_neuron",
        *(f"one_neuron.{other}" for other in MATHS),
    }
    python = {imported.split(".")[0] for imported in imports(path)} & sys.stdlib_module_names
    computing = {"math", "decimal", "dataclasses", "typing", "collections", "functools"}
    threads = {"concurrent", "contextlib", "os", "threading", "time"}  # os counts the cores, time limits what is told
    assert python <= computing | (threads if name in ("block_descent", "batch_descent", "machine") else set())


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_each_outside_library_has_one_door(path: Path) -> None:
    """A library without a door in the table above is not used at all."""
    place = path.relative_to(PACKAGE).as_posix()
    for library in outside(path):
        assert library in DOORS, f"{library} has no door"
        assert any(fnmatch(place, pattern) for pattern in DOORS[library]), (
            f"{library} is known in {DOORS[library]} only"
        )


def test_a_checkpoint_serves_the_code_that_made_it_alone() -> None:
    """Its name holds the sources of all that a training by blocks computes with; the rest comes after it."""
    needed = reachable(PACKAGE / "block_descent.py") | {PACKAGE / "block_descent.py"}
    computing = {path.name for path in needed} - {"__init__.py", "machine.py", "stability.py"}
    assert set(checkpoint._CODE) == computing


def test_a_configuration_is_tried_again_when_the_code_of_its_numbers_changes() -> None:
    """Its key holds the sources of all that its outcome is computed with; the pixels have a SHA-256."""
    needed = {PACKAGE / "sweep/screening.py", PACKAGE / "sweep/folds.py", PACKAGE / "training.py"}
    needed |= {other for path in set(needed) for other in reachable(path)}
    computing = {path.relative_to(PACKAGE).as_posix() for path in needed if path.name != "__init__.py"}
    # How to run, and how files are read and written, changes no number
    aside = {"machine.py", "settings.py", "schema.py", "errors.py", "storage.py", "hdf5.py", "file_header.py"}
    aside |= {"files.py", "pixel_file.py"}
    assert set(shared_state._CODE) == computing - aside


def test_a_logged_model_takes_along_all_that_it_imports() -> None:
    """It is loaded without this repository."""
    needed = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in reachable(PACKAGE / "pyfunc_model.py")}
    assert set(MODEL_MODULES) == needed


def test_the_sweeper_is_found_by_hydra() -> None:
    """Hydra looks into the namespace package `hydra_plugins` alone, which must have no __init__ of its own."""
    assert not (SOURCES / "hydra_plugins" / "__init__.py").exists()
    plugin = SOURCES / "hydra_plugins" / "one_neuron_sweeper" / "__init__.py"
    assert {name.split(".")[0] for name in imports(plugin)} <= {
        "hydra",
        "omegaconf",
        "one_neuron",
        "typing",
        "collections",
    }


def test_every_door_is_used() -> None:
    """No door leads nowhere."""
    assert set().union(*map(outside, MODULES)) == set(DOORS)


def test_the_rooms_do_not_turn_in_circles() -> None:
    """No module names itself through others; Python's own detour over the __init__ of a package does not count."""

    def named(path: Path) -> set[Path]:
        ours = {name for name in imports(path) if name in BY_NAME}
        return {BY_NAME[name] for name in ours if not any(other.startswith(f"{name}.") for other in ours)}

    for path in MODULES:
        seen: set[Path] = set()
        waiting = named(path)
        while waiting:
            module = waiting.pop()
            seen.add(module)
            waiting |= named(module) - seen
        assert path not in seen, relative(path)


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_all_the_code_it_runs(stage: str) -> None:
    """The deps that are code are exactly the script, what it imports, directly or not, and the locked requirements."""
    declared = stages()[stage]["deps"]
    script = ROOT / "pipeline" / f"{stage}.py"
    code = {name for name in declared if name.startswith(("src/", "pipeline/"))}
    assert code == {relative(script), *map(relative, reachable(script))}
    assert "requirements.txt" in declared
    assert len(declared) == len(set(declared))
    assert not [name for name in declared if Path(name).is_absolute()]
    assert [name for name in declared if "${" in name] == ["${data.path}"] * (stage == "prepare")


@pytest.mark.parametrize("stage", stages())
def test_a_stage_runs_the_library_of_its_own_tree(stage: str) -> None:
    """An editable install would run the main tree's code in a queued experiment's copy."""
    assert str(stages()[stage]["cmd"]) == f"PYTHONPATH=src python pipeline/{stage}.py"


def test_every_script_is_a_stage() -> None:
    """And every stage a script, in the order of the data's journey; the sweep alone is none."""
    assert list(stages()) == ["draw", "prepare", "train", "evaluate", "track"]
    assert {f"{stage}.py" for stage in stages()} == {script.name for script in SCRIPTS} - {"sweep.py"}


@pytest.mark.parametrize("stage", stages())
def test_the_lock_knows_the_sources_as_they_are(stage: str) -> None:
    """After an edit: `make repro`, and commit dvc.lock with it."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))
    locked = {dep["path"]: dep["md5"] for dep in lock["stages"][stage]["deps"]}
    sources = [path for path in stages()[stage]["deps"] if Path(path).suffix in (".py", ".txt")]
    assert sources
    found = {path: hashlib.md5((ROOT / path).read_bytes()).hexdigest() for path in sources}
    assert found == {path: locked[path] for path in sources}, "run `make repro` and commit dvc.lock"


@pytest.mark.parametrize("stage", stages())
def test_a_stage_reads_the_sections_it_declares(stage: str) -> None:
    """Where the script reads `train`, it stands among the params: a change of it alone runs the stage again."""
    sections = {"draw", "data", "hdf5", "train", "evaluate"}
    tree = ast.parse((ROOT / "pipeline" / f"{stage}.py").read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in sections
        and ast.unparse(node.value) in ("load_settings()", "settings")
    }
    declared = set(stages()[stage]["params"])
    assert declared == (sections if stage == "track" else read)


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=relative)
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    """No pickle, no class or function named by a file, no YAML but the safe kind, no eval, no shell."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "hydra.utils"}
    assert not {name for name in imports(path) if name in forbidden or name.split(".")[0] in forbidden}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = ast.unparse(call.func), {key.arg: ast.unparse(key.value) for key in call.keywords}
        assert name not in (
            "eval",
            "exec",
            "compile",
            "__import__",
            "importlib.import_module",
            "os.system",
            "yaml.load",
        )
        assert not name.endswith("instantiate")
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle") == "False"
        assert keywords.get("allow_pickle", "False") == "False"
        assert keywords.get("shell", "False") == "False"


def fresh_python(program: str, *arguments: str, folder: Path) -> str:
    """Run a program in a fresh process in an empty folder; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_nothing_happens_at_import(tmp_path: Path) -> None:
    """No file, no output, no setting of the environment, of logging, of the current folder or of NumPy.

    The exception is `pyfunc_model`, which MLflow runs: it has to act at import, and nothing of ours imports it.
    """
    program = """if True:
        import importlib, json, logging, os, sys
        import numpy
        def state():
            return [sorted(os.listdir()), dict(os.environ), os.getcwd(), len(logging.root.handlers), logging.root.level,
                    str(numpy.geterr())]
        before, changed = state(), []
        for name in sys.argv[1:]:
            importlib.import_module(name)
            if state() != before:
                changed.append(name)
                before = state()
        print(json.dumps(changed))
    """
    names = [name for name in BY_NAME if name != "one_neuron.tracking.pyfunc_model"]
    assert json.loads(fresh_python(program, *names, folder=tmp_path)) == []
    assert not any("one_neuron.tracking.pyfunc_model" in imports(path) for path in (*MODULES, *SCRIPTS))


@pytest.mark.parametrize("stage", HEAVY)
def test_a_stage_loads_no_heavy_library_it_does_not_need(stage: str, tmp_path: Path) -> None:
    """Importing the script runs nothing, and loads neither MLflow nor what only other stages use."""
    program = (
        "import runpy, sys\n"
        "runpy.run_path(sys.argv[1], run_name='imported')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    loaded = set(fresh_python(program, str(ROOT / "pipeline" / f"{stage}.py"), folder=tmp_path).split())
    assert "one_neuron" in loaded
    assert not loaded & HEAVY[stage]
    assert list(tmp_path.iterdir()) == []


def test_the_heavy_libraries_are_installed() -> None:
    """Otherwise the test above would prove nothing."""
    for library in set().union(*HEAVY.values()):
        assert importlib.util.find_spec(library), library


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=relative)
def test_rooms_stay_small(path: Path) -> None:
    """A room that grows past some 300 lines wants a second door."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
