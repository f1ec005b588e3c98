"""What every process of a sweep has to know, in a file, and the keys by which its configurations are found again."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from one_neuron.errors import EnvironmentProblem
from one_neuron.layout import WORK_FOLDER, hash_code
from one_neuron.settings.params import Settings, check_settings
from one_neuron.sweep.compose import SweepSettings
from one_neuron.sweep.prepared_data import DataFiles, name_data
from one_neuron.tracking.parameters import run_parameters

FOLDER = WORK_FOLDER / "sweeps"
VARIABLE = "ONE_NEURON_SWEEP"  # names the file to the jobs, which a launcher may run in other processes
_ABANDONED_DAYS = 30
# The code that a number or a kept model depends on; after an edit all is tried again. How files are read and written,
# and how to run, changes no number.
_CODE = ("one_neuron/sweep/folds.py", "one_neuron/sweep/screening.py", "one_neuron/training.py")
_NO_NUMBERS = ("one_neuron.errors", "one_neuron.settings", "one_neuron.storage", "one_neuron.system")


@dataclass(frozen=True)
class SweepState:
    """What the jobs of a sweep share.

    Parameters
    ----------
    root : Path
        The repository.
    parent_id : str
        The MLflow run of the sweep.
    finished : frozenset of str
        The content keys that were finished when it began.
    swept : sequence of str
        The keys with more than one value.
    sweep : SweepSettings
    data : mapping of str to DataFiles
        By `name_data`.
    total : int
        How many configurations are asked for.
    """

    root: Path
    parent_id: str
    finished: frozenset[str]
    swept: Sequence[str]
    sweep: SweepSettings
    data: Mapping[str, DataFiles]
    total: int

    def files_of(self, settings: Settings) -> DataFiles:
        """Return the prepared pictures of a configuration."""
        return self.data[name_data(settings)]

    def save(self) -> Path:
        """Write the state to a file of its own, and remove those of sweeps killed long ago."""
        folder = self.root / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            with suppress(FileNotFoundError):
                if time.time() - old.stat().st_mtime > _ABANDONED_DAYS * 86400:
                    old.unlink()
        handle, name = tempfile.mkstemp(dir=folder, suffix=".json")
        values = asdict(self) | {"finished": sorted(self.finished)}
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(values, stream, default=str)  # paths are the only thing that JSON has no word for
        return Path(name)


def find_state() -> Path:
    """Return the file of the state that the environment names.

    Raises
    ------
    EnvironmentProblem
        If it names none.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        raise EnvironmentProblem(f"{VARIABLE} is not set; a sweep starts with: python pipeline/sweep.py -m ...")
    return Path(name)


@cache
def load_state(path: Path) -> SweepState:
    """Read a state, once in a process.

    Parameters
    ----------
    path : Path
        What `SweepState.save` wrote.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    values |= {
        "root": Path(values["root"]),
        "finished": frozenset(values["finished"]),
        "swept": tuple(values["swept"]),
        "sweep": SweepSettings(**values["sweep"]),
        "data": {
            name: DataFiles(Path(files["train"]), Path(files["test"]), files["train_sha256"], files["test_sha256"])
            for name, files in values["data"].items()
        },
    }
    return SweepState(**values)


def save_batches(state_file: Path, batches: Sequence[Sequence[Settings]]) -> None:
    """Write the configurations of each job beside the state.

    Parameters
    ----------
    state_file : Path
    batches : sequence of sequences of Settings
    """
    values = [[asdict(settings) for settings in batch] for batch in batches]
    _batches_file(state_file).write_text(json.dumps(values), encoding="utf-8")


def load_batch(state_file: Path, number: int) -> list[Settings]:
    """Return the configurations of a job.

    Parameters
    ----------
    state_file : Path
    number : int
        From 0.
    """
    batches = json.loads(_batches_file(state_file).read_text(encoding="utf-8"))
    return [check_settings(values, origin=str(state_file)) for values in batches[number]]


def remove_state(state_file: Path) -> None:
    """Remove the state and its batches.

    Parameters
    ----------
    state_file : Path
    """
    for path in (state_file, _batches_file(state_file)):
        path.unlink(missing_ok=True)


def _batches_file(state_file: Path) -> Path:
    """Return where the batches lie."""
    return state_file.with_suffix(".batches.json")


def find_keys(settings: Settings, files: DataFiles, sweep: SweepSettings) -> tuple[str, str]:
    """Return the keys of a configuration, a SHA-256 each, as 64 hexadecimal digits.

    Parameters
    ----------
    settings : Settings
    files : DataFiles
        Its pictures.
    sweep : SweepSettings
        Folds and their seed count; how many models are kept does not.

    Returns
    -------
    content_key : str
        Over all that the outcome follows from; where pictures lie is not part of it.
    context : str
        Over what configurations have in common that can be compared: pictures, folds and the code.
    """
    shared = {
        "data": {key: text for key, text in run_parameters(settings).items() if key.startswith(("draw.", "data."))},
        "train": files.train_sha256,
        "test": files.test_sha256,
        "folds": sweep.folds,
        "seed": sweep.seed if sweep.folds else None,
        "code": _hash_own_code(),
    }
    context = hashlib.sha256(json.dumps(shared, sort_keys=True).encode("ascii")).hexdigest()
    content = {"context": context, "train": asdict(settings.train)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest(), context


@cache
def _hash_own_code() -> str:
    """Return the SHA-256 of the code that the numbers follow from."""
    return hash_code(*_CODE, aside=_NO_NUMBERS)
