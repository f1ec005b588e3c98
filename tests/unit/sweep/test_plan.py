"""The plan of a command line; the order of the grid is compared with Hydra's own sweeper."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from one_neuron.errors import SettingsError
from one_neuron.settings.params import Settings, load_settings
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.overrides import Interval, write_out
from one_neuron.sweep.plan import Plan, read_plan

RATE, ITERATIONS = "train.learning_rate", "train.num_iterations"
KINDS: dict[str, Callable[[str], object]] = {
    RATE: float,
    ITERATIONS: lambda text: int(float(text)),
    "data.source": lambda text: text.strip("'"),
}
GEOMSPACE = "two numbers above 0 and a count from 2 to 100,000"
UNKNOWN = "the command line: unknown key"


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a copy of the project's configuration the current folder."""
    shutil.copytree(repository / "conf", tmp_path / "conf")
    shutil.copy(repository / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def plan_of(*arguments: str) -> Plan:
    """Return the plan of a command line with -m."""
    return read_plan(arguments, multirun=True)


def value_of(settings: Settings, key: str) -> object:
    """Return a value by its name in params.yaml."""
    section, name = key.split(".")
    return getattr(getattr(settings, section), name)


def values_of(plan: Plan, *keys: str) -> list[tuple[object, ...]]:
    """Return the values of some keys in each configuration."""
    return [tuple(value_of(settings, key) for key in keys) for settings in plan.configurations]


def hydras_grid(arguments: Sequence[str], keys: Sequence[str]) -> list[tuple[object, ...]]:
    """Return the values of some keys in the jobs of Hydra's basic sweeper, in its order."""
    overrides = OverridesParser.create().parse_overrides(list(arguments))
    (jobs,) = BasicSweeper.split_arguments(overrides, None)
    points = [dict(text.split("=", 1) for text in job) for job in jobs]
    return [tuple(KINDS[key](point[key]) for key in keys) for point in points]


@pytest.mark.parametrize(
    "arguments",
    [
        [f"{RATE}=0.001,0.01", f"{ITERATIONS}=500,1000"],
        [f"{ITERATIONS}=500,1000", f"{RATE}=0.001,0.01"],
        [f"{RATE}=3,1,2", "data.num_px=64", f"{ITERATIONS}=range(10,40,10)", "data.source=catvnoncat,drawn"],
        [f"{RATE}=choice(0.1,0.2)", f"{ITERATIONS}=sort(30,10,20)"],
        [f"{RATE}=sort(0.1,0.3,0.2,reverse=true)", f"{ITERATIONS}=2e3,1"],
        [f"{RATE}=range(0.5,2.5,0.5)", "data.source='drawn','catvnoncat'"],
        [f"{RATE}=1,2", f"{ITERATIONS}=tag(some,choice(4,3))"],
        [f"{RATE}=1,2", f"{ITERATIONS}=5", f"{RATE}=3,4"],
    ],
)
def test_the_grid_has_the_order_of_hydras_own_sweeper(arguments: list[str]) -> None:
    """All combinations, the last key fastest, for each way to write a list."""
    plan = plan_of(*arguments)
    expected = hydras_grid(arguments, plan.swept)
    assert len(expected) > 1
    assert values_of(plan, *plan.swept) == expected


def test_a_grid_by_hand() -> None:
    """Swept values, fixed values, and all others from params.yaml."""
    plan = plan_of(f"{RATE}=0.001,0.01", "train.threshold=0.25", f"{ITERATIONS}=500,1000")
    assert values_of(plan, RATE, ITERATIONS) == [(0.001, 500), (0.001, 1000), (0.01, 500), (0.01, 1000)]
    assert {settings.train.threshold for settings in plan.configurations} == {0.25}
    assert {(settings.draw, settings.data) for settings in plan.configurations} == {
        (load_settings().draw, load_settings().data)
    }
    assert list(plan.swept) == [RATE, ITERATIONS]
    assert plan.sweep == SweepSettings(folds=5, seed=1, keep_models=1, search="grid", trials=60)


def test_quoted_values_are_plain_text() -> None:
    """The quotes are Hydra's, not part of the value."""
    plan = plan_of("data.source=drawn,'catvnoncat'")
    assert values_of(plan, "data.source") == [("drawn",), ("catvnoncat",)]
    assert {type(settings.data.source) for settings in plan.configurations} == {str}


def test_what_stands_there_twice_is_tried_once() -> None:
    """Equal values count once, however they are written."""
    assert values_of(plan_of(f"{RATE}=0.1,0.2,1e-1,0.1"), RATE) == [(0.1,), (0.2,)]
    assert values_of(plan_of(f"{ITERATIONS}=2000,2e3,2000.0"), ITERATIONS) == [(2000,)]


def test_the_last_override_of_a_key_counts() -> None:
    """As in Hydra; a value also replaces a list."""
    assert values_of(plan_of(f"{RATE}=0.1,0.2", f"{RATE}=0.3"), RATE) == [(0.3,)]
    assert list(plan_of(f"{RATE}=0.1,0.2", f"{RATE}=0.3").swept) == []


def test_a_single_configuration_needs_no_list() -> None:
    """With -m it is a sweep in which nothing is swept; without, one run, named by the keys that were typed."""
    sweep, run = (read_plan([f"{RATE}=0.1", "sweep.folds=0"], multirun=multirun) for multirun in (True, False))
    assert values_of(sweep, RATE) == values_of(run, RATE) == [(0.1,)]
    assert (list(sweep.swept), sweep.single) == ([], False)
    assert (list(run.swept), run.single) == ([RATE], True)


def test_a_single_run_needs_no_value() -> None:
    """It is the configuration of params.yaml."""
    plan = read_plan([], multirun=False)
    assert (list(plan.configurations), plan.single) == ([load_settings()], True)


def test_hydra_mode_means_the_same_as_the_option() -> None:
    """As in any Hydra application; it does not go on to Hydra, which always runs the jobs as a sweep."""
    plan = read_plan(["hydra.mode=MULTIRUN", f"{RATE}=0.1,0.2"], multirun=False)
    assert (len(plan.configurations), plan.single, list(plan.hydra)) == (2, False, [])
    assert read_plan(["hydra.mode=RUN", f"{RATE}=0.1"], multirun=False).single


# --- geomspace -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("least", "most", "count"),
    [("0.0001", "0.03", 12), ("1e-3", "1e-1", 3), ("0.002", "0.01", 25), ("0.01", "0.001", 4), ("1e-12", "1000", 2)],
)
def test_geomspace_is_that_of_numpy_with_four_digits(least: str, most: str, count: int) -> None:
    """The ends stay as they were typed, the others have four digits."""
    plan = plan_of(f"{RATE}=geomspace({least},{most},{count})")
    found = [settings.train.learning_rate for settings in plan.configurations]
    expected = np.geomspace(float(least), float(most), count)
    assert len(found) == count
    assert found == pytest.approx(expected.tolist(), rel=5e-4)
    assert found[1:-1] == [float(f"{number:.3e}") for number in expected[1:-1]]
    texts = write_out(f"{RATE}=geomspace({least},{most},{count})").removeprefix(f"{RATE}=").split(",")
    assert (texts[0], texts[-1]) == (least, most)


