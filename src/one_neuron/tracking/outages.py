"""What is said when the store cannot be used: the reason, what is safe, and what to do."""

from collections.abc import Iterator
from dataclasses import dataclass

from one_neuron.errors import StoreOutage, one_line

# The package that brings each driver of a database. Only that of PostgreSQL is an extra of this project.
_PACKAGES = {
    "psycopg": "psycopg[binary]>=3.2,<4",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "PyMySQL",
    "pyodbc": "pyodbc",
    "pymssql": "pymssql",
}
_MOST = 200  # characters of a reason


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


def server_reason(error: BaseException) -> tuple[str, str]:
    """Return which part of a tracking server failed, and why, from an error of MLflow's client.

    Returns
    -------
    str
        "tracking server", or "artifact store of the tracking server".
    str
        The reason; "" if no answer came for a reason that the caller knows better.
    """
    texts = [str(each) for each in _chain(error)]
    part = "tracking server"
    of_artifacts = any("/mlflow-artifacts/" in text for text in texts)
    for text in texts:
        for code, _, name in (words.partition(" ") for words in _HTTP_ERRORS):
            if f"too many {code} error" in text or f"error code {code}" in text or f"{code} Server Error" in text:
                part = f"artifact store of the {part}" if of_artifacts else part
                return part, f"it answers with the HTTP error {code} {name}"
    return part, ""


_HTTP_ERRORS = (
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "507 Insufficient Storage",
)


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
    """Return what is missing for a database whose driver cannot be loaded, and the remedy; "" for other errors."""
    if isinstance(error, ModuleNotFoundError):
        module = str(error.name).split(".")[0]
        package = _PACKAGES.get(module, module)
        extra = " (the extra `postgres`)" if module == "psycopg" else ""
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
