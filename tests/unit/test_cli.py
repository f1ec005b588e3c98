"""The `one-neuron` command as its users call it."""

import csv
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import one_neuron
from one_neuron.cli import EXAMPLES, _parse, main
from one_neuron.commands import ui
from one_neuron.errors import DataError
from one_neuron.neuron import Parameters
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.storage.model import Model, save_model
from one_neuron.tracking import store

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with two pictures and a model for which bright pictures are cats."""
    monkeypatch.chdir(tmp_path)
    # z = 24 mean - 12 over the 12 values of a 2 x 2 picture: 12 for white, -12 for black.
    parameters = Parameters(w=np.full(12, 2.0), b=-12.0)
    save_model(Path("models/model.h5"), Model(parameters, Preprocessing(2), ("non-cat", "cat"), threshold=0.5))
    Path("pictures").mkdir()
    Image.new("RGB", (40, 30), WHITE).save("pictures/bright cat.png")
    Image.new("RGB", (5, 7), BLACK).save("pictures/dark.jpg")
    return tmp_path


def test_predict_prints_file_class_and_probability(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line per picture, in the order of the arguments; 1 / (1 + e**-12) is 0.999994."""
    assert main(["predict", "pictures/dark.jpg", "pictures/bright cat.png"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pictures/dark.jpg\tnon-cat\tP(cat) = 0.0000",
        "pictures/bright cat.png\tcat\tP(cat) = 1.0000",
    ]


def test_predict_writes_csv(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a header, and quotes where a name needs them."""
    shutil.copy("pictures/dark.jpg", 'a "dark", one.jpg')
    assert main(["predict", "--csv", 'a "dark", one.jpg', "pictures/bright cat.png"]) == 0
    header, dark, bright = csv.reader(capsys.readouterr().out.splitlines())
    assert header == ["file", "class", "probability", "positive_class"]
    assert (dark[:2], dark[3]) == (['a "dark", one.jpg', "non-cat"], "cat")
    assert float(bright[2]) == pytest.approx(1 / (1 + np.exp(-12.0)), rel=1e-12)


@pytest.mark.parametrize(
    ("sent", "code", "printed", "error"),
    [
        ("pictures/bright cat.png", 0, "-\tcat\tP(cat) = 1.0000\n", ""),
        (None, 3, "", "one-neuron: standard input is empty (0 bytes); known are"),
    ],
)
def test_predict_reads_standard_input(folder: Path, sent: str | None, code: int, printed: str, error: str) -> None:
    """`-` stands for it."""
    content = (folder / sent).read_bytes() if sent else b""
    command = [sys.executable, "-m", "one_neuron.cli", "predict", "-"]
    done = subprocess.run(command, input=content, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode()) == (code, printed)
    assert done.stderr.decode().startswith(error)


def test_predict_with_standard_input_closed(folder: Path) -> None:
    """As for an empty one."""
    command = f"'{sys.executable}' -m one_neuron.cli predict - <&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("one-neuron: standard input is empty (0 bytes)")


def test_a_model_that_the_user_named_is_not_remade_by_dvc(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The remedy fits: name another one."""
    assert main(["predict", "--model", "nofile.h5", "pictures"]) == 3
    assert capsys.readouterr().err == "one-neuron: 'nofile.h5' does not exist; name a model file: --model FILE\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of every command, and the command line accepts them."""
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out.partition("examples:\n")[2].splitlines()
    assert [line.strip() for line in shown] == [f"one-neuron {name} {each}".strip() for each in EXAMPLES[name]]
    for line in shown:
        assert _parse(shlex.split(line.partition(" <")[0])[1:]).run


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_is_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By a maintained library, for its three shells."""
    assert main(["--print-completion", shell]) == 0
    assert "predict" in capsys.readouterr().out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """As pip shows it."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"one-neuron {one_neuron.__version__}\n"


def test_predict_takes_folders_and_writes_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder stands for its pictures, sorted by name; the probability has its full precision."""
    assert main(["predict", "--json", "pictures"]) == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "file": "pictures/bright cat.png",
        "class": "cat",
        "probability": pytest.approx(1 / (1 + np.exp(-12.0)), rel=1e-12),
        "positive_class": "cat",
    }
    assert (second["file"], second["class"]) == ("pictures/dark.jpg", "non-cat")


def test_predict_names_the_formats_that_it_does_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, beside the results; a folder with nothing else is an error that counts them."""
    for name in ("a.HEIC", "b.heic", "c.mov", "notes.txt"):
        Path("pictures", name).touch()
    assert main(["predict", "pictures"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err == (
        "one-neuron: note: 'pictures' holds 2 .heic, 1 .mov, which are not read; convert them to JPEG or PNG\n"
    )
    for path in ("bright cat.png", "dark.jpg"):
        Path("pictures", path).unlink()
    assert main(["predict", "pictures"]) == 3
    assert capsys.readouterr().err == (
        "one-neuron: 'pictures' holds no picture that can be read, but 2 .heic, 1 .mov, 1 .txt; convert them to JPEG "
        "or PNG, or remove the folder\n"
    )


def test_odd_things_in_a_folder_do_not_hide_its_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is reported on a line, and the pictures are still classified."""
    Path("pictures/folder.jpg").mkdir()
    Path("pictures/link").symlink_to(".")
    Path("pictures/deeper").mkdir()
    Path("pictures/dark.jpg").rename("pictures/deeper/dark.jpg")
    assert main(["predict", "pictures"]) == 3
    printed = capsys.readouterr()
    assert [line.split("\t")[0] for line in printed.out.splitlines()] == [
        "pictures/bright cat.png",
        "pictures/deeper/dark.jpg",
    ]
    remedy = "replace the link by a copy of the folder"
    assert sorted(printed.err.splitlines()) == [
        "one-neuron: 'pictures/folder.jpg' is a folder with the name of a picture; rename it",
        f"one-neuron: 'pictures/link' is a link to a folder, which is not followed; {remedy}",
    ]


@pytest.mark.parametrize(
    ("resize", "expected"), [("stretch", "non-cat\tP(cat) = 0.0000"), ("crop", "cat\tP(cat) = 1.0000")]
)
def test_pictures_are_treated_as_in_training(
    folder: Path, capsys: pytest.CaptureFixture[str], resize: str, expected: str
) -> None:
    """A black picture with a white square in the middle is white when it is cropped."""
    parameters = Parameters(w=np.full(12, 2.0), b=-12.0)
    save_model(Path("cropping.h5"), Model(parameters, Preprocessing(2, resize), ("non-cat", "cat"), 0.5))
    image = Image.new("RGB", (400, 20), BLACK)
    image.paste(WHITE, (190, 0, 210, 20))
    image.save("middle.png")
    assert main(["predict", "--model", "cropping.h5", "middle.png"]) == 0
    assert capsys.readouterr().out == f"middle.png\t{expected}\n"


@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_pictures_are_read_as_in_training(folder: Path, capsys: pytest.CaptureFixture[str], decode: str) -> None:
    """Fast or exactly, as the model says."""
    parameters = Parameters(w=np.full(12, 2.0), b=-12.0)
    save_model(Path("fast.h5"), Model(parameters, Preprocessing(2, decode=decode), ("non-cat", "cat"), 0.5))
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.jpg")
    pixels = load_picture(Path("noise.jpg"), Preprocessing(2, decode=decode))
    assert main(["predict", "--json", "--model", "fast.h5", "noise.jpg"]) == 0
    printed = json.loads(capsys.readouterr().out)["probability"]
    assert printed == pytest.approx(1 / (1 + np.exp(12 - 2 * pixels.sum() / 255)), rel=1e-12)
    other = load_picture(Path("noise.jpg"), Preprocessing(2, decode="exact" if decode == "fast" else "fast"))
    assert other.sum() != pixels.sum()


def test_a_bad_picture_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line on stderr for each unreadable one, and exit code 3."""
    Path("text.jpg").write_text("no picture", encoding="utf-8")
    Path("empty").mkdir()
    assert main(["predict", "nowhere.png", "text.jpg", "empty", "pictures/dark.jpg"]) == 3
    printed = capsys.readouterr()
    assert printed.out == "pictures/dark.jpg\tnon-cat\tP(cat) = 0.0000\n"
    complaints = printed.err.splitlines()
    assert [complaint.split("'")[1] for complaint in complaints] == ["nowhere.png", "text.jpg", "empty"]


def test_a_line_stays_a_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the name of the file holds."""
    Image.new("RGB", (2, 2), WHITE).save("two\nlines\tand a tab.png")
    assert main(["predict", "two\nlines\tand a tab.png"]) == 0
    assert capsys.readouterr().out == "two\\nlines\\tand a tab.png\tcat\tP(cat) = 1.0000\n"


def test_folders_inside_folders_count(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in a folder with a subfolder for each class."""
    assert main(["predict", "."]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_name_that_is_too_long_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of the system counts as an unreadable picture."""
    assert main(["predict", "x" * 300, "pictures/dark.jpg"]) == 3
    printed = capsys.readouterr()
    assert "cannot be read (File name too long)" in printed.err
    assert "dark.jpg" in printed.out


def test_names_that_are_no_text_can_be_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are not UTF-8 are shown as escapes."""
    odd = os.fsdecode(b"odd\xff.png")
    Image.new("RGB", (2, 2), WHITE).save(odd)
    assert main(["predict", odd]) == 0
    assert capsys.readouterr().out == "odd\\xff.png\tcat\tP(cat) = 1.0000\n"


@pytest.mark.parametrize(("threshold", "expected"), [(0.4, "cat"), (0.5, "non-cat"), (0.6, "non-cat")])
def test_the_model_s_own_threshold_decides(
    folder: Path, capsys: pytest.CaptureFixture[str], threshold: float, expected: str
) -> None:
    """A probability of exactly one half is a cat only for a threshold below it."""
    undecided = Model(Parameters(w=np.zeros(12), b=0.0), Preprocessing(2), ("non-cat", "cat"), threshold=threshold)
    save_model(Path("undecided.h5"), undecided)
    assert main(["predict", "--model", "undecided.h5", "pictures/dark.jpg"]) == 0
    assert capsys.readouterr().out == f"pictures/dark.jpg\t{expected}\tP(cat) = 0.5000\n"


def test_a_missing_model_says_how_to_make_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before any picture is read."""
    Path("models/model.h5").unlink()
    assert main(["predict", "pictures"]) == 3
    assert capsys.readouterr().err == "one-neuron: 'models/model.h5' is missing; run `dvc repro` to make it again\n"


@pytest.mark.parametrize("variable", ["ONE_NEURON_MEMORY_MB", "ONE_NEURON_CACHE_MB"])
@pytest.mark.parametrize("command", ["settings", "repro"])
def test_a_wrong_limit_is_refused_before_anything_runs(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, variable: str
) -> None:
    """A typing error neither runs a stage nor deletes an output."""
    monkeypatch.chdir(repository)
    monkeypatch.setenv(variable, "abc")
    monkeypatch.setattr("one_neuron.commands.repro.run_in_terminal", lambda *_: pytest.fail("DVC was started"))
    assert main([command]) == 2
    assert f"{variable} = 'abc'" in capsys.readouterr().err


def test_settings_prints_what_would_be_used(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With and without overrides."""
    monkeypatch.chdir(repository)
    assert main(["settings"]) == 0
    assert "train.learning_rate = 0.005\n" in capsys.readouterr().out
    assert main(["settings", "train.learning_rate=1e-3"]) == 0
    assert "train.learning_rate = 0.001\n" in capsys.readouterr().out
    assert main(["settings", "train.learning_rate=-1"]) == 2
    assert "train.learning_rate is -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["predict"],
        ["guess"],
        ["predict", "--modle", "x", "y"],
        ["ui", "--port", "x"],
        ["ui", "--port", "0"],
        ["ui", "--port", "65536"],
        ["promote", "--sweep", "a", "--run", "b"],
        ["promote", "a"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The parser prints what it expects."""
    assert main(arguments) == 2
    assert "one-neuron" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_debug_shows_where_an_error_comes_from(folder: Path, before: bool) -> None:
    """The exception itself, for a bug report; the option stands before the command or behind it."""
    arguments = ["predict", "--model", "nowhere.h5", "pictures"]
    with pytest.raises(DataError, match="does not exist"):
        main(["--debug", *arguments] if before else [*arguments, "--debug"])


def test_the_ui_runs_in_the_root_of_the_project_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Elsewhere it would create a new, empty store."""
    assert main(["ui"]) == 2
    assert "not the root of the project" in capsys.readouterr().err
    assert not Path("mlflow.db").exists()


def test_the_ui_names_a_port_that_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server is not started."""
    Path("dvc.yaml").touch()
    found = store.Store("sqlite:///x", "x", None, None, Path("lock"))
    monkeypatch.setattr(ui, "ensure_store", lambda root: found)
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("the server was started"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["ui", "--port", str(port)]) == 4
    error = capsys.readouterr().err
    assert f"port {port} cannot be used" in error
    assert error.endswith(f"; try another one: make ui PORT={port + 1}\n")


class Sweeps:
    """A substitute for the store of the sweeps: it records the calls and returns one run."""

    def __init__(self, **answer: object) -> None:
        self.asked: list[tuple[Path, str | None, str | None]] = []
        self.recorded: list[object] = []
        params = {"train.learning_rate": "0.01", "form": "batch"}
        known = {"run_id": "b" * 32, "params": params, "diverged": False, "model_sha256": "", "sweep_id": None}
        known |= {"warning": ""}
        self.answer = SimpleNamespace(**(known | answer))

    def find_run(self, root: Path, *, sweep: str | None, run: str | None) -> SimpleNamespace:
        """Return the run."""
        self.asked.append((root, sweep, run))
        return self.answer


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder: a project with a committed params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(repository / "params.yaml", "params.yaml")
    Path("dvc.yaml").touch()
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for arguments in (["init"], ["add", "."], ["commit", "-m", "first"]):
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)
    return tmp_path


def put_sweeps(monkeypatch: pytest.MonkeyPatch, **answer: object) -> Sweeps:
    """Replace the real store by one run."""
    sweeps = Sweeps(**answer)
    module = ModuleType("one_neuron.tracking.find_run")
    monkeypatch.setattr(module, "find_run", sweeps.find_run, raising=False)
    monkeypatch.setitem(sys.modules, "one_neuron.tracking.find_run", module)
    promotion = ModuleType("one_neuron.tracking.promotion")
    monkeypatch.setattr(promotion, "record_promotion", lambda *record: sweeps.recorded.append(record), raising=False)
    monkeypatch.setitem(sys.modules, "one_neuron.tracking.promotion", promotion)
    return sweeps


@pytest.mark.parametrize(
    ("options", "sweep", "run"), [([], None, None), (["--sweep", "s1"], "s1", None), (["--run", "r1"], None, "r1")]
)
def test_promote_prints_the_change_and_the_next_step(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sweep: str | None,
    run: str | None,
) -> None:
    """The diff, the run, and `dvc repro` with the SHA-256 of the model that it will make."""
    sweeps = put_sweeps(monkeypatch, sweep_id="a" * 32, model_sha256="c" * 64)
    assert main(["promote", *options]) == 0
    assert sweeps.asked == [(project, sweep, run)]
    assert sweeps.recorded == [(project, sweeps.answer)]
    printed = capsys.readouterr().out.splitlines()
    changed = [line.split(" #")[0] for line in printed[2:-1] if line[0] in "+-"]
    assert changed == ["-  learning_rate: 0.005", "+  learning_rate: 0.01"]
    assert printed[-1] == (
        f"Promoted run {'b' * 32} of sweep {'a' * 32}: now run `dvc repro`; the model's SHA-256 will be {'c' * 64}."
    )
    assert "\n  learning_rate: 0.01 # " in Path("params.yaml").read_text()


def test_promote_a_run_without_sweep_or_model(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither is mentioned; a second time nothing is left to do, although the change is uncommitted."""
    put_sweeps(monkeypatch)
    assert main(["promote"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Promoted run {'b' * 32}: now run `dvc repro`."
    assert main(["promote"]) == 0
    assert capsys.readouterr().out == f"'params.yaml' already has the values of run {'b' * 32}.\n"
    put_sweeps(monkeypatch, sweep_id="a" * 32)
    assert main(["promote"]) == 0
    assert capsys.readouterr().out.endswith(f"of sweep {'a' * 32}; `make track` links the result to that run.\n")


def test_promote_refuses_what_force_allows(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that diverged or is not better than the baseline, and uncommitted changes."""
    text = Path("params.yaml").read_text()
    sweeps = put_sweeps(monkeypatch, warning="validation set: NOT BETTER")
    assert main(["promote"]) == 2
    assert capsys.readouterr().err == (
        f"one-neuron: run {'b' * 32}: validation set: NOT BETTER; choose another one, or accept it with --force\n"
    )
    assert Path("params.yaml").read_text() == text
    assert sweeps.recorded == []
    put_sweeps(monkeypatch, diverged=True)
    assert main(["promote"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (f"one-neuron: run {'b' * 32} diverged; choose another one, or accept it with --force\n")
    assert Path("params.yaml").read_text() == text
    Path("params.yaml").write_text(text + "# an edit\n")
    put_sweeps(monkeypatch)
    assert main(["promote"]) == 2
    assert "'params.yaml' has uncommitted changes" in capsys.readouterr().err
    assert Path("params.yaml").read_text() == text + "# an edit\n"
    sweeps = put_sweeps(monkeypatch, diverged=True, warning="validation set: NOT BETTER")
    assert main(["promote", "--force"]) == 0
    assert len(sweeps.recorded) == 1
    assert Path("params.yaml").read_text() == text.replace("rate: 0.005", "rate: 0.01") + "# an edit\n"


def test_promote_runs_in_the_root_of_the_project_only(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elsewhere there is no store."""
    sweeps = put_sweeps(monkeypatch)
    Path("dvc.yaml").unlink()
    assert main(["promote"]) == 2
    assert "not the root of the project" in capsys.readouterr().err
    assert sweeps.asked == []