def test_numbers_that_lie_close_together_have_as_many_digits_as_keep_them_apart() -> None:
    """Ten digits here: with nine, two of them would be equal."""
    plan = plan_of(f"{RATE}=geomspace(0.001,0.001000001,101)")
    found = [settings.train.learning_rate for settings in plan.configurations]
    assert len(set(found)) == 101
    assert found == sorted(found)
    assert found == pytest.approx(np.geomspace(0.001, 0.001000001, 101).tolist(), rel=1e-9)


@pytest.mark.parametrize(("least", "most", "count"), [("10", "1000", 5), ("1e2", "1e4", 3), ("1", "5", 20)])
def test_geomspace_of_whole_numbers(least: str, most: str, count: int) -> None:
    """Rounded to the nearest, each once."""
    found = [s.train.num_iterations for s in plan_of(f"{ITERATIONS}=geomspace({least},{most},{count})").configurations]
    rounded = [math.floor(number + 0.5) for number in np.geomspace(float(least), float(most), count)]
    assert found == sorted(set(rounded))
    assert {type(number) for number in found} == {int}


def test_white_space_in_geomspace() -> None:
    """As people type it between quotes."""
    assert values_of(plan_of(f"{RATE} = geomspace( 1, 100 , 3 )"), RATE) == [(1.0,), (10.0,), (100.0,)]


