"""The keys of a configuration differ exactly where outcomes can differ."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from one_neuron import layout
from one_neuron.settings.params import Settings, check_settings
from one_neuron.sweep import configuration
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import find_keys
from one_neuron.sweep.overrides import parse_overrides
from one_neuron.sweep.plan import _expand
from one_neuron.sweep.prepared_data import DataFiles
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")
FILES = DataFiles(Path("a/train.h5"), Path("a/test.h5"), "1" * 64, "2" * 64)
SWEEP = SweepSettings(folds=5, seed=1, keep_models=1, search="grid", trials=60)


def change(settings: Settings = SETTINGS, **sections: dict[str, Any]) -> Settings:
    """Return settings with other values in some sections."""
    changes: dict[str, Any] = {name: replace(getattr(settings, name), **keys) for name, keys in sections.items()}
    return replace(settings, **changes)


COURSE = change(data={"source": "catvnoncat"})
OWN = change(data={"source": "hdf5"})
OTHER_CONTENT = [  # what another outcome can follow from, on the same pictures
    change(train={"learning_rate": 0.006}),
    change(train={"num_iterations": 201}),
    change(train={"record_every": 101}),
    change(train={"tolerance": 1e-9}),
    change(train={"threshold": 0.51}),
]
OTHER_PICTURES = [
    change(draw={"seed": 2}),
    change(draw={"num_train": 9}),
    change(draw={"num_test": 5}),
    change(data={"num_px": 3}),
    change(data={"resize": "crop"}),
    change(data={"decode": "fast"}),
    COURSE,
]


def test_keys_are_sha256_and_the_same_each_time() -> None:
    """Two different texts of 64 hexadecimal digits."""
    key, context = find_keys(SETTINGS, FILES, SWEEP)
    assert all(len(text) == 64 and set(text) <= set("0123456789abcdef") for text in (key, context))
    assert key != context
    assert find_keys(check_settings(VALUES, origin="again"), replace(FILES), replace(SWEEP)) == (key, context)


def test_another_training_has_another_key_in_the_same_context() -> None:
    """Each field of the section train changes the key; such configurations can be compared."""
    found = [find_keys(settings, FILES, SWEEP) for settings in [SETTINGS, *OTHER_CONTENT]]
    assert len({key for key, _ in found}) == len(found)
    assert len({context for _, context in found}) == 1


def test_the_fields_of_train_are_all_tried() -> None:
    """A new field must be added above."""
    changed = {
        name
        for other in OTHER_CONTENT
        for name, value in vars(other.train).items()
        if value != vars(SETTINGS.train)[name]
    }
    assert changed == set(vars(SETTINGS.train))


@pytest.mark.parametrize("other", OTHER_PICTURES)
def test_other_pictures_make_another_key_and_context(other: Settings) -> None:
    """Other requested pictures count even if their digests are equal."""
    assert not set(find_keys(other, FILES, SWEEP)) & set(find_keys(SETTINGS, FILES, SWEEP))


@pytest.mark.parametrize(
    ("files", "sweep"),
    [
        (replace(FILES, train_sha256="3" * 64), SWEEP),
        (replace(FILES, test_sha256="3" * 64), SWEEP),
        (replace(FILES, train_sha256="2" * 64, test_sha256="1" * 64), SWEEP),
        (FILES, replace(SWEEP, folds=4)),
        (FILES, replace(SWEEP, folds=0)),
        (FILES, replace(SWEEP, seed=2)),
    ],
)
def test_other_contents_or_folds_make_another_key_and_context(files: DataFiles, sweep: SweepSettings) -> None:
    """Outcomes on other pictures or folds cannot be compared."""
    assert not set(find_keys(SETTINGS, files, sweep)) & set(find_keys(SETTINGS, FILES, SWEEP))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param((SETTINGS, FILES, SWEEP), (SETTINGS, FILES, replace(SWEEP, keep_models=9)), id="models kept"),
        pytest.param(
            (SETTINGS, FILES, SWEEP), (change(evaluate={"num_mistakes": 1}), FILES, SWEEP), id="what is shown"
        ),
        pytest.param((COURSE, FILES, SWEEP), (change(COURSE, draw={"seed": 9}), FILES, SWEEP), id="no drawn pictures"),
        pytest.param(
            (SETTINGS, FILES, SWEEP),
            (change(data={"path": "x", "positive_class": "dog", "test_fraction": 0.3, "seed": 2}), FILES, SWEEP),
            id="no pictures of one's own",
        ),
        pytest.param(
            (OWN, FILES, SWEEP),
            (
                change(OWN, data={"path": "x", "on_error": "skip", "max_skipped": 1}, hdf5={"train_x": "X"}),
                FILES,
                SWEEP,
            ),
            id="where and how pictures are read",
        ),
        pytest.param(
            (SETTINGS, FILES, replace(SWEEP, folds=0)),
            (SETTINGS, FILES, replace(SWEEP, folds=0, seed=2)),
            id="no folds",
        ),
        pytest.param(
            (SETTINGS, FILES, SWEEP),
            (SETTINGS, replace(FILES, train=Path("b.h5"), test=Path("c.h5")), SWEEP),
            id="elsewhere",
        ),
    ],
)
def test_what_does_not_matter_changes_no_key(one: Any, other: Any) -> None:
    """Neither kept models, plots, unused settings nor the location of the files."""
    assert one != other
    assert find_keys(*one) == find_keys(*other)


def test_the_order_of_the_grid_changes_no_key() -> None:
    """Neither the order of the keys nor the way numbers are written."""
    rates, numbers = "train.learning_rate=0.1,1", "train.num_iterations=10,2000"
    grids = [[rates, numbers], [numbers, rates], ["train.learning_rate=1.0,1e-1", "train.num_iterations=2e3,10.0"]]
    expanded = [_expand(parse_overrides(grid), VALUES, multirun=True) for grid in grids]
    found = [{find_keys(settings, FILES, SWEEP) for settings in grid} for grid in expanded]
    assert len(found[0]) == 4
    assert found[0] == found[1] == found[2]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of the package, which is hashed instead of the real one."""
    copy = tmp_path / "one_neuron"
    shutil.copytree(layout.SOURCE_ROOT / "one_neuron", copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(layout, "SOURCE_ROOT", tmp_path)
    configuration._hash_own_code.cache_clear()
    yield copy
    configuration._hash_own_code.cache_clear()


@pytest.mark.parametrize(
    "name", ["gradient_descent/many.py", "sweep/screening.py", "sweep/folds.py", "metrics.py", "neuron.py"]
)
def test_other_code_makes_another_key_and_context(package: Path, name: str) -> None:
    """After an edit of the code that determines outcomes, all configurations are new."""
    before = find_keys(SETTINGS, FILES, SWEEP)
    with (package / name).open("a", encoding="utf-8") as stream:
        stream.write("# another line\n")
    configuration._hash_own_code.cache_clear()
    assert not set(find_keys(SETTINGS, FILES, SWEEP)) & set(before)


@pytest.mark.parametrize("name", ["plots/pictures.py", "sweep/plots.py", "sweep/summary.py", "cli.py"])
def test_code_that_only_shows_changes_no_key(package: Path, name: str) -> None:
    """Code that only shows results changes no key."""
    before = find_keys(SETTINGS, FILES, SWEEP)
    with (package / name).open("a", encoding="utf-8") as stream:
        stream.write("# another line\n")
    configuration._hash_own_code.cache_clear()
    assert find_keys(SETTINGS, FILES, SWEEP) == before
