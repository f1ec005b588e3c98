"""The MLflow run of a sweep as a whole: found again when the same command runs again, and naming the best."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron import neuron
from one_neuron.metrics import evaluate
from one_neuron.settings.params import TrainSettings
from one_neuron.storage.checkpoint import CheckpointFile
from one_neuron.storage.model import Model, save_model
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.sweep.configuration_description import fold_parameters
from one_neuron.sweep.configuration_runs import SCRIPT, ConfigurationRuns
from one_neuron.sweep.description import MEASURES, describe_sweep, name_sweep, view_sweep
from one_neuron.sweep.drawing import Drawing
from one_neuron.sweep.plan import Plan
from one_neuron.sweep.prepared_data import load_data
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, find_best, rank
from one_neuron.sweep.summary import write_table
from one_neuron.system.progress import training_bar
from one_neuron.tracking.connection import Connection, delete_run, mlflow_errors
from one_neuron.tracking.links import link_run
from one_neuron.tracking.model import dataset_entry, log_model
from one_neuron.tracking.parameters import origin_tags, run_parameters
from one_neuron.tracking.spool import seal
from one_neuron.tracking.store import hold_signals, store_lock
from one_neuron.tracking.tags import BEST, DATA_CONTEXT, KEYS, KIND, MODEL_SHA256, NOTE, PARENT
from one_neuron.tracking.views import write_views
from one_neuron.training import train_model, training_inputs

if TYPE_CHECKING:
    from mlflow.entities import Run


def open_sweep(runs: ConfigurationRuns, plan: Plan) -> str:
    """Read what the store has, and find the sweep's run, `runs.parent_id`; return its id.

    It is the run of the same grid, or one that this grid extends, or a new one. A grid extends a finished sweep that
    reused nothing if it requests all of its configurations.
    """
    store = runs.connection.store
    with mlflow_errors(store), store_lock(store):
        runs.refresh()
        parent_id = _find_parent(runs, plan)
        adopted = _adopt_orphans(runs, parent_id)
    seal(runs.connection, [parent_id, *adopted])
    follow_moves(runs)
    runs.parent_id = parent_id
    return parent_id


def follow_moves(runs: ConfigurationRuns) -> None:
    """Record where the pictures of finished runs lie now."""
    with mlflow_errors(runs.connection.store):
        for run_id, tags in runs.moved.items():
            for name, value in tags.items():
                runs.connection.client.set_tag(run_id, name, value)
    seal(runs.connection, list(runs.moved))


def _find_parent(runs: ConfigurationRuns, plan: Plan) -> str:
    """Return the id of the sweep's run; make it if there is none."""
    from mlflow.entities import RunTag

    connection, client = runs.connection, runs.connection.client
    sweep_key = _find_key(runs, plan)
    same = client.search_runs(
        [connection.experiment_id],
        filter_string=f"tags.`{KEYS}` LIKE '{sweep_key} %'",
        order_by=["attributes.start_time ASC"],
    )
    run, name = same[0] if same else _find_extended(runs, plan), name_sweep(runs, plan)
    number = plan.sweep.trials if plan.space else len(runs.requested)
    tags = {KIND: "sweep", KEYS: f"{sweep_key} {_summarize(number, plan)}"}
    tags |= origin_tags(connection.origin, SCRIPT)  # of the command that ran last
    if run is None:
        run_id = str(client.create_run(connection.experiment_id, run_name=name, tags=tags).info.run_id)
        client.set_tag(run_id, NOTE, describe_sweep(runs, run_id, plan))
        return run_id
    run_id = str(run.info.run_id)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True)
    client.update_run(run_id, status="RUNNING", name=name)
    return run_id


def _summarize(number: int, plan: Plan) -> str:
    """Return the rest of the tag KEYS of a sweep: its number of configurations, and the file that its values come from.

    A grid and a search never extend each other.
    """
    return " ".join(filter(None, [str(number), plan.committed, "search" if plan.space else ""]))


