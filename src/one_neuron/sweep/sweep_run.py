"""The MLflow run of a sweep: found again when the same command runs again, and the way from it to its best."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron import neuron
from one_neuron.metrics import evaluate
from one_neuron.settings.params import Settings
from one_neuron.storage.model import Model, save_model
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.sweep.configuration_runs import REMEDY, SOURCE, ConfigurationRuns, describe_folds
from one_neuron.sweep.plan import Plan
from one_neuron.sweep.plots import plot_accuracies, plot_curves, plot_heat_map
from one_neuron.sweep.prepared_data import DataFiles, load_data
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, find_best, rank
from one_neuron.sweep.summary import write_table
from one_neuron.tracking.connection import Connection, delete_run, mlflow_errors
from one_neuron.tracking.model import dataset_entry, log_model
from one_neuron.tracking.parameters import run_parameters
from one_neuron.tracking.store import hold_signals, store_lock
from one_neuron.tracking.tags import BEST, COMMAND, COMMITTED, KIND, MAX_TAG, MODEL_SHA256, PARENT, SWEEP_KEY, TOTAL

if TYPE_CHECKING:
    from mlflow.entities import Run

MOST_CURVES = 200  # in a plot; each of an earlier sweep has to be asked for


def open_sweep(connection: Connection, children: ConfigurationRuns, plan: Plan) -> str:
    """Look up what is there, and find the sweep's run: of the same grid, or one that this grid extends, or a new one.

    A grid extends a finished sweep that reused nothing when it asks for all of its configurations.

    Parameters
    ----------
    connection : Connection
    children : Children
        All that the sweep asks for.
    plan : Plan

    Returns
    -------
    str
        The id of the run.
    """
    with mlflow_errors(connection.store, REMEDY), store_lock(connection.store):
        children.look()
        parent_id = _find_parent(connection, children, plan)
        _adopt_orphans(connection, children, parent_id)
        for run_id, tags in children.moved.items():
            for name, value in tags.items():
                connection.client.set_tag(run_id, name, value)
    return parent_id


def _find_parent(connection: Connection, children: ConfigurationRuns, plan: Plan) -> str:
    """Return the id of the sweep's run; make it if there is none."""
    client, keys = connection.client, children.wanted
    sweep_key = sha256("\n".join(sorted(keys)).encode("ascii")).hexdigest()
    same = client.search_runs(
        [connection.experiment_id],
        filter_string=f"tags.`{SWEEP_KEY}` = '{sweep_key}'",
        order_by=["attributes.start_time ASC"],
    )
    run = same[0] if same else _find_extended(connection, children, plan)
    tags = {
        SWEEP_KEY: sweep_key,
        TOTAL: str(len(keys)),
        COMMAND: plan.command[:MAX_TAG],
        COMMITTED: _committed(plan),
    }
    tags["mlflow.note.content"] = _write_note(plan)
    if run is None:
        tags |= {KIND: "sweep", "mlflow.user": connection.origin.user, **SOURCE}
        if connection.origin.commit:
            tags["mlflow.source.git.commit"] = connection.origin.commit
        return str(client.create_run(connection.experiment_id, run_name=_name(plan), tags=tags).info.run_id)
    for name, value in tags.items():
        client.set_tag(run.info.run_id, name, value)
    client.update_run(run.info.run_id, status="RUNNING", name=_name(plan))
    return str(run.info.run_id)


def _find_extended(connection: Connection, children: ConfigurationRuns, plan: Plan) -> "Run | None":
    """Return the largest sweep whose configurations are all asked for, of the same file where they come from one."""
    from mlflow.exceptions import MlflowException

    for parent_id, tried in sorted(children.parents.items(), key=lambda item: (-len(item[1]), item[0])):
        if not parent_id or not tried <= children.wanted:
            continue
        try:
            run = connection.client.get_run(parent_id)
        except MlflowException:
            continue
        # Its children are all that it was asked for: nothing was reused, and it was not broken off.
        whole = run.info.status == "FINISHED" and run.data.tags.get(TOTAL) == str(len(tried))
        if run.info.lifecycle_stage == "active" and whole and run.data.tags.get(COMMITTED) == _committed(plan):
            return run
    return None


