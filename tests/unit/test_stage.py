"""What all stages have in common."""

from pathlib import Path

import pytest

from one_neuron.errors import DataError
from one_neuron.stage import run_stage


def test_a_stage_that_fails_is_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """As for every command."""

    def main() -> None:
        raise DataError(f"'{Path('a.h5')}' is missing")

    assert run_stage(main) == 3
    assert capsys.readouterr().err == "one-neuron: 'a.h5' is missing\n"
