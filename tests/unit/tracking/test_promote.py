"""Values of a run in params.yaml: what changes in the text, what stays, and what is refused."""

import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ruamel.yaml import YAML

from one_neuron.errors import SettingsError
from one_neuron.settings.params import load_settings
from one_neuron.system.command import run_command
from one_neuron.tracking.promote import promote

TEXT = """\
draw:
  seed: 1
  num_train: 600
  num_test: 200
data:
  source: drawn
  num_px: 64
  resize: stretch
  decode: exact
  path: pictures
  positive_class: cat
  test_fraction: 0.25
  seed: 7
  on_error: stop
  max_skipped: 10
hdf5:
  {train_file: a, test_file: b, train_x: c, train_y: d, test_x: e, test_y: f, classes: g}
train:
  learning_rate: 0.005
  num_iterations: 2000
  record_every: 100
  tolerance: 0
  threshold: 0.5
evaluate:
  num_mistakes: 12
"""
ODD = """\
%YAML 1.2
---
# Above all,  é \N{PILE OF POO}, and a tab\there.

"evaluate":   {num_mistakes: 12,}   # in braces

# above draw
draw:    # beside draw
        # above seed
        seed:    1     # beside seed
        num_train  : 600 # a space before the colon
        num_test: 200

'data':
 source:   "drawn"  #  quoted:  'drawn'
 num_px: 64
 resize: stretch
 decode: exact
 path: pictures
 positive_class: cat
 test_fraction: 0.25
 seed: 7
 on_error: stop
 max_skipped: 10
hdf5: {train_file: a, test_file: b, train_x: c, train_y: d, test_x: e, test_y: f, classes: g}



train:
      # learning_rate: 0.005
      learning_rate:      5.0e-3            # far to the right
      num_iterations: 2e3
      !!str record_every: !!int "100"

      tolerance: &unused 0.0
      threshold: !!float
         0.5
# the end
"""
OTHER = {
    "draw.seed": "7",
    "data.source": "catvnoncat",
    "train.learning_rate": "0.0031622776601683794",
    "train.num_iterations": "123456",
    "train.record_every": "50",
    "train.tolerance": "1e-05",
    "train.threshold": "0.25",
    "evaluate.num_mistakes": "5",
}
Write = Callable[[str], Path]


