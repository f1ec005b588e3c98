"""The cores and the BLAS threads of this machine. Neither changes a result."""

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Limit NumPy's BLAS to one thread inside a `with` block."""
    limit: AbstractContextManager[Any] = _find_libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _find_libraries() -> Any:
    """Find the loaded libraries that have threads, once: the search takes milliseconds. NumPy must be loaded."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return ThreadpoolController()
