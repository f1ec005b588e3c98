"""One MLflow run for each result: a projection of the files, made again from them whenever it is missing.

MLflow is used through a client with explicit ids, never through its global state (an active run, MLFLOW_RUN_ID, the
current experiment), so the environment cannot lead a run astray.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.layout import MODEL_FILE, TEST_FILE, TRAIN_FILE
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking import tags as tag
from one_neuron.tracking.changes import CHANGES_FILE, read_changes
from one_neuron.tracking.connection import Connection, connect, delete_run, mlflow_errors
from one_neuron.tracking.description import describe_result, name_result, view_results
from one_neuron.tracking.images import find_weights, log_images
from one_neuron.tracking.links import compare_lines, link_run
from one_neuron.tracking.model import dataset_entry, log_model
from one_neuron.tracking.parameters import data_location_tags, origin_tags
from one_neuron.tracking.promotion import link_promotion
from one_neuron.tracking.result import Result, read_result
from one_neuron.tracking.store import store_lock
from one_neuron.tracking.views import write_views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000  # MLflow's limit for one call


@dataclass(frozen=True)
class TrackedRun:
    """The run that shows a result; `place` is the store, `links` the lines that say where to compare it."""

    run_id: str
    content_key: str
    created: bool
    place: str
    links: Sequence[str]


def record_result(folder: Path, root: Path) -> TrackedRun:
    """Make sure that exactly one run shows the result in `folder`.

    A finished run with the same content key is that run; only a new commit or experiment name is added to it. An
    interrupted one is completed. Several processes may record at once.

    Parameters
    ----------
    folder : Path
        Where the stages ran: the repository, or the temporary copy of a queued experiment.
    root : Path
        The repository, which keeps the store.

    Raises
    ------
    DataError, SettingsError
        If a file of the result is missing or damaged.
    EnvironmentProblem
        If the store cannot be used.
    """
    result = read_result(folder.resolve())
    origin = find_origin(folder)
    curves = result.points  # checked before anything is written
    connection = connect(root)
    client = connection.client
    with mlflow_errors(connection.store), store_lock(connection.store):
        finished, interrupted = _find_runs(connection, result.content_key)
        created = not finished
        if created:
            run = interrupted.pop(0) if interrupted else _create_run(connection, result, origin)
            _fill_run(client, run, result, curves)
            # Look again: on a server, another machine may have finished the same result meanwhile.
            finished = _find_runs(connection, result.content_key)[0] or [run]
        _add_origin(client, finished[0], origin)
        link_promotion(connection, finished[0], result.settings)
        for other in [*finished[1:], *interrupted]:
            delete_run(client, other)
        run_id, store = finished[0].info.run_id, connection.store
        links = {"this result": link_run(connection.experiment_id, run_id)}
        links |= write_views(connection, view_results(result))
        return TrackedRun(run_id, result.content_key, created, store.place, compare_lines(store, links))


def _find_runs(connection: Connection, content_key: str) -> tuple[list["Run"], list["Run"]]:
    """Return the finished runs with the key, in the order in which they finished, and the interrupted ones."""
    runs = connection.client.search_runs(
        [connection.experiment_id],
        filter_string=f"tags.`{tag.KEYS}` = '{content_key}'",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    finished = [run for run in runs if run.info.status == "FINISHED"]
    finished.sort(key=lambda run: (run.info.end_time or 0, run.info.run_id))
    return finished, [run for run in runs if connection.is_interrupted(run)]


def _create_run(connection: Connection, result: Result, origin: Origin) -> "Run":
    """Create the run of a result, with its name and tags."""
    name, tags = name_result(result, origin), _run_tags(result, origin)
    return connection.client.create_run(connection.experiment_id, run_name=name, tags=tags)


def _run_tags(result: Result, origin: Origin) -> dict[str, str]:
    """Return the tags of a new run: the key, the digests, and which code and user made it."""
    tags = {
        tag.KIND: "result",
        tag.KEYS: result.content_key,
        tag.STATUS: "diverged" if result.train_metrics.get("diverged") else "finished",
        tag.MODEL_SHA256: result.model.sha256,
        tag.NOTE: describe_result(result, origin),
        **origin_tags(origin, "pipeline/track.py"),
        **data_location_tags(result.settings),
    }
    if result.warning:
        tags[tag.WARNING] = result.warning[: tag.MAX_TAG]
    if origin.exp_name:
        tags[tag.EXP_NAME] = origin.exp_name
    return tags


def _add_origin(client: "MlflowClient", run: "Run", origin: Origin) -> None:
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


def _fill_run(
    client: "MlflowClient", run: "Run", result: Result, curves: Mapping[str, Sequence[tuple[int, float]]]
) -> None:
    """Write everything that a run shows, and finish it. Writing it twice leaves the same as writing it once."""
    from mlflow.entities import DatasetInput, InputTag, Metric, Param

    run_id = run.info.run_id
    source = result.settings.data.source
    sets, inputs = {}, []
    for split, prepared, path in (("train", result.train, TRAIN_FILE), ("test", result.test, TEST_FILE)):
        sets[split] = dataset_entry(f"{source}-{split}", prepared, path)
        input_tags = [InputTag(tag.DATA_CONTEXT, f"{split}ing"), InputTag(tag.DATA_SHA256, prepared.sha256)]
        inputs.append(DatasetInput(sets[split], input_tags))
    client.log_batch(run_id, params=[Param(key, value) for key, value in result.params.items()], synchronous=True)
    client.log_inputs(run_id, inputs)
    last_iteration = result.costs[-1][0]
    path, example = result.folder / MODEL_FILE, result.test.X[:1]
    model_id = log_model(
        client, run, result.model, path=path, params=result.params, example=example, step=last_iteration
    )

    # Every point has the start of the run as its time, so that a second attempt adds no rows.
    start_time = run.info.start_time
    points = []
    for key, curve in curves.items():
        dataset = sets.get("test" if key.startswith(("test", "baseline")) else "train", sets["train"])
        for iteration, value in curve:
            # The model has the last point of each.
            model = model_id if iteration == last_iteration else None
            points.append(Metric(key, value, start_time, iteration, model, dataset.name, dataset.digest))
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH], synchronous=True)
    if pictures := find_weights(result.folder):
        log_images(client, run, "weights", pictures)
    for path, kind in result.artifacts:
        client.log_artifact(run_id, str(path), kind or None)
    if patch := read_changes(result.folder, run.data.tags.get(tag.COMMIT, "")):
        with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
            path = Path(temporary, CHANGES_FILE)
            path.write_bytes(patch)
            client.log_artifact(run_id, str(path))
    client.set_terminated(run_id, "FINISHED")
