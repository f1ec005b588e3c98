"""Many runs read or written at once: in a database with a few statements, on a server through MLflow's client.

The client takes 25 to 35 ms of CPU for each run that it writes. The same rows, inserted through MLflow's own table
classes, take less than 1 ms. They fit one schema only; with any other the client does the work.
"""

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from one_neuron.tracking import tags as tag_names
from one_neuron.tracking.connection import Connection

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

SCHEMA = "dc11669786a5"  # of MLflow 3.17.2, with which a test compares the rows of both ways


@dataclass(frozen=True)
class NewRun:
    """A run to write: its metrics as (name, value, step), and the unfinished run of the store that it completes."""

    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[tuple[str, float, int]]
    status: str
    unfinished: "Run | None" = None


def find_database(connection: Connection) -> "SqlAlchemyStore | None":
    """Return MLflow's database if it has the schema SCHEMA, or None: a server, or a database of another MLflow."""
    if connection.store.artifact_location is None:  # a server: the import below would take a second for nothing
        return None
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import text

    store = connection.client._tracking_client.store
    if type(store) is not SqlAlchemyStore:  # a subclass may divide the tables among users
        return None
    with store.ManagedSessionMaker() as session:
        revisions = session.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return store if revisions == [SCHEMA] else None


def read_runs(connection: Connection, context: str, since: int) -> "list[Run]":
    """Return the runs of a context that started at `since` or later, oldest first: state, tags and last metrics only.

    `since` is in milliseconds since 1970.
    """
    database = find_database(connection)
    if database is None:
        return _search_runs(connection, context, since)
    from mlflow.entities import Run, RunData, RunInfo
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlRun, SqlTag
    from sqlalchemy import select

    run: Any = SqlRun  # MLflow's columns have no types
    chosen = (
        select(run.run_uuid)
        .join(SqlTag, SqlTag.run_uuid == run.run_uuid)
        .where(run.experiment_id == int(connection.experiment_id), run.lifecycle_stage == "active")
        .where(run.start_time >= since, SqlTag.key == tag_names.KEYS, SqlTag.value.like(f"{context} %"))
    )
    with database.ManagedSessionMaker() as session:

        def rows_of(table: Any, *columns: str) -> Any:
            shown = [getattr(table, name) for name in ("run_uuid", *columns)]
            return session.execute(select(*shown).where(table.run_uuid.in_(chosen)))

        runs = sorted(rows_of(SqlRun, "start_time", "status"), key=lambda row: (row.start_time, row.run_uuid))
        data = {row.run_uuid: RunData() for row in runs}
        for run_id, key, value, is_nan in rows_of(SqlLatestMetric, "key", "value", "is_nan"):
            data[run_id].metrics[key] = math.nan if is_nan else value
        for run_id, key, value in rows_of(SqlTag, "key", "value"):
            data[run_id].tags[key] = value
    return [
        Run(RunInfo(run_id, connection.experiment_id, "", status, start_time, None, "active"), data[run_id])
        for run_id, start_time, status in runs
    ]


def _search_runs(connection: Connection, context: str, since: int) -> "list[Run]":
    """Return the runs of a context through MLflow's client."""
    runs: list[Run] = []
    page = None
    while page is None or page.token:
        page = connection.client.search_runs(
            [connection.experiment_id],
            filter_string=f"tags.`{tag_names.KEYS}` LIKE '{context} %' AND attributes.start_time >= {since}",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=None if page is None else page.token,
        )
        runs += page
    return runs


