"""What a sweep is asked to try: Hydra's sweep syntax turned into checked configurations, without composing each."""

import itertools
import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from one_neuron.errors import SettingsError, one_line
from one_neuron.settings.fields import format_value
from one_neuron.settings.params import KEYS, Settings, check_known, check_settings, load_settings
from one_neuron.sweep.compose import COMMAND_LINE, SweepSettings, check_sweep_settings, compose_values

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST_CONFIGURATIONS = 100_000
# What may be set: all that reaches the training or the choice.
_KEYS = [*(key for key in KEYS if not key.startswith("evaluate.")), "sweep.folds", "sweep.seed", "sweep.keep_models"]
_GEOMSPACE = re.compile(r"([\w.]+)=geomspace\(([^,()]+),([^,()]+),([^,()]+)\)")


@dataclass(frozen=True)
class Plan:
    """What to try, and how to compare it.

    Parameters
    ----------
    configurations : sequence of Settings
        Each once, in the order of the grid.
    swept : sequence of str
        The keys with more than one value, such as "train.learning_rate".
    sweep : SweepSettings
        The section `sweep` of conf/config.yaml with overrides.
    command : str
        What was typed.
    overrides : sequence of str
        The same as explicit overrides, for Hydra: those of a committed sweep, too, and all values of geomspace.
    """

    configurations: Sequence[Settings]
    swept: Sequence[str]
    sweep: SweepSettings
    command: str
    overrides: Sequence[str]


def read_plan(arguments: Sequence[str], *, multirun: bool) -> Plan:
    """Turn the overrides of a command line into a plan.

    The current folder is the root of the project. Besides Hydra's own sweep syntax, `KEY=geomspace(LEAST,MOST,COUNT)`
    stands for COUNT numbers evenly spaced on a log scale, ends included, of four digits (as `numpy.geomspace`).

    Parameters
    ----------
    arguments : sequence of str
        Such as "train.learning_rate=0.001,0.01", "sweep=course" (a file of conf/sweep), "hydra/launcher=joblib".
    multirun : bool
        Whether lists of values are allowed.

    Returns
    -------
    Plan

    Raises
    ------
    SettingsError
        If an override is none, a key is unknown, or any value of any configuration does not fit.
    """
    load_settings()  # its own mistakes are named with the file
    command = shlex.join(["python", "pipeline/sweep.py", *(["-m"] if multirun else []), *arguments])
    typed = _parse(arguments)
    hydras = {key: override for key, override in typed.items() if re.match(r"hydra[./]", key)}
    asked = {**_read_committed(typed), **{key: override for key, override in typed.items() if key not in hydras}}
    if not asked.keys() - {"sweep"}:
        raise SettingsError(
            "nothing to try; name values (train.learning_rate=0.001,0.01) or a committed sweep (sweep=grid)"
        )
    swept = [key for key, override in asked.items() if override.is_sweep_override()]
    for key, override in asked.items():
        check_known(key, [*_KEYS, "sweep"], COMMAND_LINE)
        if swept and key not in swept and "${" in str(override.input_line):
            raise SettingsError(
                f"{override.input_line!r} refers to another value; where values are swept, write it out"
            )
        if key not in swept and isinstance(override.value(), list):
            raise SettingsError(f"{override.input_line!r} is a list; write the values without brackets: {key}=1,2")
    fixed_ones = {key: override for key, override in asked.items() if key not in swept}
    values = compose_values(_texts(hydras | fixed_ones))
    how = {key: value for key, value in values.pop("sweep").items() if key != "params"}
    sweep = check_sweep_settings(how, origin=COMMAND_LINE)
    configurations = expand(_texts(asked), values)
    if swept and not multirun:
        raise SettingsError(
            f"'{asked[swept[0]].input_line}' holds several values; to try them all add -m: "
            f"{shlex.join(['python', 'pipeline/sweep.py', '-m', *arguments])}"
        )
    # Written out: Hydra reads params.yaml again, which may be edited meanwhile.
    fixed = asdict(check_settings(values, origin=COMMAND_LINE))
    rest = [(key, *key.split(".")) for key in KEYS if key in _KEYS and key not in asked]
    written = [f"{key}={_write_value(fixed[section][name])}" for key, section, name in rest]
    return Plan(configurations, swept, sweep, command, [*_texts(hydras | asked), *written])


def _write_value(value: Any) -> str:
    """Return a value as Hydra reads it again; JSON's escapes are not Hydra's."""
    if not isinstance(value, str):
        return json.dumps(value)
    # Between quotes a backslash stands for itself, but for those before a quotation mark.
    inner = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"'{inner}'"


