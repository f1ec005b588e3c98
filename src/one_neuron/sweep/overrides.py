"""Overrides in Hydra's syntax, one KEY=VALUES each: what may be set, and the values or the range that one holds."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from one_neuron.errors import SettingsError, one_line
from one_neuron.settings.fields import format_value
from one_neuron.settings.params import KEYS, SECTIONS, check_known
from one_neuron.settings.spelling import check_override
from one_neuron.sweep.compose import COMMAND_LINE

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST_CONFIGURATIONS = 100_000
IS_HYDRA = re.compile(r"hydra[./]")  # the beginning of a key of Hydra's own configuration
_HOW = [f"sweep.{name}" for name in ("folds", "seed", "keep_models", "search", "trials")]
# What may be set: everything that reaches the training or the choice.
_KEYS = [*(key for key in KEYS if not key.startswith("evaluate.")), *_HOW, "sweep"]
_GEOMSPACE = re.compile(r"([\w.]+)=geomspace\(([^,()]+),([^,()]+),([^,()]+)\)")


@dataclass(frozen=True)
class Interval:
    """The numbers from `least` to `most`, ends included: whole ones with `whole`, on a log scale with `log`."""

    least: float
    most: float
    log: bool
    whole: bool


def parse_overrides(arguments: Sequence[str]) -> dict[str, "Override"]:
    """Return the overrides by key; the last one for a key counts.

    Raises
    ------
    SettingsError
        If an argument is not an override.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import OverrideType
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    found: dict[str, Override] = {}
    for argument in arguments:
        check_override(argument, COMMAND_LINE, kind=KEYS.get(argument.partition("=")[0].strip()))
        try:
            override = parser.parse_override(write_out(argument))
        except (HydraException, ValueError) as error:  # ValueError: a number with too many digits
            raise SettingsError(
                f"{format_value(argument)} is not a valid override ({one_line(error)}); expected for example "
                "train.learning_rate=0.001,0.01"
            ) from error
        if override.type != OverrideType.CHANGE and not IS_HYDRA.match(override.key_or_group):
            raise SettingsError(f"{argument!r} adds or removes a key; expected KEY=VALUE")
        found.pop(override.key_or_group, None)
        found[override.key_or_group] = override
    return found


def check_key(override: "Override") -> None:
    """Check that a sweep can set the key of an override, and vary it if there are several values.

    Raises
    ------
    SettingsError
        If it cannot; the message gives the reason, or a similar key.
    """
    key, text = override.key_or_group, str(override.input_line)
    if IS_HYDRA.match(key):
        if override.is_sweep_override():
            raise SettingsError(f"{text!r} cannot be swept: it sets how Hydra runs; give {key} one value")
        return
    if key.startswith("evaluate.") and key in KEYS:
        raise SettingsError(
            f"{text!r} cannot be swept: it changes plots, not the training; edit params.yaml and run `make repro`"
        )
    if key == "sweep.params":
        raise SettingsError(f"{text!r} belongs in a file of conf/sweep; here write the lines themselves: KEY=VALUES")
    if key in SECTIONS:
        names = ", ".join(name for name in _KEYS if name.startswith(f"{key}."))
        raise SettingsError(f"{text!r} cannot be swept: {key} is a section; its keys are {names or 'in params.yaml'}")
    check_known(key, _KEYS, COMMAND_LINE)
    if key in _HOW and override.is_sweep_override():
        raise SettingsError(f"{text!r} cannot be swept: it sets how configurations are compared; give {key} one value")


def list_values(override: "Override") -> list[Any]:
    """Return the values of a list as plain Python objects.

    Raises
    ------
    SettingsError
        If the override is a range of real numbers, or does not list values.
    """
    from hydra.core.override_parser.types import Sweep, ValueType
    from hydra.errors import HydraException

    text = str(override.input_line)
    if override.is_interval_sweep():
        raise SettingsError(
            f"{text!r} is a range, and a grid needs values: use geomspace(LEAST,MOST,COUNT), range or choice, or "
            "search in it with sweep.search=tpe"
        )
    if not override.is_discrete_sweep() or override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        raise SettingsError(f"{text!r} is not a list of values; use geomspace(LEAST,MOST,COUNT), range or choice")
    try:
        values = list(itertools.islice(override.sweep_iterator(), MOST_CONFIGURATIONS + 1))
    except (HydraException, ValueError) as error:
        raise SettingsError(f"{text!r} does not fit: {one_line(error)}") from error
    if not values:
        raise SettingsError(f"{text!r} holds no values")
    if any(isinstance(value, Sweep) for value in values):
        raise SettingsError(f"{text!r} mixes values and a range; write either")
    return [getattr(value, "text", value) for value in values]  # quoted text is an object of Hydra's


def read_interval(override: "Override") -> Interval:
    """Return the range that an override such as `train.learning_rate=tag(log, interval(0.0001, 0.03))` holds.

    As in Hydra's sweeper for Optuna, the tag `log` asks for a log scale; the tag `int` or `int(interval(...))` asks for
    whole numbers, which a parameter that is a whole number has anyway.

    Raises
    ------
    SettingsError
        If the parameter cannot vary continuously, or the ends or a tag do not fit.
    """
    key, text, value = override.key_or_group, str(override.input_line), cast("Any", override.value())
    if KEYS.get(key) not in (int, float) or not key.startswith("train."):
        raise SettingsError(f"{text!r}: only numbers of the section train can have a range; list values of {key}")
    least, most, tags = value.start, value.end, value.tags
    whole = KEYS[key] is int or "int" in tags or isinstance(least, int)
    if unknown := sorted(tags - {"log", "int"}):
        raise SettingsError(f"{text!r} has the tag '{unknown[0]}'; known are log and int")
    if not (math.isfinite(least) and math.isfinite(most) and least < most):
        raise SettingsError(f"{text!r} does not fit; expected interval(LEAST, MOST) with LEAST below MOST")
    if "log" in tags and least <= 0:
        raise SettingsError(f"{text!r} does not fit; a log scale needs ends above 0")
    if whole and not (float(least).is_integer() and float(most).is_integer()):
        raise SettingsError(f"{text!r} does not fit; {key} needs whole numbers as ends")
    return Interval(float(least), float(most), log="log" in tags, whole=whole)


def list_texts(overrides: Mapping[str, "Override"]) -> list[str]:
    """Return overrides as they were typed."""
    return [str(override.input_line) for override in overrides.values()]


def write_out(argument: str) -> str:
    """Replace geomspace by its numbers: Hydra has no such function and accepts none from outside.

    Raises
    ------
    SettingsError
        If its arguments do not fit.
    """
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
