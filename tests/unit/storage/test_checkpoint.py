"""The state on disk: found again, never by another training, never damaged, swept up."""

from pathlib import Path

import numpy as np
import pytest

from one_neuron.gradient_descent.recorder import TrainingState
from one_neuron.neuron import Parameters
from one_neuron.storage import checkpoint
from one_neuron.storage.checkpoint import CheckpointFile

CONTENT: dict[str, str | int | float] = {"learning_rate": 0.005, "num_iterations": 2000, "train_sha256": "ab" * 32}
STATE = TrainingState(
    7,
    Parameters(w=np.array([0.1, -1e-300, 3.0]), b=-0.25),
    [0, 5],
    [0.6931471805599453, 0.5],
    {0: Parameters(w=np.zeros(3), b=0.0), 5: Parameters(w=np.array([0.1, 5e-324, -0.0]), b=1 / 3)},
)


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, and keep every state."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    return tmp_path


def test_a_state_comes_back_to_the_bit(capsys: pytest.CaptureFixture[str]) -> None:
    """Another process finds it by the same content, and says so."""
    assert CheckpointFile(CONTENT).load() is None
    CheckpointFile(CONTENT).offer(lambda: STATE)
    found = CheckpointFile(CONTENT).load()
    assert found is not None
    assert (found.iteration, found.iterations, found.costs) == (7, [0, 5], STATE.costs)
    assert found.parameters.w.tobytes() == STATE.parameters.w.tobytes()
    assert found.parameters.b == -0.25
    assert [(key, kept.w.tobytes(), kept.b) for key, kept in found.snapshots.items()] == [
        (key, kept.w.tobytes(), kept.b) for key, kept in STATE.snapshots.items()
    ]
    assert "resuming after iteration 7" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"learning_rate": 0.006}, {"train_sha256": "cd" * 32}, {"num_iterations": 3}])
def test_another_training_does_not_find_it(changes: dict[str, str | int | float]) -> None:
    """Parameters and data make the name."""
    CheckpointFile(CONTENT).offer(lambda: STATE)
    assert CheckpointFile({**CONTENT, **changes}).load() is None


def test_other_code_does_not_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an edit of the maths the rest would be another trajectory."""
    CheckpointFile(CONTENT).offer(lambda: STATE)
    monkeypatch.setattr(checkpoint, "hash_code", lambda *_, **__: "other")
    assert CheckpointFile(CONTENT).load() is None


def test_states_are_kept_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at every iteration."""
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 1000.0)
    file = CheckpointFile(CONTENT)
    file.offer(lambda: STATE)
    assert not file.path.exists()


def test_it_lies_in_the_repository_of_a_queued_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC deletes the folder where the experiment runs."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "main"))
    assert CheckpointFile(CONTENT).path.is_relative_to(tmp_path / "main")


@pytest.mark.parametrize("damage", ["empty", "half", "flipped", "text", "other arrays", "zip directory", "folder"])
def test_a_damaged_file_is_no_state(damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and training starts from the beginning."""
    file = CheckpointFile(CONTENT)
    file.offer(lambda: STATE)
    whole = file.path.read_bytes()
    if damage == "folder":
        file.path.unlink()
        file.path.mkdir()
    elif damage == "other arrays":
        np.savez(file.path, w=np.zeros(3))
    else:
        middle = whole.index(STATE.parameters.w.tobytes())
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        entry = whole.index(b"PK\x01\x02") + 10  # the method of compression
        strange = whole[:entry] + b"\x61" + whole[entry + 1 :]
        damaged = {"empty": b"", "half": whole[: len(whole) // 2], "flipped": flipped, "text": b"hello"}
        damaged["zip directory"] = strange
        file.path.write_bytes(damaged[damage])
    assert file.load() is None
    word = "cannot be read" if damage == "folder" else "is damaged"
    assert f"'{file.path}' {word}" in capsys.readouterr().err
    file.remove()


def test_a_disk_that_cannot_be_written_does_not_stop_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training continues without a checkpoint."""
    (tmp_path / ".one-neuron").write_text("a file where the folder should be", encoding="utf-8")
    file = CheckpointFile(CONTENT)
    assert file.load() is None
    assert "cannot be read" in capsys.readouterr().err
    for _ in range(3):
        file.offer(lambda: STATE)
    assert capsys.readouterr().err.count("could not be written") == 1
    file.remove()


def test_the_end_of_a_training_deletes_its_own_file() -> None:
    """And no other one; twice does no harm."""
    mine, other = (CheckpointFile({**CONTENT, "seed": seed}) for seed in range(2))
    for file in (mine, other):
        file.offer(lambda: STATE)
    mine.remove()
    mine.remove()
    assert [file.path.exists() for file in (mine, other)] == [False, True]


def test_no_flipped_bit_is_believed(capsys: pytest.CaptureFixture[str]) -> None:
    """A bit of every fifth byte: the state is the same, or training starts from the beginning."""
    file = CheckpointFile(CONTENT)
    file.offer(lambda: STATE)
    sound = file.path.read_bytes()
    expected, found = repr(file.load()), 0
    for position in range(0, len(sound), 5):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        file.path.write_bytes(damaged)
        loaded = file.load()
        assert loaded is None or repr(loaded) == expected
        found += loaded is None
    assert found > 0.1 * len(sound)  # the rest are dates and other unused bytes of the zip format
    capsys.readouterr()
