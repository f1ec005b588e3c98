"""A bar on a terminal; elsewhere nothing, or a line every ten seconds."""

import io
import sys
import time
from collections.abc import Iterable

import pytest

from one_neuron.system import progress


class Terminal(io.StringIO):
    """A terminal that stores what is printed."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def show_all(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *, delay: float = 0) -> str:
    """Show a training of three iterations; return what appeared on the terminal."""
    monkeypatch.setattr(progress, "QUIET_SECONDS", delay)
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.training_bar(3) as show:
        if show:
            for iteration in range(4):
                time.sleep(0.11)  # the bar is drawn anew ten times a second
                show(iteration, 0.5 / (1 + iteration))
    return stream.getvalue()


def test_a_terminal_sees_iteration_cost_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterations, cost and time."""
    monkeypatch.delenv("CI", raising=False)
    seen = show_all(monkeypatch, Terminal())
    assert "/3 [" in seen
    assert "iterations/s" in seen
    assert "cost 0." in seen


def test_what_is_done_soon_needs_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bar for work of less than two seconds."""
    monkeypatch.delenv("CI", raising=False)
    assert progress.QUIET_SECONDS == 2
    assert show_all(monkeypatch, Terminal(), delay=60).strip() == ""


def test_pipes_and_ci_see_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log file is not a terminal."""
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
    """Show the progress of a sweep of 1,200 at some seconds after its start; return the lines on `stream`."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.sweep_bar(1200, "configurations recorded") as show:
        for seconds, done, note in steps:
            clock[0] = 1000.0 + seconds
            show(done, note)
    return stream.getvalue().splitlines() if stream else []


def test_a_log_gets_a_line_of_a_sweep_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count, the best so far, and the time left at the mean speed so far."""
    steps = [(0.5, 10, "a"), (10, 300, "best so far 80.0%"), (19.9, 500, "b"), (25, 1000, ""), (34, 1200, "c")]
    assert progress.LINE_SECONDS == 10
    assert watch_sweep(monkeypatch, io.StringIO(), steps) == [
        "configurations recorded: 300 of 1,200, best so far 80.0%, 30 s left",
        "configurations recorded: 1,000 of 1,200, 5 s left",
    ]


def test_what_was_there_before_took_no_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half was done before: 500 more in ten seconds leave 49,500, which take 990 s and not ten."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with progress.sweep_bar(100_000, "configurations recorded", already=50_000) as show:
        clock[0] = 10.0
        show(50_000, "")
        show(50_500, "")
    assert capsys.readouterr().err == "configurations recorded: 50,500 of 100,000, 990 s left\n"


def test_a_terminal_under_ci_is_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar would make the log long."""
    monkeypatch.setenv("CI", "true")
    assert watch_sweep(monkeypatch, Terminal(), [(12, 600, "")]) == ["configurations recorded: 600 of 1,200, 12 s left"]


def test_a_sweep_that_is_soon_done_or_has_not_begun_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line before ten seconds, without progress, or without stderr."""
    monkeypatch.delenv("CI", raising=False)
    assert watch_sweep(monkeypatch, io.StringIO(), [(3, 600, "a"), (9.9, 1200, "b")]) == []
    assert watch_sweep(monkeypatch, io.StringIO(), [(30, 0, "a")]) == []
    assert watch_sweep(monkeypatch, None, [(30, 600, "a")]) == []


def test_a_terminal_sees_a_bar_of_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit, the count and the total, and the best so far."""
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
    """No bar for work of less than two seconds, on a terminal as well."""
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
    """Show the progress of 20,000 pictures at some seconds after the start; return the lines on `stream`."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.pictures_bar(20_000) as show:
        for seconds, done in steps:
            clock[0] = 1000.0 + seconds
            show(done)
    return stream.getvalue().splitlines() if stream else []


def test_a_log_gets_a_line_of_pictures_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The speed is measured since the last line: 8,000 cached pictures at the start do not count."""
    steps = [(0.2, 8000), (9.9, 8990), (10, 9000), (15, 10_000), (20, 10_000), (29.9, 12_000), (31, 20_000)]
    assert watch_pictures(monkeypatch, io.StringIO(), steps) == [
        "pictures: 9,000 of 20,000, 900 a second, 12 s left",
        "pictures: 10,000 of 20,000, 100 a second, 100 s left",
        "pictures: 20,000 of 20,000, 909 a second, 0 s left",
    ]


def test_pictures_that_are_soon_done_or_have_not_begun_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No line before ten seconds, without progress, or without stderr."""
    assert watch_pictures(monkeypatch, io.StringIO(), [(3, 600), (9.9, 20_000)]) == []
    assert watch_pictures(monkeypatch, io.StringIO(), [(30, 0)]) == []
    assert watch_pictures(monkeypatch, None, [(30, 600)]) == []


def test_a_terminal_sees_a_bar_of_the_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count and the total, the speed and the time left."""
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
    """No bar for work of less than two seconds, on a terminal as well."""
    monkeypatch.delenv("CI", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.pictures_bar(40) as show:
        show(30)
    assert terminal.getvalue().strip() == ""