def read_curves(connection: Connection, name: str, run_ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Return a metric of runs over the iterations, by run id: (iteration, value) in the order of the iterations."""
    database = find_database(connection)
    curves: dict[str, list[tuple[int, float]]] = {run_id: [] for run_id in run_ids}
    if database is None:
        for run_id, curve in curves.items():
            curve += [(point.step, point.value) for point in connection.client.get_metric_history(run_id, name)]
    else:
        from mlflow.store.tracking.dbmodels.models import SqlMetric
        from sqlalchemy import select

        metric: Any = SqlMetric
        points = select(metric.run_uuid, metric.step, metric.value).where(metric.key == name)
        with database.ManagedSessionMaker() as session:
            for run_id, step, value in session.execute(points.where(metric.run_uuid.in_(run_ids))):
                curves[run_id].append((step, value))
    return {run_id: sorted(curve) for run_id, curve in curves.items()}


def write_runs(connection: Connection, runs: Sequence[NewRun]) -> list[str]:
    """Write runs, and return their ids. Of the new ones, a kill leaves a database all or none."""
    ids, database = {}, find_database(connection)
    if database is not None:
        new = [i for i, run in enumerate(runs) if run.unfinished is None]
        ids = dict(zip(new, _insert_runs(database, connection.experiment_id, [runs[i] for i in new]), strict=True))
    return [ids.get(i) or _write_run(connection, run) for i, run in enumerate(runs)]


def _insert_runs(database: "SqlAlchemyStore", experiment_id: str, runs: Sequence[NewRun]) -> list[str]:
    """Insert the rows that MLflow's client would write, in one transaction; return the ids of the runs."""
    from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlParam, SqlRun, SqlTag
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER
    from mlflow.utils.uri import append_to_uri_path
    from sqlalchemy import insert

    experiment, now = database.get_experiment(experiment_id), int(1000 * time.time())
    database._check_experiment_is_active(experiment)
    # In this order, because the other rows refer to those of runs.
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (SqlRun, SqlTag, SqlParam, SqlMetric, SqlLatestMetric)
    }
    for i, run in enumerate(runs):
        run_id, start_time = uuid.uuid4().hex, now - len(runs) + i  # MLflow shows runs in the order of their start
        rows[SqlRun].append(
            {
                "run_uuid": run_id,
                "name": run.name,
                "artifact_uri": append_to_uri_path(
                    experiment.artifact_location, run_id, database.ARTIFACTS_FOLDER_NAME
                ),
                "experiment_id": int(experiment_id),
                "source_type": "UNKNOWN",
                "source_name": "",
                "entry_point_name": "",
                "user_id": run.tags.get(MLFLOW_USER, "unknown"),
                "status": run.status,
                "start_time": start_time,
                "end_time": now,
                "source_version": "",
                "lifecycle_stage": "active",
            }
        )
        for table, values in ((SqlTag, {**run.tags, MLFLOW_RUN_NAME: run.name}), (SqlParam, run.params)):
            rows[table] += [{"run_uuid": run_id, "key": key, "value": value} for key, value in values.items()]
        latest: dict[str, dict[str, Any]] = {}
        for key, number, step in run.points:
            is_nan, value = database.sanitize_metric_value(number)
            point = {"key": key, "value": value, "timestamp": start_time, "step": step, "is_nan": is_nan}
            rows[SqlMetric].append({"run_uuid": run_id, **point})
            if key not in latest or step > latest[key]["step"]:
                latest[key] = rows[SqlMetric][-1]
        rows[SqlLatestMetric] += latest.values()
    with database.ManagedSessionMaker(read_only=False) as session:
        for table, inserted in rows.items():
            if inserted:
                session.execute(insert(table), inserted)
    return [row["run_uuid"] for row in rows[SqlRun]]


def _write_run(connection: Connection, run: NewRun) -> str:
    """Write or complete a run with MLflow's client; return its id. Doing it twice leaves the same as once."""
    from mlflow.entities import Metric, Param, RunTag

    client, tags, old = connection.client, run.tags, run.unfinished
    if old is None:
        # The tags go with this call, because each call waits for the disk.
        old, tags = client.create_run(connection.experiment_id, run_name=run.name, tags=dict(tags)), {}
    run_id, start_time = str(old.info.run_id), old.info.start_time
    client.log_batch(
        run_id,
        # All points have the start of the run as their time, so that a second attempt adds no rows.
        metrics=[Metric(name, value, start_time, step) for name, value, step in run.points],
        params=[Param(name, value) for name, value in run.params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )
    client.set_terminated(run_id, run.status)
    return run_id
