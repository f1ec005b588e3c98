"""Single flipped bits in the files of the project, through the functions that read them."""

import multiprocessing
import multiprocessing.connection
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from one_neuron import layout
from one_neuron.errors import OneNeuronError
from one_neuron.gradient_descent.recorder import TrainingState
from one_neuron.neuron import Parameters
from one_neuron.pictures.row_cache import RowCache
from one_neuron.storage.checkpoint import CheckpointFile
from one_neuron.storage.model import Model, load_model
from one_neuron.storage.prepared_set import load_prepared
from one_neuron.storage.snapshots import load_snapshots
from one_neuron.system.outputs import check_outputs, read_output
from tests.faults.project import Counts, Workshop

# Outputs that hold no digest of their own
_OTHER_OUTPUTS = (layout.EVALUATE_METRICS, layout.COSTS_FILE, layout.PLOTS_FOLDER / "weights.png")
FLIPS = 40  # in one case
_FOUND = object()  # what a reader returns that leaves out a damaged record

Reader = Callable[[Path], object]


def flip_bits(workshop: Workshop, number: int, chance: random.Random) -> Counts:
    """Flip one bit of a file and read it, FLIPS times; the number of the case chooses the kind of file."""
    folder = workshop.folder / "cases" / f"flips-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(workshop.done.folder, folder, ignore=shutil.ignore_patterns(".git", "mlartifacts", "cache"))
    readers = make_readers(folder)
    kind = sorted(readers)[number % len(readers)]
    path, read = readers[kind]
    content = path.read_bytes()
    bits = [chance.randrange(8 * len(content)) for _ in range(FLIPS)]
    found: Counter[str] = Counter()
    while bits:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        # A process of its own: a damaged file could end the library that reads it.
        process = multiprocessing.get_context("fork").Process(
            target=_read_all, args=(path, content, read, bits, theirs)
        )
        process.start()
        theirs.close()
        answers = _receive(ours)
        process.join()
        for bit, answer in zip(bits, answers, strict=False):
            assert answer in ("found", "harmless"), f"bit {bit} of {path.relative_to(folder)}: {answer}"
            found[answer] += 1
        bits = bits[len(answers) :]
        assert not bits, f"bit {bits[0]} of {path.relative_to(folder)}: the reader ended with {process.exitcode}"
    shutil.rmtree(folder)
    return Counter({f"{kind}: {word}": count for word, count in found.items()})


def make_readers(folder: Path) -> dict[str, tuple[Path, Reader]]:
    """Return a file of each kind, and the function that returns all that it says, by the name of the kind."""
    model = load_model(folder / layout.MODEL_FILE)
    rows = next((folder / ".one-neuron/rows").rglob("*.rows"))
    keys = np.frombuffer(rows.read_bytes(), np.uint8)
    return {
        "prepared set": (folder / layout.TRAIN_FILE, read_prepared),
        "model": (folder / layout.MODEL_FILE, lambda path: _fields_of(load_model(path))),
        "snapshots": (folder / layout.SNAPSHOTS_FILE, lambda path: _list(load_snapshots(path, model))),
        "checkpoint": (_write_checkpoint(folder), _read_checkpoint),
        "rows": (rows, lambda path: _read_rows(path, keys)),
        **{_kind_of(name): (folder / name, _read_with(name, folder)) for name in _OTHER_OUTPUTS},
        "list of digests": (folder / layout.TRAIN_DIGESTS, lambda _: read_output(layout.COSTS_FILE, folder)),
        "drawn picture": (_find_drawn(folder), lambda path: _read_drawn(path, folder)),
        "keys of rows": (rows.with_suffix(".keys"), lambda path: _read_rows(path.with_suffix(".rows"), keys)),
    }


def _read_with(name: Path, folder: Path) -> Reader:
    """Return a function that reads an output."""
    return lambda _: read_output(name, folder)


def _kind_of(name: Path) -> str:
    """Return what a file is called in the counts."""
    return {".json": "metrics", ".csv": "table", ".png": "plot"}[name.suffix]


