"""The plan of a sweep: Hydra's sweep syntax expanded into checked configurations, without composing each."""

import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from one_neuron.errors import SettingsError
from one_neuron.settings.params import KEYS, Settings, check_settings, load_settings
from one_neuron.sweep.compose import COMMAND_LINE, SweepSettings, check_sweep_settings, compose_values
from one_neuron.sweep.overrides import (
    IS_HYDRA,
    MOST_CONFIGURATIONS,
    Interval,
    check_key,
    list_texts,
    list_values,
    parse_overrides,
    read_interval,
)

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Space = Mapping[str, Interval | tuple[Any, ...]]


@dataclass(frozen=True)
class Plan:
    """What to try, and how to compare it.

    Parameters
    ----------
    configurations : sequence of Settings
        Each once, in the order of the grid. For a search: one for each choice of pictures.
    swept : sequence of str
        The keys with more than one value, such as "train.learning_rate"; for a single run, the keys that were typed.
    sweep : SweepSettings
        The section `sweep` of conf/config.yaml with overrides.
    command : str
        The command line.
    committed : str
        "sweep=NAME" where the values come from a file of conf/sweep, else "".
    hydra : sequence of str
        Overrides of Hydra's own configuration, such as "hydra/launcher=joblib".
    one_by_one : bool
        Whether the command line names another sweeper, such as "hydra/sweeper=basic": each configuration is then
        trained alone.
    single : bool
        Whether the command line asks for one run, without -m, and not for a sweep.
    space : mapping of str to Interval or tuple
        What a search chooses from, by key; numbers of a list in ascending order. Empty for a grid.
    """

    configurations: Sequence[Settings]
    swept: Sequence[str]
    sweep: SweepSettings
    command: str
    committed: str = ""
    hydra: Sequence[str] = ()
    one_by_one: bool = False
    single: bool = False
    space: Space = field(default_factory=dict)


def read_plan(arguments: Sequence[str], *, multirun: bool) -> Plan:
    """Turn the overrides of a command line into a plan.

    The current folder is the root of the project. Besides Hydra's own sweep syntax, `KEY=geomspace(LEAST,MOST,COUNT)`
    stands for COUNT numbers evenly spaced on a log scale, ends included, of four digits (as `numpy.geomspace`).

    Parameters
    ----------
    arguments : sequence of str
        Such as "train.learning_rate=0.001,0.01", "sweep=course" (a file of conf/sweep), "hydra/launcher=joblib".
    multirun : bool
        Whether the command line has -m, as `hydra.mode=MULTIRUN` says as well. Without it, no list is allowed.

    Raises
    ------
    SettingsError
        If an override is not valid, a key is unknown or cannot be swept, or a value does not fit.
    """
    load_settings()  # an error in params.yaml names the file
    command = shlex.join(["python", "pipeline/sweep.py", *(["-m"] if multirun else []), *arguments])
    typed = parse_overrides(arguments)
    for override in typed.values():
        check_key(override)
    hydras = {key: override for key, override in typed.items() if IS_HYDRA.match(key)}
    multirun |= "hydra.mode" in hydras and str(hydras.pop("hydra.mode").value()) == "MULTIRUN"
    requested = _read_committed(typed) | {key: override for key, override in typed.items() if not IS_HYDRA.match(key)}
    if multirun and not requested.keys() - {"sweep"}:
        raise SettingsError(
            "nothing to try; name values (train.learning_rate=0.001,0.01) or a committed sweep (sweep=grid)"
        )
    grid = {key: override for key, override in requested.items() if override.is_sweep_override()}
    _check_values(requested, grid)
    fixed = {key: override for key, override in requested.items() if key not in grid}
    values = compose_values(list_texts(hydras | fixed))
    sweep = check_sweep_settings(
        {key: value for key, value in values.pop("sweep").items() if key != "params"}, origin=COMMAND_LINE
    )
    space = _read_space(grid, values, sweep) if multirun and sweep.search == "tpe" else {}
    configurations = _list_pictures(space, values) if space else _expand(grid, values, multirun=multirun)
    if grid and not multirun:
        raise SettingsError(
            f"'{next(iter(grid.values())).input_line}' holds several values; to try them all add -m: "
            f"{shlex.join(['python', 'pipeline/sweep.py', '-m', *arguments])}"
        )
    return Plan(
        configurations,
        swept=list(grid) if multirun else [key for key in requested if key in KEYS],
        sweep=sweep,
        command=command,
        committed=str(typed["sweep"].input_line) if "sweep" in typed else "",
        hydra=list_texts(hydras),
        one_by_one="hydra/sweeper" in hydras and hydras["hydra/sweeper"].value() != "vectorized",
        single=not multirun,
        space=space,
    )


