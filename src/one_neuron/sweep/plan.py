"""The plan of a sweep: Hydra's sweep syntax expanded into checked configurations, without composing each."""

import itertools
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
# What may be set: everything that reaches the training or the choice.
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
        The command line.
    committed : str
        "sweep=NAME" where the grid comes from a file of conf/sweep, else "".
    hydra : sequence of str
        Overrides of Hydra's own configuration, such as "hydra/launcher=joblib".
    one_by_one : bool
        Whether the command line names another sweeper, such as "hydra/sweeper=basic": each configuration is then
        trained alone.
    """

    configurations: Sequence[Settings]
    swept: Sequence[str]
    sweep: SweepSettings
    command: str
    committed: str = ""
    hydra: Sequence[str] = ()
    one_by_one: bool = False


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

    Raises
    ------
    SettingsError
        If an override is not valid, a key is unknown, or a value of any configuration does not fit.
    """
    load_settings()  # an error in params.yaml names the file
    command = shlex.join(["python", "pipeline/sweep.py", *(["-m"] if multirun else []), *arguments])
    typed = _parse(arguments)
    hydras = {key: override for key, override in typed.items() if re.match(r"hydra[./]", key)}
    requested = _read_committed(typed) | {key: override for key, override in typed.items() if key not in hydras}
    if not requested.keys() - {"sweep"}:
        raise SettingsError(
            "nothing to try; name values (train.learning_rate=0.001,0.01) or a committed sweep (sweep=grid)"
        )
    grid = {key: override for key, override in requested.items() if override.is_sweep_override()}
    for key, override in requested.items():
        check_known(key, [*_KEYS, "sweep"], COMMAND_LINE)
        if grid and key not in grid and "${" in str(override.input_line):
            raise SettingsError(
                f"{override.input_line!r} refers to another value; where values are swept, write it out"
            )
        if key not in grid and isinstance(override.value(), list):
            raise SettingsError(f"{override.input_line!r} is a list; write the values without brackets: {key}=1,2")
    fixed = {key: override for key, override in requested.items() if key not in grid}
    values = compose_values(_texts(hydras | fixed))
    sweep = check_sweep_settings(
        {key: value for key, value in values.pop("sweep").items() if key != "params"}, origin=COMMAND_LINE
    )
    configurations = _expand(grid, values)
    if grid and not multirun:
        raise SettingsError(
            f"'{next(iter(grid.values())).input_line}' holds several values; to try them all add -m: "
            f"{shlex.join(['python', 'pipeline/sweep.py', '-m', *arguments])}"
        )
    return Plan(
        configurations,
        swept=list(grid),
        sweep=sweep,
        command=command,
        committed=str(typed["sweep"].input_line) if "sweep" in typed else "",
        hydra=_texts(hydras),
        one_by_one="hydra/sweeper" in hydras and hydras["hydra/sweeper"].value() != "vectorized",
    )


def _read_committed(typed: Mapping[str, "Override"]) -> dict[str, "Override"]:
    """Return the overrides in the file of conf/sweep that `sweep=NAME` names."""
    if "sweep" not in typed:
        return {}
    if typed["sweep"].is_sweep_override() or isinstance(typed["sweep"].value(), list):
        raise SettingsError(f"'{typed['sweep'].input_line}' names several files; run one after the other")
    section = compose_values(_texts({"sweep": typed["sweep"]}))["sweep"]
    params = section.pop("params", None)
    check_sweep_settings(section, origin=str(typed["sweep"].input_line))  # names a misspelt `params`
    if not isinstance(params, Mapping):
        raise SettingsError(f"'{typed['sweep'].input_line}': params is {params!r}; expected lines KEY: VALUES")
    return _parse([f"{key}={value}" for key, value in params.items()])


def _expand(grid: Mapping[str, "Override"], values: Mapping[str, Any]) -> list[Settings]:
    """Return the points of the grid as checked settings, each once, in the order of Hydra's basic sweeper.

    `values` are the sections of params.yaml as Hydra composed them with the other overrides. Composing each point would
    take Hydra 0.05 s and more.
    """
    choices = {key: _list_values(override) for key, override in grid.items()}
    if math.prod(map(len, choices.values())) > MOST_CONFIGURATIONS:
        raise SettingsError(f"the grid has more than {MOST_CONFIGURATIONS:,} configurations; try fewer at once")
    settings = asdict(check_settings(values, origin=COMMAND_LINE))
    configurations: dict[Settings, None] = {}  # a set that keeps the order
    for point in itertools.product(*choices.values()):
        for key, value in zip(choices, point, strict=True):
            section, _, name = key.partition(".")
            settings[section][name] = value
        configurations[check_settings(settings, origin="the sweep")] = None
    return list(configurations)


def _parse(arguments: Sequence[str]) -> dict[str, "Override"]:
    """Return the overrides by key; the last one for a key counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found: dict[str, Override] = {}
    for argument in arguments:
        try:
            override = parser.parse_override(_write_out(argument))
        except (HydraException, ValueError) as error:  # ValueError: a number with too many digits
            raise SettingsError(
                f"{format_value(argument)} is not a valid override ({one_line(error)}); expected for example "
                "train.learning_rate=0.001,0.01"
            ) from error
        if override.type != OverrideType.CHANGE:
            raise SettingsError(f"{argument!r} adds or removes a key; expected KEY=VALUE")
        found.pop(override.key_or_group, None)
        found[override.key_or_group] = override
    return found


def _write_out(argument: str) -> str:
    """Replace geomspace by its numbers: Hydra has no such function and accepts none from outside."""
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
    # The ends stay as they were typed.
    return f"{key}={','.join(dict.fromkeys([texts[0], *inner, texts[1]]))}"


def _shorten(numbers: Sequence[float]) -> list[str]:
    """Return the numbers with four digits, or as many as keep them apart."""
    for digits in range(4, 17):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            break
    return texts


def _list_values(override: "Override") -> list[Any]:
    """Return the values of a list as plain Python objects."""
    from hydra.core.override_parser.types import ValueType
    from hydra.errors import HydraException

    if override.key_or_group not in KEYS:
        raise SettingsError(f"{override.input_line!r} cannot be swept; give {override.key_or_group} one value")
    if not override.is_discrete_sweep() or override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise SettingsError(
            f"{override.input_line!r} is not a list of values; use geomspace(LEAST,MOST,COUNT), range or choice"
        )
    try:
        values = list(itertools.islice(override.sweep_iterator(), MOST_CONFIGURATIONS + 1))
    except (HydraException, ValueError) as error:
        raise SettingsError(f"{override.input_line!r} does not fit: {one_line(error)}") from error
    if not values:
        raise SettingsError(f"{override.input_line!r} holds no values")
    return [getattr(value, "text", value) for value in values]  # quoted text is an object of Hydra's


def _texts(overrides: Mapping[str, "Override"]) -> list[str]:
    """Return overrides as they were typed."""
    return [str(override.input_line) for override in overrides.values()]
