"""The MLflow runs of single configurations: which are there, and the missing ones, each once.

A lock on the store is held for a few dozen runs at a time, and under it what others have written meanwhile is looked up
first: sweeps that run at the same moment share the work's outcome and never write a configuration twice.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from one_neuron.settings.params import Settings
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.ranking import DIVERGED, FAILED, FINISHED, Entry, find_best
from one_neuron.sweep.screening import Outcome
from one_neuron.tracking.connection import ABANDONED_SECONDS, Connection, mlflow_errors
from one_neuron.tracking.parameters import data_location, data_location_tags, run_parameters
from one_neuron.tracking.store import hold_signals, store_lock
from one_neuron.tracking.tags import (
    CONTENT_KEY,
    CONTEXT,
    DIVERGED_AT,
    HAS_DIVERGED,
    KIND,
    MODEL_SHA256,
    PARENT,
    REASON,
    STATUS,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

SOURCE = {"mlflow.source.name": "pipeline/sweep.py", "mlflow.source.type": "LOCAL"}
REMEDY = "what is recorded stays; run the same command again when it is back"
CURVE_POINTS = 21  # the records of the course's 2,000 iterations, and every second one of 4,000
_CHUNK = 50  # runs for which the lock is held: about a second
_PAUSE_SECONDS = 0.06  # then others get their turn: they ask for the lock 20 times a second
_CLOCK_MS = {True: 1_000, False: 60_000}  # how far clocks may differ: on this machine, among those of a server


class ConfigurationRuns:
    """The runs of the configurations that a sweep asks for.

    Parameters
    ----------
    connection : Connection

    Attributes
    ----------
    entries : dict of str to Entry
        What is known of the configurations, by content key.
    best : Entry or None
        Of the entries.
    curves : dict of str to list of (int, float)
        The thinned cost curves of those that were written here.
    parents : dict of str to set of str
        For each sweep in the store the keys of its configurations, asked for or not.
    moved : dict of str to dict
        The tags of finished runs whose pictures now lie elsewhere, or are read in another way.
    seconds : float
        Spent on training in this process.
    """

    def __init__(self, connection: Connection) -> None:
        self.entries: dict[str, Entry] = {}
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.parents: dict[str, set[str]] = {}
        self.moved: dict[str, dict[str, str]] = {}
        self._broken_off: dict[str, Run] = {}
        self._doubles: dict[str, list[Run]] = {}
        self.seconds = 0.0
        self.connection = connection
        self.best: Entry | None = None
        self._looked: dict[str, int] = {}  # when a context was looked up last, in milliseconds since 1970
        self._new: set[str] = set()  # ids of the runs written here
        self._before: set[str] | None = None
        self._wanted: dict[str, Settings] = {}
        self._contexts: dict[str, str] = {}

    def want(self, settings: Settings, key: str, context: str) -> None:
        """Ask for a configuration.

        Parameters
        ----------
        settings : Settings
        key, context : str
            See `state.find_keys`.
        """
        self._wanted[key], self._contexts[key] = settings, context

    @property
    def wanted(self) -> set[str]:
        """The content keys of all that is asked for."""
        return set(self._wanted)

    @property
    def doubles(self) -> list["Run"]:
        """Later runs of the same configurations, which only machines without a common lock can make."""
        return [run for runs in self._doubles.values() for run in runs]

    @property
    def finished(self) -> set[str]:
        """The content keys of what need not be run again."""
        return {key for key, entry in self.entries.items() if entry.status != FAILED}

    def begin(self) -> None:
        """From now on, what turns up is new: jobs may run in other processes."""
        self._before = self.finished

    def look_again(self) -> None:
        """Take in what other processes have written; takes the lock."""
        store = self.connection.store
        with mlflow_errors(store, REMEDY), store_lock(store), hold_signals(store):
            self.look()

    def look(self) -> None:
        """Take in what is in the store and was not there at the last look. The lock must be held."""
        store, client = self.connection.store, self.connection.client
        margin = _CLOCK_MS[store.database is not None]
        now = int(1000 * time.time())
        for context in sorted(set(self._contexts.values())):
            since = self._looked.get(context, 0) - margin
            filters = f"tags.`{CONTEXT}` = '{context}' AND attributes.start_time >= {max(0, since)}"
            token = None
            while True:
                page = client.search_runs(
                    [self.connection.experiment_id],
                    filter_string=filters,
                    max_results=1000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                for run in page:
                    self._take_in(run)
                token = page.token
                if not token:
                    break
            self._looked[context] = now

    def _take_in(self, run: "Run") -> None:
        """Note a run of the store."""
        key = run.data.tags.get(CONTENT_KEY, "")
        self.parents.setdefault(run.data.tags.get(PARENT, ""), set()).add(key)
        if key not in self._wanted or run.info.run_id in self._new:
            return
        if run.info.status != "FINISHED":
            # The lock says that nobody is at work on it in our own file; on a server another machine may be.
            age = time.time() - run.info.start_time / 1000
            if self.connection.store.database or age > ABANDONED_SECONDS or run.info.status == "FAILED":
                self._broken_off[key] = run
            return
        known = self.entries.get(key)
        if known is not None and known.status != FAILED and known.run_id != run.info.run_id:
            self._doubles.setdefault(key, []).append(run)
            return
        tags = run.data.tags
        if (ways := data_location_tags(self._wanted[key])).items() - tags.items():
            self.moved[run.info.run_id] = ways
        entry = Entry(
            run_id=run.info.run_id,
            settings=self._wanted[key],
            status=tags.get(STATUS, FINISHED),
            reason=tags.get(REASON, ""),
            metrics=dict(run.data.metrics),
            reused=self._before is None or key in self._before,
            model_sha256=tags.get(MODEL_SHA256, ""),
        )
        self._keep(key, entry)

    def record(
        self,
        parent_id: str,
        outcomes: Sequence[tuple[str, Outcome | str]],
        *,
        sweep: SweepSettings,
        swept: Sequence[str],
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        """Write a run for each configuration that has none yet.

        Parameters
        ----------
        parent_id : str
            The run of the sweep.
        outcomes : sequence of (str, Outcome or str)
            Content keys, each with what came out or with why it failed.
        sweep : SweepSettings
            Folds and their seed, for the parameters.
        swept : sequence of str
            The keys with more than one value, for the names.
        on_progress : callable, optional
            Called now and then.

        Raises
        ------
        EnvironmentProblem
            If the store cannot be used.
        """
        for start in range(0, len(outcomes), _CHUNK):
            chunk = outcomes[start : start + _CHUNK]
            if start:
                time.sleep(_PAUSE_SECONDS)
            with mlflow_errors(self.connection.store, REMEDY), store_lock(self.connection.store):
                with hold_signals(self.connection.store):
                    self.look()
                finished = self.finished
                for key, outcome in chunk:
                    if key not in finished:
                        with hold_signals(self.connection.store):
                            self._write(parent_id, key, outcome, sweep, swept)
            if on_progress is not None:
                on_progress()

    def _write(
        self, parent_id: str, key: str, outcome: Outcome | str, sweep: SweepSettings, swept: Sequence[str]
    ) -> None:
        """Write one run; doing it twice leaves the same as doing it once."""
        from mlflow.entities import Metric, Param, RunTag

        client, settings = self.connection.client, self._wanted[key]
        params = {name: value for name, value in run_parameters(settings).items() if not name.startswith("evaluate")}
        tags = {CONTENT_KEY: key, PARENT: parent_id, KIND: "configuration", **self._tags_of(key, outcome)}
        run = self._broken_off.pop(key, None)
        if run is None:
            shown = params | data_location(settings)
            name = " ".join(f"{name.partition('.')[2]}={shown[name]}" for name in swept if name in shown)
            run = client.create_run(self.connection.experiment_id, run_name=name or "configuration", tags=tags)
            tags = {}  # in one go: each call waits for the disk
        params |= describe_folds(sweep)
        # The time of every point is the start of the run: a second attempt then adds no rows.
        points = [Metric(name, value, run.info.start_time, step) for name, value, step in list_points(outcome)]
        client.log_batch(
            run.info.run_id,
            metrics=points,
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
            synchronous=True,
        )
        entry = Entry(run.info.run_id, settings, FAILED, str(outcome))
        if isinstance(outcome, Outcome):
            status = FINISHED if outcome.diverged_at is None else DIVERGED
            entry = replace(entry, status=status, reason=outcome.reason, metrics=outcome.measures)
            self.curves[key] = thin(outcome.iterations, outcome.train_costs)
        client.set_terminated(entry.run_id, "FAILED" if entry.status == FAILED else "FINISHED")
        if entry.status != FAILED:
            self._new.add(entry.run_id)
        self._keep(key, entry)

    def _keep(self, key: str, entry: Entry) -> None:
        """Note what became of a configuration."""
        self.entries[key] = entry
        self.best = find_best(filter(None, [self.best, entry]))

    def _tags_of(self, key: str, outcome: Outcome | str) -> dict[str, str]:
        """Return the tags that say what came out, what it can be compared with, and who made it."""
        origin = self.connection.origin
        tags = {
            CONTEXT: self._contexts[key],
            "mlflow.user": origin.user,
            **SOURCE,
            **data_location_tags(self._wanted[key]),
        }
        if origin.commit:
            tags |= {"mlflow.source.git.commit": origin.commit, "git.dirty": str(origin.dirty).lower()}
        if not isinstance(outcome, Outcome):
            return tags | {STATUS: FAILED, REASON: outcome}
        if outcome.diverged_at is None:
            return tags | {STATUS: FINISHED, REASON: ""}
        diverged = {HAS_DIVERGED: "true", DIVERGED_AT: str(outcome.diverged_at)}
        return tags | {STATUS: DIVERGED, REASON: outcome.reason} | diverged


def describe_folds(sweep: SweepSettings) -> dict[str, str]:
    """Return the parameters of a run that say what was held out; without folds their seed is none.

    Parameters
    ----------
    sweep : SweepSettings
    """
    seed = {"sweep.seed": str(sweep.seed)} if sweep.folds else {}
    return {"sweep.folds": str(sweep.folds)} | seed


def list_points(outcome: Outcome | str) -> list[tuple[str, float, int]]:
    """Return what a run shows as metrics: name, value and iteration of each point.

    Parameters
    ----------
    outcome : Outcome or str
        The latter says why it failed: nothing is shown.
    """
    if not isinstance(outcome, Outcome):
        return []
    curves = {"cost": outcome.train_costs, "validation_cost": outcome.validation_costs}
    points = [
        (name, cost, iteration) for name, costs in curves.items() for iteration, cost in thin(outcome.iterations, costs)
    ]
    return points + [(name, value, outcome.iterations[-1]) for name, value in outcome.measures.items()]


def thin(iterations: Sequence[int], costs: Sequence[float], most: int = CURVE_POINTS) -> list[tuple[int, float]]:
    """Return at most so many points of a curve, evenly spread, with both ends; those that are not finite are left out.

    Parameters
    ----------
    iterations : sequence of int
    costs : sequence of float
        As many, or none.
    most : int
        At least 2.
    """
    curve = [point for point in zip(iterations, costs, strict=False) if math.isfinite(point[1])]
    if len(curve) <= most:
        return curve
    return [curve[round(i * (len(curve) - 1) / (most - 1))] for i in range(most)]