def git(folder: Path, *arguments: str) -> None:
    """Run Git with a name and an address."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes and commits params.yaml in a new repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init")

    def write_params(text: str) -> Path:
        path = folder / "params.yaml"
        path.write_bytes(text.encode())
        git(folder, "add", "params.yaml")
        git(folder, "commit", "-m", "parameters")
        return path

    return write_params


def flat(path: Path) -> dict[str, Any]:
    """Return the settings in a file by `section.key`."""
    sections = asdict(load_settings(path))
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


def test_the_committed_file_changes_in_its_values_alone(repository: Path, write: Write) -> None:
    """All comments stay where they are; the oracle replaces the values by hand, line by line."""
    text = (repository / "params.yaml").read_bytes().decode()
    path = write(text)
    promote(path, {"train.learning_rate": "0.01", "train.num_iterations": "500", "data.source": "catvnoncat"})
    expected = text.replace("  learning_rate: 0.005 #", "  learning_rate: 0.01 #")
    expected = expected.replace("  num_iterations: 2000 #", "  num_iterations: 500 #")
    expected = expected.replace("  source: drawn #", "  source: catvnoncat #")
    assert path.read_bytes().decode() == expected
    assert flat(path)["train.num_iterations"] == 500


ODD_EXPECTED = (
    ODD.replace("seed:    1 ", "seed:    7 ")
    .replace('"drawn"', '"catvnoncat"')
    .replace("5.0e-3 ", "0.0031622776601683794 ")
    .replace("2e3", "123456")
    .replace('!!int "100"', '!!int "50"')
    .replace("&unused 0.0", "&unused 1e-05")
    .replace("         0.5", "         0.25")
    .replace("{num_mistakes: 12,}", "{num_mistakes: 5,}")
)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text, id="as it is"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(lambda text: text.removesuffix("\n"), id="no final line end"),
        pytest.param(lambda text: "\N{BYTE ORDER MARK}" + text, id="byte order mark"),
        pytest.param(lambda text: text + "\n\n  \n", id="blank lines at the end"),
    ],
)
def test_an_odd_layout_stays_byte_for_byte(write: Write, change: Callable[[str], str]) -> None:
    """Indents, quotes, braces, tags, blanks, comments above and beside; and the file says what was promoted."""
    path = write(change(ODD))
    before = flat(path)
    promote(path, OTHER)
    assert path.read_bytes().decode() == change(ODD_EXPECTED)
    assert flat(path) == before | {
        "draw.seed": 7,
        "data.source": "catvnoncat",
        "train.learning_rate": 0.0031622776601683794,
        "train.num_iterations": 123456,
        "train.record_every": 50,
        "train.tolerance": 1e-05,
        "train.threshold": 0.25,
        "evaluate.num_mistakes": 5,
    }


def test_a_value_that_ends_the_file(write: Write) -> None:
    """Neither a line end nor a comment follows it."""
    path = write(TEXT.removesuffix("\n"))
    promote(path, {"evaluate.num_mistakes": "100"})
    assert path.read_bytes().decode() == TEXT.removesuffix("12\n") + "100"


@pytest.mark.parametrize(
    ("name", "text", "written", "value"),
    [
        ("train.learning_rate", "1e-05", "1e-05", 1e-05),
        ("train.learning_rate", "0.0031622776601683794", "0.0031622776601683794", 0.0031622776601683794),
        ("train.learning_rate", "0.0031622776601683795", "0.0031622776601683794", 0.0031622776601683795),
        ("train.learning_rate", "1e-12", "1e-12", 1e-12),
        ("train.learning_rate", "1000", "1000.0", 1000.0),
        ("train.learning_rate", "1", "1.0", 1.0),
        ("train.num_iterations", "5e2", "500", 500),
        ("train.num_iterations", "500.0", "500", 500),
        ("draw.seed", "9223372036854775807", "9223372036854775807", 2**63 - 1),
        ("draw.seed", "0", "0", 0),
        ("train.tolerance", "5e-324", "5e-324", 5e-324),
        ("data.source", "catvnoncat", "catvnoncat", "catvnoncat"),
    ],
)
def test_forms_of_values(write: Write, name: str, text: str, written: str, value: object) -> None:
    """Each keeps its type and all digits; the second oracle reads YAML 1.2, as DVC does."""
    path = write(TEXT)
    promote(path, {name: text})
    section, key = name.split(".")
    assert f"\n  {key}: {written}\n" in path.read_text()
    for found in (flat(path)[name], YAML(typ="safe", pure=True).load(path.read_text())[section][key]):
        assert found == value
        assert type(found) is type(value)


@pytest.mark.parametrize(
    "params",
    [
        {"train.learning_rate": "5e-3", "train.num_iterations": "2e3"},
        {"train.learning_rate": "0.0050", "draw.seed": "1.0", "data.source": "drawn"},
        {"train.tolerance": "0.0"},
        {"train.tolerance": "-0.0"},
    ],
)
def test_an_equal_value_is_not_rewritten(write: Write, params: dict[str, str]) -> None:
    """Nothing is written: the file is the same one, uncommitted or not."""
    path = write(TEXT)
    path.write_text(TEXT + "# an edit\n")
    before = path.stat()
    assert promote(path, params) == ""
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_one_value_changes_and_its_equal_neighbours_do_not(write: Write) -> None:
    """2e3 stays 2e3 beside a learning rate that changes."""
    text = TEXT.replace("2000", "2e3").replace("tolerance: 0", "tolerance: 0e0")
    path = write(text)
    promote(path, {"train.num_iterations": "2000", "train.tolerance": "0.0", "train.learning_rate": "0.01"})
    assert path.read_text() == text.replace("0.005", "0.01")


def test_what_params_yaml_does_not_know_is_left_out(write: Write) -> None:
    """The shapes of a run and the settings of its sweep are not parameters of the project."""
    path = write(TEXT)
    promote(path, {"form": "gram", "m": "209", "sweep.folds": "5", "train": "5", "train.seed": "5", "draw.seed": "2"})
    assert path.read_text() == TEXT.replace("seed: 1", "seed: 2")


def test_what_the_run_lacks_stays(write: Write) -> None:
    """A run on the course's pictures has no `draw`."""
    path = write(TEXT.replace("seed: 1", "seed: 99"))
    promote(path, {"data.source": "catvnoncat"})
    assert flat(path)["draw.seed"] == 99
    assert flat(path)["data.source"] == "catvnoncat"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"train.learning_rate": "-1"}, "the run: train.learning_rate is -1; expected a number from 1e-12 to 1,000"),
        ({"train.learning_rate": "NaN"}, "the run: train.learning_rate is nan; expected a number"),
        ({"train.learning_rate": "[0.1]"}, r"the run: train.learning_rate is \[0.1\]; expected a number"),
        ({"train.learning_rate": "much"}, r"the run: train.learning_rate is 'much' \(text\); expected a number"),
        ({"train.learning_rate": ""}, r"the run: train.learning_rate is '' \(text\); expected a number"),
        ({"train.learning_rate": "[" * 6000}, r"the run: train.learning_rate is '\[\["),
        ({"train.num_iterations": "9" * 5000}, "the run: train.num_iterations is '999"),
        ({"train.num_iterations": "1.5"}, "the run: train.num_iterations is 1.5; expected a whole number"),
        ({"train.num_iterations": "true"}, "the run: train.num_iterations is True; expected a whole number"),
        ({"train.threshold": "1"}, "the run: train.threshold is 1; expected a number between 0 and 1"),
        ({"draw.seed": "9223372036854775808"}, "the run: draw.seed is 9223372036854775808; expected"),
        ({"data.source": "Drawn"}, "the run: data.source is 'Drawn'; expected drawn or catvnoncat"),
        ({"data.source": "drawn\n  num_px: 2"}, "the run: data.source is 'drawn"),
        ({"form": "gram"}, r"the run has none of the parameters draw.seed, .*; choose another run"),
        ({}, "the run has none of the parameters"),
    ],
)
def test_a_wrong_value_is_refused(write: Write, params: dict[str, str], message: str) -> None:
    """Even with `force`, and even beside valid ones: the file stays as it is."""
    path = write(TEXT)
    right = {"draw.num_train": "10"} if "is" in message.split() else {}
    for force in (False, True):
        with pytest.raises(SettingsError, match=message):
            promote(path, params | right, force=force)
    assert path.read_text() == TEXT
    assert sorted(other.name for other in path.parent.iterdir()) == [".git", "params.yaml"]


