"""A small copy of the project, on which DVC and MLflow run in seconds."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"num_train: 600": "num_train: 40", "num_test: 200": "num_test: 20", "num_px: 64": "num_px: 16"}


@dataclass(frozen=True)
class Project:
    """A git repository with the sources of this one."""

    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the environment of a command there: the programs of this environment, and no store but its own."""
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
        }
        for name in ("MLFLOW_TRACKING_URI", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
            environment.pop(name, None)
        return environment | variables

    def finish(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end, with its errors in its output; it must end within five minutes."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )

    def run(self, *command: str, code: int = 0, **variables: str) -> str:
        """Run a command there, check its exit code, and return its output."""
        done = self.finish(*command, **variables)
        assert done.returncode == code, f"{command} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def stage(self, name: str, code: int = 0, **variables: str) -> str:
        """Run the script of one stage as DVC does."""
        return self.run(sys.executable, f"pipeline/{name}.py", code=code, PYTHONPATH="src", **variables)

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command there, in a new process group."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text, which must exist, in a file."""
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def runs(self) -> list[dict[str, str]]:
        """Return name, status, artifact folder and learning rate of the runs in the default store."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as store:
            rows = store.execute(
                "SELECT r.run_uuid, r.status, r.artifact_uri, p.value FROM runs r JOIN params p "
                "ON p.run_uuid = r.run_uuid WHERE p.key = 'train.learning_rate' AND r.lifecycle_stage = 'active'"
            ).fetchall()
        return [dict(zip(("id", "status", "artifacts", "learning_rate"), row, strict=True)) for row in rows]


def make_project(folder: Path) -> Project:
    """Copy all files except the ignored ones into a folder and commit them there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    copy = Project(folder)
    for old, new in SMALL.items():
        copy.edit("params.yaml", old, new)
    copy.run("git", "init", "--quiet")
    copy.run("git", "config", "user.name", "test")
    copy.run("git", "config", "user.email", "test@localhost")
    copy.run("git", "add", "--all")
    copy.run("git", "commit", "--quiet", "--message", "start")
    return copy


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a small copy of the project in a folder with a space in its name."""
    return make_project(tmp_path / "one neuron")
