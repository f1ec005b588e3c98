"""What this machine offers; it never reaches a result."""

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Hold NumPy's BLAS to one thread inside a `with` block."""
    limit: AbstractContextManager[Any] = _find_libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _find_libraries() -> Any:
    """Return the libraries with threads of their own. Looking for them takes milliseconds; NumPy's is there by now."""
    from threadpoolctl import ThreadpoolController  # its import sets an environment variable

    return ThreadpoolController()
