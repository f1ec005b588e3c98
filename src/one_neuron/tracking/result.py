"""One result, as the stages left it in files: what an MLflow run shows, and the key by which it is found again."""

import getpass
import hashlib
import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from one_neuron.errors import DataError
from one_neuron.settings.params import PARAMS_FILE, Settings, load_settings
from one_neuron.sources.report import describe_copies
from one_neuron.storage.prepared_set import Model, PreparedSet, load_model, load_prepared
from one_neuron.system.files import read_costs, read_json

MODEL_FILE = Path("models/model.h5")
COSTS_FILE = Path("plots/costs.csv")
TRAIN_FILE = Path("data/prepared/train.h5")
TEST_FILE = Path("data/prepared/test.h5")
PREPARE_METRICS = Path("metrics/prepare.json")
TRAIN_METRICS = Path("metrics/train.json")
EVALUATE_METRICS = Path("metrics/evaluate.json")
SHAPES = ("m", "n_x")  # numbers, but no measure of quality
_GEOMETRY = ("num_px", "resize", "decode")  # keys of `data` that a model keeps, to treat a new picture the same way
# Keys of `data` that say where and how pictures are read; what came of it is in the SHA-256 of the data.
_WAYS = ("path", "on_error", "max_skipped")
_OWN_PICTURES = ("positive_class", "test_fraction", "seed")  # keys of `data` that other sources do not ask for


