"""Programs that end with their children, and temporary folders that are gone afterwards."""

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from one_neuron.system.process import run_program, temporary_folder
from tests.processes import AS_ON_MACOS, is_alive


def test_the_exit_code_and_the_errors_of_a_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It runs in the folder and the environment that are named, and its output is dropped."""
    command = ["/bin/sh", "-c", 'echo output; echo "$WORD" >file; echo error >&2; exit 7']
    assert run_program(command, tmp_path, {"WORD": "hello"}) == 7
    assert (tmp_path / "file").read_text() == "hello\n"
    assert capfd.readouterr() == ("", "error\n")


@pytest.mark.parametrize("ignored", ["", "trap '' TERM; "], ids=["ends", "ignores SIGTERM"])
def test_an_interrupted_program_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    """Before the exception of Ctrl-C continues, and even those that ignore SIGTERM."""
    monkeypatch.setattr("one_neuron.system.process._END_SECONDS", 0.3)

    def interrupt() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    script = f"{ignored}sleep 60 & echo $! $$ >pids; touch ready; wait; sleep 60"
    with pytest.raises(KeyboardInterrupt):
        run_program(["/bin/sh", "-c", script], tmp_path, dict(os.environ))
    thread.join()
    numbers = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(numbers) == 2
    assert not any(map(is_alive, numbers))


def test_a_temporary_folder_is_gone_after_an_error() -> None:
    """With what is in it, read-only files included."""

    def work() -> None:
        with temporary_folder("one-neuron-test-") as folder:
            folders.append(folder)
            (folder / "deep").mkdir()
            (folder / "deep/file").touch(mode=0o400)
            raise KeyboardInterrupt

    folders: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert not folders[0].exists()


_USE = """
import sys
from one_neuron.system.process import temporary_folder
with temporary_folder("one-neuron-test-") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """A folder in use stays, as do folders with other names, and links."""
    other = tmp_path / "another"
    other.mkdir()
    (tmp_path / "one-neuron-test-link").symlink_to(other)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def start() -> tuple["subprocess.Popen[str]", Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", _USE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    killed, left = start()
    used, kept = start()
    assert (left / "file").exists()
    killed.kill()
    killed.communicate()
    last, _ = start()
    assert not left.exists()
    assert (kept / "file").exists()
    for process in (used, last):
        process.communicate("")
        assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "one-neuron-test-link"]


# A program as DVC is one: it counts how often Ctrl-C reaches it, while a child of it works.
_COUNTS = """
import os, signal, subprocess, sys, time
def count(*_):
    print("got SIGINT", flush=True)
    child.terminate()
signal.signal(signal.SIGINT, count)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("pids", os.getpid(), child.pid, flush=True)
child.wait()
time.sleep(0.3)
sys.exit(7)
"""
_RUN = """
import os, sys
from one_neuron.system.process import run_in_terminal
print(run_in_terminal([sys.executable, "-c", sys.argv[1]], os.environ), flush=True)
"""


