"""The layers: which package may import which, where each outside library is used, and what happens at import.

Imports are read from the source text: those inside functions count, those below `if TYPE_CHECKING:` do not.
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
from typing import Any

import pytest
import yaml

from one_neuron.layout import find_code, holds_only_names

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
PACKAGE = SOURCES / "one_neuron"
MODULES = sorted(path for name in ("one_neuron", "drawn_pictures") for path in (SOURCES / name).rglob("*.py"))
SCRIPTS = sorted((ROOT / "pipeline").glob("*.py"))
PLUGIN = SOURCES / "hydra_plugins/one_neuron_sweeper/__init__.py"

# From top to bottom. A unit imports from the rows below its own and, within its row, from the units to its right.
LAYERS = [
    "pipeline cli hydra_plugins",
    "commands",
    "sweep serving",
    "tracking",
    "stage plots sources training estimator",
    "storage",
    "gradient_descent dvc_repair dvc_guard dvc_locks pruning",
    "settings pictures system training_curves metric_curves metrics neuron",
    "drawn_pictures layout rows exact file_kind unicode_forms errors",
]
# Files above 300 lines (paths as in dvc.yaml), each with the reason in one sentence.
LONG: dict[str, str] = {}
# The modules that import each outside library, relative to src/one_neuron; a pattern where any of a package may.
USERS = {
    "hydra": ["sweep/compose.py", "sweep/hydra_app.py", "sweep/overrides.py"],
    "omegaconf": ["settings/params.py", "sweep/compose.py", "sweep/hydra_app.py"],
    "optuna": ["sweep/search.py"],
    "jinja2": ["commands/report_page.py"],
    "sklearn": ["commands/comparison.py", "estimator.py"],
    "yaml": [
        "commands/lineage.py",
        "dvc_guard.py",
        "dvc_repair.py",
        "settings/params.py",
        "settings/yaml_file.py",
        "sweep/compose.py",
        "sweep/prepared_data.py",
        "tracking/verify_lock.py",
    ],
    "dvc": ["dvc_guard.py", "dvc_repair.py"],
    "voluptuous": ["dvc_guard.py"],
    "ruamel": ["tracking/promote.py"],
    "PIL": [
        "pictures/reader.py",
        "pictures/convert.py",
        "plots/snapshots.py",
        "tracking/images.py",
        "../drawn_pictures/*.py",
    ],
    "h5py": ["storage/hdf5.py", "storage/model.py", "storage/prepared_set.py", "storage/snapshots.py"],
    "matplotlib": ["plots/*.py", "sweep/axis_labels.py", "sweep/curve_plot.py", "sweep/plots.py"],
    "mlflow": [
        "tracking/bulk.py",
        "tracking/connection.py",
        "tracking/copy_run.py",
        "tracking/logged_model.py",
        "tracking/model.py",
        "tracking/pyfunc_model.py",
        "tracking/record.py",
        "tracking/register.py",
        "tracking/store.py",
        "tracking/verify.py",
        "sweep/sweep_run.py",
    ],
    "urllib3": ["tracking/http_limits.py"],
    "botocore": ["tracking/http_limits.py"],
    "sqlalchemy": ["tracking/bulk.py", "tracking/connection.py", "tracking/store.py"],
    "filelock": ["tracking/store.py"],
    "pandas": ["tracking/model.py", "tracking/pyfunc_model.py"],
    "psutil": ["dvc_locks.py", "stage.py"],
    "pooch": ["sources/catvnoncat.py"],
    "requests": ["sources/catvnoncat.py"],
    "threadpoolctl": ["system/machine.py"],
    "shtab": ["cli.py"],
    "starlette": ["serving/*.py"],
    "anyio": ["serving/*.py"],
    "uvicorn": ["commands/serve.py"],
    "numba": ["exact/compiled.py"],
    "fsspec": ["storage/remote_file.py"],
    "ray": ["gradient_descent/engines/ray_connection.py"],
    "torch": ["gradient_descent/engines/on_torch.py", "gradient_descent/engines/torch_device.py"],
    "tqdm": ["system/progress.py"],
    "numpy": ["*.py"],
}
# Unit tests that do not mirror a module.
OTHER_TESTS = {
    "test_api.py",
    "test_compose.py",
    "test_architecture.py",
    "test_docs.py",
    "test_doctests.py",
    "test_setup.py",
    "drawn_pictures/test_drawing.py",
}
MATHS = [
    *(PACKAGE / "exact").glob("*.py"),
    *(PACKAGE / "gradient_descent").glob("*.py"),
    PACKAGE / "neuron.py",
    PACKAGE / "rows.py",
    PACKAGE / "metrics.py",
    PACKAGE / "metric_curves.py",
    PACKAGE / "training_curves.py",
    PACKAGE / "system/machine.py",
]
# Libraries that a stage does not need and must not load: importing MLflow takes a second.
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
    """Return whether a statement is `if TYPE_CHECKING:`."""
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
    """Return the libraries that a file imports, without this project's and Python's own."""
    return {name.split(".")[0] for name in imports(path)} - {"one_neuron", "drawn_pictures"} - sys.stdlib_module_names


def inside(path: Path) -> set[str]:
    """Return the modules of this project that a file imports by name."""
    return {name for name in imports(path) if name in BY_NAME}


def unit_of(path: Path) -> str:
    """Return the row entry of LAYERS that a file belongs to."""
    if path.parent == ROOT / "pipeline":
        return "pipeline"
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return parts[1] if parts[0] == "one_neuron" else parts[0]


def stages() -> dict[str, dict[str, Any]]:
    """Return the stages of dvc.yaml."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert isinstance(found, dict)
    return found