def _adopt_orphans(connection: Connection, children: ConfigurationRuns, parent_id: str) -> None:
    """Take over finished configurations whose own sweep was deleted, so that they show up somewhere."""
    from mlflow.exceptions import MlflowException

    by_key = {key: parent for parent, keys in children.parents.items() for key in keys}
    for parent in set(by_key.values()) - {parent_id}:
        try:
            alive = bool(parent) and connection.client.get_run(parent).info.lifecycle_stage == "active"
        except MlflowException:
            alive = False
        for key, entry in children.entries.items():
            if not alive and by_key[key] == parent:
                connection.client.set_tag(entry.run_id, PARENT, parent_id)


def keep_models(
    connection: Connection,
    children: ConfigurationRuns,
    number: int,
    train: Callable[[Settings], tuple[Model, PreparedSet, PreparedSet]],
) -> None:
    """Train the best again, exactly, and keep their models.

    Parameters
    ----------
    connection : Connection
    children : Children
        All that the sweep asks for.
    number : int
        How many.
    train : callable
        Gives the model of a configuration, and its training and test sets.
    """
    best = {entry.run_id for entry in rank(children.entries.values())[:number] if entry.status == FINISHED}
    for key, entry in children.entries.items():
        if entry.run_id in best and not entry.model_sha256:
            model, training, test = train(entry.settings)
            store = connection.store
            with mlflow_errors(store, REMEDY), store_lock(store), hold_signals(store):
                _log_model(connection, entry, model, training, test)
            children.entries[key] = replace(entry, model_sha256=model.sha256)


def _log_model(connection: Connection, entry: Entry, model: Model, train: PreparedSet, test: PreparedSet) -> None:
    """Keep a model with the run of its configuration, and what the exact engine measured."""
    from mlflow.entities import Metric, RunTag

    client, run = connection.client, connection.client.get_run(entry.run_id)
    start_time, step = run.info.start_time, int(entry.get_metric("iterations"))
    points = []
    for name, prepared in (("train", train), ("test", test)):
        z = neuron.compute_z(prepared.X, model.parameters)
        accuracy = evaluate(z, prepared.Y, threshold=model.threshold)["accuracy"]
        points.append(Metric(f"exact_{name}_accuracy", accuracy, start_time, step))
        points.append(Metric(f"exact_{name}_cost", neuron.cost(z, prepared.Y), start_time, step))
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as folder:
        path = Path(folder, "model.h5")
        save_model(path, model)
        params = run_parameters(entry.settings)
        log_model(client, run, model, path=path, params=params, example=test.X[:1], step=step)
    # Last: with the tag it counts as kept.
    client.log_batch(entry.run_id, metrics=points, tags=[RunTag(MODEL_SHA256, model.sha256)], synchronous=True)


def close_sweep(
    connection: Connection, children: ConfigurationRuns, parent_id: str, plan: Plan, data: Mapping[str, DataFiles]
) -> None:
    """Write what the sweep as a whole shows, and finish its run.

    Parameters
    ----------
    connection : Connection
    children : Children
        All that the sweep asks for.
    parent_id : str
        The run of the sweep.
    plan : Plan
    data : mapping of str to DataFiles
    """
    from mlflow.entities import Metric, Param, RunTag

    client, entries = connection.client, list(children.entries.values())
    best = find_best(entries)
    with tempfile.TemporaryDirectory(prefix="one-neuron-") as name:
        folder = Path(name)
        write_table(folder / "configurations.csv", entries)
        plot_heat_map(folder / "heat_map.png", entries)
        plot_accuracies(folder / "accuracies.png", entries)
        plot_curves(folder / "curves.png", _find_curves(connection, children))
        (folder / "command.txt").write_text(f"{plan.command}\n", encoding="utf-8")
        store = connection.store
        with mlflow_errors(store, REMEDY), store_lock(store), hold_signals(store):
            for run in children.doubles:
                delete_run(client, run)
            client.log_artifacts(parent_id, str(folder))
            now = int(1000 * time.time())
            numbers = _count(entries, best)
            client.log_batch(
                parent_id,
                metrics=[Metric(key, value, now, 0) for key, value in numbers.items()],
                params=[Param(key, value) for key, value in describe_folds(plan.sweep).items()],
                tags=[RunTag(BEST, best.run_id)] if best else [],
                synchronous=True,
            )
            _log_data(connection, parent_id, data)
            client.set_terminated(parent_id, "FINISHED")