def _find_key(runs: ConfigurationRuns, plan: Plan) -> str:
    """Return a SHA-256 over the configurations of a grid, or over what the suggestions of a search follow from.

    The number of trials is left out, so that more of them continue a search. The first suggestion stands for the
    settings, the pictures and the code.
    """
    names = sorted(runs.requested)
    if plan.space:
        names = [next(iter(runs.requested)), str(plan.sweep.seed), repr(plan.space)]
    return sha256("\n".join(names).encode()).hexdigest()


def _find_extended(runs: ConfigurationRuns, plan: Plan) -> "Run | None":
    """Return the largest sweep whose configurations are all requested, from the same file if they come from one."""
    if plan.space:  # another search
        return None
    for parent_id, keys in sorted(runs.keys_by_sweep.items(), key=lambda item: (-len(item[1]), item[0])):
        run = _get_active(runs.connection, parent_id) if keys <= runs.requested.keys() else None
        # A sweep that ran all the configurations it requested reused nothing and was not interrupted.
        expected = _summarize(len(keys), plan)
        if (
            run is not None
            and run.info.status == "FINISHED"
            and run.data.tags.get(KEYS, "").partition(" ")[2] == expected
        ):
            return run
    return None


def _adopt_orphans(runs: ConfigurationRuns, parent_id: str) -> list[str]:
    """Move finished configurations whose own sweep was deleted to this one, so that the UI shows them; return them."""
    parents = [parent for parent in runs.keys_by_sweep if parent == parent_id or _get_active(runs.connection, parent)]
    orphans = runs.present - set().union(*(runs.keys_by_sweep[parent] for parent in parents))
    for key in orphans:
        runs.connection.client.set_tag(runs.entries[key].run_id, PARENT, parent_id)
    return [runs.entries[key].run_id for key in orphans]


def _get_active(connection: Connection, run_id: str) -> "Run | None":
    """Return a run that is not deleted, or None."""
    from mlflow.exceptions import MlflowException

    try:
        run = connection.client.get_run(run_id) if run_id else None
    except MlflowException:
        return None
    return run if run is not None and run.info.lifecycle_stage == "active" else None


def keep_models(runs: ConfigurationRuns, number: int) -> None:
    """Train the best `number` configurations again, exactly, and keep their models.

    In an outage, those whose runs are in the store are left to the next sweep that needs them.
    """
    best = {entry.run_id for entry in rank(runs.entries.values())[:number] if entry.status == FINISHED}
    for key, entry in runs.entries.items():
        if entry.run_id in best and not entry.model_sha256 and key in runs.present:
            train, test = load_data(runs.requested[key].files)
            model = _train_exactly(train, entry.settings.train)
            with runs.writing():
                _log_model(runs.connection, entry, model, train, test)
            seal(runs.connection, [entry.run_id])
            runs.entries[key] = replace(entry, model_sha256=model.sha256)


def _train_exactly(train: PreparedSet, settings: TrainSettings) -> Model:
    """Train as the stage `train` does, to the same bits."""
    checkpoint = CheckpointFile(training_inputs(train, settings))
    with training_bar(settings.num_iterations) as bar:
        model, _ = train_model(train, settings, on_progress=bar, checkpoint=checkpoint)
    checkpoint.remove()
    return model


def _log_model(connection: Connection, entry: Entry, model: Model, train: PreparedSet, test: PreparedSet) -> None:
    """Keep a model with the run of its configuration, and its scores by the exact engine.

    MLflow shows the scores of a model in its run as well. Where the run already shows the same to nine digits, its own
    number is written again, which adds no point to it.
    """
    from mlflow.entities import Metric, RunTag

    client, run = connection.client, connection.client.get_run(entry.run_id)
    start_time, step = run.info.start_time, int(entry.get_metric("iterations"))
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as folder:
        path = Path(folder, "model.h5")
        save_model(path, model)
        params = run_parameters(entry.settings)
        model_id = log_model(client, run, model, path=path, params=params, example=test.X[:1], step=step)
    points = []
    for name, prepared in (("train", train), ("test", test)):
        z = neuron.compute_z(prepared.X, model.parameters)
        scores = {f"{name}_accuracy": evaluate(z, prepared.Y, threshold=model.threshold)["accuracy"]}
        scores["cost" if name == "train" else "test_cost"] = neuron.cost(z, prepared.Y)
        for key, exact in scores.items():
            screened = entry.get_metric(key)
            value = screened if math.isclose(exact, screened, rel_tol=1e-9) else exact
            # Of two values at one step, MLflow shows the later one.
            points.append(Metric(key, value, start_time + int(value != screened), step, model_id))
    # Last: the tag marks the model as kept.
    client.log_batch(entry.run_id, metrics=points, tags=[RunTag(MODEL_SHA256, model.sha256)], synchronous=True)


