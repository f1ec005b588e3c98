"""The terminal of this process, lent to a program so that Ctrl-C and Ctrl-Z act on the program."""

import os
import signal
from types import TracebackType
from typing import Self


class ForegroundTerminal:
    """The controlling terminal, if there is one; a context manager that takes it back at the end.

    A terminal belongs to one process group at a time, the foreground group: its members are the only ones that may
    read from it, and Ctrl-C and Ctrl-Z send them a signal.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        self._borrower = 0

    def __enter__(self) -> Self:
        try:
            self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # no terminal
            self._descriptor = -1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.take_back()
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def lend(self, group: int) -> None:
        """Make a process group the foreground group, unless this process is in the background itself."""
        if self._foreground() == os.getpgrp():
            self._set_foreground(group)
            self._borrower = group

    def take_back(self) -> None:
        """Make the group of this process the foreground group again, if it has lent the terminal."""
        if self._borrower and self._foreground() == self._borrower:
            self._set_foreground(os.getpgrp())
        self._borrower = 0

    def _foreground(self) -> int:
        """Return the foreground group; 0 if there is no terminal, or it was closed."""
        try:
            return os.tcgetpgrp(self._descriptor) if self._descriptor >= 0 else 0
        except OSError:
            return 0

    def _set_foreground(self, group: int) -> None:
        """Set the foreground group; a process in the background would be stopped by SIGTTOU if it were not blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            os.tcsetpgrp(self._descriptor, group)
        except OSError:  # the group has ended, or the terminal was closed
            pass
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
