"""A bar on a terminal, silence elsewhere."""

import io
import sys
import time

import pytest

from one_neuron import progress


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
