"""Exactly one finished run for each result, found by its content key, whatever was interrupted or happened twice."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from one_neuron.system.git import Origin
from one_neuron.tracking import tags as tag
from one_neuron.tracking.connection import Connection, delete_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def ensure_one_run(
    connection: Connection, content_key: str, create: "Callable[[], Run]", fill: "Callable[[Run], None]"
) -> "tuple[Run, bool]":
    """Return the finished run of a result, and whether it was made now. The store's lock must be held.

    Parameters
    ----------
    content_key : str
        See `Result.content_key`.
    create : callable
        Makes a run that has the key among its tags.
    fill : callable
        fill(run) writes everything that a run shows, and finishes it. Doing it twice leaves the same as once.
    """
    finished, interrupted = find_runs(connection, content_key)
    created = not finished
    if created:
        run = interrupted[0] if interrupted else create()
        fill(run)
        # Look again: on a server, another machine may have finished the same result meanwhile, and a request whose
        # answer was lost may have made a second run.
        finished, interrupted = find_runs(connection, content_key)
        finished = finished or [run]
    for other in [*finished[1:], *interrupted]:
        if other.info.run_id != finished[0].info.run_id:
            delete_run(connection.client, other)
    return finished[0], created


def find_runs(connection: Connection, content_key: str) -> tuple[list["Run"], list["Run"]]:
    """Return the finished runs with the key, in the order in which they finished, and the interrupted ones."""
    runs = connection.client.search_runs(
        [connection.experiment_id],
        filter_string=f"tags.`{tag.KEYS}` = '{content_key}'",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    finished = [run for run in runs if run.info.status == "FINISHED"]
    finished.sort(key=lambda run: (run.info.end_time or 0, run.info.run_id))
    return finished, [run for run in runs if connection.is_interrupted(run)]


def add_origin(client: "MlflowClient", run: "Run", origin: Origin) -> None:
    """Add a later commit or experiment name that gave the same result; the first ones stay."""
    tags = run.data.tags
    first = tags.get(tag.COMMIT, "")
    if first and tags.get(tag.IS_DIRTY) == "true":
        first += "-dirty"
    for key, known, value in (
        (tag.ALSO_COMMITS, first, origin.commit_label),
        (tag.ALSO_EXP_NAMES, tags.get(tag.EXP_NAME), origin.exp_name),
    ):
        others = tags.get(key, "").split()
        if value is None or value == known or value in others:
            continue
        joined = " ".join([*others, value])
        if len(joined) <= tag.MAX_TAG:
            client.set_tag(run.info.run_id, key, joined)
