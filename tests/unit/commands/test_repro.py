"""The exit codes of `one-neuron repro`, and when it prints the result. The integration tests run it."""

import signal
from pathlib import Path

import pytest

from one_neuron.commands import repro
from one_neuron.commands.repro import _find_code, _runs_all
from one_neuron.errors import EnvironmentProblem
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
