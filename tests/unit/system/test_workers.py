"""The pool of processes: it ends with its owner, and passes errors on. Each test has an owner of its own to harm."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from one_neuron.system.machine import count_cores
from one_neuron.system.workers import worker_processes
from tests.processes import AS_ON_MACOS, is_alive

START = """
import os, signal, sys, time
from one_neuron.system.command import run_command
from one_neuron.system.workers import worker_processes

def call(name):
    return globals()[name]()

def write_id():
    os.write(1, b"%d\\n" % os.getpid())  # at once, so that the lines of two processes do not mix
    time.sleep(60)

def fail():
    raise OSError(28, "No space left on device", "out.png")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def main():
    with worker_processes() as pool:
        print(list(pool.map(call, sys.argv[1:])))

if __name__ == "__main__":
    sys.exit(run_command(main))
"""


@pytest.fixture(params=["", AS_ON_MACOS], ids=["here", "as on macOS"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return a function that starts a process, which has its pool do some jobs."""
    program = tmp_path / "program.py"
    program.write_text(f"{request.param}{START}")

    def start(*jobs: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, program, *jobs], stdout=pipe, stderr=pipe, text=True)

    return start


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_processes_end_with_their_owner(
    number: signal.Signals, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """After kill -9, SIGTERM and Ctrl-C nothing goes on in the background."""
    with start(*["write_id"] * count_cores()) as process:
        assert process.stdout is not None
        workers = [int(process.stdout.readline()) for _ in range(count_cores())]
        assert all(map(is_alive, workers))
        os.kill(process.pid, number)
        process.wait(timeout=10)
        deadline = time.monotonic() + 10
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(map(is_alive, workers))


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("fail", "'out.png': No space left on device; check the disk's space and the permissions"),
        ("die", "a worker process was killed; free some memory and run it again"),
    ],
)
def test_an_error_in_a_process_is_one_line(job: str, message: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    """A full disk and a killed process stop the command, which says why."""
    process = start(job, "fail")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (4, "", f"one-neuron: {message}\n")


PRELOADED = """
import signal, sys, threading
from one_neuron.system.workers import worker_processes

lock = threading.Lock()

def describe():
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    return "wave" in sys.modules, blocked, lock.locked()

if __name__ == "__main__":
    with lock, worker_processes(preload="wave") as pool:
        assert pool._processes
        print(pool.submit(describe).result())
"""


def test_a_process_that_starts_at_once_is_new(tmp_path: Path) -> None:
    """It has imported the module, the terminal's Ctrl-C cannot reach it, and no lock of its owner is held there."""
    program = tmp_path / "program.py"
    program.write_text(PRELOADED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(True, True, False)\n", "")


def test_a_process_that_has_little_memory_works_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 MB are enough for one more process, 199 are not; results and errors are those of the pool."""
    for left, alone in ((200 * 2**20, False), (200 * 2**20 - 1, True)):
        monkeypatch.setattr("one_neuron.system.workers.memory_left", lambda left=left: left)
        with worker_processes() as pool:
            assert (pool.submit(os.getpid).result() == os.getpid()) is alone
            assert list(pool.map(abs, [-1, 2])) == [1, 2]
        with pytest.raises(ZeroDivisionError), worker_processes() as pool:
            pool.submit(divmod, 1, 0).result()
