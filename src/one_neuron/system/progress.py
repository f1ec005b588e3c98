"""A progress bar on the terminal. The only room that knows tqdm."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

QUIET_SECONDS = 2  # what is done by then needs no bar
LINE_SECONDS = 10
_PICTURES_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar}| {elapsed}, {remaining} left, {rate_fmt}"
_SWEEP_BAR = "{desc}: {n_fmt} of {total_fmt} |{bar}| {elapsed}, {remaining} left{postfix}"


@contextmanager
def training_bar(num_iterations: int) -> Iterator[Callable[[int, float], None] | None]:
    """Give a function that shows how far training is; None where nobody watches (no terminal, CI).

    Parameters
    ----------
    num_iterations : int
        How many iterations there will be.
    """
    if not _is_watched():
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
    """Give a function that shows how far a sweep is: show(done, note).

    A bar on a terminal; elsewhere a line on stderr every ten seconds.

    Parameters
    ----------
    total : int
        How many things there will be.
    what : str
        What is counted.
    already : int
        How many are there before anything is done.
    """
    if _is_watched():
        with _bar(total, initial=already, desc=what, bar_format=_SWEEP_BAR) as bar:

            def show(done: int, note: str = "") -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(done - bar.n)

            yield show
        return
    started = told = time.monotonic()

    def tell(done: int, note: str = "") -> None:
        nonlocal told
        now = time.monotonic()
        if sys.stderr is not None and now - told >= LINE_SECONDS and done > already:
            told, left = now, (now - started) / (done - already) * (total - done)
            comma = ", " if note else ""
            print(f"{what}: {done:,} of {total:,}{comma}{note}, {left:.0f} s left", file=sys.stderr)

    yield tell


@contextmanager
def pictures_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many pictures are decoded, how many a second, and the time left: show(done).

    A bar on a terminal; elsewhere a line on stderr every ten seconds, with the speed since the last one: those that
    were decoded before pass in no time.

    Parameters
    ----------
    total : int
        How many pictures there are.
    """
    if _is_watched():
        with _bar(total, desc="pictures", unit=" pictures", bar_format=_PICTURES_BAR) as bar:
            yield lambda done: bar.update(done - bar.n)
        return
    told, before = time.monotonic(), 0

    def tell(done: int) -> None:
        nonlocal told, before
        now = time.monotonic()
        if sys.stderr is not None and now - told >= LINE_SECONDS and done > before:
            rate = (done - before) / (now - told)
            told, before = now, done
            left = (total - done) / rate
            print(f"pictures: {done:,} of {total:,}, {rate:,.0f} a second, {left:,.0f} s left", file=sys.stderr)

    yield tell


def _bar(total: int, **options: Any) -> Any:
    """Return a bar that appears after a while and leaves nothing behind."""
    from tqdm import tqdm

    return tqdm(total=total, delay=QUIET_SECONDS, leave=False, dynamic_ncols=True, **options)


def announce(what: str) -> None:
    """Say on the terminal what takes a while; nothing where nobody watches.

    Parameters
    ----------
    what : str
        Without a full stop.
    """
    if _is_watched():
        print(f"{what} ...", file=sys.stderr, flush=True)


def _is_watched() -> bool:
    """Say whether somebody looks at a terminal; bars make long logs."""
    return sys.stderr is not None and sys.stderr.isatty() and not os.environ.get("CI")