def abandon_sweep(connection: Connection, parent_id: str) -> None:
    """Mark a sweep that was interrupted; the same command goes on with it.

    Parameters
    ----------
    connection : Connection
    parent_id : str
        The run of the sweep.
    """
    with mlflow_errors(connection.store, REMEDY), hold_signals(connection.store):
        connection.client.set_terminated(parent_id, "KILLED")


def _find_curves(connection: Connection, children: ConfigurationRuns) -> list[tuple[Entry, list[tuple[int, float]]]]:
    """Return cost curves for the plot: the longest of each training, and the best; earlier ones are asked for."""
    longest: dict[str, tuple[str, Entry]] = {}
    for key, entry in children.entries.items():
        train = entry.settings.train
        name = str(replace(entry.settings, train=replace(train, num_iterations=1)))
        if name not in longest or longest[name][1].settings.train.num_iterations < train.num_iterations:
            longest[name] = (key, entry)
    shown = list(longest.values())
    if len(shown) > MOST_CURVES:
        shown = [shown[round(i * (len(shown) - 1) / (MOST_CURVES - 1))] for i in range(MOST_CURVES)]
    best = find_best(children.entries.values())
    shown += [(key, entry) for key, entry in children.entries.items() if entry is best and (key, entry) not in shown]
    curves = []
    with mlflow_errors(connection.store, REMEDY), hold_signals(connection.store):
        for key, entry in shown:
            curve = children.curves.get(key)
            if curve is None:
                history = connection.client.get_metric_history(entry.run_id, "cost")
                curve = sorted((point.step, point.value) for point in history)
            if curve:
                curves.append((entry, curve))
    return curves


def _count(entries: Sequence[Entry], best: Entry | None) -> dict[str, float]:
    """Return the numbers of a sweep as a whole; `best_*` of a single run mean something else."""
    numbers = {"num_configurations": float(len(entries))}
    for status in (FINISHED, DIVERGED, FAILED):
        numbers[f"num_{status}"] = float(sum(entry.status == status for entry in entries))
    if best is not None:
        names = ("validation_accuracy", "final_validation_cost", "train_accuracy", "test_accuracy", "final_cost")
        numbers |= {f"chosen_{name}": best.metrics[name] for name in names if name in best.metrics}
        train = best.settings.train
        numbers |= {"chosen_learning_rate": train.learning_rate, "chosen_num_iterations": float(train.num_iterations)}
    return numbers


def _log_data(connection: Connection, parent_id: str, data: Mapping[str, DataFiles]) -> None:
    """Name the data sets, once."""
    from mlflow.entities import DatasetInput, InputTag

    logged = connection.client.get_run(parent_id).inputs
    known = {item.dataset.digest for item in (logged.dataset_inputs if logged else [])}
    inputs = []
    for files in data.values():
        for context, prepared, path in zip(
            ("training", "testing"), load_data(files), (files.train, files.test), strict=True
        ):
            dataset = dataset_entry(f"{prepared.source}-{context[:-3]}", prepared, path.relative_to(connection.root))
            if dataset.digest not in known:
                inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    if inputs:
        connection.client.log_inputs(parent_id, inputs)


def _committed(plan: Plan) -> str:
    """Return "sweep=NAME" where the grid is a file of conf/sweep, else ""."""
    return next((text for text in plan.overrides if text.startswith("sweep=")), "")


def _name(plan: Plan) -> str:
    """Return a name that tells what is tried."""
    words = " x ".join(key.partition(".")[2] for key in plan.swept)
    source = plan.configurations[0].data.source
    return " ".join(filter(None, [_committed(plan), source, words or "one configuration"]))


def _write_note(plan: Plan) -> str:
    """Return the description of a sweep, in Markdown."""
    chosen = (
        f"The best is chosen by {plan.sweep.folds}-fold cross-validation on the training set (accuracy, ties by cost)."
        if plan.sweep.folds
        else "Nothing was held out (sweep.folds = 0): the best is the one with the lowest training cost."
    )
    # No parameters of the run: MLflow cannot take back one that a larger grid sweeps.
    shared = run_parameters(plan.configurations[0]).items()
    words = ", ".join(f"{key}={value}" for key, value in shared if key not in plan.swept and "evaluate." not in key)
    return (
        f"{len(plan.configurations)} configurations, all with {words}. {chosen} Test accuracy is for information and "
        f"has no say.\n\n```\n{plan.command}\n```\n\nPromote the best: `one-neuron promote --sweep <this run's id>`, "
        "then `dvc repro`. What is finished is not run again.\n"
    )
