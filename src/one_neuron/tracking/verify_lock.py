"""What the dvc.lock of a run says about the files that went in and came out, for `one-neuron verify`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_neuron.errors import EnvironmentProblem, quote_path

STAGES = ("draw", "prepare", "train", "evaluate")
_MAX_BYTES = 10_000_000


@dataclass(frozen=True)
class Lock:
    """The stages of a dvc.lock up to `evaluate`: the MD5 of each input and output by its path, and the parameters."""

    deps: Mapping[str, str]
    outs: Mapping[str, str]
    params: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The parameter data.source."""
        return str(self.params["prepare"]["params.yaml"]["data"]["source"])

    @property
    def data_path(self) -> Path:
        """The parameter data.path."""
        return Path(self.params["prepare"]["params.yaml"]["data"]["path"])


def read_lock(path: Path) -> Lock:
    """Read a dvc.lock.

    Raises
    ------
    EnvironmentProblem
        If it is missing, is not a lock of DVC, or lacks a stage.
    """
    import yaml

    remedy = "delete the run in `make ui`, and record its result again with `make track`"
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large")
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]
        lock = Lock(
            {str(one["path"]): str(one["md5"]) for name in STAGES for one in stages[name]["deps"]},
            {str(one["path"]): str(one["md5"]) for name in STAGES for one in stages[name]["outs"]},
            {name: stages[name]["params"] for name in STAGES},
        )
        if not (lock.source and lock.data_path.parts):
            raise ValueError("no source of pictures")
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"the run has no {path.name}, so its result cannot be made again; {remedy}") from error
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EnvironmentProblem(
            f"the {path.name} of the run is not a lock of DVC with all stages; {remedy}"
        ) from error
    return lock


def find_other_code(lock: Lock, project: Path) -> list[str]:
    """Return the files of the project that differ from those with which the run was made; its pictures do not count."""
    code = {path: md5 for path, md5 in lock.deps.items() if path not in lock.outs and Path(path) != lock.data_path}
    return [path for path, md5 in code.items() if hash_file(project / path) != md5]


def compare_locks(stored: Lock, recomputed: Lock) -> Iterator[str]:
    """Yield a line for each parameter section and each output that differs, by its MD5."""
    for stage in STAGES:
        if stored.params[stage] != recomputed.params[stage]:
            before, after = stored.params[stage], recomputed.params[stage]
            yield f"dvc.lock, parameters of the stage {stage}: stored {before}, recomputed {after}"
    for path in sorted(stored.outs.keys() | recomputed.outs.keys()):
        before, after = (lock.outs.get(path, "nothing") for lock in (stored, recomputed))
        if before != after:
            yield f"dvc.lock, {quote_path(path)}, MD5: stored {before}, recomputed {after}"


def hash_file(path: Path) -> str:
    """Return the MD5 of a file, by which DVC knows it; "" if there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
