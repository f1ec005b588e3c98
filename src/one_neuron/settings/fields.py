"""The kinds of parameters, each with its declaration and its check: numbers in a range, choices, and texts."""

import math
from dataclasses import Field, field
from typing import Any

from one_neuron.errors import SettingsError

_SHOWN = 200  # characters of a value in a message


def number_field(least: float, most: float, *, open_ends: bool = False) -> Any:
    """Declare a number in [least, most], or in (least, most) with `open_ends`; the annotation says int or float."""
    return field(metadata={"least": least, "most": most, "open_ends": open_ends})


def choice_field(*options: str) -> Any:
    """Declare a text that is one of `options`."""
    return field(metadata={"options": options})


def text_field(what: str, *, may_be_empty: bool = False) -> Any:
    """Declare a text on one line; `what` completes "the name of ..." in messages."""
    return field(metadata={"what": what, "may_be_empty": may_be_empty})


def format_value(value: object) -> str:
    """Return a value for a message: its repr, truncated to 200 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print an integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def check_value(key: Field[Any], name: str, value: Any, origin: str) -> Any:
    """Check one value against its declaration, and return it with its declared type.

    Parameters
    ----------
    key : Field
        Declared by `number_field`, `choice_field` or `text_field`.
    name, origin : str
        For messages: the key, such as "train.learning_rate", and where the value comes from.
    value : object
        As read from YAML.

    Raises
    ------
    SettingsError
        If the value has another type, is out of range, is not one of the options, or is not a text on one line.
    """
    limits = key.metadata
    if "what" in limits:
        return _check_text(name, value, origin, **limits)
    if "options" in limits:
        allowed = " or ".join(limits["options"])
        fits = value in limits["options"]
    else:
        kind = "a whole number" if key.type is int else "a number"
        ends = "between {least:,} and {most:,}, ends excluded" if limits["open_ends"] else "from {least:,} to {most:,}"
        allowed = f"{kind} {ends.format(**limits)}"
        low, high, is_open = limits["least"], limits["most"], limits["open_ends"]
        fits = _is_number(value, whole=key.type is int) and (low < value < high if is_open else low <= value <= high)
    if not fits:
        note = " (text)" if isinstance(value, str) and "options" not in limits else ""
        raise SettingsError(f"{origin}: {name} is {format_value(value)}{note}; expected {allowed}")
    return value if key.type is str else key.type(value)  # type: ignore[operator]


def _check_text(name: str, value: Any, origin: str, *, what: str, may_be_empty: bool) -> str:
    """Check a text on one line. A class or a file may be called 7, which YAML reads as a number."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return str(value)
    expected = f"the name of {what}" + (", or ''" if may_be_empty else "")
    if not isinstance(value, str):
        raise SettingsError(
            f"{origin}: {name} is {format_value(value)}; expected {expected}: put it in quotation marks"
        )
    if not value.isprintable() or value != value.strip() or not (value or may_be_empty):
        raise SettingsError(
            f"{origin}: {name} is {format_value(value)}; expected {expected}, on one line, without spaces around it"
        )
    if value.startswith("~"):
        raise SettingsError(f"{origin}: {name} is {value!r}; '~' is not expanded; use an absolute path")
    return value


def _is_number(value: Any, *, whole: bool) -> bool:
    """Return whether a value is a finite number; with `whole`, an integer: 2e3 is one, 1.5 is not. True is not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int):
        return True  # of any size; math.isfinite would overflow
    return math.isfinite(value) and (not whole or value == int(value))
