"""What is said when the store cannot be used: the reason, what is safe, and what to do."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from one_neuron.errors import StoreOutage, one_line

# The package that brings each driver of a database or a bucket, and the extras of this project.
_PACKAGES = {
    "boto3": "boto3>=1.40,<2",
    "psycopg": "psycopg[binary]>=3.2,<4",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
    "pyodbc": "pyodbc",
    "pymssql": "pymssql",
}
_EXTRAS = {"psycopg": "postgres", "boto3": "s3"}
_MOST = 200  # characters of a reason
_FAILED = 500  # and above: the HTTP status of a server that failed
_ARTIFACTS = "artifact store of the tracking server"
_STORAGE = ("boto3", "botocore")
_HTTP_ERROR = re.compile(r"too many (\d{3}) error|error code (\d{3}) |\b(\d{3}) (?:Client|Server) Error")
_REPAIRS = {
    401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to a user of the server",
    403: "ask an administrator of the server for the permission",
    413: "let the proxy in front of the server accept larger files",
}


@dataclass(frozen=True)
class Remedy:
    """What the user of a command does when its store cannot be used.

    Parameters
    ----------
    again : str
        What to do when the store can be used again, as a command: "promote again".
    safe : str
        What is not lost; "" if there is nothing to lose.
    """

    again: str
    safe: str = ""

    def outage(self, problem: str, repair: str = "") -> StoreOutage:
        """Return the error for a store that cannot be used now; `repair` is what the user has to do about it."""
        later = f"{self.again} when the store is back"
        return StoreOutage(problem, self.after(repair) if repair else self._join(later), repair)

    def after(self, repair: str) -> str:
        """Return the end of a message that says how to repair the store."""
        return self._join(f"{repair} and {self.again}")

    def _join(self, text: str) -> str:
        return "; ".join(filter(None, [self.safe, text]))


RECORD = Remedy("run `make track`, or the same sweep again", "the results are safe in the files")


def short_reason(error: Exception, *, hide: tuple[str, str] = ("", "")) -> str:
    """Return the message of an error of MLflow or SQLAlchemy, without its SQL and links, in at most 200 characters.

    `hide` is an address with a password, and the text to show instead.
    """
    text = one_line(error).replace(*hide)
    for rest in ("[SQL:", "(Background on this error"):
        text = text.split(rest)[0].strip()
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


@dataclass(frozen=True)
class ServerProblem:
    """Why a tracking server cannot be used.

    Attributes
    ----------
    part : str
        "tracking server", or "artifact store of the tracking server".
    reason : str
        What the part answers; "" if MLflow's own message says it better.
    repair : str
        What the user has to do about it; "" if it may come back by itself.
    """

    part: str
    reason: str
    repair: str = ""


def explain_server(error: BaseException, *, last_status: int = 0, silence: str = "") -> ServerProblem:
    """Return why a tracking server cannot be used, from an error of MLflow's client.

    Parameters
    ----------
    error : BaseException
        The error.
    last_status : int
        The HTTP status of the last answer. A server that fails while it receives a file closes the connection, and
        MLflow's error says only that.
    silence : str
        If no answer came in time, the text that says so.
    """
    texts = [str(each) for each in _chain(error)]
    artifacts = any("/mlflow-artifacts/" in text for text in texts)
    part = _ARTIFACTS if artifacts else "tracking server"
    if storage := next((each for each in _chain(error) if type(each).__module__.split(".")[0] in _STORAGE), None):
        repair = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if "credentials" in str(storage) else ""
        text = re.sub(r"^Failed to upload .*?: (?=An error occurred)", "", str(storage))
        return ServerProblem(_ARTIFACTS, short_reason(ValueError(text)), repair)
    if silence:
        return ServerProblem(part, silence)
    codes = (match[1] or match[2] or match[3] for text in texts for match in _HTTP_ERROR.finditer(text))
    code = int(next(codes, "0")) or (last_status if last_status >= _FAILED and has_no_answer(error) else 0)
    if code:
        name = HTTPStatus(code).phrase if code in list(HTTPStatus) else ""
        return ServerProblem(part, f"it answers with the HTTP error {code} {name}".rstrip(), _REPAIRS.get(code, ""))
    return ServerProblem("tracking server", "it does not answer" if has_no_answer(error) else "")


def and_of_buckets(*errors: type[Exception]) -> tuple[type[Exception], ...]:
    """Return kinds of errors, and those of the library through which MLflow reaches a bucket, if it has been loaded."""
    names = {"boto3.exceptions": ["Boto3Error"], "botocore.exceptions": ["BotoCoreError", "ClientError"]}
    loaded = [(sys.modules[module], names[module]) for module in names if module in sys.modules]
    return errors + tuple(getattr(module, name) for module, found in loaded for name in found)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those from which it arose."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def has_no_answer(error: BaseException) -> bool:
    """Return whether an error says that a server sent no answer: all errors of a connection are an OSError."""
    return any(isinstance(each, OSError) for each in _chain(error))


def missing_driver(error: BaseException) -> str:
    """Return what is missing if the driver of a database or a bucket cannot be loaded, and the remedy; otherwise ""."""
    if isinstance(error, ModuleNotFoundError):
        module = str(error.name).split(".")[0]
        package = _PACKAGES.get(module, module)
        extra = f" (the extra `{_EXTRAS[module]}`)" if module in _EXTRAS else ""
        return (
            f"its driver {module} is not installed; in the project's folder, run "
            f"`.venv/bin/pip install '{package}'`{extra}"
        )
    if type(error).__name__ == "NoSuchModuleError":  # of SQLAlchemy
        return (
            "SQLAlchemy does not know this kind of database or driver; write postgresql://, mysql+pymysql:// or "
            "mssql+pyodbc:// in MLFLOW_TRACKING_URI"
        )
    if isinstance(error, ImportError):
        return f"its driver cannot be loaded ({one_line(error)}); install it again"
    return ""
