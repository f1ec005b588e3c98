"""Names of runs that can be told apart where MLflow cuts them."""

import itertools
from typing import Any

import numpy as np
import pytest

from one_neuron.settings.params import KEYS
from one_neuron.tracking.names import join_values, name_runs, shorten

RATE, ITERATIONS = "train.learning_rate", "train.num_iterations"


def test_the_name_of_one_run() -> None:
    """The number of iterations in front, other numbers with a word."""
    values = {"data.source": "drawn", RATE: 0.005, ITERATIONS: 2000, "data.num_px": 32}
    assert join_values(values) == "2000 drawn lr 0.005 px 32"
    assert join_values({"draw.seed": 2, "data.seed": 3}) == "draw 2 seed 3"
    assert join_values({}) == ""


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.010634, 0.0001, 1e-05], ["0.01063", "0.0001", "1e-05"]),
        ([0.0106341, 0.0106342, 0.5], ["0.0106341", "0.0106342", "0.5"]),
        ([2000, 250], ["2000", "250"]),
        (["crop", "pad"], ["crop", "pad"]),
        ([0.1, 0.1], ["0.1", "0.1"]),
    ],
)
def test_numbers_have_as_many_digits_as_distinguish_them(values: list[Any], texts: list[str]) -> None:
    """At least four; equal values have equal texts."""
    assert [shorten(values)[value] for value in values] == texts


def grid(**choices: list[Any]) -> list[dict[str, Any]]:
    """Return the points of a grid; `__` stands for the dot of a key."""
    keys = [name.replace("__", ".") for name in choices]
    return [dict(zip(keys, point, strict=True)) for point in itertools.product(*choices.values())]


@pytest.mark.parametrize(
    "runs",
    [
        grid(
            train__learning_rate=np.geomspace(1e-4, 0.03, 12).tolist(),
            train__num_iterations=[250, 500, 1000, 2000, 4000],
        ),
        grid(train__learning_rate=np.geomspace(1e-4, 0.03, 60).tolist()),
        grid(train__learning_rate=np.linspace(0.01, 0.0100001, 60).tolist()),
        grid(data__path=[f"/a/long/path/to/pictures/{i}" for i in range(60)]),
        grid(
            data__num_px=[32, 64],
            data__resize=["crop", "pad", "stretch"],
            train__learning_rate=[0.001, 0.01],
            train__threshold=[0.4, 0.5, 0.6, 0.7, 0.8],
        ),
        [dict.fromkeys(KEYS, i) for i in range(60)],
    ],
    ids=["make sweep", "rates", "close rates", "paths", "many keys", "all keys"],
)
def test_sixty_names_differ_in_their_first_sixteen_characters(runs: list[dict[str, Any]]) -> None:
    """Whatever is swept."""
    names = name_runs(runs)
    assert len(names) == 60
    assert len({name[:16] for name in names}) == 60


def test_a_number_in_front_is_used_only_where_it_is_needed() -> None:
    """It has the same width in all names."""
    assert name_runs(grid(train__learning_rate=[0.01063, 0.001], train__num_iterations=[2000])) == [
        "2000 lr 0.01063",
        "2000 lr 0.001",
    ]
    names = name_runs(grid(data__path=[f"/the/same/beginning/{i}" for i in range(10)]))
    assert (names[0], names[9]) == ("01 /the/same/beginning/0", "10 /the/same/beginning/9")
    assert name_runs([]) == []