def test_equal_ends_are_one_value() -> None:
    """With equal ends nothing is swept."""
    plan = plan_of(f"{RATE}=geomspace(1,1,5)")
    assert (values_of(plan, RATE), list(plan.swept)) == ([(1.0,)], [])


@pytest.mark.parametrize(
    "inner",
    ["0,2,3", "-1,2,3", "1,0,3", "1,2,1", "1,2,-3", "1,2,2.5", "1,2,100001", "a,2,3", "1,inf,3", "nan,2,3", "1,2,x"],
)
def test_a_wrong_geomspace_is_refused(inner: str) -> None:
    """The message shows the override and the expected form."""
    text = f"{RATE}=geomspace({inner})"
    with pytest.raises(SettingsError) as caught:
        plan_of(text)
    assert str(caught.value) == f"'{text}' does not fit; expected {RATE}=geomspace(LEAST,MOST,COUNT) with {GEOMSPACE}"


# --- committed sweeps ----------------------------------------------------------------


@pytest.mark.parametrize(("name", "size"), [("course", 3), ("grid", 60), ("fine", 275), ("tpe", 1)])
def test_a_committed_sweep_begins_with_its_command(name: str, size: int) -> None:
    """The first line of the file is its command, and the plan has the documented size."""
    first = Path(f"conf/sweep/{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    plan = plan_of(f"sweep={name}")
    assert first == f"# {plan.command}" == f"# python pipeline/sweep.py -m sweep={name}"
    assert len(plan.configurations) == len(set(plan.configurations)) == size


def test_these_are_all_committed_sweeps(repository: Path) -> None:
    """A new file needs a line in the test above."""
    names = {"course.yaml", "fine.yaml", "grid.yaml", "tpe.yaml"}
    assert {path.name for path in (repository / "conf/sweep").iterdir()} == names


def test_the_course_is_as_the_course_had_it() -> None:
    """Three rates over 1,500 iterations on its own pictures."""
    plan = plan_of("sweep=course")
    keys = ("data.source", RATE, ITERATIONS)
    assert values_of(plan, *keys) == [("catvnoncat", rate, 1500) for rate in (0.01, 0.001, 0.0001)]
    assert list(plan.swept) == [RATE]


@pytest.mark.parametrize("first", [True, False])
def test_overrides_beat_the_file(first: bool) -> None:
    """In any position, single values and lists; other keys keep the values of the file."""
    typed = ["data.source=drawn", f"{ITERATIONS}=10,20"]
    plan = plan_of(*([*typed, "sweep=course"] if first else ["sweep=course", *typed]))
    expected = [("drawn", rate, number) for rate in (0.01, 0.001, 0.0001) for number in (10, 20)]
    assert sorted(values_of(plan, "data.source", RATE, ITERATIONS)) == sorted(expected)
    assert len(plan.configurations) == 6


def test_a_committed_sweep_of_ones_own() -> None:
    """Any file in the folder can be named; a single value is not swept."""
    Path("conf/sweep/mine.yaml").write_text(f"params:\n  {RATE}: 0.5\n  {ITERATIONS}: 1,2\n", encoding="utf-8")
    plan = plan_of("sweep=mine")
    assert values_of(plan, RATE, ITERATIONS) == [(0.5, 1), (0.5, 2)]
    assert list(plan.swept) == [ITERATIONS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params: 5\n", "'sweep=mine': params is 5; expected lines KEY: VALUES"),
        ("params:\n", "'sweep=mine': params is None; expected lines KEY: VALUES"),
        ("params:\n- a\n", "'sweep=mine' does not fit: "),
    ],
)
def test_a_file_without_lines_of_values_is_refused(text: str, message: str) -> None:
    """The message names the sweep."""
    Path("conf/sweep/mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        plan_of("sweep=mine")
    assert message in str(caught.value)


# --- searches ------------------------------------------------------------------------

TPE = "sweep.search=tpe"


def test_a_committed_search() -> None:
    """The space of conf/sweep/tpe.yaml, and one choice of pictures."""
    plan = plan_of("sweep=tpe")
    assert plan.space == {
        RATE: Interval(0.0001, 0.03, log=True, whole=False),
        ITERATIONS: Interval(250, 4000, log=True, whole=True),
    }
    assert (plan.sweep.search, plan.sweep.trials, plan.committed) == ("tpe", 60, "sweep=tpe")
    assert list(plan.swept) == [RATE, ITERATIONS]
    assert list(plan.configurations) == [load_settings()]
    assert plan_of("sweep=tpe", "sweep.trials=9").sweep.trials == 9


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("interval(1,3)", Interval(1, 3, log=False, whole=True)),
        ("int(interval(1,3))", Interval(1, 3, log=False, whole=True)),
        ("tag(int, log, interval(1,3))", Interval(1, 3, log=True, whole=True)),
        ("tag(log, int(interval(1,3)))", Interval(1, 3, log=True, whole=True)),
        ("int(tag(log, interval(1,3)))", Interval(1, 3, log=True, whole=True)),
        ("3,1,2,1", (1, 2, 3)),
        ("range(1,7,2)", (1, 3, 5)),
        ("choice(2e3,10)", (10, 2000)),
        ("geomspace(1,100,3)", (1, 10, 100)),
    ],
)
def test_the_dimension_of_a_whole_number(values: str, expected: object) -> None:
    """Each way to write a range, as in Hydra's sweeper for Optuna; lists are sorted, each value once."""
    assert plan_of(TPE, "sweep.trials=1", f"{ITERATIONS}={values}").space == {ITERATIONS: expected}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("interval(0.1,0.3)", Interval(0.1, 0.3, log=False, whole=False)),
        ("tag(log, interval(0.1,0.3))", Interval(0.1, 0.3, log=True, whole=False)),
        ("int(interval(1,3))", Interval(1, 3, log=False, whole=True)),
        ("tag(int, interval(1,3))", Interval(1, 3, log=False, whole=True)),
    ],
)
def test_the_dimension_of_a_number(values: str, expected: object) -> None:
    """Real numbers, unless whole ones are asked for."""
    assert plan_of(TPE, f"{RATE}={values}").space == {RATE: expected}


