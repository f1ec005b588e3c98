"""Compare what an MLflow run stores with what was recomputed, for `one-neuron verify`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import quote_path
from one_neuron.layout import DVC_LOCK
from one_neuron.tracking import tags as tag
from one_neuron.tracking.changes import CHANGES_FILE
from one_neuron.tracking.model import DIGEST
from one_neuron.tracking.result_run import REPORT_FILE
from one_neuron.tracking.verify_expected import Expected

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

# dvc.lock is compared by what it says; the patch is what the result was made from; the page holds times.
_NOT_COMPARED = {str(DVC_LOCK), REPORT_FILE, CHANGES_FILE}
# What MLflow writes about a model, with times and ids
_OF_MLFLOW = {
    "MLmodel",
    "conda.yaml",
    "input_example.json",
    "python_env.yaml",
    "requirements.txt",
    "serving_input_example.json",
}


@dataclass
class Comparison:
    """What was compared.

    Parameters
    ----------
    num_same : int
        The number of files, digests, parameters and metrics that are the same.
    differences : list of str
        One line for each thing that is not.
    others : list of str
        Files that no stage makes; someone added them to the run.
    """

    num_same: int = 0
    differences: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def compare(self, what: str, stored: object, recomputed: object) -> None:
        """Add one thing; None stands for a stored one that is missing."""
        if stored == recomputed:
            self.num_same += 1
        else:
            before = "nothing" if stored is None else stored
            self.differences.append(f"{what}: stored {before}, recomputed {recomputed}")


def compare_files(comparison: Comparison, stored: Path, expected: Mapping[str, str], place: str = "") -> None:
    """Compare the files below a folder with those that they should be copies of, by their SHA-256.

    Parameters
    ----------
    stored : Path
        The folder, as it was downloaded.
    expected : mapping of str to str
        The files of which those in the folder are copies, by their names in the folder.
    place : str
        What to write before the names.
    """
    found = {path.relative_to(stored).as_posix(): path for path in sorted(stored.rglob("*")) if path.is_file()}
    for name, path in expected.items():
        if name not in _NOT_COMPARED:
            before = _sha256(found[name]) if name in found else None
            comparison.compare(f"{place}{quote_path(name)}, SHA-256", before, _sha256(Path(path)))
    known = expected.keys() | (_OF_MLFLOW if place else _NOT_COMPARED)
    comparison.others += [f"{place}{quote_path(name)}" for name in found if name not in known]


def compare_records(client: "MlflowClient", run: "Run", expected: Expected, comparison: Comparison) -> None:
    """Compare parameters, metrics, and the digests in tags."""
    for name, value in expected.params.items():
        comparison.compare(f"parameter {name}", run.data.params.get(name), value)
    for name, points in expected.points.items():
        history = client.get_metric_history(run.info.run_id, name) if name in run.data.metrics else []
        stored = sorted({(one.step, one.value) for one in history})
        before, after = stored or None, sorted((step, value) for step, value in points)
        if before is None or before == after:
            comparison.compare(f"metric {name}", before, after)
            continue
        # One point is enough to say that a curve differs.
        first = min(set(before) ^ set(after))[0]
        values = (", ".join(str(value) for step, value in one if step == first) or "nothing" for one in (before, after))
        comparison.compare(f"metric {name}, iteration {first}", *values)
    tags = run.data.tags
    comparison.compare(f"tag {tag.KEYS}", tags.get(tag.KEYS), expected.content_key)
    comparison.compare(f"tag {tag.MODEL_SHA256}", tags.get(tag.MODEL_SHA256), expected.model_sha256)
    sets = dict(_find_sets(run))
    for context, sha256 in (("training", expected.train_sha256), ("testing", expected.test_sha256)):
        stored_sha256, digest = sets.get(context, (None, None))
        comparison.compare(f"data set for {context}, SHA-256", stored_sha256, sha256)
        comparison.compare(f"data set for {context}, digest", digest, sha256[:DIGEST])


def compare_model(logged: "LoggedModel", stored: Path, expected: Expected, comparison: Comparison) -> None:
    """Compare the files and the tag of a logged model."""
    place = f"model {logged.model_id}: "
    comparison.compare(f"{place}tag {tag.MODEL_SHA256}", logged.tags.get(tag.MODEL_SHA256), expected.model_sha256)
    compare_files(comparison, stored, expected.model_files, place)


def _find_sets(run: "Run") -> "Iterator[tuple[str, tuple[str | None, str]]]":
    """Yield the context of each data set of a run, with the SHA-256 and the digest that the run stores for it."""
    for one in run.inputs.dataset_inputs if run.inputs else []:
        tags = {entry.key: entry.value for entry in one.tags}
        yield tags.get(tag.DATA_CONTEXT, ""), (tags.get(tag.DATA_SHA256), one.dataset.digest)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
