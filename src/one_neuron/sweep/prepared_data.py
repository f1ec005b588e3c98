"""The prepared pictures of a sweep: DVC's own, and those of other settings in a cache of their own."""

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

from one_neuron.dvc_guard import check_data_path, check_dvc_lock, forget_dvc_lock, restore_dvc_lock, save_dvc_lock
from one_neuron.dvc_locks import reserve_dvc
from one_neuron.errors import DamagedFile, DataError, EnvironmentProblem, SettingsError, one_line
from one_neuron.layout import DRAWN_FOLDER, PARAMS_FILE, TEST_FILE, TRAIN_FILE, WORK_FOLDER
from one_neuron.pruning import keep_in_use, prune_work_folder
from one_neuron.settings.params import Settings, load_settings
from one_neuron.storage.prepared_set import PreparedSet, load_prepared
from one_neuron.system.progress import announce

CACHE = WORK_FOLDER / "prepared"
_ERRORS = {kind.exit_code: kind for kind in (SettingsError, DataError, EnvironmentProblem)}


@dataclass(frozen=True)
class DataFiles:
    """The files of the prepared sets of one choice of pictures, and the SHA-256 of their content."""

    train: Path
    test: Path
    train_sha256: str
    test_sha256: str


def name_data(settings: Settings) -> str:
    """Return a key that configurations with the same pictures share: the sections that determine them, as JSON."""
    names = {"drawn": ("draw", "data"), "hdf5": ("hdf5", "data")}.get(settings.data.source, ("data",))
    return json.dumps({name: asdict(getattr(settings, name)) for name in names}, sort_keys=True)


def prepare_data(configurations: Iterable[Settings], root: Path) -> dict[str, DataFiles]:
    """Prepare the pictures of all configurations, unless they are up to date.

    DVC prepares those of params.yaml (`dvc repro prepare`). The same stages prepare others in a folder of their own
    under `.one-neuron/prepared`, so that no output of DVC changes.

    The current folder is `root`, the repository.

    Returns
    -------
    dict of str to DataFiles
        By `name_data`.

    Raises
    ------
    DataError, SettingsError, EnvironmentProblem
        The error of the stage, or of DVC.
    """
    found: dict[str, DataFiles] = {}
    _load.cache_clear()
    with reserve_dvc(root):
        prune_work_folder(root)
        present = load_settings()
        check_data_path(present.data)  # before DVC, which could block for ever
        own = name_data(present)
        for unfinished in (root / CACHE).glob(".making-*"):  # its sweep was killed
            shutil.rmtree(unfinished, ignore_errors=True)
        for settings in configurations:
            name = name_data(settings)
            if name in found:
                continue
            if name != own:
                found[name] = _prepare_aside(settings, root)
                continue
            _run_dvc(root)
            found[name] = _find_files(root)
            if name_data(load_settings()) != own:  # DVC may have read either version
                raise SettingsError(f"'{PARAMS_FILE}' was changed while the sweep began; run the same command again")
    return found


def load_data(files: DataFiles) -> tuple[PreparedSet, PreparedSet]:
    """Return the training and the test set, loaded once in a process, after checking their digests.

    Raises
    ------
    DataError
        If a file is missing, damaged, or has changed since the sweep began.
    """
    for path, sha256 in ((files.train, files.train_sha256), (files.test, files.test_sha256)):
        try:
            same = _load(path).sha256 == sha256
        except DamagedFile as error:
            if WORK_FOLDER.name not in path.parts:
                raise
            raise DataError(f"{error.reason}; run the same command again, which makes it again") from error
        if not same:
            raise DataError(f"'{path}' was changed while the sweep ran; run the same command again")
    return _load(files.train), _load(files.test)


_load = lru_cache(maxsize=4)(load_prepared)  # the batches with the same pictures are trained one after the other


def _find_files(folder: Path) -> DataFiles:
    """Return the prepared sets in a folder, with their digests."""
    train, test = folder / TRAIN_FILE, folder / TEST_FILE
    return DataFiles(train, test, _load(train).sha256, _load(test).sha256)