def test_a_search_over_pictures_lists_each_choice_once() -> None:
    """They are prepared before the search begins; a range varies the training only."""
    plan = plan_of(TPE, "data.num_px=8,16", "data.resize=crop,pad", f"{RATE}=interval(1,2)", f"{ITERATIONS}=7")
    assert values_of(plan, "data.num_px", "data.resize") == [(8, "crop"), (8, "pad"), (16, "crop"), (16, "pad")]
    assert set(values_of(plan, ITERATIONS)) == {(7,)}
    assert plan.space["data.resize"] == ("crop", "pad")


def test_a_search_in_a_small_space_tries_all_of_it() -> None:
    """With no more combinations than trials it is the grid."""
    plan = plan_of(TPE, "sweep.trials=4", f"{RATE}=0.1,0.2", f"{ITERATIONS}=5,7")
    assert plan.space == {}
    assert list(plan.configurations) == list(plan_of(f"{RATE}=0.1,0.2", f"{ITERATIONS}=5,7").configurations)
    assert plan_of(TPE, "sweep.trials=3", f"{RATE}=0.1,0.2", f"{ITERATIONS}=5,7").space


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"{RATE}=interval(1,2)", "sweep.folds=0"], "chooses by cross-validation; set sweep.folds to 2 or more"),
        ([f"{RATE}=0.1"], "sweep.search=tpe has nothing to choose from; give a parameter a range or several values"),
        ([f"{RATE}=interval(0,2)"], f"the sweep: {RATE} is 0.0; expected a number from 1e-12 to 1,000"),
        ([f"{RATE}=interval(1,2000)"], f"the sweep: {RATE} is 2000.0; expected a number from 1e-12 to 1,000"),
        ([f"{RATE}=interval(2,1)"], "does not fit; expected interval(LEAST, MOST) with LEAST below MOST"),
        ([f"{RATE}=interval(1,1)"], "does not fit; expected interval(LEAST, MOST) with LEAST below MOST"),
        ([f"{RATE}=interval(nan,1)"], "does not fit; expected interval(LEAST, MOST) with LEAST below MOST"),
        ([f"{RATE}=tag(log, interval(-1,1))"], "does not fit; a log scale needs ends above 0"),
        ([f"{RATE}=tag(logarithm, interval(1,2))"], "has the tag 'logarithm'; known are log and int"),
        ([f"{ITERATIONS}=interval(1.5,3)"], f"does not fit; {ITERATIONS} needs whole numbers as ends"),
        ([f"{RATE}=interval(1,2),3"], f"'{RATE}=interval(1,2),3' mixes values and a range; write either"),
        (["data.num_px=interval(8,16)"], "only numbers of the section train can have a range; list values of data.num"),
        (["data.source=interval(8,16)"], "only numbers of the section train can have a range"),
        (["sweep.trials=0", f"{RATE}=interval(1,2)"], "sweep.trials is 0; expected a whole number from 1 to 10,000"),
        (["sweep.trials=1,2", f"{RATE}=interval(1,2)"], "'sweep.trials=1,2' cannot be swept: it sets how "),
    ],
)
def test_a_wrong_search_is_refused(arguments: list[str], message: str) -> None:
    """The message is one line with the override and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        plan_of(TPE, *arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what goes on to Hydra -----------------------------------------------------------


@pytest.mark.parametrize(
    ("sweeper", "one_by_one"), [((), False), (("hydra/sweeper=vectorized",), False), (("hydra/sweeper=basic",), True)]
)
def test_overrides_of_hydra_are_passed_on(sweeper: tuple[str, ...], one_by_one: bool) -> None:
    """Launchers and sweepers are not part of the grid; another sweeper than ours trains each configuration alone."""
    hydras = ["hydra/launcher=basic", *sweeper, "hydra.job.name=a"]
    plan = plan_of(*hydras, f"{RATE}=0.1,0.2")
    assert list(plan.hydra) == hydras
    assert plan.one_by_one is one_by_one
    assert list(plan.configurations) == list(plan_of(f"{RATE}=0.1,0.2").configurations)
    assert list(plan.swept) == [RATE]


@pytest.mark.parametrize(("arguments", "committed"), [(["sweep=grid"], "sweep=grid"), ([f"{RATE}=1"], "")])
def test_a_plan_names_its_committed_file(arguments: list[str], committed: str) -> None:
    """So that a sweep of another file does not extend it."""
    assert plan_of(*arguments).committed == committed


def test_the_command_can_be_pasted() -> None:
    """What the shell would interpret is quoted."""
    plan = plan_of(f"{RATE}=choice(1, 2)", "sweep.folds=0")
    assert plan.command == f"python pipeline/sweep.py -m '{RATE}=choice(1, 2)' sweep.folds=0"
    assert read_plan([f"{RATE}=1"], multirun=False).command == f"python pipeline/sweep.py {RATE}=1"


def test_how_configurations_are_compared() -> None:
    """The section `sweep` takes single values."""
    plan = plan_of(f"{RATE}=0.1", "sweep.folds=3", "sweep.seed=9", "sweep.keep_models=0")
    assert plan.sweep == SweepSettings(folds=3, seed=9, keep_models=0, search="grid", trials=60)


# --- what is refused -----------------------------------------------------------------

RANGE = "expected a number from 1e-12 to 1,000"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to try; name values (train.learning_rate=0.001,0.01) or a committed sweep (sweep=grid)"),
        (["hydra/launcher=joblib"], "nothing to try; name values"),
        ([f"{RATE}=-1"], f"the command line: {RATE} is -1; {RANGE}"),
        ([f"{RATE}=0.1,-1"], f"the sweep: {RATE} is -1; {RANGE}"),
        ([f"{RATE}=nan"], f"the command line: {RATE} is nan; {RANGE}"),
        ([f"{RATE}=0.1,nan"], f"the sweep: {RATE} is nan; {RANGE}"),
        ([f"{RATE}=0"], f"the command line: {RATE} is 0; {RANGE}"),
        ([f"{RATE}=0,1"], f"the sweep: {RATE} is 0; {RANGE}"),
        ([f"{RATE}=1,1e400"], f"the sweep: {RATE} is inf; {RANGE}"),
        ([f"{RATE}=abc"], f"the command line: {RATE} is 'abc' (text); {RANGE}"),
        ([f"{RATE}=0.1,abc"], f"the sweep: {RATE} is 'abc' (text); {RANGE}"),
        ([f"{RATE}='0.1','0.2'"], f"the sweep: {RATE} is '0.1' (text); {RANGE}"),
        ([f"{RATE}=0.1,null"], f"the sweep: {RATE} is None; {RANGE}"),
        ([f"{RATE}=true,false"], f"the sweep: {RATE} is True; {RANGE}"),
        ([f"{RATE}=[1,2],[3]"], f"the sweep: {RATE} is [1, 2]; {RANGE}"),
        ([f"{ITERATIONS}=1.5,2"], f"the sweep: {ITERATIONS} is 1.5; expected a whole number from 1 to 10,000,000"),
        (["data.source=drawn,other"], "the sweep: data.source is 'other'; expected drawn or catvnoncat"),
        (
            [f"{RATE}=interval(0.1,0.2)"],
            f"'{RATE}=interval(0.1,0.2)' is a range, and a grid needs values: use geomspace(LEAST,MOST,COUNT), ",
        ),
        ([f"+{RATE}=0.1,0.2"], f"'+{RATE}=0.1,0.2' adds or removes a key; expected KEY=VALUE"),
        ([f"++{RATE}=0.1,0.2"], f"'++{RATE}=0.1,0.2' adds or removes a key; expected KEY=VALUE"),
        ([f"~{RATE}"], f"'~{RATE}' adds or removes a key; expected KEY=VALUE"),
        (["train.learning_rat=1,2"], f"{UNKNOWN} 'train.learning_rat'; did you mean '{RATE}'?"),
        (["sweep.fold=3"], f"{UNKNOWN} 'sweep.fold'; did you mean 'sweep.folds'?"),
        (["train=1,2"], f"'train=1,2' cannot be swept: train is a section; its keys are {RATE}, {ITERATIONS}, "),
        (
            ["evaluate.num_mistakes=1"],
            "'evaluate.num_mistakes=1' cannot be swept: it changes plots, not the training; ",
        ),
        (["evaluate.num_mistakes=1,2"], "'evaluate.num_mistakes=1,2' cannot be swept: it changes plots, not "),
        (["sweep.params={}"], "'sweep.params={}' belongs in a file of conf/sweep; here write the lines themselves"),
        (["=1"], f"{UNKNOWN} ''"),
        (["foo"], "'foo' is not a valid override (missing EQUAL"),
        ([""], "'' is not a valid override ("),
        (["-x"], "'-x' is not a valid override ("),
        (["\0=1"], r"'\x00=1' is not a valid override ("),
        ([f"{RATE}=geomspace(1,2)"], f"'{RATE}=geomspace(1,2)' does not fit; expected {RATE}=geomspace("),
        ([f"{RATE}=sort(geomspace(1,2,3))"], f"does not fit; expected {RATE}=geomspace("),
        (["hydra.job.name=a,b", f"{RATE}=1"], "'hydra.job.name=a,b' cannot be swept: it sets how Hydra runs; give "),
        (["hydra/launcher=nowhere", f"{RATE}=1,2"], "does not fit: In 'hydra/config': Could not find"),
        ([f"{RATE}=[0.1,0.2]"], f"'{RATE}=[0.1,0.2]' is a list; write the values without brackets: {RATE}=1,2"),
        (["sweep=[course,grid]"], "'sweep=[course,grid]' names several files; run one after the other"),
        (
            ["sweep.folds=0,5", f"{RATE}=1"],
            "'sweep.folds=0,5' cannot be swept: it sets how configurations are compared; give sweep.folds one value",
        ),
        (
            ["sweep.seed=range(3)", f"{RATE}=1"],
            "'sweep.seed=range(3)' cannot be swept: it sets how configurations are compared",
        ),
        (["sweep.folds=1", f"{RATE}=1"], "sweep.folds is 1; expected 0, or a whole number from 2 to 1,000"),
        (["sweep.folds=-1", f"{RATE}=1"], "sweep.folds is -1; expected a whole number from 0 to 1,000"),
        (["sweep.keep_models=1001", f"{RATE}=1"], "sweep.keep_models is 1001; expected a whole number from 0 to 1,000"),
        (["sweep=nothing"], "'sweep=nothing' does not fit: "),
        (["sweep=grid,fine"], "'sweep=grid,fine' names several files; run one after the other"),
        (["sweep=course", f"{RATE}=-1"], f"the command line: {RATE} is -1; {RANGE}"),
        (
            [f"{ITERATIONS}=range(1,100002)"],
            "the grid has more than 100,000 configurations; try fewer at once",
        ),
        (
            [f"{ITERATIONS}=range(1,10000000000000)"],
            "the grid has more than 100,000 configurations; try fewer at once",
        ),
        (
            [f"{ITERATIONS}=range(1,1001)", f"{RATE}=range(1,102)"],
            "the grid has more than 100,000 configurations; try fewer at once",
        ),
    ],
)
def test_what_is_refused(arguments: list[str], message: str) -> None:
    """The message is one line with the key, the value and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        plan_of(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["sweep=null", f"{RATE}=1"], id="no file"),
        pytest.param(["sweep=5"], id="a number for a file"),
        pytest.param([f"{RATE}=glob(*)"], id="glob"),
        pytest.param([f"{ITERATIONS}=range(1,3,0)"], id="a step of 0"),
        pytest.param([f"{ITERATIONS}=range(3,1)"], id="an empty range"),
    ],
)
def test_odd_values_of_hydras_are_refused_too(arguments: list[str]) -> None:
    """Overrides that Hydra's parser accepts but that have no values; the message names them."""
    with pytest.raises(SettingsError) as caught:
        plan_of(*arguments)
    assert arguments[0] in str(caught.value)


