"""Processes that tests start: whether they run, how much memory they took, and how to run one as on another system."""

import inspect
import resource
import sys
from pathlib import Path

import psutil

# The first lines of a program of a test, for what this project does in another way on macOS: no signal comes when the
# parent ends, and a new process imports the program again. Libraries that look at the name are imported before.
AS_ON_MACOS = """
import multiprocessing, psutil, subprocess, sys
multiprocessing.set_start_method("spawn", force=True)
sys.platform = "darwin"
"""


def is_alive(number: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(number).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def read_peak() -> int:
    """Return the largest amount of memory that this process has had in use, in bytes.

    On Linux, getrusage counts the process from which this one was started as well.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


READ_PEAK = f"import resource, sys\nfrom pathlib import Path\n{inspect.getsource(read_peak)}"  # for a program of a test
