"""The prepared pictures of a sweep: DVC's own, or those of other settings in a cache aside."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from one_neuron.dvc_guard import check_data_path, repair_rwlock
from one_neuron.errors import DataError, EnvironmentProblem, OneNeuronError, SettingsError, one_line
from one_neuron.layout import DRAWN_FOLDER, PARAMS_FILE, TEST_FILE, TRAIN_FILE, WORK_FOLDER
from one_neuron.settings.params import Settings, load_settings
from one_neuron.storage.prepared_set import PreparedSet, load_prepared
from one_neuron.system.progress import announce

CACHE = WORK_FOLDER / "prepared"
LOCK_FILE = WORK_FOLDER / "prepare.lock"
_ERRORS: dict[str, type[OneNeuronError]] = {"2": SettingsError, "3": DataError, "4": EnvironmentProblem}


@dataclass(frozen=True)
class DataFiles:
    """The prepared sets of one choice of pictures.

    Parameters
    ----------
    train, test : Path
        The files.
    train_sha256, test_sha256 : str
        Of their contents.
    """

    train: Path
    test: Path
    train_sha256: str
    test_sha256: str


def name_data(settings: Settings) -> str:
    """Return a key that is the same for configurations with the same pictures: JSON of the sections that make them.

    Parameters
    ----------
    settings : Settings
    """
    sections = asdict(settings)
    return json.dumps({key: sections[key] for key in _sections(settings)}, sort_keys=True)


def prepare_data(configurations: Iterable[Settings], root: Path) -> dict[str, DataFiles]:
    """Make sure that the pictures of all configurations are prepared and up to date.

    Those of params.yaml are DVC's own (`dvc repro prepare`, which does nothing when they are up to date). Others go
    through the same stages in a folder of their own under `.one-neuron/prepared`, so that no output of DVC changes.

    Parameters
    ----------
    configurations : iterable of Settings
    root : Path
        The repository, which is the current folder.

    Returns
    -------
    dict of str to DataFiles
        By `name_data`.

    Raises
    ------
    DataError, SettingsError, EnvironmentProblem
        What the stage said that could not do its work, or DVC.
    """
    from filelock import FileLock

    found: dict[str, DataFiles] = {}
    _load.cache_clear()
    lock_file = root / LOCK_FILE
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_file):  # DVC lets one process work at a time, and gives up soon
        present = load_settings()
        check_data_path(present.data)  # before DVC, which would say less, or hang
        own = name_data(present)
        for left in (root / CACHE).glob(".making-*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        for settings in configurations:
            name = name_data(settings)
            if name in found:
                continue
            if name == own:
                _run_dvc(root)
                found[name] = _describe(root)
                if name_data(load_settings()) != own:  # DVC reads it, too: which one did it see?
                    raise SettingsError(
                        f"'{PARAMS_FILE}' was changed while the sweep began; run the same command again"
                    )
            else:
                found[name] = _prepare_aside(settings, root)
    return found


def load_data(files: DataFiles) -> tuple[PreparedSet, PreparedSet]:
    """Load the training and the test set, once in a process, and check that they are the ones that are meant.

    Parameters
    ----------
    files : DataFiles

    Returns
    -------
    train, test : PreparedSet

    Raises
    ------
    DataError
        If a file is missing, damaged, or another one by now.
    """
    for path, sha256 in ((files.train, files.train_sha256), (files.test, files.test_sha256)):
        if _load(path).sha256 != sha256:
            raise DataError(f"'{path}' was changed while the sweep ran; run the same command again")
    return _load(files.train), _load(files.test)


@lru_cache(maxsize=4)  # jobs come ordered by their pictures
def _load(path: Path) -> PreparedSet:
    """Load a prepared set."""
    return load_prepared(path)


def _sections(settings: Settings) -> tuple[str, ...]:
    """Return the names of the sections that the pictures follow from."""
    more = {"drawn": ("draw",), "hdf5": ("hdf5",)}
    return (*more.get(settings.data.source, ()), "data")


def _describe(folder: Path) -> DataFiles:
    """Return the files in a folder, with their digests."""
    train, test = folder / TRAIN_FILE, folder / TEST_FILE
    return DataFiles(train, test, _load(train).sha256, _load(test).sha256)


def _run_dvc(root: Path) -> None:
    """Let DVC prepare the pictures of params.yaml."""
    repair_rwlock(root)
    announce("looking after the pictures: dvc repro prepare")
    command = [sys.executable, "-m", "dvc", "repro", "prepare"]
    done = _run(command, root, {"DVC_NO_ANALYTICS": "1"})
    if done.returncode:
        code = re.search(r"exited with (\d+)", done.stderr)
        _raise_what_it_said(done.stderr, code[1] if code else "", "`dvc repro prepare` failed")


def _prepare_aside(settings: Settings, root: Path) -> DataFiles:
    """Return the prepared sets of other settings; run the stages in a folder of their own unless that was done."""
    sections = {key: asdict(settings)[key] for key in _sections(settings)}
    pictures = None
    if settings.data.source in ("folder", "hdf5"):
        check_data_path(settings.data)
        pictures = root / settings.data.path
    folder = root / CACHE / _digest(sections, root, pictures)
    if folder.is_dir():
        try:
            return _describe(folder)
        except DataError:
            shutil.rmtree(folder)  # damaged: nothing is lost
    folder.parent.mkdir(parents=True, exist_ok=True)
    announce("preparing other pictures than those of params.yaml")
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        # JSON is YAML. The stages read params.yaml and write data/ in the current folder.
        there = replace(settings, data=replace(settings.data, path=str(root / settings.data.path)))
        (making / PARAMS_FILE).write_text(json.dumps(asdict(there)), encoding="utf-8")
        for stage in ("draw", "prepare") if "draw" in sections else ("prepare",):
            command = [sys.executable, str(root / "pipeline" / f"{stage}.py")]
            done = _run(command, making, {"PYTHONPATH": str(root / "src"), "DVC_ROOT": str(root)})
            if done.returncode:
                _raise_what_it_said(done.stderr, str(done.returncode), f"the stage '{stage}' failed")
        shutil.rmtree(making / DRAWN_FOLDER, ignore_errors=True)
        making.replace(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _describe(folder)


def _digest(sections: Mapping[str, Any], root: Path, pictures: Path | None) -> str:
    """Return a name for what the stages make of it: settings, code, locked requirements and the user's own files."""
    import yaml

    digest = hashlib.sha256(json.dumps(sections, sort_keys=True).encode("ascii"))
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    files = {name for stage in ("draw", "prepare") for name in stages[stage]["deps"] if (root / name).is_file()}
    for name in sorted(files):
        digest.update((root / name).read_bytes())
    if pictures is not None:
        for path in [pictures] if pictures.is_file() else sorted(pictures.rglob("*"), key=os.fsencode):
            if path.is_file():
                digest.update(os.fsencode(path.relative_to(pictures)) + b"\0")
                with path.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def _run(command: list[str], folder: Path, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run a program of this environment in a folder."""
    environment = {**os.environ, **variables}
    # The stages say `python`; the environment need not be activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    course = environment.get("ONE_NEURON_CATVNONCAT_DIR")
    if course:
        environment["ONE_NEURON_CATVNONCAT_DIR"] = str(Path(course).expanduser().absolute())
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _raise_what_it_said(stderr: str, code: str, otherwise: str) -> None:
    """Raise the error of a program of ours, or DVC's, in its own words."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    ours = [line.removeprefix("one-neuron: ") for line in lines if line.startswith("one-neuron: ")]
    problems = [line for line in ours if not line.startswith("warning: ")]
    if problems:
        raise _ERRORS.get(code, EnvironmentProblem)(problems[0])
    said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "it said nothing")
    if "acquire lock" in said:
        raise EnvironmentProblem("another DVC command is at work here; run the sweep again when it is done")
    raise EnvironmentProblem(f"{otherwise} ({one_line(said)}); run `dvc repro prepare` to see more")