def _check_values(requested: Mapping[str, "Override"], grid: Mapping[str, "Override"]) -> None:
    """Check what Hydra's parser accepts but a sweep cannot use; `grid` are the overrides that hold several values."""
    for key, override in requested.items():
        check_key(override)
        if grid and key not in grid and "${" in str(override.input_line):
            raise SettingsError(
                f"{override.input_line!r} refers to another value; where values are swept, write it out"
            )
        if key not in grid and isinstance(override.value(), list):
            raise SettingsError(f"{override.input_line!r} is a list; write the values without brackets: {key}=1,2")


def _read_committed(typed: Mapping[str, "Override"]) -> dict[str, "Override"]:
    """Return the overrides in the file of conf/sweep that `sweep=NAME` names."""
    if "sweep" not in typed:
        return {}
    if typed["sweep"].is_sweep_override() or isinstance(typed["sweep"].value(), list):
        raise SettingsError(f"'{typed['sweep'].input_line}' names several files; run one after the other")
    section = compose_values(list_texts({"sweep": typed["sweep"]}))["sweep"]
    params = section.pop("params", None)
    check_sweep_settings(section, origin=str(typed["sweep"].input_line))  # names a misspelt `params`
    if not isinstance(params, Mapping):
        raise SettingsError(f"'{typed['sweep'].input_line}': params is {params!r}; expected lines KEY: VALUES")
    return parse_overrides([f"{key}={value}" for key, value in params.items()])


def _expand(grid: Mapping[str, "Override"], values: Mapping[str, Any], *, multirun: bool) -> list[Settings]:
    """Return the points of the grid as checked settings, each once, in the order of Hydra's basic sweeper.

    `values` are the sections of params.yaml as Hydra composed them with the other overrides. Composing each point would
    take Hydra 0.05 s and more. A range is refused, except without `multirun`, where all lists are.
    """
    choices = {
        key: list_values(override) for key, override in grid.items() if multirun or not override.is_interval_sweep()
    }
    _check_size(choices)
    settings = check_settings(values, origin=COMMAND_LINE)
    points = (dict(zip(choices, point, strict=True)) for point in itertools.product(*choices.values()))
    return list(dict.fromkeys(set_values(settings, point) for point in points))  # a set that keeps the order


def _check_size(choices: Mapping[str, Sequence[Any]]) -> None:
    """Check that the product of lists is not too large to expand."""
    if math.prod(map(len, choices.values())) > MOST_CONFIGURATIONS:
        raise SettingsError(f"the grid has more than {MOST_CONFIGURATIONS:,} configurations; try fewer at once")


def set_values(settings: Settings, point: Mapping[str, Any]) -> Settings:
    """Return settings with some values replaced, by their keys, after checking them.

    Raises
    ------
    SettingsError
        If a value does not fit.
    """
    sections = {name: dict(vars(section)) for name, section in vars(settings).items()}  # asdict is ten times slower
    for key, value in point.items():
        section, _, name = key.partition(".")
        sections[section][name] = value
    return check_settings(sections, origin="the sweep")


def _read_space(grid: Mapping[str, "Override"], values: Mapping[str, Any], sweep: SweepSettings) -> Space:
    """Return what a search chooses from; empty if it would try all there is, as a grid does."""
    if not sweep.folds:
        raise SettingsError("sweep.search=tpe chooses by cross-validation; set sweep.folds to 2 or more")
    if not grid:
        raise SettingsError(
            "sweep.search=tpe has nothing to choose from; give a parameter a range or several values, such as "
            "'train.learning_rate=tag(log, interval(0.0001, 0.03))'"
        )
    settings = check_settings(values, origin=COMMAND_LINE)
    space: dict[str, Interval | tuple[Any, ...]] = {}
    for key, override in grid.items():
        if override.is_interval_sweep():
            space[key] = interval = read_interval(override)
            options: list[Any] = [int(end) if interval.whole else end for end in (interval.least, interval.most)]
        else:
            options = list_values(override)
        section, _, name = key.partition(".")
        checked = [getattr(getattr(set_values(settings, {key: value}), section), name) for value in options]
        if not override.is_interval_sweep():
            different = list(dict.fromkeys(checked))
            space[key] = tuple(different if KEYS[key] is str else sorted(different))
    lists = [dimension for dimension in space.values() if isinstance(dimension, tuple)]
    is_small = len(lists) == len(space) and math.prod(map(len, lists)) <= sweep.trials
    return {} if is_small else space


def _list_pictures(space: Space, values: Mapping[str, Any]) -> list[Settings]:
    """Return settings for each choice of pictures in the space of a search; a range varies only the training."""
    lists = {
        key: dimension
        for key, dimension in space.items()
        if isinstance(dimension, tuple) and not key.startswith("train.")
    }
    _check_size(lists)
    settings = check_settings(values, origin=COMMAND_LINE)
    return [set_values(settings, dict(zip(lists, point, strict=True))) for point in itertools.product(*lists.values())]