def test_a_value_that_depends_on_a_swept_one_is_refused() -> None:
    """Hydra would resolve it for each point, the plan resolves it once."""
    with pytest.raises(SettingsError, match=r"train\.record_every"):
        plan_of(f"train.record_every=${{{ITERATIONS}}}", f"{ITERATIONS}=10,20")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([f"{RATE}=0.1,0.2"], f"'{RATE}=0.1,0.2'"),
        (["sweep=course"], f"'{RATE}=0.01,0.001,0.0001'"),
        ([f"{RATE}=geomspace(1,9,2)", "sweep.folds=0"], f"'{RATE}=1,9'"),
        ([TPE, f"{RATE}=interval(1,9)"], f"'{RATE}=interval(1,9)'"),
    ],
)
def test_a_list_needs_multirun(arguments: list[str], shown: str) -> None:
    """The message ends with the command that works."""
    with pytest.raises(SettingsError) as caught:
        read_plan(arguments, multirun=False)
    assert str(caught.value).startswith(f"{shown} holds several values; to try them all add -m: ")
    assert str(caught.value).endswith(plan_of(*arguments).command)


def test_a_mistake_in_params_yaml_is_named_as_such() -> None:
    """The message names params.yaml, not the command line."""
    Path("params.yaml").write_text(
        Path("params.yaml").read_text(encoding="utf-8").replace("num_px: 64", "num_px: 0"), encoding="utf-8"
    )
    with pytest.raises(SettingsError, match=r"^params.yaml: data.num_px is 0"):
        plan_of(f"{RATE}=0.1,0.2")


ODD_TEXTS = (
    "käse",
    r"back\slash",
    "it's",
    r"c:\'",
    "a,b",
    "x=y",
    "[a]",
    "{a: b}",
    '"',
    "\\",
    "a b",
    "猫",
    "7",
    "null",
    "$a",
)


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_of_params_yaml_comes_through(text: str, tmp_path: Path) -> None:
    """Hydra's syntax does not change it."""
    params = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    params["data"] |= {"path": text, "positive_class": text}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    plan = plan_of(f"{RATE}=0.1,0.2")
    assert {settings.data.path for settings in plan.configurations} == {text}
    assert {settings.data.positive_class for settings in plan.configurations} == {text}


@pytest.mark.parametrize(
    ("text", "said"),
    [("parms:\n  train.learning_rate: 1,2\n", "unknown key 'sweep.parms'"), ("a: [1\n", "does not fit: while parsing")],
)
def test_a_file_of_a_sweep_with_a_mistake_is_named(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt key, or invalid YAML."""
    (tmp_path / "conf/sweep/mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as caught:
        plan_of("sweep=mine")
    assert "sweep=mine" in str(caught.value)
