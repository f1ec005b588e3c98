"""Programs that run in another folder, and end with all their children when this process is stopped."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from one_neuron.system.command import defer_signals

_END_SECONDS = 10


def run_program(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """Run a program with its errors on stderr and without its output; return its exit code.

    If an exception ends the wait, such as that of Ctrl-C, the program and all its children have ended before the
    exception continues.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        try:
            return process.wait()
        except BaseException:
            with defer_signals():
                _end_group(process)
            raise


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End the process group of a program: by SIGTERM, and after ten seconds by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _END_SECONDS
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < deadline:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(0.02)
        except (ProcessLookupError, PermissionError):  # the group has ended; macOS reports a dead one as not permitted
            return


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder, which is removed whatever happens; a signal that arrives meanwhile waits for that."""
    folder = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    try:
        yield folder
    finally:
        with defer_signals():
            shutil.rmtree(folder)
