"""One configuration of a sweep: its settings, its pictures, and the keys by which its run is found again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

from one_neuron.layout import hash_code
from one_neuron.settings.params import Settings
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.prepared_data import DataFiles
from one_neuron.tracking.parameters import run_parameters

# The code that a score or a kept model depends on: after an edit, all configurations are new. How files are read and
# written, how programs run and where the passes over the rows run changes no score.
_CODE = ("one_neuron/sweep/folds.py", "one_neuron/sweep/screening.py", "one_neuron/training.py")
_WITHOUT_EFFECT = (
    "one_neuron.errors",
    "one_neuron.gradient_descent.engines",
    "one_neuron.settings",
    "one_neuron.storage",
    "one_neuron.system",
)


@dataclass(frozen=True)
class Configuration:
    """One configuration that a sweep requests: its settings, its prepared pictures, and what `find_keys` returns."""

    settings: Settings
    files: DataFiles
    key: str
    context: str


def find_keys(settings: Settings, files: DataFiles, sweep: SweepSettings) -> tuple[str, str]:
    """Return the keys of a configuration, a SHA-256 each, as 64 hexadecimal digits.

    The SHA-256 of the prepared pictures count, not their paths; the folds and their seed count, not the number of kept
    models.

    Returns
    -------
    content_key : str
        Over everything that determines the outcome.
    context : str
        Over what comparable configurations share: pictures, folds and code.
    """
    shared = {
        "data": {key: text for key, text in run_parameters(settings).items() if key.startswith(("draw.", "data."))},
        "train": files.train_sha256,
        "test": files.test_sha256,
        "folds": sweep.folds,
        "seed": sweep.seed if sweep.folds else None,
        "code": _hash_own_code(),
    }
    context = _hash_json(shared)
    return _hash_json({"context": context, "train": asdict(settings.train)}), context


def _hash_json(value: object) -> str:
    """Return the SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


@cache
def _hash_own_code() -> str:
    """Return the SHA-256 of the code that determines the outcomes."""
    return hash_code(*_CODE, aside=_WITHOUT_EFFECT)
