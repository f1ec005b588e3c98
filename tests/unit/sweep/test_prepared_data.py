"""The prepared pictures of a sweep: each set once, without changing DVC's outputs or leaving incomplete files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from one_neuron.errors import DataError, EnvironmentProblem, OneNeuronError, SettingsError
from one_neuron.settings.params import Settings, check_settings
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from one_neuron.sweep import prepared_data
from one_neuron.sweep.prepared_data import DataFiles, load_data, name_data, prepare_data
from tests.values import VALUES

OWN = check_settings(VALUES, origin="the test")
OTHER = replace(OWN, draw=replace(OWN.draw, seed=2))
COURSE = replace(OWN, data=replace(OWN.data, source="catvnoncat"))
COURSE_VARIABLE = "ONE_NEURON_CATVNONCAT_DIR"
STAGES = {
    "draw": {"deps": ["pipeline/draw.py", "requirements.txt"], "outs": ["data/drawn.sha256"]},
    "prepare": {"deps": ["data/drawn.sha256", "pipeline/prepare.py", "requirements.txt"]},
    "train": {"deps": ["pipeline/train.py"]},
}
MakePrepared = Callable[..., PreparedSet]


@dataclass
class Programs:
    """A stand-in for the programs that are started; it records the calls."""

    make: MakePrepared
    names: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    failing: dict[str, tuple[int, str]] = field(default_factory=dict)  # exit code and stderr
    interrupted: bool = False

    def run(
        self, command: list[str], *, cwd: Path, env: dict[str, str], **_: Any
    ) -> "subprocess.CompletedProcess[str]":
        """Write the files that DVC or a stage writes."""
        assert command[0] == sys.executable
        name = "dvc" if command[1:3] == ["-m", "dvc"] else Path(command[1]).stem
        self.names.append(name)
        self.calls.append({"command": command, "cwd": cwd, "env": env})
        if name == "draw":
            (cwd / "data/drawn").mkdir(parents=True)
        else:
            values = json.loads((cwd / "params.yaml").read_text(encoding="utf-8"))
            save_prepared(cwd / "data/prepared/train.h5", self.make(6, seed=values["draw"]["seed"]))
            if self.interrupted:
                raise KeyboardInterrupt
            save_prepared(cwd / "data/prepared/test.h5", self.make(4, seed=100 + values["draw"]["seed"]))
        code, stderr = self.failing.get(name, (0, ""))
        return subprocess.CompletedProcess(command, code, "", stderr)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with the files that a sweep reads; it is the current folder."""
    root = tmp_path / "one neuron"
    (root / "pipeline").mkdir(parents=True)
    (root / "pictures").mkdir()
    (root / "params.yaml").write_text(json.dumps(VALUES), encoding="utf-8")
    (root / "dvc.yaml").write_text(json.dumps({"stages": STAGES}), encoding="utf-8")  # JSON is YAML
    for name in ("pipeline/draw.py", "pipeline/prepare.py", "pipeline/train.py", "requirements.txt"):
        (root / name).write_text("# as it was\n", encoding="utf-8")
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def programs(root: Path, make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Return the stand-in for all programs that a sweep starts."""
    programs = Programs(make_prepared)
    monkeypatch.setattr(subprocess, "run", programs.run)
    return programs


def only(settings: Settings, root: Path) -> DataFiles:
    """Return the files of one choice of pictures."""
    (files,) = prepare_data([settings], root).values()
    return files


def folders(root: Path) -> set[Path]:
    """Return the content of the cache."""
    return set((root / ".one-neuron/prepared").glob("*"))


# --- which pictures are the same -----------------------------------------------------


def test_what_pictures_follow_from() -> None:
    """Sections draw and data; for the course's pictures only data."""
    assert name_data(OWN) == name_data(replace(OWN, train=replace(OWN.train, learning_rate=1.0)))
    assert name_data(COURSE) == name_data(replace(COURSE, draw=OTHER.draw))
    sizes = [
        replace(OWN, data=replace(OWN.data, num_px=3)),
        replace(COURSE, data=replace(COURSE.data, num_px=3)),
    ]
    assert len({name_data(settings) for settings in (OWN, OTHER, COURSE, *sizes)}) == 5


# --- DVC's own -----------------------------------------------------------------------


def test_the_pictures_of_params_yaml_are_dvcs(programs: Programs, root: Path) -> None:
    """DVC runs once, however many configurations share them."""
    configurations = [replace(OWN, train=replace(OWN.train, num_iterations=number)) for number in (10, 20, 30)]
    found = prepare_data(configurations, root)
    assert list(found) == [name_data(OWN)]
    (call,) = programs.calls
    assert call["command"][1:] == ["-m", "dvc", "repro", "prepare"]
    assert (call["cwd"], call["env"]["DVC_NO_ANALYTICS"]) == (root, "1")
    files = found[name_data(OWN)]
    assert (files.train, files.test) == (root / "data/prepared/train.h5", root / "data/prepared/test.h5")
    assert files.train_sha256 == programs.make(6, seed=1).sha256
    assert files.test_sha256 == programs.make(4, seed=101).sha256
    assert folders(root) == set()


def test_an_edit_of_params_yaml_while_dvc_works_is_refused(
    programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC may have read either version, and no outcome may be recorded for other pictures."""

    def run_and_edit(command: list[str], **options: Any) -> "subprocess.CompletedProcess[str]":
        edited = {**VALUES, "draw": {**VALUES["draw"], "num_train": 9}}
        (root / "params.yaml").write_text(json.dumps(edited), encoding="utf-8")
        return programs.run(command, **options)

    monkeypatch.setattr(subprocess, "run", run_and_edit)
    with pytest.raises(SettingsError, match=r"^'params.yaml' was changed while the sweep began; run the same command"):
        prepare_data([OWN], root)


def test_a_list_of_dvc_s_that_a_kill_broke_is_removed_first(programs: Programs, root: Path) -> None:
    """The sweep goes on instead of failing for ever."""
    (root / ".dvc/tmp").mkdir(parents=True)
    (root / ".dvc/tmp/rwlock").touch()
    only(OWN, root)
    assert not (root / ".dvc/tmp/rwlock").exists()


def test_dvc_is_asked_at_every_start(programs: Programs, root: Path) -> None:
    """DVC knows what is up to date, and a file that changed since then is read again."""
    before = only(OWN, root)
    make = programs.make
    programs.make = lambda m, *, seed: make(m, seed=seed + 7)
    after = only(OWN, root)
    assert programs.names == ["dvc", "dvc"]
    assert before.train_sha256 != after.train_sha256


@pytest.mark.parametrize(
    ("stderr", "kind", "message"),
    [
        (
            "one-neuron: 'a.h5' is damaged\nERROR: failed to run: python pipeline/prepare.py, exited with 3\n",
            DataError,
            "'a.h5' is damaged",
        ),
        ("\none-neuron: no disk\nERROR: ..., exited with 4\n", EnvironmentProblem, "no disk"),
        ("one-neuron: wrong\nERROR: ..., exited with 2\n", SettingsError, "wrong"),
        ("one-neuron: odd\nERROR: ..., exited with 143\n", EnvironmentProblem, "odd"),
        (
            "WARNING: old\nERROR: Unable to acquire lock.   Wait.\nmore\n",
            EnvironmentProblem,
            "another DVC command is running here; run the sweep again when it has finished",
        ),
        ("Traceback\nValueError: x\n\n", EnvironmentProblem, "`dvc repro prepare` failed (ValueError: x); run"),
        ("", EnvironmentProblem, "`dvc repro prepare` failed (no message); run"),
    ],
)
def test_what_dvc_says(programs: Programs, root: Path, stderr: str, kind: type[OneNeuronError], message: str) -> None:
    """The line of the stage if there is one, with its exit code; otherwise DVC's line with the error."""
    programs.failing["dvc"] = (1, stderr)
    with pytest.raises(kind) as caught:
        prepare_data([OWN], root)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(message)


# --- other settings ------------------------------------------------------------------


def test_other_pictures_are_prepared_aside(programs: Programs, root: Path) -> None:
    """By the same stages, with another params.yaml, in another folder; DVC's files do not change."""
    files = only(OTHER, root)
    assert programs.names == ["draw", "prepare"]
    (folder,) = folders(root)
    assert (files.train, files.test) == (folder / "data/prepared/train.h5", folder / "data/prepared/test.h5")
    assert files.train_sha256 == load_prepared(files.train).sha256 == programs.make(6, seed=2).sha256
    assert files.test_sha256 == load_prepared(files.test).sha256 == programs.make(4, seed=102).sha256
    assert not (folder / "data/drawn").exists()  # hundreds of pictures that are not read again
    assert not (root / "data").exists()
    for call, name in zip(programs.calls, ("draw", "prepare"), strict=True):
        assert call["command"][1:] == [str(root / f"pipeline/{name}.py")]
        assert call["cwd"].parent == folder.parent
        assert call["env"]["PYTHONPATH"] == str(root / "src")
        assert call["env"]["PATH"].startswith(str(Path(sys.executable).parent))


@pytest.mark.parametrize("source", ["folder", "hdf5"])
def test_the_user_s_own_pictures_are_known_by_their_content(programs: Programs, root: Path, source: str) -> None:
    """A changed, added, removed or renamed file makes another folder; the same files do not."""
    settings = replace(OWN, data=replace(OWN.data, source=source, path="mine"))
    picture = root / "mine/cat/a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"one")
    only(settings, root)
    assert programs.names == ["prepare"]
    values = json.loads((programs.calls[0]["cwd"].parent / next(iter(folders(root))) / "params.yaml").read_text())
    assert values["data"]["path"] == str(root / "mine")
    assert programs.calls[0]["env"]["DVC_ROOT"] == str(root)
    changes: list[Callable[[], object]] = [
        lambda: picture.write_bytes(b"two"),
        lambda: picture.with_name("b.png").write_bytes(b"one"),
        picture.unlink,
        lambda: picture.with_name("b.png").rename(picture.with_name("c.png")),
    ]
    for number, change in enumerate(changes, start=2):
        change()
        only(settings, root)
        only(settings, root)
        assert len(folders(root)) == number
    assert programs.names == ["prepare"] * 5


def test_other_names_in_hdf5_files_are_other_data(programs: Programs, root: Path) -> None:
    """For drawn pictures they have no effect."""
    other = replace(OWN.hdf5, train_x="x")
    own = replace(OWN, data=replace(OWN.data, source="hdf5"))
    assert name_data(own) != name_data(replace(own, hdf5=other))
    assert name_data(OWN) == name_data(replace(OWN, hdf5=other))
    assert name_data(own) == name_data(replace(own, draw=OTHER.draw))
    assert programs.names == []


def test_what_dvc_would_hang_on_is_named_first(programs: Programs, root: Path) -> None:
    """No program is started."""
    os.mkfifo(root / "pictures/pipe.png")
    with pytest.raises(DataError, match=r"'pictures/pipe.png' is neither a file nor a folder; remove it"):
        prepare_data([OWN], root)
    (root / "pictures/pipe.png").rename(root / "pipe.png")
    (root / "mine").mkdir()
    (root / "pipe.png").rename(root / "mine/pipe.png")
    with pytest.raises(DataError, match=r"'mine/pipe.png' is neither a file nor a folder; remove it"):
        prepare_data([replace(OWN, data=replace(OWN.data, source="folder", path="mine"))], root)
    assert programs.names == []


def test_the_courses_pictures_are_not_drawn(programs: Programs, root: Path) -> None:
    """Only the stage `prepare` runs."""
    only(COURSE, root)
    assert programs.names == ["prepare"]


def test_each_choice_of_pictures_is_prepared_once(programs: Programs, root: Path) -> None:
    """Once in a sweep, and not again in later ones."""
    longer = [replace(each, train=replace(each.train, num_iterations=9)) for each in (OWN, OTHER, COURSE)]
    found = prepare_data([OTHER, OWN, *longer, COURSE], root)
    assert set(found) == {name_data(OWN), name_data(OTHER), name_data(COURSE)}
    assert sorted(programs.names) == ["draw", "dvc", "prepare", "prepare"]
    assert len(folders(root)) == 2
    programs.names.clear()
    assert prepare_data([COURSE, OTHER], root) == {name: found[name] for name in map(name_data, (OTHER, COURSE))}
    assert programs.names == []


def test_params_yaml_can_come_to_what_was_prepared_aside(programs: Programs, root: Path) -> None:
    """After a promotion DVC prepares them, and the former ones are prepared in the cache."""
    aside = only(OTHER, root)
    (root / "params.yaml").write_text(json.dumps({**VALUES, "draw": {**VALUES["draw"], "seed": 2}}), encoding="utf-8")
    own = only(OTHER, root)
    assert (own.train, own.train_sha256) == (root / "data/prepared/train.h5", aside.train_sha256)
    assert only(OWN, root).train != root / "data/prepared/train.h5"


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "empty folder"])
def test_a_damaged_cache_is_made_anew(programs: Programs, root: Path, damage: str) -> None:
    """The sweep prepares it again."""
    files = only(OTHER, root)
    content = files.test.read_bytes()
    if damage == "cut":
        files.test.write_bytes(content[:-9])
    elif damage == "flip":
        files.test.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        files.test.unlink()
    if damage == "empty folder":
        files.train.unlink()
    programs.names.clear()
    assert only(OTHER, root) == files
    assert programs.names == ["draw", "prepare"]
    assert files.test.read_bytes() == content


