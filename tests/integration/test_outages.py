"""Stores that cannot be used, against real MLflow: what is said, how long it takes, and what is sent later."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem, StoreOutage
from one_neuron.tracking.connection import connect, mlflow_errors
from one_neuron.tracking.store import find_store, prepare_mlflow
from tests import bad_servers

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("driver", "uri", "expected"),
    [
        ("psycopg", "postgresql://me:secret@127.0.0.1:9/runs", r"pip install 'psycopg\[binary\].*the extra `postgres`"),
        ("psycopg2", "postgresql+psycopg2://me:secret@127.0.0.1:9/runs", "pip install 'psycopg2-binary'"),
        ("MySQLdb", "mysql://me:secret@127.0.0.1:9/runs", "pip install 'mysqlclient'"),
        ("pymysql", "mysql+pymysql://me:secret@127.0.0.1:9/runs", "pip install 'PyMySQL'"),
        ("pyodbc", "mssql+pyodbc://me:secret@127.0.0.1:9/runs", "pip install 'pyodbc'"),
        ("none", "mysql+unknown://me:secret@127.0.0.1:9/runs", r"write postgresql://, mysql\+pymysql://"),
    ],
)
def test_a_database_without_its_driver_names_it(
    driver: str, uri: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It will not come back by itself, so nothing is said about that."""
    monkeypatch.setitem(sys.modules, driver, None)  # whether it is installed here or not
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(EnvironmentProblem, match=expected) as caught:
        connect(tmp_path)
    assert not isinstance(caught.value, StoreOutage)
    assert "is back" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_refuses_is_an_outage_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow alone tries for 108 s."""
    pytest.importorskip("psycopg")
    with bad_servers.refusing() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://me:secret@{address.removeprefix('http://')}/runs")
        start = time.monotonic()
        with pytest.raises(StoreOutage, match="refused") as caught:
            connect(tmp_path)
    assert time.monotonic() - start < 10
    assert "secret" not in str(caught.value)
    assert "installed" not in str(caught.value)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (bad_servers.refusing, r"\(it does not answer\)"),
        (bad_servers.silent, r"\((no answer within 1 s|it does not answer)\)"),
        (bad_servers.dripping, r"\((no answer within 1 s|it does not answer)\)"),
        (bad_servers.failing, r"\(it answers with the HTTP error 500 Internal Server Error\)"),
        (lambda: bad_servers.failing(503, headers={"Retry-After": "3600"}), "error 503 Service Unavailable"),
    ],
)
def test_a_server_that_cannot_be_used_is_an_outage_with_its_reason(
    server: Callable[[], AbstractContextManager[str]], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within its limit, though a server may ask to be tried again in an hour."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server() as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("http://", "http://me:secret@"))
        start = time.monotonic()
        with pytest.raises(StoreOutage, match=rf"the tracking server '{address}' cannot be used .*{reason}") as caught:
            connect(tmp_path)
        assert time.monotonic() - start < 4
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("server", [bad_servers.refusing, bad_servers.silent])
def test_a_bucket_that_a_client_writes_to_itself_has_the_same_limit(
    server: Callable[[], AbstractContextManager[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 alone waits for five minutes."""
    boto3 = pytest.importorskip("boto3")
    from one_neuron.tracking.http_limits import limit_http

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    prepare_mlflow()  # its import takes seconds
    store = find_store(tmp_path)
    (tmp_path / "x").write_text("x", encoding="utf-8")
    limit_http()
    with server() as address:
        client = boto3.client(
            "s3", endpoint_url=address, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
        )
        start = time.monotonic()
        with (
            pytest.raises(StoreOutage, match="the artifact store of the tracking server 'http://h' cannot be used"),
            mlflow_errors(replace(store, artifact_location=None, uri="http://h", place="http://h")),
        ):
            client.upload_file(str(tmp_path / "x"), "bucket", "x")
    assert time.monotonic() - start < 60
