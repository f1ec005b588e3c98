"""The table of experiments, from what DVC prints as JSON."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(repository: Path) -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("show_experiments", repository / "scripts/show_experiments.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_state(rev: str, name: str | None = None, *, rate: object = 0.005, **changes: Any) -> dict[str, Any]:
    """Return a state as DVC describes it."""
    test = {"cost": 0.5, "roc_auc": 0.83, "accuracy_low": 0.6396, "accuracy_high": 0.9476, **changes}
    metrics = {"train_accuracy": 0.95, "test_accuracy": 0.85, "test": test}
    data = {
        "rev": rev,
        "timestamp": "2026-11-27T15:22:27",
        "params": {"params.yaml": {"data": {"train": {"learning_rate": rate, "num_iterations": 2000}}}},
        "metrics": {"metrics/evaluate.json": {"data": metrics}},
    }
    return {"rev": rev, "name": name, "data": data, "error": None, "experiments": None}


def make_experiment(name: str, state: dict[str, Any], executor: Any = None) -> dict[str, Any]:
    """Return an experiment as DVC describes it."""
    return {"revs": [state], "executor": executor, "name": name}


def test_the_table_by_hand(script: ModuleType) -> None:
    """Experiments are compared with their commit; one that waits, one that failed and a missing area have a "-"."""
    workspace, commit = make_state("workspace", rate=0.01), make_state("0123456789abcdef", "main")
    workspace["data"]["timestamp"] = None
    waiting, failed = make_state("a" * 40, rate=0.02), make_state("b" * 40, roc_auc=None)
    waiting["data"]["metrics"] = {}
    failed["data"] = None
    commit["experiments"] = [
        make_experiment("tidy-oak", make_state("c" * 40, rate=0.001, roc_auc=None)),
        make_experiment("queued-one", waiting, {"state": "queued"}),
        make_experiment("failed-one", failed, {"state": "failed"}),
        make_experiment("done-one", make_state("d" * 40), {"state": "success"}),
    ]
    assert script.tabulate([workspace, commit]) == [
        "experiment    created            train            test  test cost  ROC AUC  differs from the commit in",
        "workspace     -                 95.0 %  85.0 % (64-95)     0.5000   0.8300  train.learning_rate=0.01",
        "main          2026-11-27 15:22  95.0 %  85.0 % (64-95)     0.5000   0.8300",
        "  tidy-oak    2026-11-27 15:22  95.0 %  85.0 % (64-95)     0.5000        -  train.learning_rate=0.001",
        "  queued-one  2026-11-27 15:22       -               -          -        -  [queued] train.learning_rate=0.02",
        "  failed-one  -                      -               -          -        -  [failed]",
        "  done-one    2026-11-27 15:22  95.0 %  85.0 % (64-95)     0.5000   0.8300",
    ]


@pytest.mark.parametrize("text", ["x" * 200, "caf\u00e9 " * 60, "two\nlines\x1b[31m" * 20])
def test_no_line_is_longer_than_120_columns(script: ModuleType, text: str) -> None:
    """Long names and values end with three dots; control characters are not printed."""
    commit = make_state("0" * 40, text)
    commit["experiments"] = [make_experiment(text, make_state("1" * 40, rate=text))]
    lines = script.tabulate([make_state("workspace"), commit])
    assert len(lines) == 4
    assert max(map(len, lines)) == 120
    assert all(line.isprintable() for line in lines)
    assert lines[-1].endswith("...")


def test_without_a_commit(script: ModuleType) -> None:
    """A new repository has only the workspace."""
    assert len(script.tabulate([make_state("workspace")])) == 2
