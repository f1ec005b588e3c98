"""A run of the spool: everything that MLflow shows of it, read from its SQLite file and checked by a SHA-256.

MLflow is not imported: the tables are read as they are, so that what is sent is what the digest was made of.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from one_neuron.tracking import tags as tag


@dataclass(frozen=True)
class SpooledModel:
    """A model that MLflow keeps with a run; `folder` holds its files."""

    model_id: str
    name: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    folder: Path
    step: int


@dataclass(frozen=True)
class SpooledRun:
    """A run of the spool.

    Parameters
    ----------
    experiment, experiment_id : str
        The name, and the id within the spool.
    points : sequence of (str, float, int, int)
        Its metrics: name, value, milliseconds after the start of the run, and step.
    model_points : sequence of (str, float, int, int, str, str or None, str or None)
        Those that a model has: the same, the id of the model, and the name and the digest of the data set.
    datasets : sequence of (mapping, mapping)
        The columns of each data set, and the tags with which it is an input.
    artifacts : Path
        The folder of its files; it need not exist.
    """

    run_id: str
    experiment: str
    experiment_id: str
    name: str
    status: str
    start_time: int
    end_time: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence[tuple[str, float, int, int]]
    model_points: Sequence[tuple[str, float, int, int, str, str | None, str | None]]
    datasets: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]
    models: Sequence[SpooledModel]
    artifacts: Path

    @property
    def kind(self) -> str:
        """What it shows: "result", "sweep" or "configuration"."""
        return self.tags.get(tag.KIND, "")

    @property
    def sha256(self) -> str:
        """The digest of everything above, files included."""
        shown = {name: value for name, value in vars(self).items() if name not in ("artifacts", "models")}
        models = [{**vars(model), "folder": _hash_files(model.folder)} for model in self.models]
        content = {**shown, "models": models, "artifacts": _hash_files(self.artifacts)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by its path."""
    found = {}
    for path in sorted(filter(Path.is_file, folder.rglob("*"))):
        with path.open("rb") as stream:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def read_spooled(database: Path, run_ids: Iterable[str]) -> Iterator[SpooledRun]:
    """Yield the runs with some ids; a run that is missing or deleted is left out.

    Raises
    ------
    sqlite3.Error, OSError, ValueError
        If the file is damaged.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
        connection.row_factory = sqlite3.Row
        for run_id in run_ids:
            if (run := _read_run(connection, run_id)) is not None:
                yield run


def read_kinds(database: Path) -> dict[str, str]:
    """Return what each run shows, by its id: "result", "sweep" or "configuration"."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
        return dict(connection.execute("SELECT run_uuid, value FROM tags WHERE key = ?", [tag.KIND]).fetchall())


def find_unsealed(database: Path, sealed: Iterable[str]) -> list[str]:
    """Return the ids of complete runs of this project that are not among those that are sealed."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=20)) as connection:
        found = connection.execute(
            "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE tags.key = ? AND lifecycle_stage = 'active' "
            "AND status != 'RUNNING'",
            [tag.KEYS],
        ).fetchall()
    return [run_id for (run_id,) in found if run_id not in set(sealed)]


def _read_run(connection: sqlite3.Connection, run_id: str) -> SpooledRun | None:
    """Return a run that is not deleted, or None."""

    def rows(text: str, *values: object) -> list[sqlite3.Row]:
        return connection.execute(text, values or [run_id]).fetchall()

    found = rows(
        "SELECT runs.*, experiments.name AS experiment FROM runs JOIN experiments USING (experiment_id) "
        "WHERE run_uuid = ? AND runs.lifecycle_stage = 'active'"
    )
    if not found:
        return None
    (run,) = found
    start = int(run["start_time"])
    datasets = []
    for row in rows(
        "SELECT input_uuid, datasets.* FROM inputs JOIN datasets ON dataset_uuid = source_id "
        "WHERE destination_id = ? AND source_type = 'DATASET' ORDER BY datasets.name, digest"
    ):
        columns = {key: str(row[f"dataset_{key}"]) for key in ("source_type", "source", "schema", "profile")}
        tags = rows("SELECT name, value FROM input_tags WHERE input_uuid = ? ORDER BY name", row["input_uuid"])
        datasets.append(({"name": row["name"], "digest": row["digest"]} | columns, dict(map(tuple, tags))))
    return SpooledRun(
        run_id=run_id,
        experiment=str(run["experiment"]),
        experiment_id=str(run["experiment_id"]),
        name=str(run["name"]),
        status=str(run["status"]),
        start_time=start,
        end_time=run["end_time"],
        tags=dict(map(tuple, rows("SELECT key, value FROM tags WHERE run_uuid = ? ORDER BY key"))),
        params=dict(map(tuple, rows("SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key"))),
        points=[
            (key, float("nan") if is_nan else value, timestamp - start, step)
            for key, value, is_nan, timestamp, step in rows(
                "SELECT key, value, is_nan, timestamp, step FROM metrics WHERE run_uuid = ? "
                "ORDER BY key, step, timestamp, value"
            )
        ],
        model_points=[
            (key, value, timestamp - start, step, *rest)
            for key, value, timestamp, step, *rest in rows(
                "SELECT metric_name, metric_value, metric_timestamp_ms, metric_step, model_id, dataset_name, "
                "dataset_digest FROM logged_model_metrics WHERE run_id = ? ORDER BY 1, 4, 3, 2, 5"
            )
        ],
        datasets=datasets,
        models=[
            _read_model(row, rows)
            for row in rows(
                "SELECT * FROM logged_models WHERE source_run_id = ? "
                "AND lifecycle_stage = 'active' AND status = 2 ORDER BY model_id"
            )
        ],
        artifacts=_path_of(str(run["artifact_uri"])),
    )


def _read_model(row: sqlite3.Row, rows: Any) -> SpooledModel:
    """Return a model from its row."""
    model_id = str(row["model_id"])
    tags = rows("SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ? ORDER BY 1", model_id)
    params = rows("SELECT param_key, param_value FROM logged_model_params WHERE model_id = ? ORDER BY 1", model_id)
    step = rows("SELECT step FROM inputs WHERE destination_id = ?", model_id)
    return SpooledModel(
        model_id=model_id,
        name=str(row["name"]),
        tags=dict(map(tuple, tags)),
        params=dict(map(tuple, params)),
        folder=_path_of(str(row["artifact_location"])),
        step=int(step[0]["step"]) if step else 0,
    )


def _path_of(uri: str) -> Path:
    """Return the path of a file: URI."""
    return Path(unquote(urlsplit(uri).path))
