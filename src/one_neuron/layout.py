"""Where params.yaml and every output of the stages lie, and which source files an output depends on."""

import ast
import hashlib
import os
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

PARAMS_FILE = Path("params.yaml")
LOCK_FILE = Path("dvc.lock")
DRAWN_FOLDER = Path("data/drawn")
TRAIN_FILE = Path("data/prepared/train.h5")
TEST_FILE = Path("data/prepared/test.h5")
MODEL_FILE = Path("models/model.h5")
PLOTS_FOLDER = Path("plots")
COSTS_FILE = PLOTS_FOLDER / "costs.csv"
PREDICTIONS_FILE = PLOTS_FOLDER / "predictions.csv"
METRICS_FOLDER = Path("metrics")
PREPARE_METRICS = METRICS_FOLDER / "prepare.json"
TRAIN_METRICS = METRICS_FOLDER / "train.json"
EVALUATE_METRICS = METRICS_FOLDER / "evaluate.json"
TRACKED_FILE = Path("data/tracked.json")  # the receipt of the stage `track`
MLFLOW_ARTIFACTS = Path("mlartifacts")
WORK_FOLDER = Path(".one-neuron")  # caches, checkpoints and locks; ignored by git

SOURCE_ROOT = Path(__file__).resolve().parents[1]  # the folder that holds one_neuron and drawn_pictures
_PACKAGES = ("one_neuron", "drawn_pictures")


def find_repository() -> Path:
    """Return the repository; in a queued experiment, which runs in a temporary copy, the one that DVC copied.

    DVC deletes the copy, so caches, checkpoints and the MLflow store lie in the repository.

    Returns
    -------
    Path
        The environment variable DVC_ROOT, which DVC sets for every stage; without it the current folder, as ".".
    """
    return Path(os.environ.get("DVC_ROOT") or ".")


def find_code(*starts: str | Path, aside: Collection[str] = ()) -> list[Path]:
    """Return the source files of this project that some files import, directly or through other modules.

    The imports are read from the source text, those inside functions included; imports for type checkers only are not.
    Importing a module runs the `__init__` of every package above it, so these count as well.

    Parameters
    ----------
    *starts : str or Path
        Python files, absolute or relative to SOURCE_ROOT. They are part of the result only if another one imports them.
    aside : collection of str
        Modules and packages to leave out, with all that only they import: "one_neuron.system", for example.

    Returns
    -------
    list of Path
        Relative to SOURCE_ROOT, sorted.
    """
    found: set[Path] = set()
    waiting = [SOURCE_ROOT / start for start in starts]
    while waiting:
        for name in _read_imports(waiting.pop()):
            if not _is_within(name, aside):
                new = {path for path in _files_of(name) if path not in found}
                found |= new
                waiting += (SOURCE_ROOT / path for path in new)
    return sorted(found)


def hash_code(*starts: str, aside: Collection[str] = ()) -> str:
    """Return the SHA-256 of some files and of what `find_code` finds for them, as 64 hexadecimal digits.

    The `__init__` files are left out: they compute nothing.
    """
    digest = hashlib.sha256()
    for path in sorted({*map(Path, starts), *find_code(*starts, aside=aside)}):
        if path.name != "__init__.py":
            content = (SOURCE_ROOT / path).read_bytes()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _is_within(name: str, packages: Collection[str]) -> bool:
    """Return whether a dotted name is one of the packages or lies in one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _files_of(name: str) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs; a name that is not a module stands for the module above it."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        folder = Path(*parts[:depth])
        for path in (folder / "__init__.py", folder.with_suffix(".py")):
            if (SOURCE_ROOT / path).is_file():
                yield path


@cache
def _read_imports(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports from this project: `from a import b` as a and a.b."""
    return frozenset(_imported_names(ast.parse(path.read_text(encoding="utf-8"))))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names, in statements at any depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_within(alias.name, _PACKAGES))
        elif isinstance(node, ast.ImportFrom) and _is_within(str(node.module), _PACKAGES):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for statement in node.orelse:
                yield from _imported_names(statement)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):  # expressions import nothing
            yield from _imported_names(node)
