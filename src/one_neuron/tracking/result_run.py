"""The finished MLflow run that shows a result, for the HTML report: what to link to, and where to put the page."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.tracking import tags as tag
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.links import find_address, link_run
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.store import find_store

if TYPE_CHECKING:
    from mlflow.entities import Run

REPORT_FILE = "report.html"  # the name of the artifact
REMEDY = Remedy("run the same command again", "the page was written without it")


@dataclass(frozen=True)
class ResultRun:
    """The run of a result, in an open store."""

    connection: Connection
    run: "Run"

    @property
    def address(self) -> str:
        """The address of the run's page: on the tracking server, or after `make ui` on this machine."""
        link = link_run(self.run.info.experiment_id, self.run.info.run_id)
        return f"{find_address(self.connection.store)}/{link}"

    def log_report(self, page: str) -> None:
        """Store an HTML page with the run, in place of an earlier one."""
        with mlflow_errors(self.connection.store):
            self.connection.client.log_text(self.run.info.run_id, page, REPORT_FILE)


def find_result_run(root: Path, content_key: str) -> ResultRun | None:
    """Return the finished run with a content key, or None. A store is not created for this.

    Raises
    ------
    EnvironmentProblem
        If the store cannot be used.
    """
    store = find_store(root)
    if store.database is not None and not store.database.exists():
        return None
    connection = connect(root, REMEDY)
    with mlflow_errors(connection.store):
        found = connection.client.search_runs(
            [connection.experiment_id],
            filter_string=f"tags.`{tag.KEYS}` = '{content_key}' AND attributes.status = 'FINISHED'",
            order_by=["attributes.end_time ASC"],
            max_results=1,
        )
    return ResultRun(connection, found[0]) if found else None
