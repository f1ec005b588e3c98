"""Which unfinished runs were interrupted."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from one_neuron.tracking.connection import ABANDONED_SECONDS, Connection
from one_neuron.tracking.store import Store
from one_neuron.tracking.tags import RECORDER


@pytest.mark.parametrize(
    ("status", "age", "in_file", "on_server"),
    [
        ("FINISHED", 2 * ABANDONED_SECONDS, False, False),
        ("RUNNING", 1, True, False),  # on a server, another machine may be writing it
        ("RUNNING", 2 * ABANDONED_SECONDS, True, True),
        ("FAILED", 1, True, True),
    ],
)
def test_a_run_that_no_process_writes_any_more_was_interrupted(
    status: str, age: float, *, in_file: bool, on_server: bool
) -> None:
    """Under the lock, no other process of this machine is writing."""
    info = SimpleNamespace(status=status, start_time=1000 * (time.time() - age))
    run: Any = SimpleNamespace(info=info, data=SimpleNamespace(tags={RECORDER: "another machine"}))
    client: Any = None
    for database, expected in ((Path("mlflow.db"), in_file), (None, on_server)):
        store = Store("", "", None, database, Path("lock"))
        assert Connection(Path(), store, client, "1").is_interrupted(run) is expected


def test_a_run_that_this_repository_began_was_interrupted(tmp_path: Path) -> None:
    """Its lock is held, so no process of it can be at work; a copy of the repository elsewhere is another one."""
    client: Any = None
    roots = [tmp_path / "one", tmp_path / "two"]
    first, second = (Connection(root, Store("", "", None, None, root / "lock"), client, "1") for root in roots)
    info = SimpleNamespace(status="RUNNING", start_time=1000 * time.time())
    run: Any = SimpleNamespace(info=info, data=SimpleNamespace(tags=first.recorder_tags))
    assert first.is_interrupted(run)
    assert not second.is_interrupted(run)
