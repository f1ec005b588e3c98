"""A file that would be expensive to read is refused at once; sound files that resemble it are read."""

import io
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.pictures import limits
from one_neuron.pictures.limits import MAX_PIXELS
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture
from tests.processes import READ_PEAK
from tests.unit.pictures.files import (
    METADATA,
    PARTS,
    check_is_refused,
    noise,
    png,
    png_header,
    read,
    tiff,
    with_tail,
)


@pytest.mark.parametrize(
    ("width", "height"),
    [(MAX_PIXELS // 8000 + 1, 8000), (9000, 10_000), (13_000, 13_000), (10**5, 10**5), (2**31 - 1, 2**31 - 1)],
)
def test_too_many_pixels_are_refused_by_the_header(width: int, height: int, tmp_path: Path) -> None:
    """At once, before anything is decoded, with the limit."""
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height))
    started = time.process_time()
    with pytest.raises(DataError, match=r"a.png' has .*64,000,000"):
        load_picture(path, Preprocessing(8))
    assert time.process_time() - started < 0.5


def test_the_largest_picture_is_not_refused_by_the_header(tmp_path: Path) -> None:
    """Exactly at the limit it is the missing data that is complained about."""
    path = tmp_path / "a.png"
    path.write_bytes(png_header(8000, MAX_PIXELS // 8000))
    with pytest.raises(DataError, match=r"a.png' is damaged"):
        load_picture(path, Preprocessing(8))


@pytest.mark.parametrize(
    ("suffix", "options", "fits"), [("jpg", {}, True), ("jpg", {"progressive": True}, False), ("webp", {}, False)]
)
def test_decoders_that_hold_a_picture_twice_get_half_as_many_pixels(
    suffix: str, options: dict[str, Any], fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A WebP or progressive JPEG at the others' limit took up to a gigabyte; `reserve` receives the larger number."""
    told: list[int] = []

    def reserve(pixels: int) -> AbstractContextManager[None]:
        told.append(pixels)
        return nullcontext()

    for size in ((10, 10), (20, 10)):
        Image.new("RGB", size).save(tmp_path / f"{size[0]}.{suffix}", **options)
    monkeypatch.setattr(limits, "MAX_PIXELS", 200)
    with (tmp_path / f"10.{suffix}").open("rb") as stream:
        read_picture(stream, Preprocessing(4), reserve=reserve)
    assert set(told) == {100 if fits else 200}  # small ones are decoded twice
    if fits:
        load_picture(tmp_path / f"20.{suffix}", Preprocessing(4))
    else:
        with pytest.raises(DataError, match=r"has 20 x 10 pixels; at most 200 are read \(half of them in WebP, pro"):
            load_picture(tmp_path / f"20.{suffix}", Preprocessing(4))


def giant_frame() -> bytes:
    """Return a GIF with a screen of one pixel and a frame of 81 megapixels."""
    return b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0" + struct.pack("<HH", 9000, 9000) + b"\0\2\2\x4c\1\0;"


def many_runs() -> bytes:
    """Return a BMP in runs of 9 megapixels that are filled with zeros, one by one."""
    header = struct.pack("<IHHI", 1078, 0, 0, 1078) + struct.pack(
        "<IiiHHIIiiII", 40, 900_000, 10, 1, 8, 1, 0, 0, 0, 256, 0
    )
    return b"BM" + header + bytes(1024) + b"\1\0\0\0" * 10


def many_chunks(kind: bytes, count: int, data: bytes = b"") -> bytes:
    """Return a PNG with chunks of a kind before its pixels."""
    return png(1, 1, zlib.compress(bytes(4)), *[(kind, data)] * count)


def gif(*extensions: bytes) -> bytes:
    """Return a GIF with extensions before its only frame."""
    stream = io.BytesIO()
    Image.new("P", (1, 1)).save(stream, "GIF")
    content = stream.getvalue()
    at = 13 + (3 << (content[10] & 7) + 1)
    return content[:at] + b"".join(extensions) + content[at:]


def webp_chunks(count: int) -> bytes:
    """Return a WebP with a number of empty chunks."""
    content = with_tail("WEBP", 0, exif=b"Exif\0\0x")
    body = content[8:] + (b"none" + bytes(4)) * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def idle_runs() -> bytes:
    """Return a BMP in runs that go nowhere for a megabyte and more."""
    header = struct.pack("<IHHI", 1078, 0, 0, 1078) + struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + header + bytes(1024) + b"\0\2\0\0" * 270_000 + b"\x04\0" * 4 + b"\0\1"


EXPENSIVE: dict[str, tuple[Callable[[], bytes], str]] = {
    "WebP's tail": (lambda: with_tail("WEBP", 65_000_000), "has 65,000,000 bytes for 64 x 64 pixels; at most 64,016,"),
    "lossless WebP's tail": (
        lambda: with_tail("WEBP", 65_000_000, lossless=True),
        "has 65,000,000 bytes for 64 x 64 pixels; at most 64,016,",
    ),
    "animated WebP's tail": (
        lambda: with_tail("WEBP", 65_000_000, save_all=True, append_images=[Image.new("RGB", (64, 64), "red")]),
        "has 65,000,000 bytes for 64 x 64 pixels; at most 64,016,",
    ),
    "chunks of a WebP": (lambda: webp_chunks(30_000), PARTS),
    "private chunks": (lambda: many_chunks(b"prVt", 30_000), PARTS),
    "empty pixels": (lambda: many_chunks(b"IDAT", 30_000), PARTS),
    "profiles": (
        lambda: many_chunks(b"iCCP", 501, b"a\0\0" + zlib.compress(b"")),
        "has more than 500 compressed texts and profiles",
    ),
    "text": (lambda: many_chunks(b"tEXt", 65, b"a\0" + bytes(1_000_000)), METADATA),
    "comments": (lambda: gif(b"!\xfe" + b"\1x" * 25_000 + b"\0"), PARTS),
    "empty extensions": (lambda: gif(b"!\xf9\0\0" * 25_000), PARTS),
    "application": (lambda: gif(b"!\xff\x0bNETSCAPE2.0\0" + b"\1x" * 25_000 + b"\0"), PARTS),
    "nothing between blocks": (lambda: gif(bytes(25_000)), PARTS),
    "BMP's header": (
        lambda: b"BM" + struct.pack("<IHHII", 2**20, 0, 0, 54, 2**20).ljust(2**20, b"\0"),
        "is damaged .its header claims 1,048,576 bytes; at most 124 are read",
    ),
    "idle runs": (idle_runs, "has 1,081,088 bytes for 4 x 4 pixels; at most 1,048,624 are read"),
    "strips of JPEG": (
        lambda: tiff(
            *(500, 500, struct.pack("<I", 1_000_000) * 1_000),
            *((259, 3, 1, 7), (273, 4, 100, 202), (279, 4, 100, 1002), (278, 4, 1, 5)),
        ),
        "has 100,000,000 bytes for 500 x 500 pixels; at most 33,250,000 are read",
    ),
    "first frame": (giant_frame, "has 9000 x 9000 pixels"),
    "runs": (many_runs, "is a run-length encoded BMP of more than 8,000,000 pixels; save it in another format"),
    "strips": (
        lambda: tiff(500, 500, bytes(500_000), (273, 4, 200, 200), (279, 4, 200, 200), (278, 4, 1, 250)),
        "is damaged .its strips",
    ),
    "tile": (
        lambda: tiff(
            16,
            16,
            zlib.compress(bytes(256)),
            (259, 3, 1, 8),
            (322, 4, 1, 60_000),
            (323, 4, 1, 60_000),
            (324, 4, 1, 150),
            (325, 4, 1, 20),
        ),
        "is damaged .its strips or tiles are far larger",
    ),
    "compressed text": (
        lambda: png(1, 1, b"", (b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))),
        "is damaged .Decompressed data",
    ),
    "colour profile": (
        lambda: png(1, 1, b"", (b"iCCP", b"a\0\0" + zlib.compress(bytes(2**21)))),
        "is damaged .Decompressed data",
    ),
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_what_is_expensive_to_read_is_refused(kind: str) -> None:
    """Before time or memory is spent on it."""
    make, message = EXPENSIVE[kind]
    check_is_refused(make(), message)


def test_a_png_in_many_pieces_is_read() -> None:
    """A row each, as some write it, with text and empty pieces; of what lies behind the pixels, nothing is read."""
    pixels = noise(100, 100)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    pieces = [(b"IDAT", rows[at : at + 10]) for at in range(0, len(rows), 10)]
    words = [(b"tEXt", b"a\0b")] * 400 + [(b"iCCP", b"a\0\0" + zlib.compress(bytes(500_000)))]
    content = png(100, 100, b"", *words, *pieces)
    assert (read(content, 100) == pixels).all()
    started = time.process_time()
    assert (read(content[:-12] + many_chunks(b"prVt", 100_000)[33:], 100) == pixels).all()
    assert time.process_time() - started < 0.2


def test_a_webp_with_more_behind_it_is_read() -> None:
    """A few unknown chunks, or zeros up to the next block of a disk."""
    for content in (webp_chunks(1_000), with_tail("WEBP", 1_000_000), with_tail("WEBP", 1_000_000, lossless=True)):
        assert not read(content).any()


def test_a_gif_with_extensions_is_read() -> None:
    """Comments, a loop, and XMP, whose text serves as lengths of blocks."""
    xmp = b"!\xff\x0bXMP DataXMP" + b"<x:xmpmeta/>" * 10_000 + bytes([1, *range(255, -1, -1), 0])
    parts = b"!\xfe\5hello\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", b"!\xf9\4\0\0\0\0\0", xmp, b"!\xfe\0"
    assert not read(gif(*parts), 1).any()


READ = """
import sys, time
from pathlib import Path
from one_neuron.errors import DataError
from one_neuron.pictures.reader import load_picture
from one_neuron.pictures import jpeg_limits
from one_neuron.pictures.preprocessing import Preprocessing
started = time.process_time()
try:
    load_picture(Path(sys.argv[1]), Preprocessing(64))
except DataError as error:
    print(error)
print(time.process_time() - started, read_peak() / 1e6)
"""


def read_apart(path: Path) -> tuple[str, float, float]:
    """Read a picture in a separate process; return its output, seconds and megabytes."""
    done = subprocess.run(
        [sys.executable, "-c", READ_PEAK + READ, path], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    *said, figures = done.stdout.splitlines()
    seconds, megabytes = map(float, figures.split())
    return "".join(said), seconds, megabytes


@pytest.mark.slow
def test_a_picture_of_90_megapixels_takes_no_memory(tmp_path: Path) -> None:
    """Its file is small, and whole."""
    squeezer = zlib.compressobj(9)
    rows = b"".join(squeezer.compress(bytes(27_001 * 100)) for _ in range(100)) + squeezer.flush()
    (tmp_path / "a.png").write_bytes(png(9000, 10_000, rows))
    said, seconds, megabytes = read_apart(tmp_path / "a.png")
    assert "a.png' has 9000 x 10000 pixels" in said
    assert seconds < 2
    assert megabytes < 300


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 16])
def test_the_largest_picture_fits_into_memory_once(bits: int, tmp_path: Path) -> None:
    """64 megapixels, transparent or deep: Pillow's four or two bytes a pixel, and little beside them."""
    colour, width = (6, 4) if bits == 8 else (0, 2)
    squeezer = zlib.compressobj(1)
    rows = b"".join(squeezer.compress(bytes(100 * (1 + 8000 * width))) for _ in range(80)) + squeezer.flush()
    (tmp_path / "a.png").write_bytes(png(8000, 8000, rows, bits=bits, colour=colour))
    said, _, megabytes = read_apart(tmp_path / "a.png")
    assert said == ""
    assert megabytes < 500
