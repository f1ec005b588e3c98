"""Progress on the terminal: bars, or lines every ten seconds. The only module that imports tqdm."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with _bar(num_iterations, unit=" iterations") as bar:

        def show(iteration: int, cost: float) -> None:
            if iteration > bar.n:
                bar.set_postfix_str(f"cost {cost:.6f}", refresh=False)
                bar.update(iteration - bar.n)

        yield show


@contextmanager
def sweep_bar(total: int, what: str, *, already: int = 0) -> Iterator[Callable[[int, str], None]]:
    """Yield a function that shows the progress of a sweep: show(done, note).

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
        with _bar(total, initial=already, desc=what, bar_format=_SWEEP_BAR) as bar:

            def show(done: int, note: str = "") -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(done - bar.n)

            yield show
        return
    started = printed = time.monotonic()

    def print_line(done: int, note: str = "") -> None:
        nonlocal printed
        now = time.monotonic()
        if sys.stderr is not None and now - printed >= LINE_SECONDS and done > already:
            printed, left = now, (now - started) / (done - already) * (total - done)
            comma = ", " if note else ""
            print(f"{what}: {done:,} of {total:,}{comma}{note}, {left:.0f} s left", file=sys.stderr)

    yield print_line


@contextmanager
def pictures_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows the progress of decoding pictures, the speed and the time left: show(done).

    It draws a bar on a terminal; elsewhere it prints a line on stderr every ten seconds, with the speed since the last
    line: cached pictures at the start would make the mean speed too high.

    Parameters
    ----------
    total : int
        The number of pictures.
    """
    if _is_interactive():
        with _bar(total, desc="pictures", unit=" pictures", bar_format=_PICTURES_BAR) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    printed, before = time.monotonic(), 0

    def print_line(done: int) -> None:
        nonlocal printed, before
        now = time.monotonic()
        if sys.stderr is not None and now - printed >= LINE_SECONDS and done > before:
            rate = (done - before) / (now - printed)
            printed, before = now, done
            left = (total - done) / rate
            print(f"pictures: {done:,} of {total:,}, {rate:,.0f} a second, {left:,.0f} s left", file=sys.stderr)

    yield print_line


def _bar(total: int, **options: Any) -> Any:
    """Return a bar that appears after QUIET_SECONDS and is erased at the end."""
    from tqdm import tqdm

    return tqdm(total=total, delay=QUIET_SECONDS, leave=False, dynamic_ncols=True, **options)


def announce(what: str) -> None:
    """Print on the terminal what is being done; nothing without a terminal or in CI.

    Parameters
    ----------
    what : str
        Without a full stop.
    """
    if _is_interactive():
        print(f"{what} ...", file=sys.stderr, flush=True)


def _is_interactive() -> bool:
    """Return whether stderr is a terminal outside CI: in a log file, bars would be long."""
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("CI")
