"""What `one-neuron verify` prints, and its exit codes; the comparison itself is replaced."""

from pathlib import Path

import pytest

from one_neuron.cli import main
from one_neuron.tracking import verify as module
from one_neuron.tracking.verify import Verification


@pytest.mark.parametrize("differences", [[], ["metric a: stored 1, recomputed 2", "'x\x1b': stored nothing"]])
def test_the_last_line_sums_up_and_the_exit_code_tells(
    differences: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for the same, 3 for another result; a line for each thing; a terminal is not at the mercy of a store."""
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    asked = []

    def verify(root: Path, run_id: str, *, trust_diff: bool) -> Verification:
        asked.append((root, run_id, trust_diff))
        return Verification("1234567890", "a" * 40, 7, differences, ["numpy is other"])

    monkeypatch.setattr(module, "verify", verify)
    assert main(["verify", "12345", *(["--trust-diff"] if differences else [])]) == (3 if differences else 0)
    assert asked == [(tmp_path, "12345", bool(differences))]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "note: numpy is other"
    if differences:
        assert lines[1:3] == ["differs: metric a: stored 1, recomputed 2", "differs: 'x\\x1b': stored nothing"]
        assert lines[3] == "run 12345678, made again from commit aaaaaaaaaaaa: 2 differ, 7 are the same"
    else:
        same = "same: 7 files, digests, parameters and metrics of run 12345678, made again from commit aaaaaaaaaaaa"
        assert lines[1:] == [same]


def test_without_an_id_or_a_project_the_usage_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2; a missing store is not created."""
    assert main(["verify"]) == 2
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["verify", "abcd"]) == 2
    assert "is not the root of the project" in capsys.readouterr().err
    (tmp_path / "dvc.yaml").touch()
    assert main(["verify", "abcd"]) == 2
    assert "mlflow.db' yet" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.yaml"]
