"""Write runs of the spool into a store, with everything that MLflow shows of them.

The ids of runs and models are the store's own, so texts that name them are rewritten: descriptions, tables and the
files of models.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.system.git import Origin
from one_neuron.tracking import tags as tag
from one_neuron.tracking.bulk import NewRun, read_runs, write_runs
from one_neuron.tracking.connection import Connection
from one_neuron.tracking.images import FOLDER, rename_image
from one_neuron.tracking.model import find_model, link_model
from one_neuron.tracking.one_run import add_origin, ensure_one_run
from one_neuron.tracking.promotion import link_promotion
from one_neuron.tracking.spooled_run import SpooledModel, SpooledRun

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_BATCH = 1000  # metrics, MLflow's limit for one call
_TEXTS = (".csv", ".txt")  # artifacts that may name runs


@dataclass(frozen=True)
class Translation:
    """The ids of a store, by those of the spool: of runs, and of experiments."""

    runs: Mapping[str, str]
    experiments: Mapping[str, str]

    def text(self, text: str) -> str:
        """Return a text with the ids of the store."""
        text = re.sub(r"[0-9a-f]{32}", lambda found: self.runs.get(found[0], found[0]), text)
        return re.sub(r"(?<=#/experiments/)\d+", lambda found: self.experiments.get(found[0], found[0]), text)

    def tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Return tags with the ids of the store."""
        return {key: self.text(value) for key, value in tags.items()}


def copy_result(connection: Connection, spooled: SpooledRun) -> str:
    """Make sure that exactly one run of the store shows a result; return its id. The store's lock must be held."""
    client = connection.client

    def create() -> "Run":
        return client.create_run(
            connection.experiment_id,
            start_time=spooled.start_time,
            run_name=spooled.name,
            tags={**spooled.tags, **connection.recorder_tags},
        )

    def fill(run: "Run") -> None:
        _log(connection, run, spooled, spooled.tags)
        client.set_terminated(run.info.run_id, spooled.status, spooled.end_time)

    run, _ = ensure_one_run(connection, spooled.tags[tag.KEYS], create, fill)
    tags = spooled.tags
    add_origin(
        client,
        run,
        Origin(tags.get(tag.COMMIT), tags.get(tag.IS_DIRTY) == "true", tags.get(tag.EXP_NAME), tags.get(tag.USER, "")),
    )
    link_promotion(connection, run, {name: value for name, value in spooled.params.items() if "." in name})
    return str(run.info.run_id)


def copy_configurations(
    connection: Connection, spooled: Sequence[SpooledRun], parents: Mapping[str, str]
) -> dict[str, str]:
    """Make sure that the store has a run of each configuration; return their ids. The store's lock must be held.

    `parents` are the runs of sweeps in the store, by those in the spool.
    """
    found: dict[str, Run] = {}
    for context in sorted({run.tags[tag.KEYS].split()[0] for run in spooled}):
        for run in reversed(read_runs(connection, context, 0)):  # of several, the first one counts
            key = run.data.tags[tag.KEYS]
            if key not in found or run.info.status == "FINISHED":
                found[key] = run
    ids = {
        one.run_id: str(found[key].info.run_id) for one in spooled if _is_there(found.get(key := one.tags[tag.KEYS]))
    }
    missing = [one for one in spooled if one.run_id not in ids]
    new = [_describe(connection, one, found.get(one.tags[tag.KEYS]), parents) for one in missing]
    ids |= dict(zip((one.run_id for one in missing), write_runs(connection, new), strict=True))
    for one in spooled:
        if one.models:
            run = connection.client.get_run(ids[one.run_id])
            if tag.MODEL_SHA256 not in run.data.tags:
                _log_models(connection, run, one)
    return ids


def _is_there(run: "Run | None") -> bool:
    """Return whether a configuration has a finished run."""
    return run is not None and run.info.status == "FINISHED"


def _describe(connection: Connection, spooled: SpooledRun, present: "Run | None", parents: Mapping[str, str]) -> NewRun:
    """Return the run of a configuration as it is to be written; its model comes later."""
    tags = {key: parents.get(value, value) if key == tag.PARENT else value for key, value in spooled.tags.items()}
    tags.pop(tag.MODEL_SHA256, None)
    unfinished = present if present is not None and connection.is_interrupted(present) else None
    points = [(name, value, step) for name, value, since, step in spooled.points if since == 0]
    tags |= connection.recorder_tags
    return NewRun(spooled.name, tags, spooled.params, points, spooled.status, unfinished)


def _log_models(connection: Connection, run: "Run", spooled: SpooledRun) -> None:
    """Write the model of a configuration with its points, and mark it as kept."""
    from mlflow.entities import RunTag

    ids = {model.model_id: _copy_model(connection, run, model) for model in spooled.models}
    points = [point for point in _metrics(run, spooled, ids) if point.model_id]
    mark = [RunTag(tag.MODEL_SHA256, spooled.tags[tag.MODEL_SHA256])]
    connection.client.log_batch(run.info.run_id, metrics=points, tags=mark, synchronous=True)


