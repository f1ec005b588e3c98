"""`one-neuron register`, and models out of MLflow: the same model by its run, its version and its alias."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from one_neuron.cli import main
from one_neuron.commands.serve import load_predictor
from one_neuron.layout import MODEL_FILE
from one_neuron.storage.model import load_model
from one_neuron.tracking.record import TrackedRun, record_result
from tests.results import write_result

pytestmark = pytest.mark.integration


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedRun:
    """Record a result in a new store in the current folder."""
    write_result(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return record_result(tmp_path, tmp_path)


def client() -> MlflowClient:
    """Return a client of the store in the current folder."""
    return MlflowClient(f"sqlite:///{Path.cwd()}/mlflow.db")  # SQLAlchemy keeps one engine for each address


def test_a_result_is_registered_once(tracked: TrackedRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The last result by default; again, only the alias moves."""
    assert main(["register"]) == 0
    printed = capsys.readouterr().out
    name = tracked.run_id[:8]
    assert printed.startswith(f"registered: version 1 of one-neuron, run {name}; models:/one-neuron@champion is this")
    assert main(["register", "--run", name, "--alias", "second"]) == 0
    assert capsys.readouterr().out.startswith("already registered: version 1 of one-neuron")
    (version,) = client().search_model_versions("name = 'one-neuron'")
    for alias in ("champion", "second"):
        assert client().get_model_version_by_alias("one-neuron", alias).version == version.version
    assert version.run_id == tracked.run_id


def test_the_model_card_says_what_a_user_has_to_know(tracked: TrackedRun) -> None:
    """Data, measures beside the baseline, limits and lineage."""
    assert main(["register"]) == 0
    (version,) = client().search_model_versions("name = 'one-neuron'")
    card = version.description
    for part in (
        "The probability of 'cat' in a picture. The model resizes each one to 4 x 4 pixels.",
        "- folder-train: 40 pictures",
        "- folder-test: 20 pictures",
        "| test accuracy | 0.85 |",
        "| baseline accuracy | 0.6 |",
        "## Limits",
        f"SHA-256 of the model {load_model(MODEL_FILE).sha256}",
        tracked.run_id,
    ):
        assert part in str(card)


@pytest.mark.parametrize("by", ["run", "alias", "version"])
def test_the_model_comes_back_bit_for_bit(tracked: TrackedRun, by: str) -> None:
    """From its run, its version and its alias."""
    assert main(["register"]) == 0
    name = {"run": "", "alias": "models:/one-neuron@champion", "version": "models:/one-neuron/1"}[by]
    predictor = load_predictor(name or str(MODEL_FILE), tracked.run_id[:10] if by == "run" else None)
    assert predictor.model.sha256 == load_model(MODEL_FILE).sha256
    assert predictor.origin == ({"registry": name} if name else {}) | {"run_id": tracked.run_id}
    assert predictor.metrics["test_accuracy"] == 0.85


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("alias", ["", "a b", "v1", "V2", "latest", "Latest", "x" * 256])
def test_a_wrong_alias_registers_nothing(alias: str, capsys: pytest.CaptureFixture[str]) -> None:
    """MLflow refuses an alias only after the version exists. One line, exit 2."""
    assert main(["register", "--alias", alias]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"one-neuron: '{alias[:150]}")
    assert "cannot be an alias; " in error
    assert error.count("\n") == 1
    assert not client().search_registered_models()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--model", "models:/one-neuron@missing"], "there is no 'models:/one-neuron@missing' in '"),
        (["serve", "--model", "models:/"], "there is no 'models:/' in '"),
        (["serve", "--run", "ffffffff"], "has no run ffffffff"),
        (["register", "--run", "ffffffff"], "has no run ffffffff"),
        (["serve", "--run", ""], "'' is not the id of a run; expected 4 to 32 letters and digits"),
    ],
)
def test_what_is_not_there_is_named(
    tracked: TrackedRun, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit 2."""
    assert main([*arguments, *(["--port", "65001"] if arguments[0] == "serve" else [])]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_useless_model_is_registered_by_force_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the two numbers and the remedy, which works."""
    write_result(tmp_path, wrong=9)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    run_id = record_result(tmp_path, tmp_path).run_id
    assert main(["register"]) == 2
    assert capsys.readouterr().err == (
        f"one-neuron: run {run_id}: test set: NOT BETTER THAN THE BASELINE: accuracy 55.0 %, always the most frequent "
        "class 60.0 %; choose another one with --run, or accept it with --force\n"
    )
    assert main(["register", "--force"]) == 0


def test_without_a_result_there_is_nothing_to_register(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The remedy makes one."""
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert main(["register"]) == 2
    assert capsys.readouterr().err.endswith("has no result; run one: make repro\n")
