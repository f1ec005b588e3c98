"""Spellings of values that readers of YAML and of overrides take differently: 010 is 8 for one and 10 for another.

OmegaConf (YAML 1.1) reads params.yaml for this project, ruamel.yaml (YAML 1.2) reads it for DVC, and Hydra's grammar
reads overrides, for sweeps and for `dvc exp run -S`. A spelling is accepted if all three take it for the same value. A
test compares them.
"""

import re

from one_neuron.errors import SettingsError

_LONGEST = 40  # characters of a number that is worked out for a message

# What at least one reader takes for a number.
_NUMBER = re.compile(
    r"""(?!_)[-+]?(
        0[xX][0-9a-fA-F_]+ | 0[oO][0-7_]+ | 0[bB][01_]+  # hexadecimal, octal, binary
      | [0-9][0-9_]* (:[0-9][0-9_]*)+ (\.[0-9_]*)?       # to the base 60
      | (_*[0-9][0-9_]*\.?[0-9_]* | \._*[0-9][0-9_]*) ([eE][-+]?[0-9][0-9_]*)?
    )""",
    re.ASCII | re.VERBOSE,
)
# What all of them take for the same number; Hydra's grammar has no leading zeros.
_PLAIN = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+][0-9]+)?", re.ASCII)
_TRUTH = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")  # text in YAML 1.2
_TIME = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", re.ASCII)  # text for OmegaConf, a date for DVC
# In an override: what lies in quotation marks, and what separates its values.
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_SEPARATORS = re.compile(r"[\s,=()\[\]{}]+")


def check_spelling(text: str, name: str, origin: str, *, kind: type | None = None, is_yaml: bool = True) -> None:
    """Check that all readers take an unquoted value for the same.

    Parameters
    ----------
    text : str
        As it was typed, for example "1e-3".
    name, origin : str
        For messages: the key, such as "train.learning_rate", and where the value comes from.
    kind : type, optional
        The declared type of the key.
    is_yaml : bool
        Whether the value stands in a YAML file, and not in an override, where words and dates are text for all.

    Raises
    ------
    SettingsError
        If readers differ; the message has the spelling to use.
    """
    readings: list[str] = []
    if _NUMBER.fullmatch(text) and not _PLAIN.fullmatch(text):
        readings = _list_readings(text) if len(text) <= _LONGEST else []
    # A key that is a number refuses words and dates anyway.
    elif not (is_yaml and kind not in (int, float) and (_TRUTH.fullmatch(text) or _TIME.fullmatch(text))):
        return
    if len(readings) == 2:
        taken = f"is {readings[0]} for one reader and {readings[1]} for another"
    else:
        taken = f"only some readers take for {readings[0]}" if readings else "readers take differently"
    plain = " or ".join(readings) if readings else "plain digits" if _NUMBER.fullmatch(text) else "true or false"
    quotes = "put it in quotation marks"
    remedy = quotes if kind is str else f"write {plain}" if kind else f"write {plain}, or {quotes} if it is a text"
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    raise SettingsError(f"{origin}: {name} is {shown}, which {taken}; {remedy}")


def check_override(argument: str, origin: str, *, kind: type | None = None) -> None:
    """Check every value of an override such as "train.num_iterations=500,1000", as `check_spelling` does."""
    key, _, values = argument.partition("=")
    for text in _SEPARATORS.split(_QUOTED.sub(" ", values)):
        check_spelling(text, key, origin, kind=kind, is_yaml=False)


def _list_readings(text: str) -> list[str]:
    """Return the numbers that readers may take a text for, spelled so that all of them take it for the same."""
    sign, digits = ("-" if text.startswith("-") else ""), text.lstrip("+-").replace("_", "").lower()
    for prefix, base in (("0x", 16), ("0o", 8), ("0b", 2)):
        if digits.startswith(prefix):
            return [f"{sign}{int(digits[2:] or '0', base)}"]
    if ":" in digits:
        total = 0.0
        for part in digits.split(":"):
            total = 60 * total + float(part)
        return [f"{sign}{total:.15g}"]
    if not digits.isdecimal():
        return [f"{sign}{float(digits)!r}"]
    readings = [int(digits, 8)] if digits.startswith("0") and not set(digits) & {"8", "9"} else []
    return [f"{sign}{number}" for number in dict.fromkeys([*readings, int(digits)])]
