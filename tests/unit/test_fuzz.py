"""What the fuzz run counts as a failure, also when the process that reads ends or hangs."""

import importlib.util
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def fuzz(repository: Path) -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", repository / "scripts/fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FINE = {"code": 3, "message": "one-neuron: 'a.png' is damaged; replace it\n", "mb": 90}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, ""),
        ({"code": 0, "message": ""}, ""),
        ({"code": 2}, ""),
        ({"code": 1}, "exit code 1"),
        ({"code": 4}, "exit code 4"),
        ({"message": "Traceback (most recent call last):\n'a.png'\n"}, "a traceback"),
        ({"message": "one-neuron: a picture is damaged\n"}, "not one printable line with the file's name"),
        ({"message": "one-neuron: 'a.png'\nand more\n"}, "not one printable line with the file's name"),
        ({"message": ""}, "not one printable line with the file's name"),
        ({"mb": 501}, "501 MB"),
        ({"lost": "the reader ended with code -11"}, "the reader ended with code -11"),
    ],
)
def test_what_counts_as_a_failure(fuzz: ModuleType, changes: dict[str, Any], wrong: str) -> None:
    """A signal, a traceback, memory, another exit code, a message that is not one line with the name."""
    assert fuzz.judge(Path("a.png"), {**FINE, **changes}) == wrong


PLANTED = {
    "dies": ("import os; os.kill(os.getpid(), 11)", "the reader ended with code -11"),
    "hangs": ("import time; time.sleep(60)", "no answer after 1 s"),
    "leaves": ('print(\'{"code": 0, "message": "", "mb": 501}\', flush=True)', "501 MB"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANTED)
def test_a_failing_reader_is_noticed(
    kind: str, fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended, and the next file is read by a new one."""
    program, wrong = PLANTED[kind]
    script = tmp_path / "reader.py"
    script.write_text(f"import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n    {program}\n")
    monkeypatch.setattr(fuzz, "__file__", str(script))
    monkeypatch.setattr(fuzz, "MAX_SECONDS", 1.0)
    reader = fuzz.Reader()
    for _ in range(2):
        assert fuzz.judge(Path("a.png"), reader.ask(Path("a.png"))) == wrong
        assert reader._process is None
    reader.close()


def test_damage_is_the_same_for_a_seed(fuzz: ModuleType, repository: Path) -> None:
    """It changes nearly every file."""
    content = bytes(range(256)) * 4
    first = [fuzz.damage(content, random.Random(seed)) for seed in range(50)]
    assert first == [fuzz.damage(content, random.Random(seed)) for seed in range(50)]
    assert sum(one == content for one in first) < 5
    assert len(set(first)) > 40
    text = (repository / "params.yaml").read_bytes()
    assert len({fuzz.damage_text(text, random.Random(seed)) for seed in range(50)}) > 40
