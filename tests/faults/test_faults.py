"""The short forms of all kinds of faults; `make faults` plays the long ones."""

import platform
import sys

import pytest

from tests.faults.kinds import KINDS, play, prepare
from tests.faults.project import Workshop

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="the harness reads /proc and system calls"
    ),
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Return the folders from which cases are copied."""
    made = Workshop(tmp_path_factory.mktemp("faults"))
    prepare(made)
    return made


@pytest.mark.parametrize(("kind", "case"), [(name, case) for name, kind in KINDS.items() for case in kind.short])
def test_nothing_is_lost_or_misread(workshop: Workshop, kind: str, case: int) -> None:
    """To play one again: `python -m tests.faults KIND --only CASE`."""
    play(workshop, kind, case, seed=1)
