"""JPEGs of too many segments or scans are refused; those of cameras and phones are read."""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.pictures import jpeg_limits
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture
from tests.unit.pictures.files import (
    METADATA,
    PARTS,
    RED,
    check_is_refused,
    frame,
    jpeg,
    oriented,
    photograph,
    read,
    scan,
    segment,
    tables_of,
    with_segments,
    with_tail,
)


def many_scans() -> bytes:
    """Return a progressive JPEG of 4 megapixels whose last scan comes 3,000 times."""
    stream = io.BytesIO()
    Image.new("L", (2000, 2000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 3000 + data[-2:]


def baseline_scans(width: int, scans: int, marker: int = 0xC0, between: bytes = b"") -> bytes:
    """Return a JPEG with a scan for each colour, in turn, of a few bytes each."""
    some = b"".join(scan(1 + number % 3) + between for number in range(scans))
    return b"\xff\xd8" + tables_of(jpeg("L")) + frame(marker, width, width) + some + b"\xff\xd9"


APART = "has more than 64 tables and pieces of EXIF data"

EXPENSIVE: dict[str, tuple[Callable[[], bytes], str]] = {
    "three scans": (lambda: baseline_scans(8000, 3), "has 8000 x 8000 pixels; at most 64,000,000 are read .half"),
    "baseline scans": (lambda: baseline_scans(5000, 26), "is damaged .it has more than 25 scans of 5000 x 5000 pixels"),
    "scans of few pixels": (lambda: baseline_scans(8, 1001), "is damaged .it has more than 1,000 scans of 8 x 8"),
    "progressive scans": (
        lambda: baseline_scans(5650, 21, 0xC2),
        "is damaged .it has more than 20 scans of 5650 x 5650 pixels",
    ),
    "arithmetic scans": (lambda: baseline_scans(4000, 11, 0xC9), "is damaged .it has more than 10 scans of 4000"),
    "scans behind a false end": (
        lambda: baseline_scans(5000, 26, between=segment(0xFE, b"\xff\xd9")),
        "is damaged .it has more than 25 scans",
    ),
    "parts between scans": (
        lambda: baseline_scans(5000, 26, between=segment(0xFE, b"") * 1_000),
        "has more than 20,",
    ),
    "segments": (lambda: with_segments(jpeg(), segment(0xE5, b"") * 25_000), PARTS),
    "pieces of EXIF": (lambda: with_segments(jpeg(), segment(0xE1, b"Exif\0\0x") * 300), APART),
    "pieces of Photoshop": (lambda: with_segments(jpeg(), segment(0xED, b"Photoshop 3.0\0") * 300), APART),
    "tables": (lambda: with_segments(jpeg(), segment(0xDB, b"\0" + bytes(64)) * 70), APART),
    "frames": (lambda: with_segments(jpeg(), frame(0xC0, 64, 64) * 300), APART),
    "segments of 64 KB": (lambda: with_segments(jpeg(), segment(0xE5, bytes(65_000)) * 1_000), METADATA),
    "nothing between segments": (
        lambda: with_segments(jpeg(), segment(0xE5, b""), bytes(100_000)),
        "is damaged .no pixels are found",
    ),
    "a little nothing": (
        lambda: with_segments(jpeg(), (segment(0xE5, b"") + b"\xff\0" * 500) * 100),
        "is damaged .no pixels are found",
    ),
    "progressive tail": (
        lambda: with_tail("JPEG", 33_000_000, progressive=True),
        "has 33,000,000 bytes for 64 x 64 pixels; at most 32,020,480 are read",
    ),
    "JPEG's tail": (lambda: with_tail("JPEG", 65_000_000), "has 65,000,000 bytes for 64 x 64 pixels; at most 64,020,"),
    "scans": (many_scans, "is damaged .it has more than 160 scans of 2000 x 2000 pixels"),
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_what_is_expensive_to_read_is_refused(kind: str) -> None:
    """Before time or memory is spent on it."""
    make, message = EXPENSIVE[kind]
    check_is_refused(make(), message)


@pytest.mark.parametrize("block", [2, 3, 19, 20, 2048])
def test_scans_are_counted_in_blocks_of_any_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker may lie across two of them; 25 scans of 25 megapixels are the most."""
    monkeypatch.setattr(jpeg_limits, "_BLOCK_BYTES", block)
    content = baseline_scans(5000, 26)
    stream = io.BytesIO(content)
    assert jpeg_limits._count_from_here(stream, b"\xff\xda") == 26
    for name in ("HEAD_BYTES", "_BLOCK_BYTES"):
        monkeypatch.setattr(jpeg_limits, name, max(18, block))
    kinds = [marker for marker, _, _ in jpeg_limits._walk_segments(stream, 2, len(content))]
    assert kinds.count(0xDA) == 26
    assert kinds[-1] == 0xD9
    with pytest.raises(DataError, match="it has more than 25 scans"):
        read_picture(io.BytesIO(content), Preprocessing(8))


def test_a_baseline_jpeg_in_three_scans_is_the_plain_one() -> None:
    """As some cameras and scanners write it: one colour after the other, the same coefficients."""
    colours, tables = photograph(64, 64).convert("YCbCr"), [list(range(1, 65))]
    stream = io.BytesIO()
    colours.save(stream, "JPEG", subsampling=0, qtables=tables)
    content = b""
    for number, plane in enumerate(colours.split(), start=1):
        grey = io.BytesIO()
        plane.save(grey, "JPEG", qtables=tables)
        one = grey.getvalue()
        content = content or b"\xff\xd8" + tables_of(one) + frame(0xC0, 64, 64)
        content += scan(number, one[one.index(b"\xff\xda") + 10 : -2])
    assert (read(content + b"\xff\xd9") == read(stream.getvalue())).all()


@pytest.mark.parametrize("decode", ["exact", "fast"])
@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_a_jpeg_does_not_count(progressive: bool, decode: str) -> None:
    """The video of a phone's moving picture: 20 megabytes, with what looks like hundreds of scans in it."""
    content = jpeg(size=(1600, 1600), progressive=progressive)
    video = np.random.default_rng(0).bytes(20_000_000)
    assert video.count(b"\xff\xda") > 250
    assert not read_picture(io.BytesIO(content + video), Preprocessing(8, decode=decode)).any()


def test_jpegs_with_large_metadata_are_read() -> None:
    """A profile in 20 pieces, XMP with a picture of 6 megabytes, EXIF data of a megabyte, Photoshop's, a thumbnail."""
    parts = [segment(0xE1, b"Exif\0\0" + oriented(1) + jpeg())]
    parts += [segment(0xE1, b"Exif\0\0" + bytes(65_000))] * 15
    parts += [segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")]
    parts += [segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(65_000))] * 100
    parts += [segment(0xE2, b"ICC_PROFILE\0" + bytes((piece, 20)) + bytes(65_000)) for piece in range(1, 21)]
    parts += [segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 1_000)] * 8
    parts += [b"\0" * 100, b"\xff" * 100]  # some cameras fill up
    for options in ({}, {"progressive": True}, {"quality": 100, "optimize": True}):
        assert not read(with_segments(jpeg(**options), *parts)).any()


def test_an_mpo_gives_its_first_picture(tmp_path: Path) -> None:
    """A stereo camera's two, each of them in ten scans."""
    left, right = Image.new("RGB", (900, 900), "red"), Image.new("RGB", (900, 900), "blue")
    left.save(tmp_path / "a.mpo", save_all=True, append_images=[right] * 3, progressive=True)
    assert np.abs(load_picture(tmp_path / "a.mpo", Preprocessing(2)).astype(int) - RED).max() <= 3


def test_all_scans_are_reserved_in_fast_mode() -> None:
    """The coefficients are those of the whole picture, however small it is decoded."""
    told: list[int] = []

    def reserve(pixels: int) -> AbstractContextManager[None]:
        told.append(pixels)
        return nullcontext()

    for progressive in (False, True):
        read_picture(
            io.BytesIO(jpeg(size=(800, 800), progressive=progressive)), Preprocessing(8, decode="fast"), reserve=reserve
        )
    assert list(dict.fromkeys(told)) == [100 * 100, 100 * 100 + 800 * 800]