def _read_drawn(path: Path, folder: Path) -> bytes:
    """Return a drawn picture, after the check with which `prepare` begins."""
    check_outputs(layout.DRAW_DIGESTS, folder)
    return path.read_bytes()


def _find_drawn(folder: Path) -> Path:
    """Return a drawn picture."""
    return min((folder / layout.DRAWN_FOLDER).rglob("*.png"))


def read_prepared(path: Path) -> object:
    """Return everything that a prepared set says."""
    one = load_prepared(path)
    return one.X[:].tobytes(), one.Y.tobytes(), tuple(one.names), one.preprocessing, one.classes, one.source, one.sha256


def _fields_of(model: Model) -> object:
    """Return everything that a model says."""
    parameters = model.parameters.w.tobytes(), model.parameters.b
    return parameters, model.preprocessing, model.classes, model.threshold, dict(model.trained_with)


def _list(snapshots: object) -> object:
    """Return everything that snapshots say."""
    return [(iteration, one.w.tobytes(), one.b) for iteration, one in dict(snapshots).items()]  # type: ignore[call-overload]


def _write_checkpoint(folder: Path) -> Path:
    """Write a checkpoint; return its path."""
    rng = np.random.default_rng(1)
    one, other = (Parameters(rng.normal(size=48), b) for b in (0.25, -1.5))
    file = _open_checkpoint(folder)
    file._last_write = float("-inf")
    file.offer(lambda: TrainingState(200, one, [0, 100, 200], [0.7, 0.6, 0.5], {0: other, 200: one}))
    return file.path


def _open_checkpoint(folder: Path) -> CheckpointFile:
    """Return the checkpoint in a folder."""
    with mock.patch.dict(os.environ, DVC_ROOT=str(folder)):
        return CheckpointFile({"case": 1})


def _read_checkpoint(path: Path) -> object:
    """Return everything that a checkpoint says."""
    state = _open_checkpoint(path.parents[2]).load()
    if state is None:
        return _FOUND
    kept = [(iteration, one.w.tobytes(), one.b) for iteration, one in state.snapshots.items()]
    return state.iteration, state.parameters.w.tobytes(), state.parameters.b, state.iterations, state.costs, kept


def _read_rows(path: Path, keys: object) -> object:
    """Return the rows under all keys; those that are missing are decoded again, so they are found."""
    n_x = 768
    length = 32 + n_x + 4
    records = keys.tobytes()  # type: ignore[attr-defined]
    wanted = [records[start : start + 32] for start in range(0, len(records), length)]
    cache = RowCache(path.parent, n_x)
    places = [cache.find(key) for key in wanted]
    try:
        got = []
        for place in places:
            row = np.zeros((1, n_x), np.uint8)
            if place is not None:
                cache.read_into(np.array([place]), row)
            got.append(None if place is None else row.tobytes())
    finally:
        cache.close()
    return got


def _read_all(
    path: Path, content: bytes, read: Reader, bits: list[int], answers: multiprocessing.connection.Connection
) -> None:
    """Read the file with each bit flipped in turn, and send what came of it."""
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
    whole = read(path)
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            answers.send(_judge(read(path), whole))
        except OneNeuronError:
            answers.send("found")
        except Exception as error:  # noqa: BLE001 - a mistake of the reader
            answers.send(f"{type(error).__name__}: {error}")
    path.write_bytes(content)


def _judge(found: object, whole: object) -> str:
    """Return what a reader made of a damaged file: all is as before, the damage was found, or other content."""
    if found == whole:
        return "harmless"
    if found is _FOUND:
        return "found"
    if isinstance(found, list) and isinstance(whole, list) and len(found) == len(whole):
        pairs = zip(found, whole, strict=True)
        return "found" if all(one in (None, other) for one, other in pairs) else "OTHER CONTENT"
    return "OTHER CONTENT"


def _receive(answers: multiprocessing.connection.Connection) -> list[str]:
    """Return the answers until the process ends."""
    found = []
    try:
        while True:
            found.append(answers.recv())
    except (EOFError, OSError):
        return found
