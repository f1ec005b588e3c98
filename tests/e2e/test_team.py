"""A team's servers for real: PostgreSQL, a bucket, and MLflow on both, with and without names and passwords.

They need more than this project installs. Without it the tests are skipped, except where ONE_NEURON_TEST_TEAM=required.
"""

import functools
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from tests import team_servers
from tests.e2e.conftest import Project, make_project
from tests.e2e.shell_blocks import copy_project, give_environment

MISSING = team_servers.find_missing()
if os.environ.get("ONE_NEURON_TEST_TEAM") == "required":
    assert not MISSING, f"missing: {', '.join(MISSING)}"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"missing: {', '.join(MISSING)}"),
]

ADMIN = ("admin", "correct horse battery staple")
MEMBER = ("mary", "another long password")
SWEEP = ("train.learning_rate=geomspace(0.0001,0.1,12)", "train.num_iterations=50,100,200,300,400")


@dataclass(frozen=True)
class Team:
    """The servers."""

    database: str
    bucket: team_servers.Bucket
    open: str  # the address of an MLflow server without users
    guarded: str  # and of one with them

    def environment(self, server: str, user: tuple[str, str] | None = None) -> dict[str, Any]:
        """Return the variables of a member of the team."""
        login = dict(zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), user or (), strict=False))
        # The time is for a machine that is busy with other tests.
        limits = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "100"}
        return {"MLFLOW_TRACKING_URI": getattr(self, server), **limits, **login, **self.bucket.environment}

    def rows(self, server: str, query: str) -> list[tuple[Any, ...]]:
        """Return what the database of an MLflow server holds."""
        import psycopg

        with psycopg.connect(f"{self.database}/{server}") as connection:
            rows: list[tuple[Any, ...]] = connection.execute(query.encode()).fetchall()
            return rows

    def ask(self, user: tuple[str, str], path: str, **values: str) -> int:
        """Send a request to the server with users; return the HTTP status."""
        return requests.post(f"{self.guarded}/api/{path}", json=values, auth=user, timeout=60).status_code


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[team_servers.Bucket]:
    """Start a server with a bucket."""
    with team_servers.s3(tmp_path_factory.mktemp("bucket")) as bucket:
        yield bucket