@pytest.mark.parametrize("name", ["pipeline/draw.py", "pipeline/prepare.py", "requirements.txt"])
def test_changed_code_makes_another_folder(programs: Programs, root: Path, name: str) -> None:
    """The dependencies of DVC's stages count; other code and what the stage `draw` made do not."""
    only(OTHER, root)
    before = folders(root)
    (root / "pipeline/train.py").write_text("# edited\n", encoding="utf-8")
    (root / "data").mkdir()
    (root / "data/drawn.sha256").write_text("new", encoding="utf-8")
    only(OTHER, root)
    assert folders(root) == before
    (root / name).write_text("# edited\n", encoding="utf-8")
    only(OTHER, root)
    assert len(folders(root)) == 2
    (root / name).write_text("# as it was\n", encoding="utf-8")
    programs.names.clear()
    assert only(OTHER, root).train.is_relative_to(next(iter(before)))
    assert programs.names == []


@pytest.mark.parametrize(("code", "kind"), [(2, SettingsError), (3, DataError), (4, EnvironmentProblem)])
@pytest.mark.parametrize("name", ["draw", "prepare"])
def test_a_failing_stage_gives_its_own_line(
    programs: Programs, root: Path, name: str, code: int, kind: type[OneNeuronError]
) -> None:
    """The error has the type of the exit code; no incomplete folder stays, and the next sweep tries again."""
    programs.failing[name] = (code, "a note\none-neuron: warning: copies\none-neuron: 'x.png' is not a picture\n")
    with pytest.raises(kind) as caught:
        prepare_data([OTHER], root)
    assert (type(caught.value), str(caught.value)) == (kind, "'x.png' is not a picture")
    assert folders(root) == set()
    programs.failing.clear()
    assert only(OTHER, root).train.is_file()


