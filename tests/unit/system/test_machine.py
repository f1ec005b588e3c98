"""Cores and BLAS threads, compared with threadpoolctl and the system."""

import os

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from one_neuron.system.machine import count_cores, one_blas_thread


def count_blas_threads() -> set[int]:
    """Return the numbers of threads of all BLAS libraries."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_is_held_to_one_thread_inside_the_block_alone() -> None:
    """Repeatedly, and after an error as well."""

    def fail() -> None:
        with one_blas_thread():
            assert count_blas_threads() == {1}
            raise OSError("gone")

    with threadpool_limits(limits=2, user_api="blas"):
        for _ in range(2):
            with pytest.raises(OSError, match="gone"):
                fail()
            assert count_blas_threads() == {2}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_only_the_cores_that_this_process_may_use_count() -> None:
    """As in a container, or behind `taskset`."""
    allowed = os.sched_getaffinity(0)
    assert count_cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert count_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