def test_a_wrong_file_is_refused(write: Write) -> None:
    """A mistake in params.yaml itself is reported first, even if the run would correct it."""
    path = write(TEXT.replace("0.005", "-5"))
    with pytest.raises(SettingsError, match=r"params\.yaml: train\.learning_rate is -5; expected"):
        promote(path, {"train.learning_rate": "0.01"}, force=True)
    with pytest.raises(SettingsError, match=r"params\.yaml' is missing"):
        promote(path.with_name("none") / "params.yaml", {"train.learning_rate": "0.01"}, force=True)


@pytest.mark.parametrize(
    ("old", "new", "params"),
    [
        pytest.param("threshold: 0.5", "<<: {threshold: 0.5}", "threshold", id="merge"),
        pytest.param("source: drawn", r'source: "dr\x61wn"', "source", id="escape"),
        pytest.param("source: drawn", "source: |-\n    drawn", "source", id="block"),
        pytest.param("source: drawn", "source: >-\n    drawn", "source", id="folded block"),
        pytest.param("learning_rate: 0.005", "learning_rate: !!int 5", "learning_rate", id="tag"),
    ],
)
def test_a_value_that_cannot_be_changed_alone(write: Write, old: str, new: str, params: str) -> None:
    """The message names the value to write by hand."""
    assert TEXT.count(old) == 1
    path = write(TEXT.replace(old, new))
    text = path.read_bytes()
    name, value = {
        "source": ("data.source", "catvnoncat"),
        "threshold": ("train.threshold", "0.25"),
        "learning_rate": ("train.learning_rate", "0.25"),
    }[params]
    with pytest.raises(SettingsError, match=rf"params\.yaml' has .*; edit it: {name}: {value}$"):
        promote(path, {name: value})
    assert path.read_bytes() == text
    assert sorted(other.name for other in path.parent.iterdir()) == [".git", "params.yaml"]


def test_a_file_that_is_not_yaml_1_2(write: Write) -> None:
    """OmegaConf reads it, ruamel.yaml does not."""
    text = TEXT.replace("\ntrain", "\n\u2028train")
    path = write(text)
    load_settings(path)
    with pytest.raises(SettingsError, match=r"params\.yaml' is not readable as YAML 1\.2: "):
        promote(path, {"train.threshold": "0.25"})
    assert path.read_bytes().decode() == text


def edit(path: Path) -> None:
    """Change a comment."""
    path.write_text(path.read_text() + "# an edit\n")