def test_a_stage_that_breaks_shows_its_last_line(programs: Programs, root: Path) -> None:
    """For an unexpected error, the message has the last line of the traceback."""
    programs.failing["draw"] = (1, "Traceback (most recent call last):\n  File ...\nValueError: wrong\n")
    with pytest.raises(EnvironmentProblem, match=r"^the stage 'draw' failed \(ValueError: wrong\); run"):
        prepare_data([OTHER], root)


def test_an_interrupted_stage_leaves_nothing(programs: Programs, root: Path) -> None:
    """Not even if one of two files was written."""
    programs.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        prepare_data([OTHER], root)
    assert folders(root) == set()


def test_real_programs(root: Path) -> None:
    """The error has the exit code and the line of a real process, which reads its own params.yaml."""
    draw = "import json, pathlib, sys\nseed = json.loads(pathlib.Path('params.yaml').read_text())['draw']['seed']\n"
    draw += "print('not this', file=sys.stdout)\nsys.exit(print(f'one-neuron: seed {seed}', file=sys.stderr) or 3)\n"
    (root / "pipeline/draw.py").write_text(draw, encoding="utf-8")
    with pytest.raises(DataError, match=r"^seed 2$"):
        prepare_data([OTHER], root)
    assert folders(root) == set()


# --- the course's folder -------------------------------------------------------------


