"""Progress on the terminal: bars, or lines every ten seconds. The only module that imports tqdm."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

QUIET_SECONDS = 2  # shorter work shows no bar
LINE_SECONDS = 10  # between two lines, where there is no terminal
_PICTURES_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar}| {elapsed}, {remaining} left, {rate_fmt}"
_SWEEP_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar}| {elapsed}, {remaining} left{postfix}"


@contextmanager
def training_bar(num_iterations: int) -> Iterator[Callable[[int, float], None] | None]:
    """Yield a function that shows the progress of a training: show(iteration, cost). None without a terminal or in CI.

    Parameters
    ----------
    num_iterations : int
        The number of iterations that make 100 %.
    """
    if not _is_interactive():
        yield None
        return
    with _bar(num_iterations, unit=" iterations") as advance:
        yield lambda iteration, cost: advance(iteration, f"cost {cost:.6f}")


def sweep_bar(total: int, what: str, *, already: int = 0) -> AbstractContextManager[Callable[[int, str], None]]:
    """Provide a `with` block with a function that shows the progress of a sweep: show(done, note).

    It draws a bar on a terminal; elsewhere it prints a line on stderr every ten seconds.

    Parameters
    ----------
    total : int
        The number that makes 100 %.
    what : str
        The unit that is counted.
    already : int
        The number that is done at the start.
    """
    if _is_interactive():
        return _bar(total, initial=already, desc=what, bar_format=_SWEEP_BAR)
    return _lines(total, what, already=already)


def pictures_bar(total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Provide a `with` block with a function that shows the progress of decoding pictures: show(done).

    It draws a bar on a terminal; elsewhere it prints a line on stderr every ten seconds, with the speed since the last
    line: cached pictures at the start would make the mean speed too high.

    Parameters
    ----------
    total : int
        The number of pictures.
    """
    if _is_interactive():
        return _bar(total, desc="pictures", unit=" pictures", bar_format=_PICTURES_BAR)
    return _lines(total, "pictures", speed=True)


@contextmanager
def _bar(total: int, **options: Any) -> Iterator[Callable[..., None]]:
    """Draw a bar that appears after QUIET_SECONDS and is erased at the end; yield the function that advances it."""
    from tqdm import tqdm

    with tqdm(total=total, delay=QUIET_SECONDS, leave=False, dynamic_ncols=True, **options) as bar:

        def advance(done: int, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)
            if done > bar.n:
                bar.update(done - bar.n)

        yield advance


@contextmanager
def _lines(total: int, what: str, *, already: int = 0, speed: bool = False) -> Iterator[Callable[..., None]]:
    """Yield a function that prints a line every LINE_SECONDS, with the time left at the speed since the start.

    With `speed`, the speed is measured since the last line instead, and shown.
    """
    started = printed = time.monotonic()
    before = already

    def show(done: int, note: str = "") -> None:
        nonlocal started, printed, before
        now = time.monotonic()
        if sys.stderr is None or now - printed < LINE_SECONDS or done <= before:
            return
        rate = (done - before) / (now - started)
        parts = [f"{what}: {done:,} of {total:,}", note, f"{rate:,.0f} a second" if speed else ""]
        print(", ".join(filter(None, parts)) + f", {(total - done) / rate:,.0f} s left", file=sys.stderr)
        printed = now
        if speed:
            started, before = now, done

    yield show


def announce(what: str) -> None:
    """Print on the terminal what is being done, without a full stop; nothing without a terminal or in CI."""
    if _is_interactive():
        print(f"{what} ...", file=sys.stderr, flush=True)


def _is_interactive() -> bool:
    """Return whether stderr is a terminal outside CI: in a log file, bars would be long."""
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("CI")