def relative(path: Path) -> str:
    """Return a path as dvc.yaml writes it."""
    return path.relative_to(ROOT).as_posix()


def test_every_unit_has_a_layer() -> None:
    """A new package or module gets a place in the table."""
    units = {unit_of(path) for path in (*MODULES, *SCRIPTS, PLUGIN)} - {"__init__"}
    assert units == set(" ".join(LAYERS).split())


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, PLUGIN], ids=relative)
def test_imports_go_down_the_layers(path: Path) -> None:
    """To a lower row, or to the right within the same row; so there are no circles of packages."""
    order = " ".join(LAYERS).split()
    own = unit_of(path)
    for name in inside(path):
        other = unit_of(BY_NAME[name])
        if other in ("__init__", own) or own == "__init__":
            continue
        assert order.index(other) > order.index(own), f"{relative(path)} imports {name}: {own} stands below {other}"


def test_the_documentation_shows_the_same_layers() -> None:
    """Row by row."""
    rows = "".join(f"    {row.replace(' ', '  ')}\n" for row in LAYERS)
    assert f"\n\n{rows}\n" in (ROOT / "docs/design.md").read_text(encoding="utf-8")


def test_unit_tests_mirror_the_modules() -> None:
    """`tests/unit/pictures/test_reader.py` for `pictures/reader.py`; `test_reader_fuzz.py` would do as well."""
    modules = {path.relative_to(root) for root in (SOURCES, PACKAGE, ROOT / "scripts") for path in root.rglob("*.py")}
    others = set()
    for path in (ROOT / "tests/unit").rglob("test_*.py"):
        place = path.relative_to(ROOT / "tests/unit")
        words = path.stem.split("_")[1:]
        names = {"_".join(words[:end]) for end in range(1, len(words) + 1)}
        if not any(place.with_name(f"{name}.py") in modules for name in names):
            others.add(place.as_posix())
    assert others == OTHER_TESTS


def test_the_import_reader_sees_all_kinds_of_imports() -> None:
    """Plain, from, renamed, inside functions and branches; not those for type checkers only."""
    tree = ast.parse(
        "import a.b as c\nfrom d import e\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import hidden\nelse:\n    import other\n"
        "def f():\n    import g\n    try:\n        from h.i import j\n    except ImportError:\n        pass\n"
    )
    assert imported_names(tree) >= {"a.b", "d", "d.e", "g", "h.i", "h.i.j", "other"}
    assert "hidden" not in imported_names(tree)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_the_library_never_looks_back(path: Path) -> None:
    """The library imports neither scripts nor tests, and only cli.py is the command."""
    forbidden = {"pipeline", "tests", "conftest", "scripts", *(script.stem for script in SCRIPTS)}
    assert not {name.split(".")[0] for name in imports(path)} & forbidden
    assert path.name == "cli.py" or "one_neuron.cli" not in imports(path)


