"""Remove what the stages made, and the caches; print what it was. `make clean` calls it from the root of the project.

It needs nothing but Python, so it works without .venv.
"""

from __future__ import annotations

import fcntl
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

WORK = Path(".one-neuron")
REMOVED = (
    *(
        "data",
        "models",
        "metrics",
        "plots",
        "dvc_plots",
        ".partial-*",
        "dist",
        "docs/_build",
        ".coverage",
        ".coverage.*",
    ),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"),
    *(
        f"{WORK}/{name}"
        for name in ("rows", "prepared", "checkpoints", "damaged", "spool/*.damaged-*", "jobs-*", "rows-*", "arm")
    ),
)
SOURCES = ("src", "pipeline", "scripts", "benchmarks", "tests", "docs")
KEPT = {
    "mlflow.db": "MLflow's runs",
    "mlartifacts": "their files",
    ".one-neuron/spool": "runs that wait for their store; `one-neuron track --all` sends them",
    ".dvc/cache": "DVC's copies of every output; `dvc gc --workspace` removes those that are not needed",
    ".venv": "the installed libraries",
}


def main() -> int:
    """Remove everything that is named above, unless a command is running here; return the exit code."""
    if not Path("dvc.yaml").is_file():
        print(f"one-neuron: '{Path.cwd()}' is not the root of the project; go there and run it again", file=sys.stderr)
        return 2
    WORK.mkdir(exist_ok=True)
    with (WORK / "dvc-command.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.readline().strip()
            print(f"one-neuron: `make repro` (PID {owner}) is running here; wait until it has ended", file=sys.stderr)
            return 4
        removed = [(path, *remove(path)) for path in find_removed()]
    files, size = sum(files for _, files, _ in removed), sum(size for *_, size in removed)
    for path, *what in (*removed, ("together", files, size)):
        print(f"removed {path!s:<26} {describe(*what)}")
    for name, reason in KEPT.items():
        if Path(name).exists():
            print(f"kept    {name:<26} {describe(*measure(Path(name)))}: {reason}")
    return 0


def find_removed() -> Iterator[Path]:
    """Yield what is to be removed and exists."""
    for pattern in REMOVED:
        yield from sorted(Path().glob(pattern))
    for folder in SOURCES:
        yield from sorted(Path(folder).rglob("__pycache__"))


def remove(path: Path) -> tuple[int, int]:
    """Delete a file or a folder; return how many files it held, and their bytes."""
    found = measure(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return found


def measure(path: Path) -> tuple[int, int]:
    """Return how many files are at a path, and their bytes; links are not followed."""
    found = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    sizes = [each.lstat().st_size for each in found if each.is_symlink() or not each.is_dir()]
    return len(sizes), sum(sizes)


def describe(files: int, size: int) -> str:
    """Return a number of files and of bytes for a line of the output."""
    return f"{files:>7,} file{'s' if files != 1 else ' '} {size / 2**20:>9,.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
