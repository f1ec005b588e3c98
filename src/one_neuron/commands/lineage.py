"""Where a result comes from, for the HTML report: commit, hashes, MLflow run, versions, and how to make it again."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from one_neuron import __version__, layout
from one_neuron.system.git import ask_git, find_origin
from one_neuron.tracking import tags as tag
from one_neuron.tracking.result import Result
from one_neuron.tracking.result_run import ResultRun

PACKAGES = ("numpy", "numba", "pillow", "h5py", "matplotlib", "dvc", "mlflow", "scikit-learn")


def find_lineage(result: Result, recorded: ResultRun | None) -> dict[str, Any]:
    """Return where the result in the current folder comes from.

    Returns
    -------
    dict
        "rows": pairs of a name and a text; "address" of the MLflow run on a server, or ""; "outputs": the MD5 of each
        output in dvc.lock, or {} if dvc.lock is about another result; "commands" that make the result again; "edited":
        whether params.yaml differs from that of the commit; "dirty": whether other files did; "params": the text of
        params.yaml.
    """
    tags: Mapping[str, str] = recorded.run.data.tags if recorded else {}
    origin = find_origin(result.folder)
    # The commit that made the result is surer than the present one, whose code may already be another.
    is_clean = tags.get(tag.COMMIT) and tags.get(tag.IS_DIRTY) == "false"
    commit, dirty = (tags[tag.COMMIT], False) if is_clean else (origin.commit, origin.dirty)
    changes = ask_git(result.folder, "diff", "--name-only", commit, "--", str(layout.PARAMS_FILE)) if commit else None
    edited = changes != ""
    shown = f"{commit}{', with uncommitted changes of other files than params.yaml' * dirty}" if commit else ""
    rows = [
        ("Git commit", shown or "none: the folder is not in Git"),
        ("DVC experiment", tags.get(tag.EXP_NAME, "")),
        ("SHA-256 of the training set", result.train.sha256),
        ("SHA-256 of the test set", result.test.sha256),
        ("SHA-256 of the model", result.model.sha256),
        ("Content key of the result", result.content_key),
        *_recorded_rows(recorded),
        ("one-neuron", __version__),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("Packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)),
    ]
    is_public = recorded is not None and recorded.connection.store.place.startswith("http")
    return {
        "rows": [(name, text) for name, text in rows if text],
        "address": recorded.address if recorded and is_public else "",
        "outputs": _read_lock(result),
        "commands": _write_commands(commit, edited=edited),
        "edited": edited,
        "dirty": dirty,
        "params": (result.folder / layout.PARAMS_FILE).read_text(encoding="utf-8"),
    }


def _recorded_rows(recorded: ResultRun | None) -> list[tuple[str, str]]:
    """Return the rows about the MLflow run."""
    if recorded is None:
        return [("MLflow run", "none found when this page was written; make track records the result")]
    info, store = recorded.run.info, recorded.connection.store
    where = store.database.name if store.database else store.place
    rows = [("MLflow run", f"{info.run_name} ({info.run_id}) in {where}")]
    if not store.place.startswith("http"):
        rows.append(("Its page, after make ui", recorded.address))
    return [*rows, ("Parameters promoted from", recorded.run.data.tags.get(tag.PROMOTED_FROM, ""))]


def _read_lock(result: Result) -> Mapping[str, str]:
    """Return the MD5 of each output in dvc.lock; {} if the file is missing or was written for another model."""
    import yaml

    try:
        text = (result.folder / layout.DVC_LOCK).read_text(encoding="utf-8")
        stages = yaml.load(text, Loader=yaml.CSafeLoader)["stages"].values()
        outputs = {str(out["path"]): str(out["md5"]) for stage in stages for out in stage.get("outs", [])}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
    model = hashlib.md5((result.folder / layout.MODEL_FILE).read_bytes(), usedforsecurity=False).hexdigest()
    return outputs if outputs.get(layout.MODEL_FILE.as_posix()) == model else {}


def _write_commands(commit: str | None, *, edited: bool) -> list[str]:
    """Return the commands that make the result again, in a clone of the repository."""
    checkout = [f"git checkout {commit}"] if commit else []
    params = ["# write the params.yaml below into the file params.yaml"] if edited else []
    return [*checkout, *params, "make repro", "one-neuron report"]


def _version(name: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"
