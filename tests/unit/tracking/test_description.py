"""The name of a result's run, with a real Git repository."""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from one_neuron.settings.params import Settings, check_settings
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking.description import name_result
from tests.values import VALUES

SETTINGS = check_settings(VALUES, origin="the test")


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    """Return a repository whose commit has the values of SETTINGS."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(VALUES), encoding="utf-8")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "params.yaml"], [*identity, "commit", "--quiet", "--message", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def name(folder: Path, settings: Settings, exp_name: str | None = None, **origin: Any) -> str:
    """Return the name of a result with these settings in a folder."""
    result: Any = SimpleNamespace(folder=folder, settings=settings)
    return name_result(result, replace(find_origin(folder), exp_name=exp_name, **origin))


def change(section: str, **values: Any) -> Settings:
    """Return SETTINGS with other values in a section."""
    return replace(SETTINGS, **{section: replace(getattr(SETTINGS, section), **values)})


def test_a_name_begins_with_what_differs_from_the_commit(committed: Path) -> None:
    """MLflow cuts names. The number of iterations is a bare number, which is clear only in front."""
    assert name(committed, SETTINGS) == "200 drawn lr 0.005"
    assert name(committed, change("data", num_px=32)) == "200 px 32 drawn lr 0.005"
    assert name(committed, change("train", learning_rate=0.01)) == "200 lr 0.01 drawn"
    assert name(committed, change("data", resize="pad")) == "200 pad drawn lr 0.005"


def test_an_experiment_has_its_name_and_what_it_changed(committed: Path) -> None:
    """DVC sets both for each of its experiments."""
    assert name(committed, change("train", learning_rate=0.01), "brave-cat") == "brave-cat lr 0.01"
    assert name(committed, SETTINGS, "brave-cat") == "brave-cat"


def test_a_commit_with_other_keys_or_none_changes_nothing(committed: Path, tmp_path: Path) -> None:
    """A version with other parameters, a commit that is gone, and a folder without Git."""
    assert name(committed, change("data", num_px=32), commit="0" * 40) == "200 drawn lr 0.005"
    (committed / "params.yaml").write_text("train: {}\n", encoding="utf-8")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "--message", "two"], cwd=committed, check=True)
    assert name(committed, change("data", num_px=32)) == "200 drawn lr 0.005"
    result: Any = SimpleNamespace(folder=tmp_path / "elsewhere", settings=SETTINGS)
    assert name_result(result, Origin(None, False, None, "someone")) == "200 drawn lr 0.005"
