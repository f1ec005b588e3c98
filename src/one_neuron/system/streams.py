"""Standard input, output and error that are closed (`>&-`) or cannot be written (a full disk)."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

from one_neuron.errors import EnvironmentProblem

_NAMES = {1: "standard output", 2: "standard error"}


def open_closed_streams() -> list[str]:
    """Open /dev/null in place of closed standard streams; return the names of those that a command writes to.

    Otherwise the next file that is opened takes the number of the closed one, and receives what libraries and child
    processes print.
    """
    closed = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest free number
            closed.append(number)
    return [name for number, name in _NAMES.items() if number in closed or _stream(number) is None]


def closed_streams_error(names: list[str]) -> EnvironmentProblem:
    """Return the error of a command that was started without its output."""
    sign = "2>" if names[0] == _NAMES[2] else ">"
    return EnvironmentProblem(f"{names[0]} is closed; to discard what is printed, use {sign}/dev/null")


def unwritable_error(name: str, error: OSError) -> EnvironmentProblem:
    """Return the error of a command whose output could not be written, for example to a full disk."""
    return EnvironmentProblem(f"{name} cannot be written ({error.strerror or error}); write it to another place")


def flush_streams() -> Iterator[tuple[str, OSError]]:
    """Write what is still buffered; yield the name of each stream that cannot be written, and its error.

    Nothing more is written to such a stream: Python would try again when it exits, and print an error of its own.
    """
    for number, name in _NAMES.items():
        stream = _stream(number)
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError as error:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            yield name, error


def _stream(number: int) -> TextIO | None:
    """Return Python's object for output or error; None if Python was started without it."""
    return sys.stdout if number == 1 else sys.stderr
