"""One MLflow run for each result: a projection of the files, made again from them whenever it is missing.

MLflow is reached through a client with explicit ids, never through its global state (an active run, MLFLOW_RUN_ID, the
current experiment), so nothing in the environment can lead a run astray.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.layout import MODEL_FILE, TEST_FILE, TRAIN_FILE
from one_neuron.settings.params import Settings
from one_neuron.system.git import Origin, find_origin
from one_neuron.tracking.connection import ABANDONED_SECONDS, delete_run, find_experiment, mlflow_errors
from one_neuron.tracking.model import dataset_entry, log_model
from one_neuron.tracking.parameters import data_location
from one_neuron.tracking.result import Result, read_result
from one_neuron.tracking.store import (
    Store,
    check_schema,
    ensure_store,
    prepare_mlflow,
    store_lock,
)
from one_neuron.tracking.tags import (
    ALSO_COMMITS,
    ALSO_EXP_NAMES,
    CONTENT_KEY,
    DATA_LOCATION,
    HAS_DIVERGED,
    MAX_TAG,
    MODEL_SHA256,
    WARNING,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000  # MLflow's limit for one call


@dataclass(frozen=True)
class TrackedRun:
    """The run that shows a result.

    Parameters
    ----------
    run_id : str
        MLflow's id, 32 hexadecimal digits.
    content_key : str
        The key of the result, 64 hexadecimal digits.
    created : bool
        Whether the run is new; False if it was there already.
    place : str
        The store, as a file or an address.
    """

    run_id: str
    content_key: str
    created: bool
    place: str


def record_result(folder: Path, root: Path) -> TrackedRun:
    """Make sure that exactly one run shows the result in `folder`.

    A finished run with the same content key is that run; nothing is added to it but a new commit or experiment name.
    One that was broken off is completed. Safe when many processes record at once.

    Parameters
    ----------
    folder : Path
        Where the stages ran: the repository, or the temporary copy of a queued experiment.
    root : Path
        The repository, which keeps the store.

    Returns
    -------
    TrackedRun

    Raises
    ------
    DataError, SettingsError
        If a file of the result is missing or damaged.
    EnvironmentProblem
        If the store cannot be used.
    """
    result = read_result(folder.resolve())
    origin = find_origin(folder)
    metrics = result.metrics  # checked before anything is written
    prepare_mlflow()
    store = ensure_store(root)
    check_schema(store)
    from mlflow import MlflowClient

    with mlflow_errors(store), store_lock(store):
        client = MlflowClient(store.uri, registry_uri=store.uri)
        experiment_id = find_experiment(client, store)
        key = result.content_key
        finished, broken_off = _find_runs(client, experiment_id, key, store)
        created = not finished
        if created:
            name, tags = _name_run(result, origin), _describe(result, origin)
            run = broken_off.pop(0) if broken_off else client.create_run(experiment_id, run_name=name, tags=tags)
            _fill_run(client, run, result, metrics)
            # Asked again: on a server another machine may have finished the same result meanwhile.
            finished = _find_runs(client, experiment_id, key, store)[0] or [run]
        _add_origin(client, finished[0], origin)
        for other in [*finished[1:], *broken_off]:
            delete_run(client, other)
        return TrackedRun(finished[0].info.run_id, key, created, store.place)


def _find_runs(
    client: "MlflowClient", experiment_id: str, content_key: str, store: Store
) -> tuple[list["Run"], list["Run"]]:
    """Return the finished runs with the key, first finished first, and those that were broken off."""
    runs = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`{CONTENT_KEY}` = '{content_key}'",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
    )
    finished = [run for run in runs if run.info.status == "FINISHED"]
    finished.sort(key=lambda run: (run.info.end_time or 0, run.info.run_id))
    # The lock says that nobody is at work on an unfinished run in our own file; on a server another machine may be.
    youngest = time.time() if store.database else time.time() - ABANDONED_SECONDS
    broken_off = [run for run in runs if run.info.status != "FINISHED" and run.info.start_time <= 1000 * youngest]
    return finished, broken_off


def _name_run(result: Result, origin: Origin) -> str:
    """Return a name that tells: DVC's name of the experiment, or the parameters that are tried most."""
    settings = result.settings
    parameters = f"learning_rate={settings.train.learning_rate:g} num_iterations={settings.train.num_iterations}"
    return origin.exp_name or f"{settings.data.source} {parameters}"


def tag_data_location(settings: Settings) -> dict[str, str]:
    """Return the tag that says where the user's own pictures lie; none for other sources.

    Parameters
    ----------
    settings : Settings
    """
    ways = data_location(settings)
    return {DATA_LOCATION: json.dumps(ways)} if ways else {}


