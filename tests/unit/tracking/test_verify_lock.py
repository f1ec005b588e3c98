"""What a dvc.lock says about the inputs and outputs of the stages, with hand-written locks."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from one_neuron.errors import EnvironmentProblem
from one_neuron.tracking.verify_lock import compare_locks, find_other_code, read_lock

CODE = hashlib.md5(b"code").hexdigest()


def write_lock(path: Path, *, source: str = "drawn", model: str = "1" * 32, learning_rate: float = 0.5) -> Path:
    """Write a lock with two code files and one output for each stage."""

    def stage(deps: dict[str, str], outs: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
        return {
            "cmd": "python",
            "deps": [{"path": name, "hash": "md5", "md5": md5} for name, md5 in deps.items()],
            "outs": [{"path": name, "hash": "md5", "md5": md5} for name, md5 in outs.items()],
            "params": {"params.yaml": params},
        }

    data = {"source": source, "path": "my pictures"}
    stages = {
        "draw": stage({"src/draw.py": CODE}, {"data/drawn": "2" * 32 + ".dir"}, {"draw": {"seed": 1}}),
        "prepare": stage(
            {"my pictures": "3" * 32 + ".dir", "data/drawn": "2" * 32 + ".dir"},
            {"data/prepared/train.h5": "4" * 32},
            {"data": data},
        ),
        "train": stage(
            {"src/train.py": CODE, "data/prepared/train.h5": "4" * 32},
            {"models/model.h5": model},
            {"train": {"learning_rate": learning_rate}},
        ),
        "evaluate": stage({"models/model.h5": model}, {"plots/a.png": "5" * 32}, {"evaluate": {}}),
    }
    # Two stages of the user: `crop`, which the result needs, and `export`, which needs the result.
    stages["prepare"]["deps"].append({"path": "data/cropped", "md5": "6" * 32})
    stages["crop"] = stage({"src/crop.py": CODE}, {"data/cropped": "6" * 32}, {}) | {"frozen": True}
    stages["export"] = stage({"models/model.h5": model, "not here.txt": CODE}, {"export.bin": "7" * 32}, {})
    path.write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")
    return path


def test_only_code_is_compared_with_the_project(tmp_path: Path) -> None:
    """Neither the pictures nor what another stage makes: these are restored later."""
    lock = read_lock(write_lock(tmp_path / "dvc.lock"))
    assert (lock.source, lock.data_path) == ("drawn", Path("my pictures"))
    assert sorted(find_other_code(lock, tmp_path)) == ["src/crop.py", "src/draw.py", "src/train.py"]
    (tmp_path / "src").mkdir()
    for name in ("crop", "draw"):
        (tmp_path / f"src/{name}.py").write_bytes(b"code")
    (tmp_path / "src/train.py").write_bytes(b"other code")
    assert find_other_code(lock, tmp_path) == ["src/train.py"]


def test_each_other_output_and_parameter_has_its_line(tmp_path: Path) -> None:
    """By its path and both MD5; equal locks have none."""
    stored = read_lock(write_lock(tmp_path / "one"))
    assert list(compare_locks(stored, read_lock(write_lock(tmp_path / "two")))) == []
    other = read_lock(write_lock(tmp_path / "two", model="f" * 32, learning_rate=0.25))
    parameters, model = compare_locks(stored, other)
    assert "stage train" in parameters
    assert "0.5" in parameters
    assert "0.25" in parameters
    assert model == f"dvc.lock, 'models/model.h5', MD5: stored {'1' * 32}, recomputed {'f' * 32}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stages:",
        "stages: {draw: {}}",
        "[1, 2]",
        "a: &a [*a",
        "\0",
        "[" * 100_000,
        "#" * 1_000_001,
        "a: &a 1\nstages: *a",
        "stages: {draw: {deps: [1], outs: []}}",
    ],
)
def test_what_is_not_a_lock_is_one_line(tmp_path: Path, text: str) -> None:
    """A missing file, and texts that are something else."""
    with pytest.raises(EnvironmentProblem, match=r"has no dvc\.lock"):
        read_lock(tmp_path / "dvc.lock")
    (tmp_path / "dvc.lock").write_text(text)
    with pytest.raises(EnvironmentProblem, match=r"not a lock of DVC with all stages; .* `make track`"):
        read_lock(tmp_path / "dvc.lock")
