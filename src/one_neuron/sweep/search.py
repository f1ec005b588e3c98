"""A search with Optuna's TPE sampler: which configurations to try next, given the scores of the earlier ones.

No state is stored. The suggestions follow from the seed and the scores alone, so a search that is started again makes
the same ones, finds those that are recorded by their content keys, and goes on where it ended.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from one_neuron.errors import EnvironmentProblem
from one_neuron.sweep.configuration import Configuration
from one_neuron.sweep.overrides import Interval
from one_neuron.sweep.plan import Space
from one_neuron.sweep.ranking import FINISHED, Entry

BATCH = 12  # suggestions that are made and trained together; with five folds, 72 columns of one matrix
REQUIREMENT = "optuna>=5,<6"  # the extra `optuna`
_MOST_REPEATS = 100  # suggestions in a row that were made before: there is hardly anything left to try
_SEEDS = 2**32  # NumPy's RandomState, which Optuna uses, takes no larger ones


class TpeSearch:
    """Suggests configurations in batches, and takes their scores.

    A score is the validation accuracy; between equal ones, the lower validation cost counts, as in the ranking.
    A configuration that diverged scores worse than any other.

    Parameters
    ----------
    space : Space
        See `Plan`. A number from an interval is rounded to four digits, as those of geomspace.
    trials : int
        The number of different configurations to suggest.
    seed : int
        At least 0. Another seed makes other suggestions.
    configure : callable
        configure(point) makes a configuration from values by their keys.

    Raises
    ------
    EnvironmentProblem
        If Optuna is not installed.
    """

    def __init__(
        self, space: Space, *, trials: int, seed: int, configure: Callable[[Mapping[str, Any]], Configuration]
    ) -> None:
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise EnvironmentProblem(
                f"sweep.search=tpe needs {error.name}, which is not installed for {sys.executable}; in the project's "
                f"folder, run `.venv/bin/pip install '{REQUIREMENT}'`"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(n_startup_trials=BATCH, seed=seed % _SEEDS)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._space, self._trials, self._configure = space, trials, configure
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {}
        for key, options in space.items():
            if isinstance(options, Interval):
                kind: Any = optuna.distributions.FloatDistribution
                if options.whole:
                    kind = optuna.distributions.IntDistribution
                ends = (int(options.least), int(options.most)) if options.whole else (options.least, options.most)
                self._distributions[key] = kind(*ends, log=options.log)
            elif isinstance(options[0], str):
                self._distributions[key] = optuna.distributions.CategoricalDistribution(options)
            else:  # numbers have an order, so their places are suggested
                self._distributions[key] = optuna.distributions.IntDistribution(0, len(options) - 1)
        self._suggested: set[str] = set()
        self._waiting: list[tuple[Any, str]] = []

    def ask(self) -> list[Configuration]:
        """Return the next batch of configurations that were not suggested before; empty at the end of the search.

        A suggestion that repeats an earlier one does not count. It stays without a score, which makes the sampler look
        elsewhere.
        """
        batch: list[Configuration] = []
        repeats = 0
        while len(batch) < min(BATCH, self._trials - len(self._suggested) + len(batch)) and repeats < _MOST_REPEATS:
            trial = self._study.ask(self._distributions)
            configuration = self._configure({key: self._value(key, trial.params[key]) for key in self._space})
            if configuration.key in self._suggested:
                repeats += 1
                continue
            repeats = 0
            self._suggested.add(configuration.key)
            self._waiting.append((trial, configuration.key))
            batch.append(configuration)
        return batch

    def _value(self, key: str, suggested: Any) -> Any:
        """Return the value of a parameter for what the sampler suggested."""
        options = self._space[key]
        if isinstance(options, tuple):
            return suggested if isinstance(options[0], str) else options[suggested]
        if options.whole:
            return suggested
        return min(max(float(f"{suggested:.4g}"), options.least), options.most)

    def tell(self, entries: Mapping[str, Entry]) -> None:
        """Take the scores of the last batch, by content key."""
        for trial, key in self._waiting:
            self._study.tell(trial, _score(entries[key]))
        self._waiting = []


def _score(entry: Entry) -> float:
    """Return what the search maximizes.

    The cost counts with a weight that cannot outvote one picture of a million. What a different batch may change in
    its last bits is lost in the sum, so a search that was interrupted goes on as if it had not been.
    """
    if entry.status != FINISHED:
        return -1.0
    return entry.get_metric("validation_accuracy") - 1e-9 * min(entry.get_metric("validation_cost"), 1e3)