def _read_committed(typed: Mapping[str, "Override"]) -> dict[str, "Override"]:
    """Return the overrides of the file of conf/sweep that is asked for."""
    if "sweep" not in typed:
        return {}
    if typed["sweep"].is_sweep_override() or isinstance(typed["sweep"].value(), list):
        raise SettingsError(f"'{typed['sweep'].input_line}' names several files; run one after the other")
    section = compose_values(_texts({"sweep": typed["sweep"]}))["sweep"]
    params = section.pop("params", None)
    check_sweep_settings(section, origin=str(typed["sweep"].input_line))  # a misspelt `params` is named
    if not isinstance(params, Mapping):
        raise SettingsError(f"'{typed['sweep'].input_line}': params is {params!r}; expected lines KEY: VALUES")
    return _parse([f"{key}={value}" for key, value in params.items()])


def expand(overrides: Sequence[str], values: Mapping[str, Any]) -> list[Settings]:
    """Multiply out the grid, in the order in which Hydra's basic sweeper goes through it, and check each point.

    Nothing is composed: that takes Hydra 0.05 s and more for each point.

    Parameters
    ----------
    overrides : sequence of str
        Those with a list of values span the grid.
    values : mapping
        The sections of params.yaml as Hydra composed them with the other overrides.

    Returns
    -------
    list of Settings
        Each once.

    Raises
    ------
    SettingsError
        As `read_plan`.
    """
    asked = _parse(overrides)
    grid = {key: _list_values(override) for key, override in asked.items() if override.is_sweep_override()}
    number = math.prod(len(choices) for choices in grid.values())
    if number > MOST_CONFIGURATIONS:
        raise SettingsError(f"the grid has more than {MOST_CONFIGURATIONS:,} configurations; try fewer at once")
    settings = asdict(check_settings(values, origin=COMMAND_LINE))
    configurations: dict[Settings, None] = {}  # keeps the order; what stands there twice is tried once
    for point in itertools.product(*grid.values()):
        for key, value in zip(grid, point, strict=True):
            section, _, name = key.partition(".")
            settings[section][name] = value
        configurations[check_settings(settings, origin="the sweep")] = None
    return list(configurations)


def _parse(arguments: Sequence[str]) -> dict[str, "Override"]:
    """Return the overrides by their keys; the last one for a key counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found: dict[str, Override] = {}
    for argument in arguments:
        try:
            override = parser.parse_override(_write_out(argument))
        except (HydraException, ValueError) as error:  # ValueError: a number of more digits than Python reads
            raise SettingsError(
                f"{format_value(argument)} is no override such as train.learning_rate=0.001,0.01: {one_line(error)}"
            ) from error
        if override.type != OverrideType.CHANGE:
            raise SettingsError(f"{argument!r} adds or removes a key; expected KEY=VALUE")
        found.pop(override.key_or_group, None)
        found[override.key_or_group] = override
    return found


def _write_out(argument: str) -> str:
    """Replace geomspace by its numbers. Hydra has nothing like it, and takes no functions of others."""
    if "geomspace(" not in argument:
        return argument
    key = argument.partition("=")[0].strip()
    match = _GEOMSPACE.fullmatch("".join(argument.split()))
    texts = match.groups()[1:] if match else ("", "", "")
    try:
        least, most, count = float(texts[0]), float(texts[1]), int(texts[2])
        fits = 0 < least < math.inf and 0 < most < math.inf and 2 <= count <= MOST_CONFIGURATIONS
    except ValueError:
        fits = False
    if not fits:
        raise SettingsError(
            f"{argument!r} does not fit; expected {key}=geomspace(LEAST,MOST,COUNT) with two numbers above 0 and a "
            f"count from 2 to {MOST_CONFIGURATIONS:,}"
        )
    numbers = np.geomspace(least, most, count).tolist()
    inner = [str(round(number)) for number in numbers[1:-1]] if KEYS.get(key) is int else _shorten(numbers)[1:-1]
    # The ends as they were typed
    return f"{key}={','.join(dict.fromkeys([texts[0], *inner, texts[1]]))}"


def _shorten(numbers: Sequence[float]) -> list[str]:
    """Return the numbers with four digits, or as many as keep them apart: 0.001274 is as good as 0.0012742749."""
    for digits in range(4, 17):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def _list_values(override: "Override") -> list[Any]:
    """Return the values of a list, plain."""
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

    if override.key_or_group not in KEYS:
        raise SettingsError(f"{override.input_line!r} cannot be swept; give {override.key_or_group} one value")
    if not override.is_discrete_sweep() or override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise SettingsError(
            f"{override.input_line!r} is no list of values; use geomspace(LEAST,MOST,COUNT), range or choice"
        )
    try:
        values = list(itertools.islice(override.sweep_iterator(), MOST_CONFIGURATIONS + 1))
    except (HydraException, ValueError) as error:
        raise SettingsError(f"{override.input_line!r} does not fit: {one_line(error)}") from error
    if not values:
        raise SettingsError(f"{override.input_line!r} holds no values")
    return [getattr(value, "text", value) for value in values]  # what stands in quotes is an object of Hydra's


def _texts(overrides: Mapping[str, "Override"]) -> list[str]:
    """Return overrides as they are typed."""
    return [str(override.input_line) for override in overrides.values()]
