"""Where a result comes from, if MLflow knows more than the folder."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from one_neuron.commands.lineage import find_lineage
from one_neuron.tracking.result import read_result
from tests.results import write_result

RUN = "f" * 32


def recorded_in(place: str, database: str | None, **tags: str) -> Any:
    """Return a substitute for the MLflow run of a result."""
    address = f"#/experiments/1/runs/{RUN}?workflowType=machine_learning"
    run = SimpleNamespace(info=SimpleNamespace(run_name="a name", run_id=RUN), data=SimpleNamespace(tags=tags))
    store = SimpleNamespace(place=place, database=Path(database) if database else None)
    server = f"{place}/" if database is None else "http://127.0.0.1:5000/"
    return SimpleNamespace(run=run, connection=SimpleNamespace(store=store), address=server + address)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a result and two commits, the second of other code."""
    write_result(tmp_path)

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("add", "params.yaml")
    git("commit", "-m", "first")
    (tmp_path / "code.py").touch()
    git("add", "code.py")
    git("commit", "-m", "second")
    return tmp_path


def commit_of(folder: Path, revision: str) -> str:
    """Return the hash of a revision."""
    done = subprocess.run(["git", "rev-parse", revision], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("dirty", "revision"), [("false", "HEAD~"), ("true", "HEAD")])
def test_the_commit_that_made_the_result_is_surer(folder: Path, dirty: str, revision: str) -> None:
    """The present one may have other code. Uncommitted changes at that time may be what is committed now."""
    tags = {"mlflow.source.git.commit": commit_of(folder, "HEAD~"), "git.dirty": dirty, "dvc.exp_name": "toxic-shad"}
    lineage = find_lineage(read_result(folder), recorded_in("/home/me/mlflow.db", "/home/me/mlflow.db", **tags))
    assert lineage["commands"][0] == f"git checkout {commit_of(folder, revision)}"
    assert (lineage["edited"], lineage["dirty"]) == (False, False)
    assert ("DVC experiment", "toxic-shad") in lineage["rows"]


def test_a_run_in_a_file(folder: Path) -> None:
    """The address of the run needs `make ui`, so it is plain text; the name of the local folder is left out."""
    tags = {"one_neuron.promoted_from": "abc of sweep def"}
    lineage = find_lineage(read_result(folder), recorded_in("/home/me/mlflow.db", "/home/me/mlflow.db", **tags))
    rows = dict(lineage["rows"])
    assert rows["MLflow run"] == f"a name ({RUN}) in mlflow.db"
    assert rows["Parameters promoted from"] == "abc of sweep def"
    assert rows["Its page, after make ui"].startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
    assert lineage["address"] == ""
    assert "/home/me" not in str(lineage)


def test_a_run_on_a_server(folder: Path) -> None:
    """Its page is a link."""
    lineage = find_lineage(read_result(folder), recorded_in("https://mlflow.example.org", None))
    assert lineage["address"] == (
        f"https://mlflow.example.org/#/experiments/1/runs/{RUN}?workflowType=machine_learning"
    )
    assert dict(lineage["rows"])["MLflow run"] == f"a name ({RUN}) in https://mlflow.example.org"
