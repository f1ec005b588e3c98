"""What the dvc.lock of a run says about the files that went in and came out, for `one-neuron verify`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_neuron.errors import EnvironmentProblem, quote_path

_LAST = "evaluate"  # the last stage that makes the result again
_MAX_BYTES = 1_000_000
_MAX_DEPTH = 20


@dataclass(frozen=True)
class Lock:
    """The stages of a dvc.lock up to `evaluate`: the MD5 of inputs and outputs by their paths, parameters by stage."""

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
    from yaml import YAMLError

    remedy = "delete the run in `make ui`, and record its result again with `make track`"
    try:
        stages = _read_yaml(path)["stages"]
        names = _find_upstream(stages)
        lock = Lock(
            {str(one["path"]): str(one["md5"]) for name in names for one in stages[name].get("deps", [])},
            {str(one["path"]): str(one["md5"]) for name in names for one in stages[name].get("outs", [])},
            {name: stages[name].get("params", {}) for name in names},
        )
        if not (lock.source and lock.data_path.parts):
            raise ValueError("no source of pictures")
    except FileNotFoundError as error:
        raise EnvironmentProblem(f"the run has no {path.name}, so its result cannot be made again; {remedy}") from error
    except (OSError, ValueError, YAMLError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EnvironmentProblem(
            f"the {path.name} of the run is not a lock of DVC with all stages; {remedy}"
        ) from error
    return lock


def _read_yaml(path: Path) -> Any:
    """Return what a file holds that anyone may have written into a store; ValueError if it is expensive to read."""
    import yaml

    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("it is too large")
    text, depth = path.read_text(encoding="utf-8"), 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent):
            raise ValueError("it is nested too deep or holds an alias")
    return yaml.safe_load(text)


def _find_upstream(stages: Mapping[str, Any]) -> list[str]:
    """Return the names of `evaluate` and of the stages whose outputs it needs, directly or through others."""
    makers = {str(one["path"]): name for name, stage in stages.items() for one in stage.get("outs", [])}
    found: list[str] = []
    waiting = [_LAST]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            waiting += [makers[str(one["path"])] for one in stages[name]["deps"] if str(one["path"]) in makers]
    return sorted(found)


def find_other_code(lock: Lock, project: Path) -> list[str]:
    """Return the files of the project that differ from those with which the run was made; its pictures do not count."""
    code = {path: md5 for path, md5 in lock.deps.items() if path not in lock.outs and Path(path) != lock.data_path}
    return [path for path, md5 in code.items() if hash_file(project / path) != md5]


def compare_locks(stored: Lock, recomputed: Lock) -> Iterator[str]:
    """Yield a line for each parameter section and each output that differs, by its MD5."""
    for stage in sorted(stored.params.keys() | recomputed.params.keys()):
        before, after = (lock.params.get(stage, "nothing") for lock in (stored, recomputed))
        if before != after:
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
