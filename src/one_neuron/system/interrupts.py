"""Ctrl-C before a command can handle it. This module imports next to nothing, so it can be imported first."""

import signal


def end_on_interrupt() -> None:
    """Have Ctrl-C end this process at once and without a traceback, until `run_command` handles it.

    Importing what a command needs takes a tenth of a second, and Python would show where it was interrupted. If Ctrl-C
    is ignored (a background job of a shell, nohup), it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_on_interrupt() -> None:
    """Undo `end_on_interrupt`: Ctrl-C raises KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