def find_sweep(connection: Connection, spooled: SpooledRun) -> str:
    """Return the id of a sweep's run in the store; make it if there is none. The store's lock must be held."""
    key, client = spooled.tags[tag.KEYS].split()[0], connection.client
    found = client.search_runs(
        [connection.experiment_id],
        filter_string=f"tags.`{tag.KEYS}` LIKE '{key} %'",
        order_by=["attributes.start_time ASC"],
    )
    if found:
        return str(found[0].info.run_id)
    tags = {**spooled.tags, **connection.recorder_tags}
    run = client.create_run(connection.experiment_id, start_time=spooled.start_time, run_name=spooled.name, tags=tags)
    return str(run.info.run_id)


def copy_sweep(connection: Connection, spooled: SpooledRun, translation: Translation) -> str:
    """Write what a sweep as a whole shows; return the id of its run. The store's lock must be held."""
    run = connection.client.get_run(find_sweep(connection, spooled))
    translation = replace(translation, runs={**translation.runs, spooled.run_id: run.info.run_id})
    _log(connection, run, spooled, translation.tags(spooled.tags), translation)
    status = "KILLED" if spooled.status == "RUNNING" else spooled.status  # the process that wrote it was killed
    connection.client.set_terminated(run.info.run_id, status, spooled.end_time)
    return str(run.info.run_id)


def _log(
    connection: Connection,
    run: "Run",
    spooled: SpooledRun,
    tags: Mapping[str, str],
    translation: Translation | None = None,
) -> None:
    """Write parameters, data sets, models, metrics, files and tags. Doing it twice leaves the same as once."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag

    client, run_id = connection.client, run.info.run_id
    client.log_batch(run_id, params=[Param(*each) for each in spooled.params.items()], synchronous=True)
    present = run.inputs.dataset_inputs if run.inputs else []
    known = {item.dataset.digest for item in present}
    inputs = [
        DatasetInput(Dataset(**columns), [InputTag(*each) for each in input_tags.items()])
        for columns, input_tags in spooled.datasets
        if columns["digest"] not in known
    ]
    if inputs:
        client.log_inputs(run_id, inputs)
    models = {model.model_id: _copy_model(connection, run, model) for model in spooled.models}
    points = _metrics(run, spooled, models)
    for start in range(0, len(points), _BATCH):
        client.log_batch(run_id, metrics=points[start : start + _BATCH], synchronous=True)
    if spooled.artifacts.is_dir():
        with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
            _copy_files(spooled.artifacts, Path(temporary), run, translation)
            client.log_artifacts(run_id, temporary)
    # Last, because one of them may say that something was written.
    client.log_batch(run_id, tags=[RunTag(*each) for each in tags.items()], synchronous=True)


def _metrics(run: "Run", spooled: SpooledRun, models: Mapping[str, str]) -> "list[Metric]":
    """Return the points of a run, as long after its start as they were in the spool."""
    from mlflow.entities import Metric

    of_models = {point[:4]: point[4:] for point in spooled.model_points}
    points = []
    for name, value, since, step in spooled.points:
        model, dataset, digest = of_models.get((name, value, since, step), (None, None, None))
        model_id = models[model] if model else None
        points.append(Metric(name, value, run.info.start_time + since, step, model_id, dataset, digest))
    return points


def _copy_files(source: Path, target: Path, run: "Run", translation: Translation | None) -> None:
    """Copy the files of a run, with the names and the texts that they have in another run."""
    for path in filter(Path.is_file, source.rglob("*")):
        place = path.relative_to(source)
        if place.parts[0] == FOLDER:
            place = place.with_name(rename_image(path.name, run.info.run_id, run.info.start_time))
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if translation is not None and path.suffix in _TEXTS:
            (target / place).write_bytes(translation.text(path.read_text(encoding="utf-8")).encode())
        else:
            shutil.copyfile(path, target / place)


def _copy_model(connection: Connection, run: "Run", model: SpooledModel) -> str:
    """Store a model with a run, once; return its id."""
    client = connection.client
    if earlier := find_model(client, run):
        return link_model(client, run, earlier, model.step)
    logged = client.create_logged_model(
        run.info.experiment_id,
        model.name,
        source_run_id=run.info.run_id,
        tags=dict(model.tags),
        params=dict(model.params),
    )
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as temporary:
        folder = Path(temporary, "model")
        shutil.copytree(model.folder, folder)
        description = folder / "MLmodel"
        text = description.read_text(encoding="utf-8")
        for key, value in (
            ("artifact_path", logged.artifact_location),
            ("model_id", logged.model_id),
            ("model_uuid", logged.model_id),
            ("run_id", run.info.run_id),
        ):
            head, found, rest = f"\n{text}".partition(f"\n{key}: ")
            text = (head + found + value + "\n" + rest.partition("\n")[2])[1:] if found else text
        description.write_text(text, encoding="utf-8")
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    return link_model(client, run, str(logged.model_id), model.step)
