"""One MLflow run for each result: a projection of the files, made again from them whenever it is missing.

MLflow is used through a client with explicit ids, never through its global state (an active run, MLFLOW_RUN_ID, the
current experiment), so the environment cannot lead a run astray.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import StoreOutage
from one_neuron.layout import MODEL_FILE, TEST_FILE, TRAIN_FILE
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking import tags as tag
from one_neuron.tracking.changes import CHANGES_FILE, read_changes
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.description import describe_result, name_result, view_results
from one_neuron.tracking.images import find_weights, log_images
from one_neuron.tracking.links import compare_lines, link_run
from one_neuron.tracking.model import dataset_entry, log_model
from one_neuron.tracking.one_run import add_origin, ensure_one_run
from one_neuron.tracking.parameters import data_location_tags, origin_tags, run_parameters
from one_neuron.tracking.promotion import link_promotion
from one_neuron.tracking.result import Result, read_result
from one_neuron.tracking.send import count_runs, send_spool
from one_neuron.tracking.spool import KEPT, connect_to_spool, keeping, seal
from one_neuron.tracking.sqlite_file import RESULTS
from one_neuron.tracking.store import store_lock
from one_neuron.tracking.views import write_views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000  # MLflow's limit for one call


@dataclass(frozen=True)
class TrackedRun:
    """The run that shows a result.

    Parameters
    ----------
    place : str
        The store.
    links : sequence of str
        The lines that say where to compare it.
    note : str
        What became of earlier results that waited in the spool; "" if none did.
    """

    run_id: str
    content_key: str
    created: bool
    place: str
    links: Sequence[str]
    note: str = ""

    @property
    def lines(self) -> list[str]:
        """What to print."""
        state = "new" if self.created else "already there"
        return [f"tracked: run {self.run_id[:8]} ({state}) in {self.place}", *self.links]


def record_result(folder: Path, root: Path) -> TrackedRun:
    """Make sure that exactly one run shows the result in `folder`; if the store cannot be used, keep it in the spool.

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
    StoreOutage
        If the store cannot be used now; the message says whether the result is in the spool.
    EnvironmentProblem
        If the store cannot be used at all.
    """
    result = read_result(folder.resolve())
    origin = find_origin(folder)
    curves = result.points  # checked before anything is written
    try:
        connection = connect(root)
        tracked = _record(connection, result, origin, curves)
    except StoreOutage as outage:
        with keeping(outage):
            spool = connect_to_spool(root, RESULTS, outage)
            kept = _record(spool, result, origin, curves)
            seal(spool, [kept.run_id])
        raise KEPT.outage(outage.problem, outage.repair) from outage
    return replace(tracked, note=_send_others(connection))


def _send_others(connection: Connection) -> str:
    """Send the runs that wait in the spool; return what became of them, "" if none waited."""
    try:
        sent = send_spool(connection)
    except StoreOutage as outage:  # this result is recorded; the others go on waiting
        return f"warning: {outage}"
    if sent.damaged:
        return f"warning: {sent.warning}"
    return f"{count_runs(sent.number)} sent that had been kept" if sent.number else ""


def _record(
    connection: Connection, result: Result, origin: Origin, curves: Mapping[str, Sequence[tuple[int, float]]]
) -> TrackedRun:
    """Make sure that exactly one run of a store shows a result."""
    client, store = connection.client, connection.store
    with mlflow_errors(store), store_lock(store):
        run, created = ensure_one_run(
            connection,
            result.content_key,
            lambda: _create_run(connection, result, origin),
            lambda run: _fill_run(client, run, result, curves),
        )
        add_origin(client, run, origin)
        link_promotion(connection, run, run_parameters(result.settings))
        links = {"this result": link_run(connection.experiment_id, run.info.run_id)}
        links |= write_views(connection, view_results(result))
        return TrackedRun(run.info.run_id, result.content_key, created, store.place, compare_lines(store, links))


def _create_run(connection: Connection, result: Result, origin: Origin) -> "Run":
    """Create the run of a result, with its name and tags."""
    name, tags = name_result(result, origin), _run_tags(result, origin) | connection.recorder_tags
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
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
        for path, kind in result.artifacts:
            # A copy without the permissions: MLflow could not replace a file that is as read-only as DVC's cache.
            copy = Path(temporary, kind, path.name)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
        if patch := read_changes(result.folder, run.data.tags.get(tag.COMMIT, "")):
            Path(temporary, CHANGES_FILE).write_bytes(patch)
        client.log_artifacts(run_id, temporary)
    client.set_terminated(run_id, "FINISHED")
