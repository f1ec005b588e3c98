"""A search: what it suggests, how it counts, and that it can be repeated from the scores alone."""

import math
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.settings.params import check_settings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.overrides import Interval
from one_neuron.sweep.plan import Space
from one_neuron.sweep.prepared_data import DataFiles
from one_neuron.sweep.ranking import DIVERGED, FINISHED, Entry, rank
from one_neuron.sweep.search import BATCH, REQUIREMENT, TpeSearch, _score
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")
FILES = DataFiles(Path("train.h5"), Path("test.h5"), "1" * 64, "2" * 64)
RATE, ITERATIONS = "train.learning_rate", "train.num_iterations"
SPACE: Space = {RATE: Interval(1e-4, 1, log=True, whole=False), ITERATIONS: Interval(10, 5000, log=True, whole=True)}


def configure(point: Mapping[str, Any]) -> Configuration:
    """Return a configuration whose key shows the point."""
    values = {key.partition(".")[2]: value for key, value in point.items() if key.startswith("train.")}
    settings = replace(SETTINGS, train=replace(SETTINGS.train, **values))
    return Configuration(settings, FILES, " ".join(f"{key}={value!r}" for key, value in point.items()), "context")


def begin(space: Space = SPACE, *, trials: int = 60, seed: int = 1) -> TpeSearch:
    """Return a search."""
    return TpeSearch(space, trials=trials, seed=seed, configure=configure)


def score(configuration: Configuration) -> Entry:
    """Return the outcome of a configuration: the best ones lie at a rate of 0.02; above 0.3 training diverges."""
    train = configuration.settings.train
    distance = abs(math.log10(train.learning_rate / 0.02)) + abs(math.log10(train.num_iterations / 1000)) / 4
    metrics = {"validation_accuracy": round(0.8 - distance / 10, 2), "validation_cost": 0.4 + distance}
    status = DIVERGED if train.learning_rate > 0.3 else FINISHED
    return Entry(configuration.key, configuration.settings, status, metrics=metrics)


def run(search: TpeSearch) -> list[list[Configuration]]:
    """Run a search to its end; return its batches."""
    batches = []
    while batch := search.ask():
        batches.append(batch)
        search.tell({each.key: score(each) for each in batch})
    return batches


def keys_of(batches: list[list[Configuration]]) -> list[list[str]]:
    """Return the keys of the configurations in each batch."""
    return [[each.key for each in batch] for batch in batches]


def test_a_search_makes_as_many_suggestions_as_asked_each_once() -> None:
    """In batches of a fixed size, inside the space, rounded to four digits."""
    batches = run(begin(trials=31))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 31 - 2 * BATCH]
    trains = [each.settings.train for batch in batches for each in batch]
    assert len({(train.learning_rate, train.num_iterations) for train in trains}) == 31
    assert all(1e-4 <= train.learning_rate <= 1 and 10 <= train.num_iterations <= 5000 for train in trains)
    assert all(train.learning_rate == float(f"{train.learning_rate:.4g}") for train in trains)
    assert {type(train.num_iterations) for train in trains} == {int}


def test_it_looks_where_scores_are_good() -> None:
    """The last batch is better on average than the first, which is random."""
    batches = run(begin())
    means = [sum(score(each).get_metric("validation_accuracy") for each in batch) / BATCH for batch in batches]
    assert means[-1] > means[0] + 0.02


def test_scores_have_the_order_of_the_ranking() -> None:
    """One picture of a million counts more than any cost; what diverged comes last."""

    def entry(accuracy: float, cost: float, status: str = FINISHED) -> Entry:
        metrics = {"validation_accuracy": accuracy, "validation_cost": cost}
        return Entry(f"{accuracy} {cost}", SETTINGS, status, metrics=metrics)

    ordered = [entry(0.700001, 9.0), entry(0.7, 0.5), entry(0.7, 0.50001), entry(0.0, 9e9), entry(0.9, 0.1, DIVERGED)]
    assert rank(reversed(ordered)) == ordered
    scores = [_score(each) for each in ordered]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores)


def test_the_same_seed_and_scores_make_the_same_suggestions() -> None:
    """A search that is started again asks for the same; more trials continue it; another seed makes others."""
    first = keys_of(run(begin()))
    assert keys_of(run(begin())) == first
    assert keys_of(run(begin(trials=72)))[:5] == first
    assert keys_of(run(begin(seed=2)))[0] != first[0]
    assert keys_of(run(begin(seed=2**63 - 1)))[0] != first[0]


def test_the_last_bits_of_a_score_do_not_count() -> None:
    """A batch that was interrupted is completed in another matrix, whose products may differ there."""
    one, other = begin(), begin()
    for _ in range(3):
        batch, again = one.ask(), other.ask()
        assert keys_of([batch]) == keys_of([again])
        entries = {each.key: score(each) for each in batch}
        one.tell(entries)
        other.tell(
            {
                key: replace(entry, metrics={name: math.nextafter(value, 1) for name, value in entry.metrics.items()})
                for key, entry in entries.items()
            }
        )


def test_between_equal_accuracies_the_lower_cost_is_better() -> None:
    """As in the ranking: a search over one parameter whose accuracy never changes still finds the lowest cost."""
    search = begin({RATE: Interval(1e-4, 1, log=True, whole=False)})
    while batch := search.ask():
        last = [abs(math.log10(each.settings.train.learning_rate / 0.02)) for each in batch]
        entries = {}
        for each, distance in zip(batch, last, strict=True):
            metrics = {"validation_accuracy": 0.7, "validation_cost": distance}
            entries[each.key] = Entry(each.key, each.settings, FINISHED, metrics=metrics)
        search.tell(entries)
    assert sum(last) / len(last) < 0.5  # of four decades


def test_lists_of_numbers_and_texts_can_be_searched() -> None:
    """Only listed values are suggested."""
    space: Space = {
        RATE: (0.001, 0.01, 0.1),
        ITERATIONS: Interval(1, 9, log=False, whole=True),
        "data.resize": ("a", "b"),
    }
    keys = {key for batch in keys_of(run(begin(space, trials=30))) for key in batch}
    assert len(keys) == 30
    assert {key.split()[0] for key in keys} == {f"{RATE}={rate}" for rate in (0.001, 0.01, 0.1)}
    assert {key.split()[2] for key in keys} == {"data.resize='a'", "data.resize='b'"}


def test_a_search_ends_when_nothing_is_left() -> None:
    """Repeated suggestions do not count, and a hundred in a row end the search."""
    keys = [key for batch in keys_of(run(begin({ITERATIONS: Interval(1, 7, log=False, whole=True)}))) for key in batch]
    assert sorted(keys) == [f"{ITERATIONS}={number}" for number in range(1, 8)]


def test_without_optuna_the_message_names_the_remedy(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    """The extra that it names brings Optuna."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(EnvironmentProblem) as caught:
        begin()
    assert str(caught.value).startswith("sweep.search=tpe needs optuna, which is not installed for ")
    assert str(caught.value).endswith(f"`.venv/bin/pip install '{REQUIREMENT}'`")
    assert caught.value.exit_code == 4
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["optuna"] == [REQUIREMENT]
