"""The errors that a user can cause, and how a command reports one: a line on stderr and an exit code.

::

    OneNeuronError
    +-- SettingsError        exit code 2: wrong usage, or a parameter out of range
    +-- DataError            exit code 3: a picture, a prepared set or a model that cannot be used
    |   +-- DamagedFile      a file that a stage wrote does not fit its digest
    +-- EnvironmentProblem   exit code 4: disk, memory, network, a library or the tracking store
        +-- StoreOutage      exit code 4: the tracking store, which may be back later

Any other exception is a mistake of the program and keeps its traceback.
"""

import os
import re
import sys
from functools import partial
from pathlib import Path

REMEDY = "run `dvc repro` to make it again"


class OneNeuronError(Exception):
    """A problem that the user can solve; its message names the file or parameter, the value and the remedy."""

    exit_code = 1


class SettingsError(OneNeuronError):
    """Wrong usage, or a parameter out of range."""

    exit_code = 2


class DataError(OneNeuronError):
    """A picture, a prepared set or a model that cannot be used."""

    exit_code = 3


class DamagedFile(DataError):  # noqa: N818 - a kind of DataError
    """A file that a stage wrote does not fit its digest, or cannot be read as what it should be.

    Parameters
    ----------
    reason : str
        What is wrong, with the name of the file.
    *paths : Path
        The files of which one is damaged.
    remedy : str
        What the user can do.
    """

    def __init__(self, reason: str, *paths: Path, remedy: str = REMEDY) -> None:
        super().__init__(f"{reason}; {remedy}")
        self.reason, self.paths, self.remedy = reason, paths, remedy

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), remedy=self.remedy), (self.reason, *self.paths)


class EnvironmentProblem(OneNeuronError):  # noqa: N818 - EnvironmentError is Python's own
    """A problem of disk, memory, network, a library or the tracking store."""

    exit_code = 4


class StoreOutage(EnvironmentProblem):
    """The tracking store does not answer, fails or cannot be written; the same may work later.

    Attributes
    ----------
    problem : str
        What happened; the message adds what the user can do.
    repair : str
        What the user has to do before the store can be used; "" if it may come back by itself.
    """

    def __init__(self, problem: str, advice: str, repair: str = "") -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem, self.repair = problem, repair


def one_line(text: object) -> str:
    r"""Return a text or an exception on one line: line ends and tabs, with the spaces around them, become one space.

    Examples
    --------
    >>> one_line("unexpected end\n\tof file\n")
    'unexpected end of file'
    """
    return " ".join(part.strip() for part in re.split(r"[\t\n\v\f\r\x85\u2028\u2029]+", str(text).strip()))


def escape_control_characters(text: str) -> str:
    r"""Return `text` with escapes for the characters that cannot be printed and the bytes that are not UTF-8.

    A file's name, for example, may hold line ends and terminal commands.

    Examples
    --------
    >>> print(escape_control_characters("a\nb"))
    a\nb
    """
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    """Escape one character as Python would; for a surrogate-escaped byte (PEP 383), escape the byte."""
    byte = ord(character) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else repr(character)[1:-1]


def quote_path(path: os.PathLike[str] | str) -> str:
    """Return a path for a message: in quotation marks, with control characters escaped."""
    return f"'{escape_control_characters(os.fspath(path))}'"


def report_error(error: OneNeuronError) -> int:
    """Print `error` as one line on stderr, with control characters escaped, and return its exit code.

    If stderr is closed or cannot be written, the line is printed on stdout.
    """
    line = f"one-neuron: {escape_control_characters(one_line(error))}"
    try:
        print(line, file=sys.stderr or sys.stdout, flush=True)
    except OSError:
        print(line)
    return error.exit_code