def stage(path: Path) -> None:
    """Change a comment and stage it."""
    edit(path)
    git(path.parent, "add", "params.yaml")


def forget(path: Path) -> None:
    """Make the file one that Git does not know, in a repository that does not show such files."""
    git(path.parent, "rm", "--cached", "params.yaml")
    git(path.parent, "commit", "-m", "forget it")
    git(path.parent, "config", "status.showUntrackedFiles", "no")


def ignore(path: Path) -> None:
    """Make the file one that Git ignores."""
    forget(path)
    (path.parent / ".gitignore").write_text("*\n")


def leave_out(path: Path) -> None:
    """Make the project a folder that the repository ignores."""
    ignore(path)
    inner = path.parent / "inner"
    inner.mkdir()
    path.replace(inner / "params.yaml")


@pytest.mark.parametrize("change", [edit, stage, forget, ignore])
def test_uncommitted_changes_are_not_written_over(write: Write, change: Callable[[Path], None]) -> None:
    """Edited, staged, untracked or ignored: Git could not restore it. With `force` it is overwritten."""
    path = write(TEXT)
    change(path)
    text = path.read_text()
    with pytest.raises(SettingsError, match=r"params\.yaml' has uncommitted changes; commit .* undo .* --force"):
        promote(path, {"draw.seed": "2"})
    assert path.read_text() == text
    promote(path, {"draw.seed": "2"}, force=True)
    assert path.read_text() == text.replace("seed: 1", "seed: 2")


def test_a_folder_that_git_ignores(write: Write) -> None:
    """An unpacked archive inside another repository is not in any commit."""
    path = write(TEXT)
    leave_out(path)
    with pytest.raises(SettingsError, match="has uncommitted changes"):
        promote(path.parent / "inner" / "params.yaml", {"draw.seed": "2"})


def test_changes_of_other_files_do_not_matter(write: Write) -> None:
    """And the index, which DVC may be using, is not written."""
    path = write(TEXT)
    (path.parent / "code.py").touch()
    git(path.parent, "add", "code.py")
    os.utime(path, (0, 0))  # `git status` would refresh the index
    index = (path.parent / ".git" / "index").read_bytes()
    assert promote(path, {"draw.seed": "2"}) != ""
    assert (path.parent / ".git" / "index").read_bytes() == index


def test_without_git_only_force_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, or no program `git`."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    message = r"Git does not know whether .*params\.yaml' has uncommitted changes; .* --force"
    with pytest.raises(SettingsError, match=message):
        promote(path, {"draw.seed": "2"})
    git(tmp_path, "init")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match=message):
        promote(path, {"draw.seed": "2"})
    assert path.read_text() == TEXT
    promote(path, {"draw.seed": "2"}, force=True)
    assert path.read_text() == TEXT.replace("seed: 1", "seed: 2")


@pytest.mark.parametrize("text", [TEXT, ODD, ODD.replace("\n", "\r\n"), TEXT.removesuffix("\n"), TEXT + "# \x85# x\n"])
def test_the_diff_is_one_that_git_can_apply(write: Write, text: str) -> None:
    """It turns the old text into the new one."""
    path = write(text)
    diff = promote(path, OTHER)
    new = path.read_bytes()
    assert new != text.encode()
    git(path.parent, "checkout", "params.yaml")
    assert path.read_bytes() == text.encode()
    patch = path.parent / "changes.diff"
    patch.write_bytes(diff.encode())
    git(path.parent, "apply", "--whitespace=nowarn", "changes.diff")
    assert path.read_bytes() == new


def test_the_diff_of_one_value(write: Write) -> None:
    """The line before and after, with three lines around it."""
    diff = promote(write(TEXT), {"evaluate.num_mistakes": "5"})
    assert diff == (
        "--- a/params.yaml\n+++ b/params.yaml\n@@ -22,4 +22,4 @@\n"
        "   tolerance: 0\n   threshold: 0.5\n evaluate:\n-  num_mistakes: 12\n+  num_mistakes: 5\n"
    )


def test_a_folder_that_cannot_be_written_is_exit_code_4(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the folder; the file stays. Root may write anywhere, so the refusal is simulated."""
    path = write(TEXT)

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(path.parent))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)

    def command() -> None:
        promote(path, {"draw.seed": "2"})

    assert run_command(command, debug=False) == 4
    message = f"one-neuron: '{path.parent}': Permission denied; check the disk's space and the permissions\n"
    assert capsys.readouterr().err == message
    assert path.read_text() == TEXT