def _run_dvc(root: Path) -> None:
    """Have DVC prepare the pictures of params.yaml."""
    announce("preparing the pictures: dvc repro prepare")
    command = [sys.executable, "-m", "dvc", "repro", "prepare"]
    save_dvc_lock(root)
    try:
        _run(command, root, {"DVC_NO_ANALYTICS": "1"}, failed="`dvc repro prepare` failed")
    except EnvironmentProblem:
        restore_dvc_lock(root)
        check_dvc_lock(root)  # its message has a remedy
        raise
    forget_dvc_lock(root)


def _prepare_aside(settings: Settings, root: Path) -> DataFiles:
    """Return the prepared sets of other settings than params.yaml's; run the stages unless the cache has them."""
    drawn, pictures = settings.data.source == "drawn", None
    if settings.data.source in ("folder", "hdf5"):
        check_data_path(settings.data)
        pictures = root / settings.data.path
    folder = root / CACHE / _digest(settings, root, pictures)
    if folder.is_dir():
        try:
            keep_in_use(folder)
            return _find_files(folder)
        except DataError:
            shutil.rmtree(folder)  # damaged, and prepared again below
    folder.parent.mkdir(parents=True, exist_ok=True)
    announce("preparing other pictures than those of params.yaml")
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        # JSON is YAML. The stages read params.yaml and write data/ in the current folder.
        there = replace(settings, data=replace(settings.data, path=str(root / settings.data.path)))
        (making / PARAMS_FILE).write_text(json.dumps(asdict(there)), encoding="utf-8")
        for stage in ("draw", "prepare") if drawn else ("prepare",):
            command = [sys.executable, str(root / "pipeline" / f"{stage}.py")]
            variables = {"PYTHONPATH": str(root / "src"), "DVC_ROOT": str(root)}
            _run(command, making, variables, failed=f"the stage '{stage}' failed")
        for unneeded in (DRAWN_FOLDER, WORK_FOLDER):
            shutil.rmtree(making / unneeded, ignore_errors=True)
        making.replace(folder)
        keep_in_use(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _find_files(folder)


def _digest(settings: Settings, root: Path, pictures: Path | None) -> str:
    """Return a digest of all that the stages read: settings, code, locked requirements and the user's own files."""
    import yaml

    digest = hashlib.sha256(name_data(settings).encode("ascii"))
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    deps = {root / name for stage in ("draw", "prepare") for name in stages[stage]["deps"]}
    deps -= {root / name for name in stages["draw"]["outs"]}  # they follow the parameters of params.yaml
    for path in sorted(filter(Path.is_file, deps)):
        digest.update(path.read_bytes())
    if pictures is not None:
        files = [pictures] if pictures.is_file() else sorted(pictures.rglob("*"), key=os.fsencode)
        for path in filter(Path.is_file, files):
            digest.update(os.fsencode(path.relative_to(pictures)) + b"\0")
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def _run(command: list[str], folder: Path, variables: Mapping[str, str], *, failed: str) -> None:
    """Run a program of this environment in a folder; raise the error that it prints, or `failed` with its last line."""
    environment = {**os.environ, **variables}
    # The stages call `python`, and the environment need not be activated.
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    if course := environment.get("ONE_NEURON_CATVNONCAT_DIR"):
        environment["ONE_NEURON_CATVNONCAT_DIR"] = str(Path(course).expanduser().absolute())
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if not done.returncode:
        return
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    own = [line.removeprefix("one-neuron: ") for line in lines if line.startswith("one-neuron: ")]
    if problem := next((line for line in own if not line.startswith("warning: ")), ""):
        stage = re.search(r"exited with (\d+)", done.stderr)  # DVC names the exit code of the stage
        raise _ERRORS.get(int(stage[1]) if stage else done.returncode, EnvironmentProblem)(problem)
    last = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no message")
    if "acquire lock" in last:
        raise EnvironmentProblem("another DVC command is running here; run the sweep again when it has finished")
    raise EnvironmentProblem(f"{failed} ({one_line(last)}); run `dvc repro prepare` to see more")
