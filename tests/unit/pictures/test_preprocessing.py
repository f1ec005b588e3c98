"""The one value that says how a picture becomes pixels: its range, and that params.yaml allows the same."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from one_neuron.errors import DataError
from one_neuron.pictures.preprocessing import DECODES, MAX_NUM_PX, RESIZES, Preprocessing
from one_neuron.settings.params import DataSettings
from tests.values import DATA


def test_the_defaults_are_those_of_the_course() -> None:
    """Only the size has to be named."""
    preprocessing = Preprocessing(64)
    assert (preprocessing.num_px, preprocessing.resize, preprocessing.decode) == (64, "stretch", "exact")
    assert preprocessing.n_x == 12_288


def test_it_cannot_be_changed() -> None:
    """A model keeps the one that its training set had."""
    with pytest.raises(FrozenInstanceError):
        Preprocessing(64).num_px = 32  # type: ignore[misc]


@pytest.mark.parametrize("num_px", [1, 1024])
@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_all_allowed_values_are_accepted(num_px: int, resize: str, decode: str) -> None:
    """From params.yaml as well as from Python."""
    data = DataSettings(**{**DATA, "num_px": num_px, "resize": resize, "decode": decode})
    assert data.preprocessing == Preprocessing(num_px, resize=resize, decode=decode)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"num_px": 0}, r"^num_px is 0; expected a whole number from 1 to 1,024$"),
        ({"num_px": 1025}, r"^num_px is 1025; expected a whole number from 1 to 1,024$"),
        ({"num_px": 64.0}, r"^num_px is 64\.0; expected a whole number"),
        ({"num_px": True}, r"^num_px is True; expected a whole number"),
        ({"num_px": "64"}, r"^num_px is '64'; expected a whole number"),
        ({"resize": "zoom"}, r"^resize is 'zoom'; expected stretch or crop or pad$"),
        ({"decode": "exactly"}, r"^decode is 'exactly'; expected exact or fast$"),
    ],
)
def test_other_values_are_refused(values: dict[str, Any], problem: str) -> None:
    """The message names the value and what is allowed."""
    with pytest.raises(DataError, match=problem):
        Preprocessing(**{"num_px": 64, **values})


@pytest.mark.parametrize(("key", "known"), [("resize", RESIZES), ("decode", DECODES)])
def test_the_settings_know_the_same_words(key: str, known: tuple[str, ...]) -> None:
    """What params.yaml allows is what a file may contain."""
    options = next(field.metadata["options"] for field in fields(DataSettings) if field.name == key)
    assert options == known


def test_the_settings_know_the_same_sizes() -> None:
    """What params.yaml allows is what a file may contain."""
    assert next(field.metadata["most"] for field in fields(DataSettings) if field.name == "num_px") == MAX_NUM_PX
