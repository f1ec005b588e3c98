"""What this machine and its user allow: cores, BLAS threads and memory. None of it changes a result."""

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from one_neuron.errors import SettingsError


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_megabytes(variable: str, *, default: int, least: int = 0) -> int:
    """Return an environment variable that holds a number of megabytes of 2**20 bytes, as a number of bytes.

    Parameters
    ----------
    default : int
        Megabytes where the variable is unset or empty.
    least : int
        The smallest number of megabytes that is accepted.

    Raises
    ------
    SettingsError
        If it is not a whole number of at least `least`.
    """
    text = os.environ.get(variable, "").strip() or str(default)
    # 18 digits are more bytes than any machine has.
    megabytes = int(text[:18]) if text.isascii() and text.isdigit() else -1
    if megabytes < least:
        raise SettingsError(f"{variable} = {text!r}; expected a whole number of at least {least} (megabytes)")
    return megabytes * 2**20


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit NumPy's BLAS to one thread inside a `with` block."""
    limit: AbstractContextManager[Any] = _find_libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _find_libraries() -> Any:
    """Find the loaded libraries that have threads, once: the search takes milliseconds. NumPy must be loaded."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return ThreadpoolController()
