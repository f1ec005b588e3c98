"""What is said about a store that cannot be used. MLflow is not imported here."""

from http import HTTPStatus

import pytest
import requests

from one_neuron.tracking.outages import (
    Remedy,
    and_of_buckets,
    explain_server,
    has_no_answer,
    missing_driver,
    short_reason,
)


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
        (["API request to endpoint x failed with error code 599 != 200"], ("tracking server", "599")),
        (
            ["413 Client Error: Too Large for url: http://h/api/2.0/mlflow-artifacts/artifacts/1/x"],
            ("artifact store of the tracking server", f"413 {HTTPStatus(413).phrase}"),
        ),
    ],
)
def test_http_errors_are_told_from_silence_and_artifacts_from_runs(texts: list[str], expected: tuple[str, str]) -> None:
    """MLflow's text is half a page, and the part that says it is in the error from which it arose."""
    error: BaseException = Exception(texts[0])
    if len(texts) > 1:
        error.__context__ = requests.exceptions.RetryError(texts[1])
    found = explain_server(error)
    assert (found.part, found.reason) == (expected[0], f"it answers with the HTTP error {expected[1]}")
    assert has_no_answer(error) == (len(texts) > 1)


def test_a_server_that_closes_the_connection_while_it_fails_is_known_by_its_last_answer() -> None:
    """The second attempt of an upload is cut off, and only the first one was answered, with the status 500."""
    url = "/api/2.0/mlflow-artifacts/artifacts/1/x"
    cut = requests.exceptions.ConnectionError(f"Max retries exceeded with url: {url} (Connection reset by peer)")
    found = explain_server(cut, last_status=500)
    assert (found.part, found.reason[-25:]) == ("artifact store of the tracking server", "500 Internal Server Error")
    found = explain_server(cut, last_status=200)  # the whole server has died
    assert (found.part, found.reason) == ("tracking server", "it does not answer")
    found = explain_server(cut, last_status=200, silence="no answer within 8 s")
    assert (found.part, found.reason) == ("artifact store of the tracking server", "no answer within 8 s")
    found = explain_server(ValueError("INVALID_PARAMETER_VALUE"), last_status=500)  # of an earlier request
    assert (found.part, found.reason) == ("tracking server", "")


@pytest.mark.parametrize(("code", "word"), [(401, "MLFLOW_TRACKING_PASSWORD"), (403, "permission"), (413, "proxy")])
def test_what_will_not_come_back_by_itself_has_a_repair(code: int, word: str) -> None:
    """Who the user is, what the user may do, how large a file may be."""
    assert word in explain_server(ValueError(f"API request failed with error code {code} != 200")).repair
    assert explain_server(ValueError("API request failed with error code 500 != 200")).repair == ""


def test_errors_of_a_bucket_are_those_of_the_artifact_store() -> None:
    """A server without --serve-artifacts has its clients write there themselves."""
    pytest.importorskip("boto3")
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import ClientError, NoCredentialsError

    kinds = and_of_buckets(KeyError)
    assert kinds[0] is KeyError
    for kind in (S3UploadFailedError, ClientError, NoCredentialsError):
        assert issubclass(kind, kinds[1:])
    found = explain_server(NoCredentialsError())
    assert found.part == "artifact store of the tracking server"
    assert found.reason == "Unable to locate credentials"
    assert found.repair == "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    failed = S3UploadFailedError(
        "Failed to upload /tmp/x to team/x: An error occurred (AccessDenied) when calling y: no"
    )
    assert explain_server(failed).reason == "An error occurred (AccessDenied) when calling y: no"


def test_a_driver_is_named_by_its_package() -> None:
    """The module of MySQL's driver has another name than its package."""
    assert "pip install 'mysqlclient'`" in missing_driver(ModuleNotFoundError("no", name="MySQLdb"))
    assert "extra `postgres`" in missing_driver(ModuleNotFoundError("no", name="psycopg"))
    assert "extra `s3`" in missing_driver(ModuleNotFoundError("no", name="boto3"))
    assert "install it again" in missing_driver(ImportError("libpq is missing"))
    assert missing_driver(OSError("refused")) == ""
