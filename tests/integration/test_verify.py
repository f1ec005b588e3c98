"""What a run stores, compared with what it must store: each change in the store has its line, and nothing else has."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from one_neuron import layout
from one_neuron.pictures.convert import encode_picture
from one_neuron.tracking.connection import connect, mlflow_errors
from one_neuron.tracking.find_run import find_run_by_id
from one_neuron.tracking.record import record_result
from one_neuron.tracking.verify import download_stored
from one_neuron.tracking.verify_compare import Comparison, compare_files, compare_model, compare_records
from one_neuron.tracking.verify_expected import Expected, find_expected
from tests.results import write_result

pytestmark = pytest.mark.integration

Compare = Callable[[Callable[[Expected], Expected] | None], Comparison]


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Record a result with pictures of w; return a function that compares its run with what it must store."""
    import numpy as np

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    write_result(tmp_path)
    weights = tmp_path / layout.WEIGHTS_FOLDER / "000100.png"
    weights.parent.mkdir()
    weights.write_bytes(encode_picture(np.full((4, 4, 3), 7, np.uint8)))
    run_id = record_result(tmp_path, tmp_path).run_id
    number = iter(range(100))

    def compare(change: Callable[[Expected], Expected] | None = None) -> Comparison:
        connection = connect(tmp_path)
        with mlflow_errors(connection.store):
            run = find_run_by_id(connection, run_id, "run")
            temporary = tmp_path / f"compared-{next(number)}"
            artifacts, models = download_stored(connection, run, temporary / "stored")
            (temporary / "images").mkdir()
            expected = find_expected(
                tmp_path, run_id=run_id, start_time=run.info.start_time, images=temporary / "images"
            )
            expected = change(expected) if change else expected
            comparison = Comparison()
            compare_files(comparison, artifacts, expected.files)
            for logged, folder in models:
                compare_model(logged, folder, expected, comparison)
            compare_records(connection.client, run, expected, comparison)
        return comparison

    return compare


def test_every_change_in_the_store_is_found(compare: Compare, tmp_path: Path) -> None:
    """Files of the run and of its model, parameters, tags, curves, digests of the data."""
    untouched = compare(None)
    assert (untouched.differences, untouched.others) == ([], [])
    store = tmp_path / "mlartifacts"
    [plots], [model], [code], [image] = (
        list(store.rglob(pattern))
        for pattern in ("plots/curves.csv", "artifacts/model.h5", "code/one_neuron/neuron.py", "images/*.webp")
    )
    plots.unlink()
    model.write_bytes(model.read_bytes()[:-1])
    code.write_text("print('something else')\n")
    image.write_bytes(b"")
    (plots.parent / "by hand.txt").touch()
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        for change in (
            "UPDATE params SET value = '0.1' WHERE key = 'train.learning_rate'",
            "UPDATE metrics SET value = 0.25 WHERE key = 'cost' AND step = 100",
            "DELETE FROM latest_metrics WHERE key = 'test_accuracy'",
            "UPDATE tags SET value = 'x' WHERE key = 'one_neuron.keys'",
            "UPDATE logged_model_tags SET tag_value = 'y' WHERE tag_key = 'one_neuron.model_sha256'",
            "UPDATE datasets SET digest = 'z' WHERE name = 'folder-test'",
        ):
            assert database.execute(change).rowcount == 1, change
        database.commit()
    found = compare(None)
    assert found.num_same == untouched.num_same - 10
    words = [
        "'plots/curves.csv', SHA-256: stored nothing, recomputed ",
        "+compressed.webp', SHA-256: stored e3b0c44298fc1c149afbf4c8996fb92427ae41e4",  # of b""
        ": tag one_neuron.model_sha256: stored y, recomputed ",
        ": 'artifacts/model.h5', SHA-256: stored ",
        ": 'code/one_neuron/neuron.py', SHA-256: stored ",
        "parameter train.learning_rate: stored 0.1, recomputed 0.005",
        "metric cost, iteration 100: stored 0.25, recomputed 0.35",
        "metric test_accuracy: stored nothing, recomputed ",
        "tag one_neuron.keys: stored x, recomputed ",
        "data set for testing, digest: stored z, recomputed ",
    ]
    for word in words:
        assert sum(word in line for line in found.differences) == 1, (word, found.differences)
    assert len(found.differences) == len(words)
    assert found.others == ["'plots/by hand.txt'"]


def test_a_point_more_or_less_is_a_difference(compare: Compare) -> None:
    """A curve that the store has longer than the code makes it, or shorter."""

    def shorten(expected: Expected) -> Expected:
        return replace(expected, points=expected.points | {"cost": expected.points["cost"][:-1]})

    def lengthen(expected: Expected) -> Expected:
        return replace(expected, points=expected.points | {"cost": [*expected.points["cost"], (2100, 0.5)]})

    [line] = compare(shorten).differences
    assert line.startswith("metric cost, iteration 2000: stored 0.03")
    assert line.endswith("recomputed nothing")
    assert compare(lengthen).differences == ["metric cost, iteration 2100: stored nothing, recomputed 0.5"]
