"""Models: what is written comes back to the bit, and wrong values are refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.neuron import Parameters
from one_neuron.storage.model import load_model, save_model
from tests.unit.storage.files import BOTH, MakeModel, chunked, edit, put, put_attribute, same


@pytest.mark.parametrize(
    ("w", "b"),
    [([0.0] * 12, 0.0), ([-0.0, 5e-324, 1e308, -1e308] * 3, -5e-324), ([0.1] * 12, 1 / 3)],
)
def test_models_come_back_to_the_bit(w: list[float], b: float, make_model: MakeModel, tmp_path: Path) -> None:
    """Also the smallest and largest numbers and negative zero."""
    model = make_model(parameters=Parameters(w=np.array(w), b=b), threshold=0.25, classes=("Hund", "Katze 猫"))
    model = replace(model, preprocessing=replace(model.preprocessing, resize="crop", decode="fast"))
    save_model(tmp_path / "model.h5", model)
    loaded = load_model(tmp_path / "model.h5")
    assert same(loaded, model)
    assert loaded.sha256 == model.sha256
    assert {key: type(value) for key, value in loaded.trained_with.items()} == {
        "learning_rate": float,
        "num_iterations": int,
        "form": str,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": Parameters(w=np.zeros(12), b=-0.25)},
        {"parameters": Parameters(w=np.random.default_rng(0).normal(size=12), b=0.25)},
        {"threshold": 0.75},
        {"classes": ("a", "b")},
        {"trained_with": {}},
        {"resize": "pad"},
        {"decode": "fast"},
    ],
)
def test_the_digest_covers_all_of_a_model(change: dict[str, Any], make_model: MakeModel) -> None:
    """Another content, another SHA-256."""
    assert make_model(**change).sha256 != make_model().sha256


MODEL = [
    (chunked("w"), "'w' is not stored in one piece"),
    (put("w", None), "the key 'w' is missing; present: b"),
    (put("b", None), "the key 'b' is missing; present: w"),
    (put("w", np.zeros(12, dtype=np.float32)), "'w' has type float32; expected float64"),
    (put("w", np.zeros(13)), r"'w' takes 104 bytes; at most 96 are read"),  # before they fill the memory
    (put("w", np.zeros(11)), r"w has shape \(11,\); expected \(12,\)"),
    (put("w", np.full(12, np.nan)), "w or b is not finite"),
    (put("b", np.inf), "w or b is not finite"),
    (put("b", np.zeros(1)), "'b' has 1 dimensions; expected 0"),
    (put("b", np.float64(5)), "does not fit its SHA-256"),
    (put_attribute("threshold", None), "the attribute 'threshold' is None"),
    (put_attribute("threshold", 1.5), "threshold is 1.5; expected a number between 0 and 1"),
    (put_attribute("threshold", np.nan), "threshold is nan"),
    (put_attribute("threshold", 0.25), "does not fit its SHA-256"),
    (put_attribute("trained_with", "[]"), "expected a JSON dict"),
    (put_attribute("trained_with", "{}"), "does not fit its SHA-256"),
]


@pytest.mark.parametrize(("change", "message"), BOTH + MODEL)
def test_a_wrong_model_is_refused(
    change: Callable[[h5py.File], None], message: str, tmp_path: Path, make_model: MakeModel
) -> None:
    """File, key, what was found and what is expected."""
    path = tmp_path / "model.h5"
    save_model(path, make_model())
    edit(path, change)
    with pytest.raises(DataError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": Parameters(w=np.zeros(11), b=0.0)}, r"w has shape \(11,\)"),
        ({"parameters": Parameters(w=np.zeros((12, 1)), b=0.0)}, r"w has shape \(12, 1\)"),
        ({"parameters": Parameters(w=np.full(12, np.nan), b=0.0)}, "not finite"),
        ({"parameters": Parameters(w=np.full(12, np.inf), b=0.0)}, "not finite"),
        ({"parameters": Parameters(w=np.zeros(12), b=np.nan)}, "not finite"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"resize": ""}, "resize is ''"),
        ({"decode": "exactly"}, "decode is 'exactly'"),
    ],
)
def test_a_model_cannot_be_made_wrong(changes: dict[str, Any], message: str, make_model: MakeModel) -> None:
    """Above all nan is refused: a diverged training must not become a model."""
    with pytest.raises(DataError, match=message):
        make_model(**changes)
