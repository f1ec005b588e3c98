"""The exit codes of `one-neuron repro`, and when it prints the result. The integration tests run it."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from one_neuron.commands import repro
from one_neuron.commands.repro import _check_prepared, _find_code, _runs_all
from one_neuron.errors import DamagedFile, EnvironmentProblem
from one_neuron.layout import TEST_FILE, TRAIN_FILE
from one_neuron.storage.prepared_set import PreparedSet, save_prepared
from one_neuron.system.process import Ended


@pytest.mark.parametrize(
    ("ended", "failed", "code"),
    [
        (Ended(0, None), {}, 0),
        (Ended(255, None), {"train": 3}, 3),
        (Ended(255, None), {"draw": 130}, 130),  # Ctrl-C in a terminal reaches the stage
        (Ended(255, None), {"train": 2, "track": 4}, 2),  # dvc repro --keep-going
        (Ended(0, None), {"train": 2}, 0),  # dvc repro --ignore-errors
        (Ended(252, None), {}, 130),
        (Ended(-2, None), {}, 130),  # while DVC imports its libraries
        (Ended(-1, None), {"train": 129}, 129),  # the terminal was closed
        (Ended(254, None), {}, 2),
        (Ended(255, None), {}, 4),
        (Ended(255, signal.SIGTERM), {"train": 130}, 143),  # DVC gets SIGINT instead
        (Ended(-9, signal.SIGHUP), {}, 129),
    ],
)
def test_the_exit_code_is_that_of_the_stage(ended: Ended, failed: dict[str, int], code: int) -> None:
    """Never DVC's 255."""
    assert _find_code(ended, failed) == code


def test_a_killed_dvc_is_named() -> None:
    """Linux kills processes when memory is short."""
    with pytest.raises(EnvironmentProblem, match="dvc was ended by SIGKILL; is there enough memory"):
        _find_code(Ended(-9, None), {"train": 143})


@pytest.mark.parametrize("arguments", [["train"], ["-f", "train"], ["--dry"], ["-q"], ["--quiet", "-f"]])
def test_the_result_is_printed_only_after_all_stages(arguments: list[str]) -> None:
    """Otherwise it need not be the one of params.yaml."""
    assert not _runs_all(arguments)
    assert _runs_all([])
    assert _runs_all(["--force"])


def test_files_that_are_damaged_each_time_end_the_repairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a failing disk every run of DVC may leave another damaged file."""
    runs: list[int] = []

    def run(*_: object) -> tuple[Ended, dict[str, int]]:
        runs.append(1)
        return Ended(255, None), {"train": 3}

    monkeypatch.setattr(repro, "_run_dvc", run)
    monkeypatch.setattr(repro, "count_moved", lambda _: len(runs))
    with pytest.raises(EnvironmentProblem, match=r"damaged again and again .*check the disk and the memory"):
        repro._run_and_repair(tmp_path, [])
    assert len(runs) == repro._MOST_REPAIRS


def test_prepared_sets_are_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_prepared: Callable[..., PreparedSet]
) -> None:
    """And again if DVC has put another file in their place."""
    monkeypatch.chdir(tmp_path)
    for path, seed in ((TRAIN_FILE, 1), (TEST_FILE, 2)):
        save_prepared(path, make_prepared(seed=seed))
    (tmp_path / ".one-neuron").mkdir()
    _check_prepared(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("one_neuron.storage.prepared_set.load_prepared", None)
        _check_prepared(tmp_path)
    status, content = TRAIN_FILE.stat(), bytearray(TRAIN_FILE.read_bytes())
    content[-1] ^= 1
    other = Path("other.h5")
    other.write_bytes(content)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(TRAIN_FILE)
    for _ in range(2):  # a damaged file is not remembered
        with pytest.raises(DamagedFile, match=str(TRAIN_FILE)):
            _check_prepared(tmp_path)
    TRAIN_FILE.unlink()
    TEST_FILE.unlink()
    _check_prepared(tmp_path)
