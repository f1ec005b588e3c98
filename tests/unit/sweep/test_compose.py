"""Values composed by Hydra: overrides, and the section `sweep`."""

import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from one_neuron.errors import SettingsError
from one_neuron.settings.params import load_settings
from one_neuron.sweep.compose import SweepSettings, check_sweep_settings, compose_settings, compose_values
from tests.values import VALUES, alias_bomb

RATE = "train.learning_rate is {}; expected a number from 1e-12 to 1,000"
ITERATIONS = "train.num_iterations is {}; expected a whole number from 1 to 10,000,000"
SWEEP = {"folds": 5, "seed": 1, "keep_models": 1, "search": "grid", "trials": 60}


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the project's configuration, made the current folder."""
    shutil.copytree(repository / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(VALUES), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("train.learning_rate=1e-3", "learning_rate", 0.001),
        ("train.num_iterations=2e3", "num_iterations", 2000),
        ("++train.threshold=0.25", "threshold", 0.25),
        ("train={record_every: 7}", "record_every", 7),
        ("train.learning_rate=${train.threshold}", "learning_rate", 0.5),
    ],
)
def test_overrides_are_composed(project: Path, override: str, key: str, value: float) -> None:
    """One value changes, with its declared type, and params.yaml is never written."""
    before = (project / "params.yaml").read_bytes()
    settings = compose_settings([override])
    assert asdict(settings) == {**VALUES, "train": {**VALUES["train"], key: value}}
    assert type(getattr(settings.train, key)) is type(value)
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in project.iterdir()) == ["conf", "params.yaml"]