@dataclass(frozen=True)
class Result:
    """What the stages made of one set of parameters.

    Parameters
    ----------
    folder : Path
        Where params.yaml and the outputs of the stages lie.
    settings : Settings
        From params.yaml.
    train, test : PreparedSet
        The prepared pictures.
    model : Model
        Trained on `train`.
    costs : sequence of (int, float)
        Pairs of an iteration and the cost after that many updates.
    prepare_metrics, train_metrics, evaluate_metrics : mapping
        What `metrics/prepare.json`, `metrics/train.json` and `metrics/evaluate.json` hold.
    """

    folder: Path
    settings: Settings
    train: PreparedSet
    test: PreparedSet
    model: Model
    costs: Sequence[tuple[int, float]]
    prepare_metrics: Mapping[str, Any]
    train_metrics: Mapping[str, Any]
    evaluate_metrics: Mapping[str, Any]

    @property
    def params(self) -> dict[str, str]:
        """The parameters that made the result, by the words of params.yaml, and the shapes that they led to."""
        params = describe_settings(self.settings)
        shapes = {key: _text(value) for key, value in self.train_metrics.items() if not _is_measure(key, value)}
        return params | shapes

    @property
    def metrics(self) -> dict[str, float]:
        """The final measures, and what can be counted of the data: `train_accuracy`, `data_num_copies` ...

        Raises
        ------
        DataError
            If one is not finite: MLflow would store infinity as 1.797e308 and say nothing.
        """
        counts = _flatten(self.prepare_metrics, PREPARE_METRICS)
        measures = {key if key.startswith(("train_", "test_")) else f"data_{key}": n for key, n in counts.items()}
        measures |= _flatten(self.train_metrics, TRAIN_METRICS) | _flatten(self.evaluate_metrics, EVALUATE_METRICS)
        return dict(sorted(measures.items()))

    @property
    def warning(self) -> str:
        """What makes the measures doubtful: test pictures that are copies of training pictures; "" for nothing.

        Raises
        ------
        DataError
            If `metrics/prepare.json` does not say.
        """
        try:
            return describe_copies(self.prepare_metrics)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"'{self.folder / PREPARE_METRICS}' does not say which pictures are copies; run `dvc repro`"
            ) from error

    @property
    def content_key(self) -> str:
        """SHA-256 over parameters, data, model, costs and metrics, as 64 hexadecimal digits.

        It holds no time, place or commit, so the same result has the same key wherever and whenever it was made. The
        metrics belong to it because they also depend on the code: after a mended formula the old run no longer shows
        the files. The plots do not: another look is no other result. Nor do the files that were skipped, but for their
        number: the reasons may name places.
        """
        content = {
            "params": self.params,
            "train": self.train.sha256,
            "test": self.test.sha256,
            "model": self.model.sha256,
            "costs": [list(pair) for pair in self.costs],
            "prepare_metrics": {key: value for key, value in self.prepare_metrics.items() if key != "skipped"},
            "train_metrics": dict(self.train_metrics),
            "evaluate_metrics": dict(self.evaluate_metrics),
        }
        text = json.dumps(content, sort_keys=True, ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def artifacts(self) -> list[tuple[Path, str]]:
        """The files worth a look in the run: pairs of a path and the artifact folder ("" for the top)."""
        files = [(self.folder / name, "") for name in ("params.yaml", "dvc.lock")]
        for kind, pattern in (("metrics", "*.json"), ("plots", "*")):
            files += [(path, kind) for path in sorted((self.folder / kind).glob(pattern))]
        return [(path, kind) for path, kind in files if path.is_file() and not path.name.startswith(".")]


def describe_settings(settings: Settings) -> dict[str, str]:
    """Return the parameters of a run: "train.learning_rate" ..., as params.yaml writes them.

    Only those that can change the result: neither where pictures lie, nor what another source would ask for.

    Parameters
    ----------
    settings : Settings
    """
    sections = asdict(settings)
    source = settings.data.source
    del sections["hdf5"]  # names of files and data sets
    if source != "drawn":
        del sections["draw"]  # drawn pictures are always there, but none of them reached this result
    left_out = _WAYS if source in ("folder", "hdf5") else (*_WAYS, *_OWN_PICTURES)
    sections["data"] = {key: value for key, value in sections["data"].items() if key not in left_out}
    return {f"{section}.{key}": _text(value) for section, keys in sections.items() for key, value in keys.items()}


def describe_ways(settings: Settings) -> dict[str, str]:
    """Return where the user's own pictures lie and how they are read: "data.path" ..., as params.yaml writes it.

    No parameters of a result: the SHA-256 of the data says what came of them. But without them it cannot be repeated.

    Parameters
    ----------
    settings : Settings
    """
    sections = asdict(settings)
    ways = {f"data.{key}": sections["data"][key] for key in _WAYS}
    hdf5 = {f"hdf5.{key}": value for key, value in sections["hdf5"].items()}
    of_source = {"folder": ways, "hdf5": ways | hdf5}.get(settings.data.source, {})
    return {key: _text(value) for key, value in of_source.items()}


def read_result(folder: Path) -> Result:
    """Read and check all that the stages wrote.

    Parameters
    ----------
    folder : Path
        Where params.yaml and the outputs of the stages lie.

    Raises
    ------
    DataError, SettingsError
        If a file is missing, damaged or does not fit the others.
    """
    result = Result(
        folder=folder,
        settings=load_settings(folder / PARAMS_FILE),
        train=load_prepared(folder / TRAIN_FILE),
        test=load_prepared(folder / TEST_FILE),
        model=load_model(folder / MODEL_FILE),
        costs=read_costs(folder / COSTS_FILE),
        prepare_metrics=read_json(folder / PREPARE_METRICS),
        train_metrics=read_json(folder / TRAIN_METRICS),
        evaluate_metrics=read_json(folder / EVALUATE_METRICS),
    )
    trained_on = result.model.trained_with.get("train_sha256")
    if trained_on not in (None, result.train.sha256):
        raise DataError(
            f"'{folder / MODEL_FILE}' was trained on other pictures than '{folder / TRAIN_FILE}' holds; run `dvc repro`"
        )
    _check_made_with(result, folder)
    if result.model.num_px != result.test.num_px:
        raise DataError(
            f"'{folder / MODEL_FILE}' is for num_px = {result.model.num_px}, but '{folder / TEST_FILE}' has "
            f"{result.test.num_px}; run `dvc repro`"
        )
    if not result.costs or not all(math.isfinite(cost) for _, cost in result.costs):
        raise DataError(f"'{folder / COSTS_FILE}' must hold at least one cost, and finite ones; run `dvc repro`")
    return result


def _check_made_with(result: Result, folder: Path) -> None:
    """Refuse a model that was made with other parameters than params.yaml says now."""
    model, settings = result.model, result.settings
    made_with = {key: getattr(model, key) for key in ("threshold", *_GEOMETRY)} | dict(model.trained_with)
    asked = asdict(settings.train) | {key: getattr(settings.data, key) for key in ("source", *_GEOMETRY)}
    for key in asked.keys() & made_with.keys():
        if made_with[key] != asked[key]:
            raise DataError(
                f"'{folder / MODEL_FILE}' was made with {key} = {made_with[key]}, '{folder / PARAMS_FILE}' says "
                f"{asked[key]}; run `dvc repro`"
            )


@dataclass(frozen=True)
class Origin:
    """Who and what made a result; no part of its content.

    Parameters
    ----------
    commit : str or None
        The Git commit that the code was checked out from; None without Git or before the first commit.
    dirty : bool
        Whether tracked files differed from it. params.yaml and dvc.lock do not count: the run holds both.
    exp_name : str or None
        DVC's name of the experiment.
    user : str
        Login name.
    """

    commit: str | None
    dirty: bool
    exp_name: str | None
    user: str

    @property
    def commit_label(self) -> str | None:
        """The commit, with `-dirty` appended where files differed, as `git describe --dirty` writes it."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit


def find_origin(folder: Path) -> Origin:
    """Ask Git and DVC where the code in `folder` comes from; what cannot be had is left out.

    Parameters
    ----------
    folder : Path
        Where the stages ran: the repository, or the temporary copy of a queued experiment.
    """
    tracked = ask_git(folder, "ls-files", "--", str(PARAMS_FILE))
    # Without a tracked params.yaml the commit is that of a repository around ours, which knows nothing of this code.
    commit = (os.environ.get("DVC_EXP_BASELINE_REV") or ask_git(folder, "rev-parse", "HEAD")) if tracked else None
    kept = [f":(exclude){name}" for name in ("params.yaml", "dvc.lock")]
    changes = ask_git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".", *kept) if commit else None
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        user = "unknown"
    return Origin(commit or None, bool(changes), os.environ.get("DVC_EXP_NAME") or None, user)


def ask_git(folder: Path, *arguments: str) -> str | None:
    """Ask Git, without changing anything.

    Parameters
    ----------
    folder : Path
        Where Git is asked.
    *arguments : str
        Of the command `git`.

    Returns
    -------
    str or None
        What Git prints, without white space around it; None where there is no Git, no repository or no commit.
    """
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # `status` would write the index, which DVC may be using
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _text(value: object) -> str:
    """Return a value as params.yaml writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _is_measure(key: str, value: object) -> bool:
    """Say whether a number in a metrics file is a measure of quality."""
    return isinstance(value, int | float) and key not in SHAPES  # True is the number 1


def _flatten(values: Mapping[str, Any], path: Path, prefix: str = "") -> dict[str, float]:
    """Return the measures in nested sections, their keys joined by `_`."""
    measures: dict[str, float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            measures |= _flatten(value, path, f"{prefix}{key}_")
        elif _is_measure(key, value):
            if not math.isfinite(value):
                raise DataError(f"'{path}': {prefix}{key} is {value}; only finite numbers can be tracked")
            measures[f"{prefix}{key}"] = float(value)
    return measures
