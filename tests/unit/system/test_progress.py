"""A bar on a terminal; elsewhere silence, or a line now and then where a sweep takes long."""

import io
import sys
import time
from collections.abc import Iterable

import pytest

from one_neuron.system import progress


class Terminal(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def show_all(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, delay: float = 0) -> str:
    """Show a training of three iterations; return what a person saw."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", delay)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.training_bar(3) as show:
        if show:
            for iteration in range(4):
                time.sleep(0.11)  # the bar is drawn anew ten times a second
                show(iteration, 0.5 / (1 + iteration))
    return stream.getvalue()


def test_a_terminal_sees_iteration_cost_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the terms of the field."""
    monkeypatch.delenv("CI", raising=False)
    seen = show_all(monkeypatch, Terminal())
    assert "/3 [" in seen
    assert "iterations/s" in seen
    assert "cost 0." in seen


def test_what_is_done_soon_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of quiet."""
    monkeypatch.delenv("CI", raising=False)
    assert progress.QUIET_SECONDS == 2
    assert show_all(monkeypatch, Terminal(), delay=60).strip() == ""


def test_pipes_and_ci_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is no terminal."""
    monkeypatch.delenv("CI", raising=False)
    assert show_all(monkeypatch, io.StringIO()) == ""
    monkeypatch.setenv("CI", "true")
    assert show_all(monkeypatch, Terminal()) == ""


def test_what_takes_a_while_is_announced_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nowhere else."""
    monkeypatch.delenv("CI", raising=False)
    for stream, said in ((Terminal(), "looking ...\n"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        progress.announce("looking")
        assert stream.getvalue() == said


# --- a sweep -------------------------------------------------------------------------


def watch_sweep(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None, steps: Iterable[tuple[float, int, str]]
) -> list[str]:
    """Let a sweep of 1,200 show how far it is at some seconds after its start; return the lines on `stream`."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.sweep_bar(1200, "configurations recorded") as show:
        for seconds, done, note in steps:
            clock[0] = 1000.0 + seconds
            show(done, note)
    return stream.getvalue().splitlines() if stream else []


def test_a_log_gets_a_line_of_a_sweep_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far, the best, and the time left: the rest at the mean speed so far."""
    steps = [(0.5, 10, "a"), (10, 300, "best so far 80.0%"), (19.9, 500, "b"), (25, 1000, ""), (34, 1200, "c")]
    assert progress.LINE_SECONDS == 10
    assert watch_sweep(monkeypatch, io.StringIO(), steps) == [
        "configurations recorded: 300 of 1,200, best so far 80.0%, 30 s left",
        "configurations recorded: 1,000 of 1,200, 5 s left",
    ]


def test_what_was_there_before_took_no_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half was there: 500 more in ten seconds leave 49,500 to go, 990 s and not ten."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with progress.sweep_bar(100_000, "configurations recorded", already=50_000) as show:
        clock[0] = 10.0
        show(50_000, "")
        show(50_500, "")
    assert capsys.readouterr().err == "configurations recorded: 50,500 of 100,000, 990 s left\n"


def test_a_terminal_under_ci_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars make long logs."""
    monkeypatch.setenv("CI", "true")
    assert watch_sweep(monkeypatch, Terminal(), [(12, 600, "")]) == ["configurations recorded: 600 of 1,200, 12 s left"]


def test_a_sweep_that_is_soon_done_or_has_not_begun_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line before ten seconds, and none without anything done; without stderr there is nobody to tell."""
    monkeypatch.delenv("CI", raising=False)
    assert watch_sweep(monkeypatch, io.StringIO(), [(3, 600, "a"), (9.9, 1200, "b")]) == []
    assert watch_sweep(monkeypatch, io.StringIO(), [(30, 0, "a")]) == []
    assert watch_sweep(monkeypatch, None, [(30, 600, "a")]) == []


def test_a_terminal_sees_a_bar_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted, how many of all, and the best so far."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.sweep_bar(40, "configurations recorded") as show:
        for done in (10, 30):
            time.sleep(0.11)  # the bar is drawn anew ten times a second
            show(done, f"best so far {done}%")
        seen = terminal.getvalue()
    assert "configurations recorded: 30 of 40 " in seen
    assert " left, best so far 30%" in seen
    assert terminal.getvalue().endswith("\r")  # the bar is gone when all is done


def test_a_short_sweep_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of quiet on a terminal, too."""
    monkeypatch.delenv("CI", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.sweep_bar(40, "configurations recorded") as show:
        show(30, "best")
    assert terminal.getvalue().strip() == ""


# --- pictures ------------------------------------------------------------------------


def watch_pictures(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None, steps: Iterable[tuple[float, int]]
) -> list[str]:
    """Let 20,000 pictures show how far they are at some seconds after their start; return the lines on `stream`."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.pictures_bar(20_000) as show:
        for seconds, done in steps:
            clock[0] = 1000.0 + seconds
            show(done)
    return stream.getvalue().splitlines() if stream else []


def test_a_log_gets_a_line_of_pictures_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed is that since the last line: 8,000 that were decoded before say nothing about the others."""
    steps = [(0.2, 8000), (9.9, 8990), (10, 9000), (15, 10_000), (20, 10_000), (29.9, 12_000), (31, 20_000)]
    assert watch_pictures(monkeypatch, io.StringIO(), steps) == [
        "pictures: 9,000 of 20,000, 900 a second, 12 s left",
        "pictures: 10,000 of 20,000, 100 a second, 100 s left",
        "pictures: 20,000 of 20,000, 909 a second, 0 s left",
    ]


def test_pictures_that_are_soon_done_or_have_not_begun_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line before ten seconds, and none without progress; without stderr there is nobody to tell."""
    assert watch_pictures(monkeypatch, io.StringIO(), [(3, 600), (9.9, 20_000)]) == []
    assert watch_pictures(monkeypatch, io.StringIO(), [(30, 0)]) == []
    assert watch_pictures(monkeypatch, None, [(30, 600)]) == []


def test_a_terminal_sees_a_bar_of_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many of all, the speed and the time left."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.pictures_bar(40) as show:
        for done in (10, 30):
            time.sleep(0.11)  # the bar is drawn anew ten times a second
            show(done)
        seen = terminal.getvalue()
    assert "pictures: 30 of 40 " in seen
    assert " left, " in seen
    assert " pictures/s" in seen
    assert terminal.getvalue().endswith("\r")  # the bar is gone when all is done


def test_few_pictures_need_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of quiet on a terminal, too."""
    monkeypatch.delenv("CI", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.pictures_bar(40) as show:
        show(30)
    assert terminal.getvalue().strip() == ""
