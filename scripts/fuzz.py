"""Damage files at random and read them as the stages do: each must be accepted, or refused in one line that names it.

    python scripts/fuzz.py                    two minutes
    python scripts/fuzz.py --seconds 20       a short run
    python scripts/fuzz.py --seed 7           other damage; the same seed gives the same files

Pictures in all formats, HDF5 files in several layouts, params.yaml, models and prepared sets are damaged by a few
changes each, and a separate process reads one after the other. These are failures: a traceback, a signal, more than
5 s, more than 500 MB of memory, an exit code other than 0, 2 and 3, a message of more than one line or without the
file's name. Files that fail are kept in .one-neuron/fuzz. Exit code: 0 without failures, else 1.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from one_neuron.storage.model import Model

MAX_SECONDS = 5.0
MAX_MB = 500
START_SECONDS = 60.0  # for the reader's imports
KEPT = Path(".one-neuron/fuzz")
ODD_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
ODD_WORDS = (
    "null",
    "~",
    "[]",
    "{}",
    "- x",
    "&a [*a]",
    "*a",
    "!!python/name:os.system",
    "1e999",
    "-0",
    ".nan",
    "''",
    "\t",
)


def make_pictures(folder: Path) -> None:
    """Write valid pictures in all formats that are read."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    board = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    picture = Image.fromarray(board)
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = picture.convert("RGBA")
    alpha.putalpha(128)
    deep = Image.fromarray(board[:, :, 0].astype(np.uint16) * 257)
    wide = Image.fromarray(board[:, :, 0].astype(np.float32) / 255)
    palette = picture.convert("P")
    for name, image, options in (
        ("plain.jpg", picture, {"quality": 85}),
        ("exif.jpg", picture, {"exif": exif}),
        ("progressive.jpg", picture, {"progressive": True}),
        ("cmyk.jpg", picture.convert("CMYK"), {}),
        ("grey.jpg", picture.convert("L"), {}),
        ("plain.png", picture, {}),
        ("alpha.png", alpha, {"exif": exif}),
        ("deep.png", deep, {}),
        ("palette.png", palette, {"transparency": 0}),
        ("bits.png", picture.convert("1"), {}),
        ("lossy.webp", picture, {}),
        ("lossless.webp", alpha, {"lossless": True}),
        ("animated.webp", picture, {"save_all": True, "append_images": [alpha.convert("RGB")]}),
        ("plain.bmp", picture, {}),
        ("palette.bmp", palette, {}),
        ("plain.gif", palette, {}),
        ("animated.gif", palette, {"save_all": True, "append_images": [picture.rotate(90).convert("P")]}),
        ("plain.tif", picture, {}),
        ("lzw.tif", picture, {"compression": "tiff_lzw"}),
        ("deflate.tif", alpha, {"compression": "tiff_deflate"}),
        ("jpeg.tif", picture, {"compression": "jpeg"}),
        ("fax.tif", picture.convert("1"), {"compression": "group4"}),
        ("deep.tif", deep, {}),
        ("float.tif", wide, {}),
    ):
        image.save(folder / name, **options)


def make_hdf5(folder: Path) -> None:
    """Write valid HDF5 files with the course's names, stored in several ways."""
    import h5py
    import numpy as np

    rng = np.random.default_rng(0)
    for name, options in (
        ("plain", {}),
        ("chunked", {"chunks": (2, 4, 4, 3)}),
        ("gzip", {"chunks": (3, 8, 8, 3), "compression": "gzip", "shuffle": True, "fletcher32": True}),
        ("lzf", {"chunks": (4, 8, 8, 3), "compression": "lzf"}),
    ):
        for version in ("earliest", "latest"):
            with h5py.File(folder / f"{name}-{version}.h5", "w", libver=version) as file:
                for split, m in (("train", 8), ("test", 4)):
                    pixels = rng.integers(0, 256, (m, 8, 8, 3), dtype=np.uint8)
                    file.create_dataset(f"{split}_set_x", data=pixels, **options)
                    file[f"{split}_set_y"] = np.arange(m) % 2
                file["list_classes"] = np.array([b"non-cat", b"cat"])


