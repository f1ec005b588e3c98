"""Stop a command at its k-th write, rename or fsync below a folder: by a kill, or by an error from the system.

Linux hands each of these system calls to the harness before it is carried out (seccomp's user notification). The count
runs over all processes and threads of the command, so k names one moment of the whole. Nothing else is slowed down.
"""

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Numbers of x86-64, the architecture for which equal bits are promised
_CALLS = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    40: "sendfile",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    82: "rename",
    264: "renameat",
    296: "pwritev",
    316: "renameat2",
    326: "copy_file_range",
}
_WRITTEN_ARGUMENT = {"copy_file_range": 2}  # the argument that is the written file, where it is not the first one
_RENAMES = {"rename": (0, 1), "renameat": (1, 3), "renameat2": (1, 3)}  # the arguments with the old and the new path
_SECCOMP, _NO_NEW_PRIVILEGES = 317, 38
_LISTEN = 8  # SECCOMP_FILTER_FLAG_NEW_LISTENER
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101  # ioctls SECCOMP_IOCTL_NOTIF_RECV and _SEND
_NOTICE, _REPLY = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
_CONTINUE = 1


@dataclass(frozen=True)
class Call:
    """A system call that changes a file: its name, the file, and for a rename the new name."""

    name: str
    path: str
    new: str = ""


@dataclass(frozen=True)
class Fault:
    """What happens at the k-th call: "kill", "ENOSPC" (at the later ones as well, as on a full disk) or "EIO"."""

    k: int
    action: str

    def error(self, number: int, call: Call) -> int:
        """Return the error for the call with this number; 0 for none."""
        if self.action == "ENOSPC":
            return errno.ENOSPC if number >= self.k and "rename" not in call.name else 0
        return errno.EIO if self.action == "EIO" and number == self.k else 0


@dataclass
class Outcome:
    """How a command ended: its exit code (negative for a signal), what it printed, and the calls it made."""

    code: int
    printed: str
    calls: list[Call] = field(default_factory=list)
    hit: bool = False


def run_with_fault(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    *,
    fault: Fault | None = None,
    kill: Callable[[], None] | None = None,
    timeout: float = 180,
) -> Outcome:
    """Run a command in a folder and let one fault happen to it; without a fault, count the calls.

    Parameters
    ----------
    command : sequence of str
    folder : Path
        Calls on files below it count, except for Python's bytecode.
    environment : mapping
    fault : Fault, optional
    kill : callable, optional
        Kills the whole command; by default, its process group.
    timeout : float
        Seconds after which the command is killed and TimeoutError is raised.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise NotImplementedError("the system calls and their numbers are those of Linux on x86-64")
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [sys.executable, "-I", __file__, str(theirs.fileno()), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        outcome = Outcome(0, "")
        (listener,) = socket.recv_fds(ours, 1, 1)[1]
        try:
            _answer_calls(listener, outcome, folder, fault, kill or (lambda: os.killpg(process.pid, signal.SIGKILL)))
            outcome.code = process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(f"{command} had not ended after {timeout:g} s") from error
        finally:
            os.close(listener)
        printed.seek(0)
        outcome.printed = printed.read().decode("utf-8", "replace")
    return outcome


def _answer_calls(listener: int, outcome: Outcome, folder: Path, fault: Fault | None, kill: Callable[[], None]) -> None:
    """Answer calls until the last process has ended."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    below = f"{folder}/"
    while True:
        events = poll.poll(180_000)
        if not events:
            kill()
            raise TimeoutError("no call for three minutes")
        if not events[0][1] & select.POLLIN:
            return
        notice = bytearray(_NOTICE.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, notice)
        except OSError:  # the process has ended meanwhile
            continue
        number, pid, _, which, _, _, *arguments = _NOTICE.unpack(notice)
        call = _read_call(pid, _CALLS[which], arguments)
        wrong = 0
        if (call.path.startswith(below) or call.new.startswith(below)) and "__pycache__" not in call.path:
            outcome.calls.append(call)
            if fault is not None and len(outcome.calls) >= fault.k:
                if fault.action == "kill" and not outcome.hit:
                    outcome.hit = True
                    kill()
                    continue
                wrong = fault.error(len(outcome.calls), call)
                outcome.hit = outcome.hit or wrong != 0
        try:
            fcntl.ioctl(listener, _ANSWER, _REPLY.pack(number, 0, -wrong, 0 if wrong else _CONTINUE))
        except OSError:  # the process has ended meanwhile
            continue


def _read_call(pid: int, name: str, arguments: Sequence[int]) -> Call:
    """Return the call that a process waits for."""
    try:
        if name in _RENAMES:
            old, new = (_read_path(pid, arguments[index]) for index in _RENAMES[name])
            return Call(name, old, new)
        return Call(name, _read_link(f"/proc/{pid}/fd/{arguments[_WRITTEN_ARGUMENT.get(name, 0)]}"))
    except OSError:  # killed meanwhile
        return Call(name, "")


def _read_link(path: str) -> str:
    """Return where a link of /proc leads."""
    return str(Path(path).readlink())


def _read_path(pid: int, address: int) -> str:
    """Return the absolute path at an address of a process."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        # A path may end just before memory that cannot be read.
        text = memory.read(4096 - address % 4096)
        if b"\0" not in text:
            text += memory.read(4096)
    return os.path.join(_read_link(f"/proc/{pid}/cwd"), os.fsdecode(text.split(b"\0", 1)[0]))  # noqa: PTH118 - no "."


def _start(descriptor: int, command: Sequence[str]) -> None:
    """Hand the calls of this process and its children to the other end of a socket, and become the command."""
    program = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number of the call
    for index, number in enumerate(_CALLS):  # for a call in the list, jump to the last instruction
        program.append(struct.pack("HBBI", 0x15, len(_CALLS) - index, 0, number))
    program.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000))  # allow
    program.append(struct.pack("HBBI", 0x06, 0, 0, 0x7FC00000))  # ask the listener
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    listener = system.syscall(_SECCOMP, 1, _LISTEN, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp's user notification is not available")
    with socket.socket(fileno=descriptor) as harness:
        socket.send_fds(harness, [b"x"], [listener])
    os.close(listener)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    _start(int(sys.argv[1]), sys.argv[2:])