def _describe(result: Result, origin: Origin) -> dict[str, str]:
    """Return the tags of a new run: the key, the digests, and who made it."""
    tags = {
        CONTENT_KEY: result.content_key,
        MODEL_SHA256: result.model.sha256,
        "one_neuron.train_sha256": result.train.sha256,
        "one_neuron.test_sha256": result.test.sha256,
        "mlflow.source.name": "pipeline/track.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": origin.user,
        "mlflow.note.content": _write_note(result, origin),
    }
    tags |= tag_data_location(result.settings)
    if result.metrics.get("diverged"):
        tags[HAS_DIVERGED] = "true"
    if result.warning:
        tags[WARNING] = result.warning[:MAX_TAG]
    if origin.commit:
        tags |= {"mlflow.source.git.commit": origin.commit, "git.dirty": str(origin.dirty).lower()}
    if origin.exp_name:
        tags["dvc.exp_name"] = origin.exp_name
    return tags


def _write_note(result: Result, origin: Origin) -> str:
    """Return the description of a run, in Markdown: what it is and how to make it again."""
    percent = {key: f"{100 * result.metrics[key]:.1f} %" for key in result.metrics if key.endswith("accuracy")}
    accuracies = ", ".join(f"{key} {value}" for key, value in percent.items())
    if result.metrics.get("diverged"):
        accuracies += ". **Training diverged**: the last costs lie above the first"
    num_px = result.model.preprocessing.num_px
    changed = " (there were other changes, too, which are in no commit)" if origin.dirty else ""
    checkout = f"git checkout {origin.commit}{changed}\n" if origin.commit else ""
    return (
        f"One neuron, {num_px} x {num_px} pixels, trained on {result.train.m} pictures "
        f"({result.settings.data.source}), tested on {result.test.m}: {accuracies}.\n\n"
        f"To make it again:\n\n```\n{checkout}cp <params.yaml among this run's artifacts> params.yaml\ndvc repro\n```\n"
    )


def _add_origin(client: "MlflowClient", run: "Run", origin: Origin) -> None:
    """Note a later commit or experiment name that gave the same result; the first ones stay."""
    tags = run.data.tags
    first = tags.get("mlflow.source.git.commit", "")
    if first and tags.get("git.dirty") == "true":
        first += "-dirty"
    for key, known, value in (
        (ALSO_COMMITS, first, origin.commit_label),
        (ALSO_EXP_NAMES, tags.get("dvc.exp_name"), origin.exp_name),
    ):
        others = tags.get(key, "").split()
        if value is None or value == known or value in others:
            continue
        joined = " ".join([*others, value])
        if len(joined) <= MAX_TAG:
            client.set_tag(run.info.run_id, key, joined)


def _fill_run(client: "MlflowClient", run: "Run", result: Result, metrics: dict[str, float]) -> None:
    """Write everything that a run shows, and finish it. Doing it twice leaves the same as doing it once."""
    from mlflow.entities import DatasetInput, InputTag, Metric, Param

    run_id = run.info.run_id
    source = result.settings.data.source
    sets = {
        split: (prepared, dataset_entry(f"{source}-{split}", prepared, path))
        for split, prepared, path in (("train", result.train, TRAIN_FILE), ("test", result.test, TEST_FILE))
    }
    contexts = {"train": "training", "test": "testing"}
    inputs = [
        DatasetInput(dataset, [InputTag("mlflow.data.context", contexts[split]), InputTag("sha256", prepared.sha256)])
        for split, (prepared, dataset) in sets.items()
    ]
    client.log_batch(run_id, params=[Param(key, value) for key, value in result.params.items()], synchronous=True)
    client.log_inputs(run_id, inputs)
    last_iteration = result.costs[-1][0]
    path, example = result.folder / MODEL_FILE, result.test.X[:1]
    model_id = log_model(
        client, run, result.model, path=path, params=result.params, example=example, step=last_iteration
    )

    # The time of every point is the start of the run: nobody knows it better, and a second attempt then adds no rows.
    start_time = run.info.start_time
    points = [Metric("cost", cost, start_time, iteration) for iteration, cost in result.costs]
    for key, value in metrics.items():
        dataset = sets.get(key.split("_")[0], (None, None))[1]
        name, digest = (dataset.name, dataset.digest) if dataset else (None, None)
        points.append(Metric(key, value, start_time, last_iteration, model_id, name, digest))
    for start in range(0, len(points), BATCH):
        client.log_batch(run_id, metrics=points[start : start + BATCH], synchronous=True)
    for path, kind in result.artifacts:
        client.log_artifact(run_id, str(path), kind or None)
    client.set_terminated(run_id, "FINISHED")