def make_model() -> "Model":
    """Return a small model, always the same."""
    import numpy as np

    from one_neuron.neuron import Parameters
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.storage.model import Model

    parameters = Parameters(np.random.default_rng(0).normal(size=48), 0.5)
    return Model(parameters, Preprocessing(4), ("non-cat", "cat"), 0.5)


def make_own_files(folder: Path) -> None:
    """Write a model, its snapshots, a prepared set and a params.yaml."""
    import shutil

    import numpy as np

    from one_neuron.neuron import initialize_with_zeros
    from one_neuron.storage.model import save_model
    from one_neuron.storage.prepared_set import PreparedSet, save_prepared
    from one_neuron.storage.snapshots import save_snapshots

    rng = np.random.default_rng(1)
    for kind in ("model", "snapshots", "prepared", "params"):
        (folder / kind).mkdir()
    model = make_model()
    classes, preprocessing = model.classes, model.preprocessing
    save_model(folder / "model/model.h5", model)
    snapshots = {0: initialize_with_zeros(48), 2000: model.parameters}
    save_snapshots(folder / "snapshots/snapshots.h5", snapshots, model)
    pixels, labels = rng.integers(0, 256, (6, 48), dtype=np.uint8), (np.arange(6) % 2).astype(np.uint8)
    names = tuple(f"cat/{i}.png" for i in range(6))
    save_prepared(folder / "prepared/train.h5", PreparedSet(pixels, labels, names, preprocessing, classes, "folder"))
    shutil.copy(Path(__file__).resolve().parent.parent / "params.yaml", folder / "params")


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return the content with a few changes."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            return b""
        at = chance.randrange(len(changed))
        kind = chance.randrange(8)
        if kind == 0:
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            changed[at] = chance.randrange(256)
        elif kind == 2:  # a number that a reader may trust
            width, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
            value = chance.choice(ODD_NUMBERS) % 256**width
            changed[at : at + width] = value.to_bytes(width, order)
        elif kind == 3:
            del changed[at:]
        elif kind == 4:
            del changed[at : at + chance.randrange(1, 64)]
        elif kind == 5:
            changed[at:at] = chance.randbytes(chance.randrange(1, 64))
        elif kind == 6:
            changed[at : at + 64] = changed[(other := chance.randrange(len(changed))) : other + 64]
        else:
            changed[at : at + 16] = chance.choice((b"\0", b"\xff")) * 16
    return bytes(changed)


def damage_text(content: bytes, chance: random.Random) -> bytes:
    """Return YAML with odd words in it, or damaged like any other file."""
    if chance.random() < 0.3:
        return damage(content, chance)
    lines = content.decode("utf-8").split("\n")
    for _ in range(chance.choice((1, 1, 2, 5))):
        at, word = chance.randrange(len(lines)), chance.choice(ODD_WORDS)
        key, colon, _ = lines[at].partition(":")
        lines[at] = chance.choice((f"{key}{colon} {word}", f"  {lines[at]}", word, f"{lines[at]}\n{lines[at]}", ""))
    return "\n".join(lines).encode("utf-8")


def make_readers() -> dict[str, Callable[[Path], object]]:
    """Return the function that reads each kind of file, by the name of its folder."""
    from dataclasses import replace

    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.pictures.reader import load_picture
    from one_neuron.settings.params import load_settings
    from one_neuron.sources.load import load_source
    from one_neuron.storage.model import load_model
    from one_neuron.storage.prepared_set import load_prepared
    from one_neuron.storage.snapshots import load_snapshots

    settings = load_settings(Path(__file__).resolve().parent.parent / "params.yaml")

    def load_hdf5(path: Path) -> object:
        data = replace(settings.data, source="hdf5", path=str(path), num_px=4)
        loaded = load_source(data, settings.hdf5, drawn=Path("unused"))
        return loaded.train.sha256, loaded.test.sha256

    ways = (Preprocessing(16), Preprocessing(16, "crop", "fast"), Preprocessing(16, "pad"))
    return {
        "pictures": lambda path: [load_picture(path, way) for way in ways],
        "hdf5": load_hdf5,
        "params": load_settings,
        "model": load_model,
        "snapshots": lambda path: load_snapshots(path, make_model()),
        "prepared": lambda path: load_prepared(path).sha256,
    }


