"""The MLflow runs of the configurations of a sweep: which ones the store has, and adding the missing ones, each once.

The store's lock is held for a chunk of runs at a time. Under it, the runs that other processes have added are read
first, so sweeps that run at the same moment never write a configuration twice.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from one_neuron.errors import StoreOutage
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.configuration_description import downsample_curve, fold_parameters, outcome_tags
from one_neuron.sweep.ranking import FAILED, FINISHED, Entry, find_best, rank
from one_neuron.sweep.screening import Outcome
from one_neuron.sweep.summary import describe_configuration
from one_neuron.tracking import http_limits
from one_neuron.tracking import tags as tag_names
from one_neuron.tracking.bulk import NewRun, find_database, read_runs, write_runs
from one_neuron.tracking.connection import Connection, mlflow_errors
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.parameters import data_location_tags, origin_tags, run_parameters
from one_neuron.tracking.spool import connect_to_spool, seal
from one_neuron.tracking.sqlite_file import SWEEPS
from one_neuron.tracking.store import hold_signals, store_lock

if TYPE_CHECKING:
    from mlflow.entities import Run

REMEDY = Remedy("run the same command again", "what is recorded stays")
SCRIPT = "pipeline/sweep.py"
_CHUNK, _CLIENT_CHUNK = 500, 50  # runs that are written under one lock, at once or one by one: about a second
_PAUSE_SECONDS = 0.06  # lets other processes take the lock: they ask for it 20 times a second
_LOCAL_CLOCK_MS = 1_000  # how far the times of runs in a file of this machine may be off
_SERVER_CLOCK_MS = 60_000  # how far the clocks of the machines that use a server may differ


class ConfigurationRuns:
    """The runs of the configurations that a sweep requests.

    Attributes
    ----------
    requested : dict of str to Configuration
        The configurations, by content key.
    entries : dict of str to Entry
        What is known of them, by content key.
    best : Entry or None
        Of the entries.
    curves, validation_curves : dict of str to list of (int, float)
        The downsampled cost curves of the runs that were written here, on the training set and, if there are folds, on
        the held-out pictures.
    keys_by_sweep : dict of str to set of str
        For each sweep in the store, by run id, the content keys of its configurations, requested or not.
    moved : dict of str to dict
        New tags for finished runs whose pictures now lie elsewhere, or are read in another way, by run id.
    duplicates : set of str
        The ids of later runs of a finished configuration: only machines without a common lock can write them.
    present : set of str
        The content keys of the entries whose runs are in the store of the connection.
    parent_id : str
        The run of the sweep in that store; "" if there is none yet, or for a single configuration.
    outage : StoreOutage or None
        Why the connection is to the spool; None if it is to the store itself.
    """

    def __init__(self, connection: Connection, configurations: Iterable[Configuration]) -> None:
        self.connection = connection
        self.parent_id = ""
        self.outage: StoreOutage | None = None
        self.present: set[str] = set()
        self.requested: dict[str, Configuration] = {}
        self.entries: dict[str, Entry] = {}
        self.best: Entry | None = None
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.validation_curves: dict[str, list[tuple[int, float]]] = {}
        self.keys_by_sweep: dict[str, set[str]] = {}
        self.moved: dict[str, dict[str, str]] = {}
        self.duplicates: set[str] = set()
        self._unfinished: dict[str, Run] = {}
        self._others: dict[str, list[Run]] = {}  # of configurations that are not requested yet, by content key
        self._refreshed: dict[str, int] = {}  # when a context was read last, in milliseconds since 1970
        self.request(configurations)

    def use_spool(self, outage: StoreOutage) -> None:
        """Go on with the spool, because the store cannot be used. What is known of finished configurations stays known.

        Raises
        ------
        StoreOutage
            `outage`, if the spool is what cannot be used.
        """
        if self.connection.store.waits_for:
            raise outage
        self.connection = connect_to_spool(self.connection.root, SWEEPS, outage)
        self.parent_id, self.outage = "", outage
        for known in (self.present, self.keys_by_sweep, self.moved, self.duplicates):
            known.clear()
        for earlier in (self._unfinished, self._others, self._refreshed):
            earlier.clear()

    def request(self, configurations: Iterable[Configuration]) -> None:
        """Request more configurations; what was read of them before counts, but the store is not read again."""
        for configuration in configurations:
            self.requested[configuration.key] = configuration
            for run in self._others.pop(configuration.key, []):
                self._add_run(run)

    @property
    def finished(self) -> set[str]:
        """The content keys of the configurations that have finished or diverged."""
        return {key for key, entry in self.entries.items() if entry.status != FAILED}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock and defer signals during a `with` block."""
        store = self.connection.store
        http_limits.BUDGET.restart()
        with mlflow_errors(store), store_lock(store), hold_signals(store):
            yield

    def refresh_under_lock(self) -> None:
        """Take the store's lock and read what other processes have written."""
        with self.writing():
            self.refresh()

    def refresh(self) -> None:
        """Read the runs that were added to the store since the last call. The store's lock must be held."""
        margin = _SERVER_CLOCK_MS if self.connection.store.database is None else _LOCAL_CLOCK_MS
        now = int(1000 * time.time())
        for context in sorted({configuration.context for configuration in self.requested.values()}):
            since = max(0, self._refreshed.get(context, 0) - margin)
            for run in read_runs(self.connection, context, since):
                self._add_run(run)
            self._refreshed[context] = now

    def _add_run(self, run: "Run") -> None:
        """Add a run of the store."""
        tags, run_id = run.data.tags, run.info.run_id
        key = tags[tag_names.KEYS].split()[-1]
        self.keys_by_sweep.setdefault(tags.get(tag_names.PARENT, ""), set()).add(key)
        if key not in self.requested:
            self._others.setdefault(key, []).append(run)
            return
        if run.info.status != "FINISHED":
            if self.connection.is_interrupted(run):
                self._unfinished[key] = run
            return
        known, settings = self.entries.get(key), self.requested[key].settings
        if known is not None and known.status != FAILED and known.run_id != run_id:
            if (
                not self.connection.store.waits_for
            ):  # in the spool, it is the run of a chunk of which the store has a part
                self.duplicates.add(run_id)
            return
        if (location := data_location_tags(settings)).items() - tags.items():
            self.moved[run_id] = location
        entry = Entry(
            run_id=run_id,
            settings=settings,
            status=tags.get(tag_names.STATUS, FINISHED),
            reason=tags.get(tag_names.REASON, ""),
            metrics=dict(run.data.metrics),
            model_sha256=tags.get(tag_names.MODEL_SHA256, ""),
        )
        self._add_entry(key, entry)

    def _add_entry(self, key: str, entry: Entry) -> None:
        """Set what is known of a configuration whose run is in the store."""
        self.entries[key] = entry
        self.present.add(key)
        self.best = find_best(filter(None, [self.best, entry]))

    def record(
        self,
        parent_id: str,
        outcomes: Sequence[tuple[str, Outcome | str]],
        *,
        sweep: SweepSettings,
        names: Mapping[str, str],
        on_progress: Callable[[], None] | None = None,
    ) -> None:
        """Write a run for each configuration that has none yet, as part of the sweep whose run is `parent_id`.

        If the store cannot be used, go on with the spool.

        Parameters
        ----------
        parent_id : str
            "" for a run that is not part of a sweep.
        outcomes : sequence of (str, Outcome or str)
            Content keys, each with the outcome or with the reason why the training failed.
        sweep : SweepSettings
        names : mapping of str to str
            The names of the runs by content key; see `name_configurations`.
        on_progress : callable, optional
            Called after each chunk of runs.

        Raises
        ------
        EnvironmentProblem
            If the spool cannot be used either.
        """
        outcomes = self._sort(outcomes)
        try:
            self._write(parent_id, outcomes, sweep, names, on_progress)
        except StoreOutage as outage:
            self.use_spool(outage)
            self._write(parent_id, outcomes, sweep, names, on_progress)

    def _write(
        self,
        parent_id: str,
        outcomes: Sequence[tuple[str, Outcome | str]],
        sweep: SweepSettings,
        names: Mapping[str, str],
        on_progress: Callable[[], None] | None,
    ) -> None:
        """Write the missing runs, a chunk at a time."""
        with mlflow_errors(self.connection.store):
            is_slow = find_database(self.connection) is None or self._unfinished
        size = _CLIENT_CHUNK if is_slow else _CHUNK
        for start in range(0, len(outcomes), size):
            if start:
                time.sleep(_PAUSE_SECONDS)
            with self.writing():
                self.refresh()
                finished = self.finished
                missing = {key: outcome for key, outcome in outcomes[start : start + size] if key not in finished}
                runs = [self._describe(key, result, parent_id, sweep, names[key]) for key, result in missing.items()]
                ids = write_runs(self.connection, runs)
                for key, run, run_id in zip(missing, runs, ids, strict=True):
                    self._unfinished.pop(key, None)
                    last = {name: value for name, value, _ in run.points}
                    status, reason = run.tags[tag_names.STATUS], run.tags.get(tag_names.REASON, "")
                    self._add_entry(key, Entry(run_id, self.requested[key].settings, status, reason, last))
            seal(self.connection, ids)
            if on_progress is not None:
                on_progress()

    def _sort(self, outcomes: Sequence[tuple[str, Outcome | str]]) -> list[tuple[str, Outcome | str]]:
        """Return the outcomes with the best last: of runs with equal scores, MLflow shows the newest first."""
        found = dict(outcomes)
        ranked = rank(self._make_entry(key, outcome) for key, outcome in found.items())
        return [(entry.run_id, found[entry.run_id]) for entry in reversed(ranked)]

    def _make_entry(self, key: str, outcome: Outcome | str) -> Entry:
        """Return what an outcome says of a configuration that has no run yet; its key stands for the id of the run."""
        tags, settings = outcome_tags(outcome), self.requested[key].settings
        measures = outcome.measures if isinstance(outcome, Outcome) else {}
        return Entry(key, settings, tags[tag_names.STATUS], tags.get(tag_names.REASON, ""), measures)

    def _describe(self, key: str, outcome: Outcome | str, parent_id: str, sweep: SweepSettings, name: str) -> NewRun:
        """Return the run of a configuration as it is to be written."""
        settings, unfinished = self.requested[key].settings, self._unfinished.get(key)
        tags = {
            tag_names.KEYS: f"{self.requested[key].context} {key}",
            **({tag_names.PARENT: parent_id} if parent_id else {}),
            tag_names.KIND: "configuration",
            **origin_tags(self.connection.origin, SCRIPT),
            **self.connection.recorder_tags,
            **data_location_tags(settings),
            # A run that failed before has a reason, which must not stay.
            **({tag_names.REASON: ""} if unfinished else {}),
            **outcome_tags(outcome),
            tag_names.NOTE: describe_configuration(self._make_entry(key, outcome)),
        }
        params = {name: value for name, value in run_parameters(settings).items() if not name.startswith("evaluate")}
        points: list[tuple[str, float, int]] = []
        if isinstance(outcome, Outcome):
            self.curves[key] = downsample_curve(outcome.iterations, outcome.train_costs)
            self.validation_curves[key] = downsample_curve(outcome.iterations, outcome.validation_costs)
            for measure, curve in (("cost", self.curves[key]), ("validation_cost", self.validation_curves[key])):
                points += [(measure, cost, iteration) for iteration, cost in curve]
            last = outcome.iterations[-1]
            curves = {name for name, _, _ in points}  # their last points are measures already
            points += [(measure, value, last) for measure, value in outcome.measures.items() if measure not in curves]
        return NewRun(
            name=name,
            tags=tags,
            params=params | fold_parameters(sweep),
            points=points,
            status="FAILED" if tags[tag_names.STATUS] == FAILED else "FINISHED",
            unfinished=unfinished,
        )