class _Session:
    """A command in a new terminal, where it is the foreground group as if a shell had started it."""

    def __init__(self, command: list[str]) -> None:
        self.number, self._master = pty.fork()
        if self.number == 0:
            os.execvp(command[0], command)
        self.output = ""

    def type(self, letter: bytes) -> None:
        """Press a key."""
        os.write(self._master, letter)

    def read_until(self, found: Callable[[str], bool]) -> str:
        """Return what was printed as soon as a test holds for it."""
        while not found(self.output):
            self.output += os.read(self._master, 1000).decode()
        return self.output

    def wait_for_foreground(self, group: int) -> None:
        """Wait until a process group owns the terminal."""
        while os.tcgetpgrp(self._master) != group:
            time.sleep(0.01)

    def end(self) -> int:
        """Wait for the program and close the terminal; return the exit code."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
        os.close(self._master)
        return code


def test_ctrl_c_in_a_terminal_reaches_the_program_once() -> None:
    """The terminal sends it to the program and its children alone, and belongs to the caller again afterwards."""
    session = _Session([sys.executable, "-c", _RUN, _COUNTS])
    words = session.read_until(lambda text: "pids" in text and text.endswith("\n")).split()
    program, child = map(int, words[1:3])
    session.wait_for_foreground(program)
    session.type(b"\x03")
    printed = session.read_until(lambda text: "Ended" in text and text.endswith("\n"))
    assert printed.count("got SIGINT") == 1
    assert "Ended(code=7, stopped_by=None)" in printed
    assert session.end() == 0
    assert not any(map(is_alive, (program, child)))


@pytest.mark.skipif(not shutil.which("bash"), reason="needs a shell with job control")
def test_ctrl_z_stops_the_caller_with_the_program() -> None:
    """So that the shell gets its terminal back, and `fg` continues both."""
    session = _Session(["bash", "--norc", "--noprofile", "-i"])
    reads = "import os; print('g' + 'o', os.getpid(), flush=True); print(input() * 2, flush=True)"
    session.type(f"PS1='pro''mpt:'; {shlex.join([sys.executable, '-c', _RUN, reads])}\n".encode())
    words = re.findall(r"go (\d+)\r", session.read_until(lambda text: bool(re.search(r"go \d+\r", text))))
    session.wait_for_foreground(int(words[0]))
    session.type(b"\x1a")
    session.read_until(lambda text: "Stopped" in text and text.endswith("prompt:"))
    session.type(b"fg\n")
    session.wait_for_foreground(int(words[0]))
    session.type(b"hello\n")
    session.read_until(lambda text: "hellohello" in text and text.endswith("prompt:"))
    session.type(b"exit 5\n")
    assert session.end() == 5


@pytest.mark.parametrize("system", ["", AS_ON_MACOS], ids=["here", "as on macOS"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_whole_group(sent: signal.Signals, system: str) -> None:
    """As SIGINT, at which DVC releases its locks; the exit code of the caller follows from the signal."""
    heed = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, in every child as well"
    with subprocess.Popen(
        [sys.executable, "-c", f"{heed}\n{system}{_RUN}", _COUNTS], stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        numbers = [int(word) for word in caller.stdout.readline().split()[1:]]
        caller.send_signal(sent)
        printed = caller.stdout.read()
    assert printed == f"got SIGINT\nEnded(code=7, stopped_by={int(sent)})\n"
    assert not any(map(is_alive, numbers))


_RUN_QUIETLY = """
import os, sys
from pathlib import Path
from one_neuron.system.process import run_program
program = "import sys; sys.stdout = sys.stderr\\n" + sys.argv[1]  # its output is dropped
run_program([sys.executable, "-c", program], Path.cwd(), os.environ)
"""


@pytest.mark.parametrize("system", ["", AS_ON_MACOS], ids=["here", "as on macOS"])
@pytest.mark.parametrize("run", [_RUN, _RUN_QUIETLY], ids=["in the terminal", "without output"])
def test_a_killed_caller_takes_the_program_with_it(run: str, system: str) -> None:
    """By Linux's parent-death signal, or by a shell that waits for the end of the caller."""
    command = [sys.executable, "-c", f"{system}{run}", _COUNTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as caller:
        assert caller.stdout is not None
        program, child = (int(word) for word in caller.stdout.readline().split()[1:])
        caller.kill()
        deadline = time.monotonic() + 10
        while is_alive(program) and time.monotonic() < deadline:
            time.sleep(0.01)
        with suppress(ProcessLookupError):  # the shell sends the signal to the whole group
            os.kill(child, signal.SIGKILL)
    assert not is_alive(program)


def test_what_a_program_leaves_running_is_ended() -> None:
    """A killed DVC leaves its stage."""
    leaves = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("pids", child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", _RUN, leaves], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.endswith("Ended(code=-9, stopped_by=None)\n")
    assert not is_alive(int(done.stdout.split()[1]))
