"""What is said about a store that cannot be used. MLflow is not imported here."""

import pytest
import requests

from one_neuron.tracking.outages import Remedy, has_no_answer, missing_driver, server_reason, short_reason


def test_reasons_are_short_and_keep_passwords() -> None:
    """No SQL, no links, no secrets."""
    error = ValueError(
        "(sqlite3.OperationalError) disk is full\n[SQL: INSERT INTO x]\n(Background on this error at: y)"
    )
    assert short_reason(error) == "(sqlite3.OperationalError) disk is full"
    assert short_reason(ValueError("no http://me:pw@h"), hide=("http://me:pw@h", "http://h")) == "no http://h"
    assert len(short_reason(ValueError("x" * 1000))) == 200


def test_a_remedy_ends_a_message() -> None:
    """What is safe comes first, then what to do."""
    assert str(Remedy("promote again").outage("it is away")) == "it is away; promote again when the store is back"
    assert Remedy("go on", "all is safe").after("free disk space") == "all is safe; free disk space and go on"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["API request failed", "too many 500 error responses"], ("tracking server", "500 Internal Server Error")),
        (
            ["url: /api/2.0/mlflow-artifacts/artifacts/1/x", "too many 503 error responses"],
            ("artifact store of the tracking server", "503 Service Unavailable"),
        ),
        (["API request to endpoint x failed with error code 504 != 200"], ("tracking server", "504 Gateway Timeout")),
        (["Connection refused"], ("tracking server", "")),
    ],
)
def test_http_errors_are_told_from_silence_and_artifacts_from_runs(texts: list[str], expected: tuple[str, str]) -> None:
    """MLflow's text is half a page, and the part that says it is in the error from which it arose."""
    error: BaseException = Exception(texts[0])
    if len(texts) > 1:
        error.__context__ = requests.exceptions.RetryError(texts[1])
    part, reason = server_reason(error)
    assert part == expected[0]
    assert reason.removeprefix("it answers with the HTTP error ") == expected[1]
    assert has_no_answer(error) == (len(texts) > 1)


def test_a_driver_is_named_by_its_package() -> None:
    """The module of MySQL's driver has another name than its package."""
    assert "pip install 'mysqlclient'`" in missing_driver(ModuleNotFoundError("no", name="MySQLdb"))
    assert "extra `postgres`" in missing_driver(ModuleNotFoundError("no", name="psycopg"))
    assert "install it again" in missing_driver(ImportError("libpq is missing"))
    assert missing_driver(OSError("refused")) == ""