def test_composing_the_committed_files(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real configuration, comments in params.yaml and all, twice in one process."""
    monkeypatch.chdir(repository)
    before = (repository / "params.yaml").read_bytes()
    assert b"#" in before
    assert compose_settings([]) == load_settings()
    composed = compose_settings(["data.source=catvnoncat", "train.num_iterations=10"])
    assert (composed.data.source, composed.train.num_iterations) == ("catvnoncat", 10)
    assert (repository / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.num_iterations=1.5"], ITERATIONS.format("1.5")),
        (["train.num_iterations=1" + "0" * 400], "train.num_iterations is 1000"),
        (["train.num_iterations=1" + "0" * 5000], "000... does not fit: "),
        (["train.learning_rate='0.1'"], RATE.format("'0.1' (text)")),
        (["train.learning_rate=nan"], RATE.format("nan")),
        (["train.learning_rate=inf"], RATE.format("inf")),
        (["train.learning_rate=null"], RATE.format("None")),
        (["train.learning_rate="], RATE.format("'' (text)")),
        (["train.learning_rat=0.1"], "unknown key 'train.learning_rat'; did you mean 'train.learning_rate'?"),
        (["+train.momentum=0.9"], "unknown key 'train.momentum'"),
        (["hydra.verbose=true"], "unknown key 'hydra.verbose'"),
        (["~train.learning_rate"], "the key 'train.learning_rate' is missing"),
        (["train=5"], "'train' is 5; expected the keys"),
        (["train.learning_rate=0.1,0.2"], "does not fit"),
        (["train.learning_rate=${nowhere}"], "does not fit"),
        (["data=other"], "'data' is 'other'; expected the keys source, num_px"),
        (["train.learning_rate"], "does not fit"),
        (["=1"], "unknown key ''"),
        (["\0=1"], "does not fit"),
    ],
)
def test_wrong_overrides_are_named(project: Path, overrides: list[str], message: str) -> None:
    """The message names key, value and allowed range; it quotes Hydra only if the syntax is wrong."""
    with pytest.raises(SettingsError) as caught:
        compose_settings(overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_file_is_told_before_the_override(project: Path) -> None:
    """The message names params.yaml, not the command line."""
    wrong = {**VALUES, "data": {**VALUES["data"], "num_px": 0}}
    (project / "params.yaml").write_text(yaml.safe_dump(wrong), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"params.yaml: data.num_px is 0; expected a whole number from 1 to 1,024"):
        compose_settings(["train.threshold=0.25"])


def test_composed_values_are_plain_and_unchecked(project: Path) -> None:
    """The sections as plain YAML values, and `sweep`, without Hydra's own section."""
    values = compose_values(["train.learning_rate=-1", "train.num_iterations=abc", "sweep.folds=7"])
    assert {key: section for key, section in values.items() if key != "sweep"} == {
        **VALUES,
        "train": {**VALUES["train"], "learning_rate": -1, "num_iterations": "abc"},
    }
    assert values["sweep"] == {**SWEEP, "folds": 7, "params": {}}
    assert {type(section) for section in values.values()} == {dict}


def test_composing_reads_what_is_committed(project: Path) -> None:
    """The grid of a sweep is text; an interpolation is resolved."""
    values = compose_values(["sweep=course", "train.tolerance=${train.threshold}"])
    committed = yaml.safe_load((project / "conf/sweep/course.yaml").read_text(encoding="utf-8"))
    assert values["sweep"]["params"] == committed["params"]
    assert values["train"]["tolerance"] == 0.5


@pytest.mark.parametrize("override", ["sweep=nothing", "sweep=null", "sweep=5"])
def test_what_cannot_be_composed_is_refused(project: Path, override: str) -> None:
    """The message is one line with the override, without Hydra's search paths."""
    with pytest.raises(SettingsError) as caught:
        compose_values([override])
    assert str(caught.value).startswith(f"'{override}' does not fit: ")
    assert str(project) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_says_how_to_get_it_back(project: Path) -> None:
    """The message names the Git command that restores it."""
    (project / "conf/config.yaml").unlink()
    with pytest.raises(SettingsError, match=r"^'conf/config.yaml' is missing; restore it: git checkout conf$"):
        compose_values([])


def test_an_alias_bomb_in_a_sweep_is_refused_at_once(project: Path) -> None:
    """The files that Hydra reads are checked as well."""
    (project / "conf/sweep/bomb.yaml").write_text(alias_bomb())
    with pytest.raises(SettingsError, match=r"conf/sweep/bomb.yaml', line 2: the alias '.a0' is not read"):
        compose_settings(["train.learning_rate=0.01"])


# --- the section `sweep` -------------------------------------------------------------


def test_settings_of_a_sweep() -> None:
    """Values are whole numbers, however they are written."""
    values = {"folds": 1e1, "seed": 2**63 - 1, "keep_models": 0, "search": "tpe", "trials": 6e1}
    found = check_sweep_settings(values, origin="here")
    assert found == SweepSettings(folds=10, seed=2**63 - 1, keep_models=0, search="tpe", trials=60)
    assert [type(value) for value in asdict(found).values()] == [int, int, int, str, int]


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [("folds", 0, 1000), ("seed", 0, 2**63 - 1), ("keep_models", 0, 1000), ("trials", 1, 10_000)],
)
def test_the_ends_of_a_range_of_a_sweep(key: str, least: int, most: int) -> None:
    """Both ends are allowed; one step beyond, half a step, text and null are not."""
    for value in (least, most):
        assert asdict(check_sweep_settings({**SWEEP, key: value}, origin="here"))[key] == value
    for wrong in (least - 1, most + 1, 2.5, "5", None, True, math.nan, [5]):
        with pytest.raises(SettingsError) as caught:
            check_sweep_settings({**SWEEP, key: wrong}, origin="here")
        assert str(caught.value).startswith(f"here: sweep.{key} is {wrong!r}")
        assert str(caught.value).endswith(f"expected a whole number from {least} to {most:,}")


def test_one_fold_is_none() -> None:
    """One fold would hold out all pictures, so at least two are needed."""
    with pytest.raises(SettingsError) as caught:
        check_sweep_settings({**SWEEP, "folds": 1}, origin="here")
    assert str(caught.value) == "here: sweep.folds is 1; expected 0, or a whole number from 2 to 1,000"
    assert check_sweep_settings({**SWEEP, "folds": 2}, origin="here").folds == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**SWEEP, "fold": 3}, "here: unknown key 'sweep.fold' with the value 3; did you mean 'sweep.folds'?"),
        ({**SWEEP, "search": "random"}, "here: sweep.search is 'random'; expected grid or tpe"),
        ({"folds": 5, "seed": 1}, "here: the key 'sweep.keep_models' is missing; add it"),
        (5, "here: 'sweep' is 5; expected the keys folds, seed, keep_models, search, trials"),
        (None, "here: 'sweep' is None; expected the keys folds, seed, keep_models, search, trials"),
    ],
)
def test_a_wrong_section_of_a_sweep_is_named(values: object, message: str) -> None:
    """The message names key and value."""
    with pytest.raises(SettingsError) as caught:
        check_sweep_settings(values, origin="here")
    assert str(caught.value) == message
