"""A progress bar on the terminal. The only room that knows tqdm."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 2  # what is done by then needs no bar


@contextmanager
def training_bar(num_iterations: int) -> Iterator[Callable[[int, float], None] | None]:
    """Give a function that shows how far training is; None where nobody watches (no terminal, CI).

    Parameters
    ----------
    num_iterations : int
        How many iterations there will be.
    """
    if sys.stderr is None or not sys.stderr.isatty() or os.environ.get("CI"):
        yield None
        return
    from tqdm import tqdm

    with tqdm(total=num_iterations, unit=" iterations", delay=QUIET_SECONDS, leave=False, dynamic_ncols=True) as bar:

        def show(iteration: int, cost: float) -> None:
            if iteration > bar.n:
                bar.set_postfix_str(f"cost {cost:.6f}", refresh=False)
                bar.update(iteration - bar.n)

        yield show
