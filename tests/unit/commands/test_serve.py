"""`one-neuron serve`: which model it serves, and what it says when it cannot."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from one_neuron.cli import main
from one_neuron.commands.serve import check_port, load_predictor, write_address
from one_neuron.layout import MODEL_FILE, TEST_FILE
from one_neuron.storage.model import save_model
from tests.results import write_result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with a result the current one."""
    monkeypatch.chdir(write_result(tmp_path))
    return tmp_path


@pytest.fixture
def used_port() -> Iterator[int]:
    """Yield a port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_model_of_the_stages_comes_with_their_measures_and_test_set(folder: Path) -> None:
    """So that the page can show the mistakes."""
    predictor = load_predictor(str(MODEL_FILE), None)
    assert predictor.origin == {"file": "models/model.h5"}
    assert predictor.test_file == TEST_FILE
    assert set(predictor.metrics) >= {"train_accuracy", "test_accuracy", "baseline_accuracy"}
    assert (folder / TEST_FILE).is_file()
    assert predictor.mistakes


def test_another_model_file_comes_alone(folder: Path) -> None:
    """The measures beside it are those of another model."""
    save_model(folder / "other.h5", load_predictor(str(MODEL_FILE), None).model)
    predictor = load_predictor("other.h5", None)
    assert (predictor.origin, predictor.metrics, predictor.test_file) == ({"file": "other.h5"}, {}, None)


def test_a_model_without_the_other_outputs(folder: Path) -> None:
    """It is served, and says less about itself."""
    for path in (folder / "metrics" / "evaluate.json", folder / TEST_FILE):
        path.unlink()
    predictor = load_predictor(str(MODEL_FILE), None)
    assert (predictor.metrics, predictor.test_file) == ({}, None)


@pytest.mark.usefixtures("folder")
def test_a_port_in_use(used_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    """One line with the remedy, exit 4."""
    assert main(["serve", "--port", str(used_port)]) == 4
    error = capsys.readouterr().err
    assert error.startswith(f"one-neuron: port {used_port} of 127.0.0.1 cannot be used (Address already in use)")
    assert error.endswith(f"; name another one: --port {used_port + 1}\n")


@pytest.mark.usefixtures("folder")
def test_an_address_of_ipv6(capsys: pytest.CaptureFixture[str]) -> None:
    """It is tried as one, and stands in brackets."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert main(["serve", "--host", "::1", "--port", str(port)]) == 4
    assert f"port {port} of ::1 cannot be used (Address already in use)" in capsys.readouterr().err
    check_port("::1", port)
    assert write_address("::1", port) == f"http://[::1]:{port}"


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_what_is_not_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused by the command line."""
    assert main(["serve", f"--port={port}"]) == 2
    assert f"'{port}' is not a port; expected a whole number from 1 to 65535" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_folder_for_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy is another name: `dvc repro` makes the pipeline's own model alone. Exit 3."""
    assert main(["serve", "--model", "metrics", "--port", "65000"]) == 3
    assert capsys.readouterr().err == "one-neuron: 'metrics' is a folder; name a model file: --model FILE\n"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("other.h5", "name another model file: --model FILE"), (str(MODEL_FILE), "run `dvc repro` to make it again")],
)
def test_a_file_that_holds_no_model(folder: Path, name: str, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`dvc repro` cannot repair a file of the user. Exit 3."""
    (folder / name).write_text("something else")
    assert main(["serve", "--model", name, "--port", "65000"]) == 3
    error = capsys.readouterr().err
    assert error.startswith(
        f"one-neuron: '{name}' is not a readable HDF5 file: it is a text that begins with 'something else'; "
    )
    assert error.endswith(f"; {remedy}\n")


def test_an_empty_host(capsys: pytest.CaptureFixture[str]) -> None:
    """It would listen on all addresses, and there is no password."""
    assert main(["serve", "--host", ""]) == 2
    assert "'' is not a host; expected for example 127.0.0.1" in capsys.readouterr().err


@pytest.mark.usefixtures("folder")
def test_a_missing_model(capsys: pytest.CaptureFixture[str]) -> None:
    """Named, exit 3."""
    assert main(["serve", "--model", "nofile.h5", "--port", "65000"]) == 3
    assert "'nofile.h5' does not exist" in capsys.readouterr().err