@pytest.mark.parametrize("path", SCRIPTS, ids=relative)
def test_stages_know_the_library_and_not_each_other(path: Path) -> None:
    """A stage reads, calls the library and writes; it imports no other library but NumPy."""
    assert outside(path) <= {"numpy"}
    assert not {name.split(".")[0] for name in imports(path)} & {script.stem for script in SCRIPTS}
    assert inside(path)


@pytest.mark.parametrize("path", MATHS, ids=relative)
def test_the_maths_knows_numbers_only(path: Path) -> None:
    """Neither files, settings, tracking nor pictures: NumPy, each other, and modules of Python that compute."""
    assert outside(path) - {"threadpoolctl", "numba"} <= {"numpy"}
    # errors: a wrong product of BLAS ends a command with the exit code of the environment.
    # choice: where the passes run changes no number.
    choice = ("gradient_descent/engines/__init__.py", "gradient_descent/engines/choice.py")
    others = {PACKAGE / name for name in ("__init__.py", "system/__init__.py", "errors.py", *choice)}
    assert {BY_NAME[name] for name in inside(path)} <= {*MATHS, *others}
    python = {imported.split(".")[0] for imported in imports(path)} & sys.stdlib_module_names
    computing = {"abc", "math", "decimal", "bisect", "dataclasses", "typing", "collections", "functools", "itertools"}
    threads = {"concurrent", "contextlib", "os", "threading", "time"}  # os counts the cores, time limits what is told
    assert python <= computing | (
        threads if path.stem in ("passes", "many", "many_forms", "machine", "arguments", "training_curves") else set()
    )


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_each_outside_library_is_used_where_the_table_says(path: Path) -> None:
    """A library that is not in the table is not used at all."""
    place = os.path.relpath(path, PACKAGE)
    for library in outside(path):
        assert library in USERS, f"{library} is not in USERS"
        assert any(fnmatch(place, pattern) for pattern in USERS[library]), f"only {USERS[library]} may import {library}"


def test_the_sweeper_is_found_by_hydra() -> None:
    """Hydra looks only into the namespace package `hydra_plugins`, which must not have an __init__ of its own."""
    assert not (SOURCES / "hydra_plugins" / "__init__.py").exists()
    assert {name.split(".")[0] for name in imports(PLUGIN)} <= {
        "hydra",
        "omegaconf",
        "one_neuron",
        "typing",
        "collections",
    }


def test_every_entry_of_the_table_is_used() -> None:
    """Neither a library nor one of its modules is left over."""
    used = {(os.path.relpath(path, PACKAGE), library) for path in MODULES for library in outside(path)}
    for library, patterns in USERS.items():
        for pattern in patterns:
            assert any(fnmatch(place, pattern) for place, other in used if other == library), (library, pattern)


def test_no_module_imports_itself_through_others() -> None:
    """The __init__ of a package, which Python runs first, does not count."""

    def named(path: Path) -> set[Path]:
        ours = inside(path)
        return {BY_NAME[name] for name in ours if not any(other.startswith(f"{name}.") for other in ours)}

    for path in MODULES:
        seen: set[Path] = set()
        waiting = named(path)
        while waiting:
            module = waiting.pop()
            seen.add(module)
            waiting |= named(module) - seen
        assert path not in seen, relative(path)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=relative)
def test_the_init_of_a_package_only_holds_names(path: Path) -> None:
    """No stage depends on it: a docstring alone, and at the top the table of the public names."""
    statements = ast.parse(path.read_text(encoding="utf-8")).body[1:]
    if path.parent == PACKAGE:
        names = {"TYPE_CHECKING", "__version__", "__all__", "_MODULES"}
        assert {node.name for node in ast.walk(ast.Module(statements, [])) if isinstance(node, ast.FunctionDef)} == {
            "__getattr__",
            "__dir__",
        }
        assigned = (node for node in statements if isinstance(node, ast.Assign))
        assert {ast.unparse(target) for node in assigned for target in node.targets} == names
        assert all(isinstance(node, ast.Assign | ast.If | ast.FunctionDef) for node in statements)
    else:
        assert statements == []


@pytest.mark.parametrize("stage", stages())
def test_a_stage_depends_on_all_the_code_it_runs(stage: str) -> None:
    """Its deps are the script, the modules that it imports, directly or not, and the locked requirements."""
    declared = stages()[stage]["deps"]
    script = ROOT / "pipeline" / f"{stage}.py"
    code = {name for name in declared if name.startswith(("src/", "pipeline/"))}
    needed = {relative(script), *(f"src/{path.as_posix()}" for path in find_code(script) if not holds_only_names(path))}
    assert code == needed, "run `make deps`"
    assert "requirements.txt" in declared
    assert len(declared) == len(set(declared))
    assert not [name for name in declared if Path(name).is_absolute()]
    assert [name for name in declared if "${" in name] == ["${data.path}"] * (stage == "prepare")