def close_sweep(runs: ConfigurationRuns, parent_id: str, plan: Plan, drawing: Drawing) -> dict[str, str]:
    """Write what the sweep as a whole shows, and finish its run, whose id is `parent_id`.

    Returns
    -------
    dict of str to str
        Links to the best run, to the sweep and to saved views, by what they show, relative to the address of the UI.
    """
    from mlflow.entities import Metric, Param, RunTag

    client, entries = runs.connection.client, list(runs.entries.values())
    best = find_best(entries)
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as name:
        table, folder = Path(name, "configurations.csv"), drawing.wait()
        write_table(table, entries)
        (folder / "command.txt").write_text(f"{plan.command}\n", encoding="utf-8")
        with runs.writing():
            for run_id in runs.duplicates:
                delete_run(client, client.get_run(run_id))
            client.log_artifacts(parent_id, str(folder))
            client.log_artifact(parent_id, str(table))  # last: where the table is, the plots of its numbers are
            now = int(1000 * time.time())
            client.log_batch(
                parent_id,
                metrics=[Metric(key, value, now, 0) for key, value in _count(entries, best).items()],
                params=[Param(key, value) for key, value in fold_parameters(plan.sweep).items()],
                tags=[RunTag(NOTE, describe_sweep(runs, parent_id, plan)), RunTag(BEST, best.run_id if best else "")],
                synchronous=True,
            )
            _log_data(runs, parent_id)
            client.set_terminated(parent_id, "FINISHED")
            views = write_views(runs.connection, view_sweep(runs, parent_id, plan))
    seal(runs.connection, [parent_id])
    experiment_id = runs.connection.experiment_id
    links = {"the best run": link_run(experiment_id, best.run_id)} if best else {}
    return links | {"the sweep": link_run(experiment_id, parent_id)} | views


def abandon_sweep(connection: Connection, parent_id: str) -> None:
    """Mark a sweep as interrupted; the same command continues it."""
    with mlflow_errors(connection.store), hold_signals(connection.store):
        connection.client.set_terminated(parent_id, "KILLED")
    seal(connection, [parent_id])


def _count(entries: Sequence[Entry], best: Entry | None) -> dict[str, float]:
    """Return the numbers of a sweep as a whole, and those of the best configuration under their own names."""
    numbers = {"num_configurations": float(len(entries))}
    for status in (DIVERGED, FAILED):
        numbers[f"num_{status}"] = float(sum(entry.status == status for entry in entries))
    return numbers | {name: best.metrics[name] for name in MEASURES if best is not None and name in best.metrics}


def _log_data(runs: ConfigurationRuns, parent_id: str) -> None:
    """Add the data sets to the sweep's run, each once."""
    from mlflow.entities import DatasetInput, InputTag

    logged = runs.connection.client.get_run(parent_id).inputs
    known = {item.dataset.digest for item in (logged.dataset_inputs if logged else [])}
    inputs = []
    for files in dict.fromkeys(configuration.files for configuration in runs.requested.values()):
        train, test = load_data(files)
        for context, prepared, path in (("training", train, files.train), ("testing", test, files.test)):
            name = f"{prepared.source}-{context.removesuffix('ing')}"
            dataset = dataset_entry(name, prepared, path.relative_to(runs.connection.root))
            if dataset.digest not in known:
                inputs.append(DatasetInput(dataset, [InputTag(DATA_CONTEXT, context)]))
    if inputs:
        runs.connection.client.log_inputs(parent_id, inputs)
