"""Stores that cannot be used, against real MLflow: what is said, how long it takes, and what is sent later."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from one_neuron.errors import EnvironmentProblem, StoreOutage
from one_neuron.tracking.connection import connect
from tests import bad_servers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


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
        (bad_servers.dripping, r"\(no answer within 1 s\)"),
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