def run_reader() -> None:
    """Read the files that stdin names, and print a line of JSON for each."""
    from one_neuron.system.command import run_command

    readers = make_readers()

    def read(path: Path) -> None:
        readers[path.parent.name](path)

    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        path = Path(json.loads(line))
        message = io.StringIO()
        with contextlib.redirect_stderr(message):
            code = run_command(partial(read, path), debug=False)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10)
        print(json.dumps({"code": code, "message": message.getvalue(), "mb": memory}), file=answers, flush=True)


class Reader:
    """The process that reads; it is started again whenever it ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path) -> dict[str, Any]:
        """Return the outcome of reading a file: code, message and mb, or why there is no answer."""
        if self._process is None:
            command = [sys.executable, "-X", "faulthandler", __file__, "--reader"]
            self._process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1, text=True)
            assert self._wait(START_SECONDS), self._end()
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n", self._end()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(str(path)) + "\n")
        self._process.stdin.flush()
        if not self._wait(MAX_SECONDS):
            return {"lost": f"no answer after {MAX_SECONDS:g} s", "message": self._end()}
        answer = self._process.stdout.readline()
        if not answer:
            code = self._process.wait()
            return {"lost": f"the reader ended with code {code}", "message": self._end()}
        found: dict[str, Any] = json.loads(answer)
        if found["mb"] > MAX_MB:
            self._end()  # the process does not return its memory
        return found

    def _wait(self, seconds: float) -> bool:
        """Return whether there is an answer in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def _end(self) -> str:
        """End the process; return what it left on stderr."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        return process.communicate()[1]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._end()


def judge(path: Path, answer: dict[str, Any]) -> str:
    """Return what is wrong with an answer; "" if nothing is."""
    if "lost" in answer:
        return str(answer["lost"])
    message = answer["message"]
    if "Traceback" in message:
        return "a traceback"
    if answer["mb"] > MAX_MB:
        return f"{answer['mb']} MB"
    if answer["code"] not in (0, 2, 3):
        return f"exit code {answer['code']}"
    line = message.removesuffix("\n")
    if answer["code"] and not (message.endswith("\n") and line.isprintable() and path.name in line):
        return "not one printable line with the file's name"
    return ""


def fuzz(seconds: float, seed: int, folder: Path) -> int:
    """Damage and read files until the time is over; return the number of failures."""
    for kind, make in {"pictures": make_pictures, "hdf5": make_hdf5}.items():
        (folder / kind).mkdir()
        make(folder / kind)
    make_own_files(folder)
    valid = sorted(path for path in folder.glob("*/*"))
    contents = {path: path.read_bytes() for path in valid}
    reader, chance = Reader(), random.Random(seed)  # noqa: S311 - no secret
    counts = {"read": 0, "refused": 0, "failed": 0}
    try:
        for path in valid:  # without damage, all can be read
            answer = reader.ask(path)
            if answer.get("code") != 0:
                raise SystemExit(f"'{path.name}' cannot be read undamaged: {answer}")
        end = time.monotonic() + seconds
        # Each HDF5 file is read by a process of its own, which takes as long as a hundred pictures.
        weights = [0.02 if path.parent.name == "hdf5" else 1 for path in valid]
        while time.monotonic() < end:
            (source,) = chance.choices(valid, weights)
            path = source.with_name(f"damaged-{source.name}")
            change = damage_text if path.suffix == ".yaml" else damage
            path.write_bytes(change(contents[source], chance))
            answer = reader.ask(path)
            wrong = judge(path, answer)
            if wrong:
                KEPT.mkdir(parents=True, exist_ok=True)
                kept = KEPT / f"{seed}-{sum(counts.values())}-{source.name}"
                kept.write_bytes(path.read_bytes())
                print(f"'{kept}': {wrong}\n{answer['message']}", flush=True)
            counts["failed" if wrong else "refused" if answer["code"] else "read"] += 1
            path.unlink()
    finally:
        reader.close()
    print(
        ", ".join(f"{count:,} {what}" for what, count in counts.items()) + f" of {sum(counts.values()):,} (seed {seed})"
    )
    return counts["failed"]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="default: %(default)g")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--reader", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        run_reader()
        return 0
    with tempfile.TemporaryDirectory(prefix="one-neuron-fuzz-") as folder:
        return min(1, fuzz(options.seconds, options.seed, Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
