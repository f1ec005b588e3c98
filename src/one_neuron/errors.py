"""What can go wrong through no fault of the program, and how a command says so: one line and an exit code."""

import os
import re
import sys


class OneNeuronError(Exception):
    """A problem that the user can mend; its message names the file or parameter, the value and the remedy."""

    exit_code = 1


class SettingsError(OneNeuronError):
    """Wrong usage or a parameter out of its range."""

    exit_code = 2


class DataError(OneNeuronError):
    """A picture, a prepared set or a model that cannot be used."""

    exit_code = 3


class EnvironmentProblem(OneNeuronError):  # noqa: N818 - EnvironmentError is Python's own
    """Disk, memory, network or the tracking store."""

    exit_code = 4


def one_line(text: object) -> str:
    """Return `text` with its line ends and tabs folded, so that it fits on one line."""
    return " ".join(part.strip() for part in re.split(r"[\t\n\v\f\r\x85\u2028\u2029]+", str(text).strip()))


def escape_control_characters(text: str) -> str:
    """Return a text for one line of any file or terminal: what cannot be printed, or is no UTF-8, as escapes."""
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    """Return the escape of a letter as Python writes it; of a byte in a file's name that is no UTF-8, of the byte."""
    byte = ord(letter) - 0xDC00  # PEP 383
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(letter)[1:-1]


def quote_path(path: os.PathLike[str] | str) -> str:
    """Return the name of a file for a message: `plain`, in quotation marks."""
    return f"'{escape_control_characters(os.fspath(path))}'"


def report_error(error: OneNeuronError) -> int:
    """Print `error` as one line on stderr, which no name in it can break or colour; return its exit code."""
    print(f"one-neuron: {escape_control_characters(one_line(error))}", file=sys.stderr)
    return error.exit_code
