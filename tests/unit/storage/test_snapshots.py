"""Snapshots: what is written comes back to the bit, and a wrong file is refused."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from one_neuron.errors import DamagedFile, DataError
from one_neuron.neuron import Parameters
from one_neuron.storage.model import Model
from one_neuron.storage.snapshots import load_snapshots, save_snapshots
from tests.unit.storage.files import BOTH, MakeModel, chunked, edit, put, put_attribute


def make(model: Model) -> dict[int, Parameters]:
    """Return three snapshots, the last one with the w and b of the model."""
    odd = Parameters(w=np.array([-0.0, 5e-324, 1e308, -1e308] * 3), b=-5e-324)
    return {0: Parameters(w=np.zeros(12), b=0.0), 100: odd, 2000: model.parameters}


def test_snapshots_come_back_to_the_bit(make_model: MakeModel, tmp_path: Path) -> None:
    """Also the smallest and largest numbers and negative zero; the same content gives the same bytes."""
    model = make_model()
    save_snapshots(tmp_path / "snapshots.h5", make(model), model)
    loaded = load_snapshots(tmp_path / "snapshots.h5", model)
    assert list(loaded) == [0, 100, 2000]
    for iteration, parameters in make(model).items():
        assert loaded[iteration].w.tobytes() == parameters.w.tobytes()
        assert loaded[iteration].b == parameters.b
    save_snapshots(tmp_path / "again.h5", loaded, model)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "snapshots.h5").read_bytes()


SNAPSHOTS = [
    (chunked("w"), "'w' is not stored in one piece"),
    (put("w", None), "the key 'w' is missing; present: b, iterations"),
    (put("b", None), "the key 'b' is missing"),
    (put("iterations", None), "the key 'iterations' is missing"),
    (put("iterations", np.zeros(3)), "'iterations' has type float64; expected int64"),
    (put("iterations", np.arange(21)), "'iterations' takes 168 bytes; at most 160 are read"),
    (put("iterations", np.array([0, 100, 1999])), "does not fit its SHA-256"),
    (put("iterations", np.array([0, 0, 2000])), "does not fit its SHA-256"),
    (put("w", np.zeros((21, 12))), "'w' takes 2016 bytes; at most 1920 are read"),  # before they fill the memory
    (put("w", np.zeros((3, 11))), r"w and b have shapes \(3,\), \(3, 11\) and \(3,\); expected \(3,\), \(3, 12\) and"),
    (put("w", np.zeros((2, 12))), r"have shapes \(3,\), \(2, 12\)"),
    (put("w", np.zeros((3, 12))), "does not fit its SHA-256"),
    (put("b", np.zeros(2)), r"\(3, 12\) and \(2,\); expected"),
    (put("b", np.zeros(3)), "does not fit its SHA-256"),
    (put("b", np.float64(1)), "'b' has 0 dimensions; expected 1"),
    (put_attribute("model_sha256", None), "the attribute 'model_sha256' is None"),
    (put_attribute("model_sha256", "0" * 64), "it belongs to another model"),
]


@pytest.mark.parametrize(("change", "message"), [*BOTH, *SNAPSHOTS])
def test_a_wrong_file_is_refused(
    change: Callable[[h5py.File], None], message: str, tmp_path: Path, make_model: MakeModel
) -> None:
    """File, key, what was found and what is expected."""
    path, model = tmp_path / "snapshots.h5", make_model()
    save_snapshots(path, make(model), model)
    edit(path, change)
    with pytest.raises(DataError, match=message) as caught:
        load_snapshots(path, model)
    assert str(path) in str(caught.value)


def test_snapshots_of_another_model_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    """The remedy makes both files again."""
    model = make_model()
    save_snapshots(tmp_path / "snapshots.h5", make(model), model)
    with pytest.raises(DataError, match=r"snapshots.h5': it belongs to another model; run `dvc repro`"):
        load_snapshots(tmp_path / "snapshots.h5", make_model(seed=1))


def test_no_flipped_bit_is_believed(make_model: MakeModel, tmp_path: Path) -> None:
    """A bit of every tenth byte: the snapshots are the same, or the file is refused."""
    model, path = make_model(), tmp_path / "snapshots.h5"
    save_snapshots(path, make(model), model)
    sound, expected, refused = path.read_bytes(), repr(load_snapshots(path, model)), 0
    for position in range(0, len(sound), 10):
        damaged = bytearray(sound)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert repr(load_snapshots(path, model)) == expected
        except DamagedFile:
            refused += 1
    assert refused > 50