@pytest.mark.parametrize("settings", [OWN, COURSE])
def test_a_relative_folder_counts_from_where_the_sweep_started(
    programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """The stages run in another folder."""
    for value, expected in (("../shared", root / "../shared"), ("~/course", Path("~/course").expanduser())):
        monkeypatch.setenv(COURSE_VARIABLE, value)
        programs.calls.clear()
        (root / "requirements.txt").write_text(value, encoding="utf-8")  # so that it runs again
        only(settings, root)
        seen = Path(programs.calls[-1]["env"][COURSE_VARIABLE])
        assert seen.is_absolute()
        assert seen.resolve() == expected.resolve()


@pytest.mark.parametrize("value", [None, ""])
def test_no_folder_stays_no_folder(
    programs: Programs, root: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """Without the variable, the stage downloads the pictures."""
    monkeypatch.delenv(COURSE_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(COURSE_VARIABLE, value)
    only(COURSE, root)
    assert not programs.calls[-1]["env"].get(COURSE_VARIABLE)


# --- loading -------------------------------------------------------------------------


def test_sets_are_loaded_once(programs: Programs, root: Path) -> None:
    """Repeated calls return the same objects."""
    files = only(OTHER, root)
    train, test = load_data(files)
    assert (train.m, test.m) == (6, 4)
    again = load_data(files)
    assert again[0] is train
    assert again[1] is test


@pytest.mark.parametrize("name", ["train", "test"])
def test_pictures_that_changed_meanwhile_are_refused(programs: Programs, root: Path, name: str) -> None:
    """A job in another process reads the file later."""
    files = only(OWN, root)
    prepared_data._load.cache_clear()
    save_prepared(getattr(files, name), programs.make(6, seed=77))
    with pytest.raises(DataError, match=rf"{name}.h5' was changed while the sweep ran; run the same command again"):
        load_data(files)


def test_a_damaged_set_has_the_remedy_for_its_place(programs: Programs, root: Path) -> None:
    """DVC makes its own sets again, and the next sweep makes those in .one-neuron again."""
    for settings, remedy in ((OWN, "run `dvc repro`"), (OTHER, "run the same command again, which makes it again")):
        files = only(settings, root)
        prepared_data._load.cache_clear()
        content = bytearray(files.train.read_bytes())
        content[-1] ^= 1
        files.train.write_bytes(content)
        with pytest.raises(DataError, match=rf"train\.h5': its content does not fit its SHA-256 .*; {remedy}"):
            load_data(files)
