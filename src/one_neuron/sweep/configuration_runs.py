"""The MLflow runs of the configurations of a sweep: which ones the store has, and adding the missing ones, each once.

The store's lock is held for a few dozen runs at a time. Under it, the runs that other processes have added are read
first, so sweeps that run at the same moment never write a configuration twice.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.ranking import FAILED, FINISHED, Entry, find_best
from one_neuron.sweep.screening import Outcome
from one_neuron.sweep.write_run import downsample_curve, write_run
from one_neuron.tracking.connection import Connection, mlflow_errors
from one_neuron.tracking.parameters import data_location_tags
from one_neuron.tracking.store import hold_signals, store_lock
from one_neuron.tracking.tags import CONTENT_KEY, CONTEXT, MODEL_SHA256, PARENT, REASON, STATUS

if TYPE_CHECKING:
    from mlflow.entities import Run

REMEDY = "what is recorded stays; run the same command again when it is back"
_CHUNK = 50  # runs that are written under one lock: about a second
_PAUSE_SECONDS = 0.06  # lets other processes take the lock: they ask for it 20 times a second
_CLOCK_MS = {True: 1_000, False: 60_000}  # how far clocks may differ: on this machine, or between machines of a server


@contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """Hold the store's lock inside a `with` block, and signals until its end."""
    with mlflow_errors(connection.store, REMEDY), store_lock(connection.store), hold_signals(connection.store):
        yield


class ConfigurationRuns:
    """The runs of the configurations that a sweep asks for.

    Parameters
    ----------
    connection : Connection
    configurations : iterable of Configuration
        The requested ones.

    Attributes
    ----------
    requested : dict of str to Configuration
        The same, by content key.
    entries : dict of str to Entry
        What is known of them, by content key.
    best : Entry or None
        Of the entries.
    curves : dict of str to list of (int, float)
        The downsampled cost curves of the runs that were written here.
    tried : dict of str to set of str
        For each sweep in the store the keys of its configurations, requested or not.
    moved : dict of str to dict
        New tags for finished runs whose pictures now lie elsewhere, or are read in another way, by run id.
    duplicates : dict of str to Run
        Later runs of a finished configuration, by run id: only machines without a common lock can write them.
    """

    def __init__(self, connection: Connection, configurations: Iterable[Configuration]) -> None:
        self.connection = connection
        self.requested = {configuration.key: configuration for configuration in configurations}
        self.entries: dict[str, Entry] = {}
        self.best: Entry | None = None
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.tried: dict[str, set[str]] = {}
        self.moved: dict[str, dict[str, str]] = {}
        self.duplicates: dict[str, Run] = {}
        self._unfinished: dict[str, Run] = {}
        self._refreshed: dict[str, int] = {}  # when a context was read last, in milliseconds since 1970

    @property
    def finished(self) -> set[str]:
        """The content keys of the configurations that have finished or diverged."""
        return {key for key, entry in self.entries.items() if entry.status != FAILED}

    def refresh_under_lock(self) -> None:
        """Take the store's lock and read what other processes have written."""
        with writing(self.connection):
            self.refresh()

    def refresh(self) -> None:
        """Read the runs that were added to the store since the last call. The store's lock must be held."""
        margin, now = _CLOCK_MS[self.connection.store.database is not None], int(1000 * time.time())
        for context in sorted({configuration.context for configuration in self.requested.values()}):
            since = max(0, self._refreshed.get(context, 0) - margin)
            token: str | None = None
            while True:
                page = self.connection.client.search_runs(
                    [self.connection.experiment_id],
                    filter_string=f"tags.`{CONTEXT}` = '{context}' AND attributes.start_time >= {since}",
                    max_results=1000,
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                for run in page:
                    self._add_run(run)
                token = page.token
                if not token:
                    break
            self._refreshed[context] = now

    def _add_run(self, run: "Run") -> None:
        """Add a run of the store."""
        tags, run_id = run.data.tags, run.info.run_id
        key = tags.get(CONTENT_KEY, "")
        self.tried.setdefault(tags.get(PARENT, ""), set()).add(key)
        if key not in self.requested:
            return
        if run.info.status != "FINISHED":
            if self.connection.is_interrupted(run):
                self._unfinished[key] = run
            return
        known, settings = self.entries.get(key), self.requested[key].settings
        if known is not None and known.status != FAILED and known.run_id != run_id:
            self.duplicates[run_id] = run
            return
        if (location := data_location_tags(settings)).items() - tags.items():
            self.moved[run_id] = location
        entry = Entry(
            run_id=run_id,
            settings=settings,
            status=tags.get(STATUS, FINISHED),
            reason=tags.get(REASON, ""),
            metrics=dict(run.data.metrics),
            model_sha256=tags.get(MODEL_SHA256, ""),
        )
        self._add_entry(key, entry)

    def _add_entry(self, key: str, entry: Entry) -> None:
        """Set what is known of a configuration."""
        self.entries[key] = entry
        self.best = find_best(filter(None, [self.best, entry]))

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
            Content keys, each with the outcome or with the reason why the training failed.
        sweep, swept
            As in `Plan`.
        on_progress : callable, optional
            Called after every few dozen runs.

        Raises
        ------
        EnvironmentProblem
            If the store cannot be used.
        """
        store = self.connection.store
        for start in range(0, len(outcomes), _CHUNK):
            if start:
                time.sleep(_PAUSE_SECONDS)
            with mlflow_errors(store, REMEDY), store_lock(store):
                with hold_signals(store):
                    self.refresh()
                finished = self.finished
                for key, outcome in outcomes[start : start + _CHUNK]:
                    if key in finished:
                        continue
                    with hold_signals(store):
                        entry = write_run(
                            self.connection,
                            self.requested[key],
                            outcome,
                            parent_id=parent_id,
                            sweep=sweep,
                            swept=swept,
                            unfinished=self._unfinished.pop(key, None),
                        )
                        if isinstance(outcome, Outcome):
                            self.curves[key] = downsample_curve(outcome.iterations, outcome.train_costs)
                        self._add_entry(key, entry)
            if on_progress is not None:
                on_progress()
