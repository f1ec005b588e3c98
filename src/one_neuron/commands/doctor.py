"""The command `one-neuron doctor`: what this machine and this project have, and what is off."""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from one_neuron import __version__
from one_neuron.errors import EnvironmentProblem, OneNeuronError, one_line, report_error
from one_neuron.layout import DVC_LOCK, PARAMS_FILE
from one_neuron.system.machine import count_cores

LIBRARIES = ("numpy", "h5py", "pillow", "numba", "scikit-learn", "hydra-core", "dvc", "mlflow")
LEAST_DISK = 2 * 10**9  # bytes: the environment takes 1.5 GB, and DVC keeps a copy of every output


def add_doctor(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "print versions, store, cache, disk and GPU; say what is off and how to mend it"
    commands.add_parser("doctor", help=what, allow_abbrev=False).set_defaults(run=run_doctor)


def run_doctor(_: argparse.Namespace) -> int:
    """Print a line for each check; report what is off, and return its exit code."""
    code = 0
    for name, check in CHECKS.items():
        try:
            for place, line in enumerate(check()):
                print(f"{'' if place else name:<12}{line}")
        except OneNeuronError as error:
            code = report_error(error)
        except ImportError as error:
            code = report_error(EnvironmentProblem(f"{one_line(error)}; run `make setup`"))
    print("everything is in order" if not code else "see the lines that begin with one-neuron:")
    return code


def _list_versions() -> Iterator[str]:
    """Yield the version of this project, of Python and of the libraries."""
    yield f"one-neuron {__version__}, Python {platform.python_version()} ({sys.executable})"
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    yield ", ".join(found)


def _describe_machine() -> Iterator[str]:
    """Yield the system, the processor and the GPU."""
    yield f"{platform.system()} {platform.machine()}, {count_cores()} cores"
    yield "GPU found; it is not used" if shutil.which("nvidia-smi") else "no GPU; none is needed"


def _check_products() -> Iterator[str]:
    """Check that BLAS multiplies right, which it does not on some processors."""
    import numpy as np

    from one_neuron.exact.products import gram_matrix

    pixels = np.arange(512 * 300, dtype=np.uint64).reshape(512, 300) * 2654435761 % 251
    X = pixels.astype(np.uint8)
    expected = pixels.astype(np.int64) @ pixels.T.astype(np.int64)
    if not (gram_matrix(X) == expected).all():
        raise EnvironmentProblem("NumPy's BLAS computes wrong products on this processor; reinstall numpy")
    yield "matrix products are exact"


def _check_disk() -> Iterator[str]:
    """Check the free space in the current folder."""
    free = shutil.disk_usage(Path.cwd()).free
    if free < LEAST_DISK:
        raise EnvironmentProblem(
            f"'{Path.cwd()}' has {free / 1e9:.1f} GB of free disk; free {LEAST_DISK / 1e9:.0f} GB, for example with "
            "`dvc gc --workspace`"
        )
    yield f"{free / 1e9:.0f} GB free"


def _check_project() -> Iterator[str]:
    """Check that this is the project, and its params.yaml and commit."""
    if not Path("dvc.yaml").is_file():
        yield f"'{Path.cwd()}' is not the root of the project: only predict and serve work here"
        return
    from one_neuron.dvc_guard import check_data_path
    from one_neuron.settings.params import load_settings
    from one_neuron.system.git import find_origin

    origin = find_origin(Path.cwd())
    if not origin.commit:
        raise EnvironmentProblem(f"'{Path.cwd()}' has no commit that Git can read; DVC needs one: git commit")
    yield f"commit {origin.commit[:12]}" + (", with uncommitted changes" if origin.dirty else "")
    settings = load_settings()
    check_data_path(settings.data)
    yield f"{PARAMS_FILE} is right, pictures from {settings.data.source}"
    if not DVC_LOCK.is_file():
        raise EnvironmentProblem(f"'{DVC_LOCK}' is missing; restore it with `git checkout {DVC_LOCK}`")


def _check_store() -> Iterator[str]:
    """Check MLflow's store, as far as that works without MLflow."""
    if not Path("dvc.yaml").is_file():
        return
    from one_neuron.tracking.spool import find_waiting
    from one_neuron.tracking.sqlite_file import check_database
    from one_neuron.tracking.store import find_store

    store = find_store(Path.cwd())
    if store.database is None:
        yield f"{store.place}, not asked"
    elif not os.path.lexists(store.database):
        yield f"{store.place} does not exist yet; the first result creates it"
    else:
        yield f"{store.place}, schema {check_database(store.database)}"
    for place, number in find_waiting(Path.cwd()).items():
        yield f"runs that wait for {place}: {number}; `one-neuron track --all` sends them"


def _check_cache() -> Iterator[str]:
    """Yield where DVC keeps outputs, and how many there are."""
    cache = Path(".dvc/cache")
    if not Path("dvc.yaml").is_file():
        return
    if not cache.exists():
        yield "none yet; `dvc repro` fills it"
        return
    try:
        sizes = [path.stat().st_size for path in cache.rglob("*") if path.is_file()]
    except OSError as error:
        raise EnvironmentProblem(f"'{cache}' cannot be read ({one_line(error)}); allow reading it") from error
    yield f"{cache}, {len(sizes):,} files, {sum(sizes) / 1e6:,.0f} MB"


CHECKS: dict[str, Callable[[], Iterator[str]]] = {
    "versions": _list_versions,
    "machine": _describe_machine,
    "arithmetic": _check_products,
    "disk": _check_disk,
    "project": _check_project,
    "store": _check_store,
    "DVC's cache": _check_cache,
}
