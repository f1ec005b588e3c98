"""Where parameters and outputs lie, and which source files an output depends on."""

import ast
import hashlib
import os
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

# Relative to the root of the project, which is the current folder of every stage.
PARAMS_FILE = Path("params.yaml")
DVC_LOCK = Path("dvc.lock")
DRAWN_FOLDER = Path("data/drawn")
TRAIN_FILE = Path("data/prepared/train.h5")
TEST_FILE = Path("data/prepared/test.h5")
MODEL_FILE = Path("models/model.h5")
SNAPSHOTS_FILE = Path("models/snapshots.h5")
PLOTS_FOLDER = Path("plots")
COSTS_FILE = PLOTS_FOLDER / "costs.csv"
CURVES_FILE = PLOTS_FOLDER / "curves.csv"
WEIGHTS_FOLDER = PLOTS_FOLDER / "weights"
PREDICTIONS_FILE = PLOTS_FOLDER / "predictions.csv"
METRICS_FOLDER = Path("metrics")
PREPARE_METRICS = METRICS_FOLDER / "prepare.json"
TRAIN_METRICS = METRICS_FOLDER / "train.json"
EVALUATE_METRICS = METRICS_FOLDER / "evaluate.json"
# What the stage `evaluate` writes, beside the pictures in WEIGHTS_FOLDER
EVALUATED = (
    EVALUATE_METRICS,
    CURVES_FILE,
    PREDICTIONS_FILE,
    PLOTS_FOLDER / "classes.png",
    PLOTS_FOLDER / "curves.png",
    PLOTS_FOLDER / "evaluation.png",
    PLOTS_FOLDER / "examples.png",
    PLOTS_FOLDER / "mistakes.png",
    PLOTS_FOLDER / "probabilities.png",
    PLOTS_FOLDER / "weights.png",
    PLOTS_FOLDER / "weights_over_time.png",
)
# For each stage, the SHA-256 of its files that cannot hold their own
DIGESTS_FOLDER = Path("data/digests")
DRAW_DIGESTS = DIGESTS_FOLDER / "draw.sha256"
PREPARE_DIGESTS = DIGESTS_FOLDER / "prepare.sha256"
TRAIN_DIGESTS = DIGESTS_FOLDER / "train.sha256"
EVALUATE_DIGESTS = DIGESTS_FOLDER / "evaluate.sha256"
TRACKED_FILE = Path("data/tracked.json")  # the receipt of the stage `track`
MLFLOW_ARTIFACTS = Path("mlartifacts")
WORK_FOLDER = Path(".one-neuron")  # caches, checkpoints and locks; ignored by git

SOURCE_ROOT = Path(__file__).resolve().parents[1]  # the folder that holds one_neuron and drawn_pictures
_PACKAGES = ("one_neuron", "drawn_pictures")


def find_repository() -> Path:
    """Return the repository; in a queued experiment, which runs in a temporary copy, the one that DVC copied.

    DVC deletes the copy, so caches, checkpoints and the MLflow store lie in the repository. DVC sets the environment
    variable DVC_ROOT for every stage; without it, this is the current folder, as ".".
    """
    return Path(os.environ.get("DVC_ROOT") or ".")


def find_code(*starts: str | Path, aside: Collection[str] = ()) -> list[Path]:
    """Return the source files of this project that some files import, directly or through other modules.

    Imports are read from the source text: those inside functions count, those below `if TYPE_CHECKING:` do not.
    Importing a module runs the `__init__` of every package above it, so these files count as well.

    Parameters
    ----------
    *starts : str or Path
        Python files, absolute or relative to SOURCE_ROOT. They are part of the result only if another one imports them.
    aside : collection of str
        Modules and packages to leave out, with everything that only they import; for example "one_neuron.system".

    Returns
    -------
    list of Path
        Relative to SOURCE_ROOT, sorted.
    """
    found: set[Path] = set()
    names: set[str] = set()
    waiting = [SOURCE_ROOT / start for start in starts]
    while waiting:
        new_names = _read_imports(waiting.pop()) - names
        names |= new_names
        for name in new_names:
            if not _is_within(name, aside):
                new = set(_files_of(name)) - found
                found |= new
                waiting += (SOURCE_ROOT / path for path in new)
    return sorted(found)


def hash_code(*starts: str, aside: Collection[str] = ()) -> str:
    """Return the SHA-256, in hexadecimal, of some files and of those that `find_code` finds for them.

    Files that only hold names are left out; see `holds_only_names`.
    """
    digest = hashlib.sha256()
    for path in sorted({*map(Path, starts), *find_code(*starts, aside=aside)}):
        if not holds_only_names(path):
            content = (SOURCE_ROOT / path).read_bytes()
            digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def holds_only_names(path: Path) -> bool:
    """Return whether a file is an `__init__` of one_neuron: it computes nothing, so no output depends on it."""
    return path.name == "__init__.py" and path.parts[0] == "one_neuron"


def _is_within(name: str, packages: Collection[str]) -> bool:
    """Return whether a dotted name is one of the packages or inside one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _files_of(name: str) -> Iterator[Path]:
    """Yield the files that importing a dotted name runs; an attribute of a module adds nothing to the module."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        folder = Path(*parts[:depth])
        for path in (folder / "__init__.py", folder.with_suffix(".py")):
            if (SOURCE_ROOT / path).is_file():
                yield path


@cache
def _read_imports(path: Path) -> frozenset[str]:
    """Return the dotted names that a file imports from this project; `from a import b` gives a and a.b."""
    return frozenset(_imported_names(ast.parse(path.read_text(encoding="utf-8"))))


def _imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the names of this project that the statements below a node import, at any depth."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _is_within(alias.name, _PACKAGES))
        elif isinstance(node, ast.ImportFrom) and _is_within(str(node.module), _PACKAGES):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _imported_names(ast.Module(body=node.orelse, type_ignores=[]))
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):  # expressions import nothing
            yield from _imported_names(node)
