"""Make the result of an MLflow run again, and compare every file and number that the run stores."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import EnvironmentProblem, SettingsError
from one_neuron.layout import DVC_LOCK, PARAMS_FILE
from one_neuron.system.process import temporary_folder
from one_neuron.system.progress import announce
from one_neuron.tracking.changes import CHANGES_FILE
from one_neuron.tracking.connection import Connection, connect, mlflow_errors
from one_neuron.tracking.find_run import find_run_by_id
from one_neuron.tracking.outages import Remedy
from one_neuron.tracking.store import find_store
from one_neuron.tracking.tags import ALSO_COMMITS, COMMIT, KIND
from one_neuron.tracking.verify_compare import Comparison, compare_files, compare_model, compare_records
from one_neuron.tracking.verify_copy import ProjectCopy, make_copy
from one_neuron.tracking.verify_expected import Expected
from one_neuron.tracking.verify_lock import compare_locks, read_lock
from one_neuron.tracking.verify_rebuild import rebuild

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel, Run

REMEDY = Remedy("verify again")
# The libraries on which the bytes of a result depend
_LIBRARIES = ("numpy", "numba", "pillow", "h5py", "matplotlib")


@dataclass(frozen=True)
class Verification:
    """What came out.

    Parameters
    ----------
    run_id, commit : str
        The run, and the commit of its code.
    num_same : int
        The number of files, digests, parameters and metrics that are the same.
    differences : sequence of str
        One line for each that is not; empty if the result is the same.
    notes : sequence of str
        What a reader should know about the comparison.
    """

    run_id: str
    commit: str
    num_same: int
    differences: Sequence[str]
    notes: Sequence[str]


def verify(root: Path, run_id: str, *, trust_diff: bool = False) -> Verification:
    """Make the result of a run again from its commit, parameters and pictures, and compare what the run stores.

    Parameters
    ----------
    root : Path
        The repository; nothing in it changes.
    run_id : str
        The id of the run of a result, or its first characters.
    trust_diff : bool
        Apply the uncommitted changes that a run on a server carries: they are code.

    Raises
    ------
    SettingsError
        If there is no such run, or if it is not the finished run of a result.
    EnvironmentProblem
        If code, data, dvc.lock or the store cannot be had, or if a stage fails.
    """
    store = find_store(root)
    if store.database is not None and not store.database.exists():
        raise SettingsError(f"there is no '{store.place}' yet, and so no run; make one with `make repro`")
    connection = connect(root, REMEDY)
    with mlflow_errors(connection.store):
        run = find_run_by_id(connection, run_id, "run")
    commits = find_commits(run)
    with temporary_folder("one-neuron-verify-") as temporary:
        with mlflow_errors(connection.store):
            artifacts, models = download_stored(connection, run, temporary / "stored")
        changes = artifacts / CHANGES_FILE
        if changes.is_file() and not trust_diff and not _is_local(connection, run):
            raise EnvironmentProblem(
                f"the run {run.info.run_id} carries uncommitted changes of the code ({CHANGES_FILE}) in "
                f"'{connection.store.place}'; read them in the UI, and if you trust them add --trust-diff"
            )
        stored = read_lock(artifacts / DVC_LOCK)
        if not (artifacts / PARAMS_FILE).is_file():
            raise EnvironmentProblem(
                f"the run {run.info.run_id} has no {PARAMS_FILE}, so its result cannot be made again; delete the run "
                "in `make ui`, and record its result again with `make track`"
            )
        announce(f"making the result of run {run.info.run_id[:8]} again: dvc repro evaluate")
        copy = make_copy(
            root.resolve(),
            temporary,
            commits=commits,
            params=artifacts / PARAMS_FILE,
            changes=changes,
            stored=stored,
        )
        recomputed, note = rebuild(copy, stored, artifacts / DVC_LOCK)
        images = temporary / "images"
        images.mkdir()
        expected = _ask_expected(copy, run, images)
        comparison = Comparison(differences=list(compare_locks(stored, recomputed)))
        compare_files(comparison, artifacts, expected.files)
        for logged, folder in models:
            compare_model(logged, folder, expected, comparison)
        if not models:
            comparison.differences.append("model: stored nothing")
        with mlflow_errors(connection.store):
            compare_records(connection.client, run, expected, comparison)
        notes = [note] if note else []
        notes += [f"not compared, because no stage makes it: {name}" for name in comparison.others]
        if comparison.differences:
            notes += find_other_versions(copy.folder / "requirements.txt")
    return Verification(run.info.run_id, copy.commit, comparison.num_same, comparison.differences, notes)


def find_commits(run: "Run") -> list[str]:
    """Return the commit of a run, then those that gave the same result, after checking that it shows a result."""
    tags, run_id = run.data.tags, run.info.run_id
    if tags.get(KIND) != "result":
        raise SettingsError(
            f"the run {run_id} is a {tags.get(KIND)}; verify the run of a result, for example after "
            "`one-neuron promote` and `make repro`"
        )
    if run.info.status != "FINISHED":
        raise SettingsError(f"the run {run_id} is {run.info.status}, not FINISHED; complete it with `make track`")
    others = [commit for commit in tags.get(ALSO_COMMITS, "").split() if not commit.endswith("-dirty")]
    commits = [tags[COMMIT], *others] if COMMIT in tags else others
    if not commits:
        raise EnvironmentProblem(
            f"the run {run_id} names no commit, because the project was not in Git; commit it, run `make track`, and "
            "verify again"
        )
    return commits


def _ask_expected(copy: ProjectCopy, run: "Run", images: Path) -> Expected:
    """Return what the code of the copy stores for the result there."""
    arguments = (run.info.run_id, str(run.info.start_time), str(images))
    try:
        printed = copy.python("one_neuron.tracking.verify_expected", *arguments)
    except EnvironmentProblem as problem:
        raise EnvironmentProblem(
            f"the code of commit {copy.commit[:12]} does not tell what a run stores ({problem}); commits before "
            "`one-neuron verify` cannot be verified"
        ) from problem
    return Expected(**json.loads(printed))


def download_stored(connection: Connection, run: "Run", folder: Path) -> "tuple[Path, list[tuple[LoggedModel, Path]]]":
    """Fetch everything that a run and its logged models store; return the folders."""
    from mlflow.artifacts import download_artifacts

    def fetch(uri: str, name: str) -> Path:
        target = folder / name
        target.mkdir(parents=True)
        return Path(download_artifacts(uri, dst_path=str(target), tracking_uri=connection.store.uri))

    client = connection.client
    models: list[tuple[LoggedModel, Path]] = []
    for output in run.outputs.model_outputs if run.outputs else []:
        logged = client.get_logged_model(output.model_id)
        models.append((logged, fetch(logged.artifact_location, f"model-{len(models)}")))
    return fetch(run.info.artifact_uri, "run"), models


def _is_local(connection: Connection, run: "Run") -> bool:
    """Return whether the files of a run lie on this machine, in the store of the user."""
    return connection.store.database is not None and run.info.artifact_uri.startswith("file:")


def find_other_versions(requirements: Path) -> list[str]:
    """Return a note about each library that is installed in another version than the commit locks."""
    locked = dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", requirements.read_text(encoding="utf-8")))
    notes = []
    for name in _LIBRARIES:
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        if found != locked.get(name, found):
            notes.append(f"{name} is {found} here, the commit has {locked[name]}; bytes can differ for that reason")
    return notes
