"""The kinds of faults: for each, the function that plays one case, and how many cases the long and short forms have."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import flips, fresh_stores, kills, outages, pairs, pipeline_faults, pipeline_flips, stage_faults
from tests.faults.project import Counts, Workshop

Play = Callable[[Workshop, int, random.Random], Counts]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Parameters
    ----------
    play : callable
        Plays the case with a number and its own source of random numbers. Returns in a few words what happened, which
        is counted; raises AssertionError if something was lost, left behind or misread.
    long : int
        The number of cases of `make faults`; a function where it depends on the number of calls that a stage makes.
    short : tuple of int
        The cases that are played in CI.
    title : str
        What docs/reliability.md calls it.
    """

    play: Play
    long: int | Callable[[Workshop], int]
    short: tuple[int, ...]
    title: str


KINDS = {
    "kill-everything": Kind(kills.kill_everything, 100, (0,), "`repro` and all its processes killed"),
    "kill-parent": Kind(kills.kill_parent, 100, (1,), "the command alone, or DVC alone, killed"),
    "stage-kill": Kind(stage_faults.kill_at, stage_faults.count_cases, (20, 100), "a stage killed at its k-th call"),
    "stage-full": Kind(
        stage_faults.fill_disk_at,
        stage_faults.count_cases,
        (60, 115),
        "the disk full from a stage's k-th call on",
    ),
    "stage-fail": Kind(
        stage_faults.fail_at, stage_faults.count_cases, (10, 125), "an I/O error at a stage's k-th call"
    ),
    "order": Kind(stage_faults.check_order, 3, (0, 1, 2), "files synced before they are renamed"),
    "pipeline-kill": Kind(pipeline_faults.kill_at, 50, (), "everything killed at a random call"),
    "pipeline-full": Kind(pipeline_faults.fill_disk_at, 50, (0,), "the disk full from a random call on"),
    "pipeline-fail": Kind(pipeline_faults.fail_at, 50, (), "an I/O error at a random call"),
    "flips": Kind(flips.flip_bits, 50, tuple(range(11)), f"{flips.FLIPS} single flipped bits, through a file's reader"),
    "pipeline-flips": Kind(pipeline_flips.flip_a_bit, 60, (2,), "a flipped bit before `repro`"),
    "lock-flips": Kind(pipeline_flips.flip_lock, 20, (1,), "a flipped bit in dvc.lock, or its end cut off"),
    "outages": Kind(outages.lose_server, 12, (2,), "a tracking server that does not work"),
    "sweep-outages": Kind(outages.lose_server_in_sweep, 4, (), "a server that dies during a sweep of 24"),
    "pairs": Kind(pairs.run_two, 20, (0,), "two commands at once"),
    "crowds": Kind(fresh_stores.play_starts, 20, (), "32 processes at once on a new store"),
    "creations": Kind(fresh_stores.play_kills, 5, (), f"{fresh_stores.KILLS} kills in the migrations of a new store"),
}


def count(workshop: Workshop, kind: str) -> int:
    """Return the number of cases of the long form."""
    long = KINDS[kind].long
    return long if isinstance(long, int) else long(workshop)


def play(workshop: Workshop, kind: str, number: int, seed: int) -> Counts:
    """Play one case; the kind, the number and the seed decide what happens in it."""
    return KINDS[kind].play(workshop, number, random.Random(f"{kind} {number} {seed}"))


def prepare(workshop: Workshop) -> None:
    """Make what the cases start from, unless it is there."""
    if not workshop.is_made():
        workshop.make()
        stage_faults.make_starts(workshop)
        pipeline_faults.count_calls(workshop)
        for one in (workshop.earlier, workshop.done, workshop.changed):
            pipeline_flips.read_report(one)
        workshop.mark_made()