@pytest.fixture(scope="module")
def team(bucket: team_servers.Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Start the other servers; MLflow's, which take the longest, at the same time."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        database = stack.enter_context(team_servers.postgres())
        addresses = {name: team_servers.create_database(database, name) for name in ("open", "guarded")}
        starting = [
            threads.submit(stack.enter_context, server)
            for server in (
                team_servers.tracking_server(folder / "open", addresses["open"], bucket),
                team_servers.tracking_server(folder / "guarded", addresses["guarded"], bucket, password=ADMIN[1]),
            )
        ]
        yield Team(database, bucket, *(server.result() for server in starting))


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a small project with a result that no server has."""
    project = make_project(tmp_path_factory.mktemp("team") / "one neuron")
    give_environment(project)
    project.run("dvc", "repro", "evaluate")
    return project


@pytest.fixture
def project(computed: Project, tmp_path: Path) -> Project:
    """Return a copy of it. Its folder is at the same depth."""
    return copy_project(computed, tmp_path / "one neuron")


@pytest.mark.parametrize(("server", "user"), [("open", None), ("guarded", ADMIN)])
def test_a_team_shares_results_runs_and_models(
    server: str, user: tuple[str, str] | None, team: Team, project: Project, tmp_path: Path
) -> None:
    """From `make repro` to a fresh clone, in which only `track` runs; the database and the bucket hold each once."""
    environment = team.environment(server, user)
    printed = project.run("make", "repro", **environment)
    assert f"(new) in {environment['MLFLOW_TRACKING_URI']}\n" in printed
    printed = project.run("python", "pipeline/sweep.py", "-m", *SWEEP, **environment)
    assert "60 configurations: 60 ran, 0 reused, 0 diverged, 0 failed" in printed
    printed = project.run("one-neuron", "register", **environment)
    assert "registered: version 1 of one-neuron" in printed

    project.run("dvc", "remote", "add", "--default", "storage", f"s3://{team.bucket.name}/dvc-{server}", **environment)
    # As docs/scale.md says, for the workers of Ray
    assert "1 file pushed" in project.run("dvc", "push", "data/prepared/train.h5", **environment)
    url = project.run("dvc", "get", ".", "data/prepared/train.h5", "--show-url", **environment).strip()
    copy = team.bucket.folder.parent / url.removeprefix("s3://")
    assert copy.read_bytes() == (project.folder / "data/prepared/train.h5").read_bytes()
    assert "files pushed" in project.run("dvc", "push", **environment)
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "a result")

    clone = Project(tmp_path / "a clone")
    project.run("git", "clone", "--quiet", ".", str(clone.folder))
    give_environment(clone)
    assert "files fetched" in clone.run("dvc", "pull", **environment)
    printed = clone.run("make", "repro", **environment)
    assert re.findall("Running stage '(.*)'", printed) == ["track"]
    assert "(already there)" in printed
    assert clone.run("git", "status", "--porcelain") == ""
    assert not (clone.folder / "mlflow.db").exists()

    found = team.rows(
        server,
        "SELECT e.name, r.status, r.lifecycle_stage, count(*) FROM runs r "
        "JOIN experiments e ON e.experiment_id = r.experiment_id GROUP BY 1, 2, 3 ORDER BY 1",
    )
    assert found == [("one-neuron", "FINISHED", "active", 1), ("one-neuron-sweeps", "FINISHED", "active", 61)]
    models = (
        "SELECT v.name, v.version, a.alias FROM model_versions v JOIN registered_model_aliases a ON a.name = v.name"
    )
    assert team.rows(server, models) == [("one-neuron", 1, "champion")]
    (location,) = team.rows(
        server,
        "SELECT m.artifact_location FROM logged_models m JOIN experiments e ON e.experiment_id = m.experiment_id "
        "WHERE e.name = 'one-neuron'",
    )
    kept = team.bucket.folder / server / location[0].removeprefix("mlflow-artifacts:/").lstrip("/")
    assert (kept / "artifacts/model.h5").read_bytes() == (clone.folder / "models/model.h5").read_bytes()
    download = ("mlflow", "artifacts", "download", "--artifact-uri", "models:/one-neuron@champion")
    clone.run(*download, "--dst-path", str(tmp_path / "downloaded"), **environment)
    assert (tmp_path / "downloaded/artifacts/model.h5").read_bytes() == (clone.folder / "models/model.h5").read_bytes()


def test_who_may_write_and_delete(team: Team, project: Project) -> None:
    """A server with users: what is said to strangers and readers, and that only MANAGE allows to delete."""
    project.run("one-neuron", "repro", **team.environment("guarded", ADMIN))
    project.edit("params.yaml", "num_iterations: 2000", "num_iterations: 150")
    project.run("dvc", "repro", "evaluate")
    kept = "; the result is kept in '.one-neuron/spool' until it can be sent; "
    printed = project.stage("track", code=4, **team.environment("guarded"))
    assert f"'{team.guarded}' cannot be used (it answers with the HTTP error 401 Unauthorized){kept}" in printed
    assert "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user of the server and run" in printed

    assert team.ask(ADMIN, "2.0/mlflow/users/create", username=MEMBER[0], password=MEMBER[1]) == 200
    printed = project.stage("track", code=4, **team.environment("guarded", MEMBER))
    assert (
        f"the tracking server '{team.guarded}' cannot be used (it answers with the HTTP error 403 Forbidden)" in printed
    )
    assert f"{kept}ask an administrator of the server for the permission and run" in printed

    (experiment,) = team.rows("guarded", "SELECT experiment_id FROM experiments WHERE name = 'one-neuron'")
    granted = {"username": MEMBER[0], "resource_type": "experiment", "resource_id": str(experiment[0])}
    assert team.ask(ADMIN, "3.0/mlflow/users/permissions/grant", permission="EDIT", **granted) == 200
    printed = project.stage("track", **team.environment("guarded", MEMBER))
    assert "1 run is sent that had been kept" in printed or "(new)" in printed
    assert not list((project.folder / ".one-neuron/spool").glob("*/seals.json"))

    query = "SELECT run_uuid FROM runs WHERE experiment_id = {} AND lifecycle_stage = 'active'"
    runs = team.rows("guarded", query.format(experiment[0]))
    assert len(runs) == 2
    assert team.ask(MEMBER, "2.0/mlflow/runs/delete", run_id=runs[0][0]) == 403
    assert team.ask(MEMBER, "3.0/mlflow/users/permissions/grant", permission="MANAGE", **granted) == 403
    assert team.ask(ADMIN, "3.0/mlflow/users/permissions/revoke", **granted) == 200
    assert team.ask(ADMIN, "3.0/mlflow/users/permissions/grant", permission="MANAGE", **granted) == 200
    assert team.ask(MEMBER, "2.0/mlflow/runs/delete", run_id=runs[0][0]) == 200


def test_a_bucket_that_hangs_is_told_from_the_server_in_front_of_it(team: Team, project: Project) -> None:
    """The result is sent when the bucket is back."""
    environment = team.environment("open")
    project.edit("params.yaml", "num_iterations: 2000", "num_iterations: 160")
    project.run("dvc", "repro", "evaluate")
    os.kill(team.bucket.pid, signal.SIGSTOP)
    try:
        printed = project.stage("track", code=4, **environment | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "8"})
    finally:
        os.kill(team.bucket.pid, signal.SIGCONT)
    assert f"the artifact store of the tracking server '{team.open}' cannot be used (no answer within 8 s)" in printed
    assert "tracked: run" in project.stage("track", **environment)


def write_pictures(folder: Path, number: int) -> None:
    """Write pictures of two classes, of which one is darker."""
    rng = np.random.default_rng(0)
    for name, highest in (("cats", 100), ("others", 256)):
        (folder / name).mkdir(parents=True)
        for i in range(number):
            pixels = rng.integers(0, highest, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02}.png")


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Yield the address of a web server with the files of a folder."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Prints nothing."""

    def log_message(self, *_: object) -> None:
        return


def follow(project: Project, address: str, **environment: Any) -> None:
    """Name an address in params.yaml, and run the command that `one-neuron repro` prints, as it stands."""
    project.edit("params.yaml", "source: drawn", "source: folder")
    project.edit("params.yaml", "positive_class: cat ", "positive_class: cats ")
    project.edit("params.yaml", "path: pictures", f"path: {address}")
    printed = project.run("one-neuron", "repro", code=2, **environment)
    assert f"data.path is '{address}', an address" in printed
    (command,) = re.findall("run `(.*)`", printed)
    variables = project.environment(**environment)
    subprocess.run(["bash", "-c", command], cwd=project.folder, env=variables, check=True, timeout=300)


def count(project: Project) -> dict[str, int]:
    """Return how many pictures of each class the result has."""
    report = json.loads((project.folder / "metrics/prepare.json").read_text(encoding="utf-8"))
    return {each["name"]: each["train"] + each["test"] for each in report["classes"]}


def test_pictures_in_a_bucket(bucket: team_servers.Bucket, project: Project, tmp_path: Path) -> None:
    """The command that is printed copies them and trains; `dvc update` fetches what was added later."""
    import boto3

    environment: dict[str, Any] = bucket.environment
    write_pictures(tmp_path / "source", 13)
    login = {f"aws_{key}": environment[f"AWS_{key.upper()}"] for key in ("access_key_id", "secret_access_key")}
    client = boto3.client("s3", endpoint_url=bucket.endpoint, region_name="us-east-1", **login)
    paths = sorted((tmp_path / "source").rglob("*.png"))
    for path in paths[:-2]:
        client.upload_file(str(path), bucket.name, f"animals/{path.relative_to(tmp_path / 'source')}")
    follow(project, f"s3://{bucket.name}/animals", **environment)
    assert count(project) == {"cats": 13, "others": 11}
    for path in paths[-2:]:
        client.upload_file(str(path), bucket.name, f"animals/{path.relative_to(tmp_path / 'source')}")
    project.run("dvc", "update", "animals.dvc", **environment)
    assert "Running stage 'prepare'" in project.run("one-neuron", "repro", **environment)
    assert count(project) == {"cats": 13, "others": 13}


def test_pictures_in_an_archive_of_a_web_server(project: Project, tmp_path: Path) -> None:
    """The archive is downloaded, unpacked and put under DVC."""
    write_pictures(tmp_path / "source", 12)
    (tmp_path / "web").mkdir()
    with zipfile.ZipFile(tmp_path / "web/my animals.zip", "w") as archive:
        for path in (tmp_path / "source").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path / "source"))
    with web_server(tmp_path / "web") as address:
        follow(project, f"{address}/my%20animals.zip")
    assert count(project) == {"cats": 12, "others": 12}
    assert {"my-animals.dvc", "my-animals.zip.dvc"} <= {path.name for path in project.folder.iterdir()}
    assert "my-animals/" not in project.run("git", "status", "--porcelain")