@pytest.mark.parametrize("stage", stages())
def test_a_stage_runs_the_library_of_its_own_tree(stage: str) -> None:
    """An editable install would run the main tree's code in a queued experiment's copy."""
    assert str(stages()[stage]["cmd"]) == f"PYTHONPATH=src python pipeline/{stage}.py"


def test_no_large_file_is_in_git() -> None:
    """The largest are pictures and lists of requirements; a download beside them would stay in the history for ever."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert len(paths) > 100
    assert [path.name for path in paths if path.is_file() and path.stat().st_size > 512 * 1024] == []


def test_every_script_is_a_stage() -> None:
    """And every stage is a script, in the order of the data flow; only the sweep is not a stage."""
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
    """If the script reads `train`, its params list it, so that a change there runs the stage again."""
    sections = {"draw", "data", "hdf5", "train", "evaluate"}
    tree = ast.parse((ROOT / "pipeline" / f"{stage}.py").read_text(encoding="utf-8"))
    read = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in sections
        and ast.unparse(node.value) in ("load_settings()", "settings")
    }
    declared = set(stages()[stage].get("params", ()))
    assert declared == (sections if stage == "track" else read)


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=relative)
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    """No pickle, no class or function named by a file, no unsafe YAML, no eval, no shell."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    forbidden = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "hydra.utils"}
    assert not {name for name in imports(path) if name in forbidden or name.split(".")[0] in forbidden}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = ast.unparse(call.func), {key.arg: ast.unparse(key.value) for key in call.keywords}
        assert name not in ("eval", "exec", "compile", "__import__", "os.system")
        if name == "yaml.load":
            assert keywords.get("Loader") == "yaml.CSafeLoader"
        # The public API imports the modules of its own table, and workers those that the code names.
        assert name != "importlib.import_module" or path in (PACKAGE / "__init__.py", PACKAGE / "system/workers.py")
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
    """No file is written and nothing printed; environment, logging, current folder and NumPy stay as they are.

    There are two exceptions. `pyfunc_model`, which MLflow runs, has to act at import, and no module imports it.
    `estimator` derives from scikit-learn's classes, whose import sets environment variables for OpenMP.
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
    names = [name for name in BY_NAME if name not in ("one_neuron.tracking.pyfunc_model", "one_neuron.estimator")]
    assert json.loads(fresh_python(program, *names, folder=tmp_path)) == []
    assert not any("one_neuron.tracking.pyfunc_model" in imports(path) for path in (*MODULES, *SCRIPTS))


@pytest.mark.parametrize("stage", HEAVY)
def test_a_stage_loads_no_heavy_library_it_does_not_need(stage: str, tmp_path: Path) -> None:
    """Importing the script runs nothing, and loads neither MLflow nor libraries that only other stages use."""
    program = (
        "import runpy, sys\n"
        "runpy.run_path(sys.argv[1], run_name='imported')\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    loaded = set(fresh_python(program, str(ROOT / "pipeline" / f"{stage}.py"), folder=tmp_path).split())
    assert "one_neuron" in loaded
    assert not loaded & HEAVY[stage]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [PACKAGE / "cli.py", *SCRIPTS], ids=relative)
def test_the_memory_is_checked_before_numpy_is_loaded(path: Path, tmp_path: Path) -> None:
    """OpenBLAS, which NumPy loads, ends the process if memory is short. So nothing imports it before the check."""
    program = "import runpy, sys\nrunpy.run_path(sys.argv[1], run_name='imported')\nprint('numpy' in sys.modules)\n"
    assert fresh_python(program, str(path), folder=tmp_path) == "False\n"


def test_the_heavy_libraries_are_installed() -> None:
    """Otherwise the test above would prove nothing."""
    for library in set().union(*HEAVY.values()):
        assert importlib.util.find_spec(library), library


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, PLUGIN], ids=relative)
def test_files_stay_short(path: Path) -> None:
    """A file above 300 lines is split, or the table LONG says why not."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert (lines > 300) == (relative(path) in LONG), f"{lines} lines"
