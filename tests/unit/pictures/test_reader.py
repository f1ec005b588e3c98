"""Pictures of every mode and format become upright RGB pixels; everything else is refused by name."""

import io
import os
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from one_neuron.errors import DataError
from one_neuron.pictures import convert, jpeg_limits, reader
from one_neuron.pictures.convert import encode_picture, flatten_pictures, resize_picture, resize_pixels
from one_neuron.pictures.preprocessing import RESIZES, Preprocessing
from one_neuron.pictures.reader import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    SUFFIXES,
    load_picture,
    open_picture,
    read_picture,
)
from one_neuron.pictures.tags import check_tags, find_orientation

UPRIGHT = np.random.default_rng(0).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
RAMP = np.array([[0, 21845], [43690, 65535]])  # in sixteen bits; 0, 85, 170, 255 in eight
IN_EIGHT_BITS = [0, 85, 170, 255]
RED, WHITE = [255, 0, 0], [255, 255, 255]


def photograph(height: int, width: int) -> Image.Image:
    """Return a smooth picture with a little noise."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([255 * rows / height, 255 * columns / width, 127 + 0 * rows], axis=-1)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))


def loaded(image: Image.Image, path: Path, **options: Any) -> list[list[int]]:
    """Save a picture, load it at its own size, and return its pixels row by row."""
    image.save(path, **options)
    pixels = load_picture(path, Preprocessing(image.height))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (image.height, image.height, 3)
    return pixels.reshape(-1, 3).tolist()


def palette_picture() -> Image.Image:
    """Return 2 x 2 pixels: red, green, blue, red."""
    image = Image.new("P", (2, 2))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    for place, index in {(0, 0): 0, (1, 0): 1, (0, 1): 2, (1, 1): 0}.items():
        image.putpixel(place, index)
    return image


def test_rgb_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    """The pixels of a lossless file are the pixels."""
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    assert (load_picture(tmp_path / "a.png", Preprocessing(4)) == UPRIGHT).all()


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        pytest.param(Image.new("L", (1, 1), 77), {}, [[77] * 3], id="grey"),
        pytest.param(Image.new("LA", (1, 1), (9, 255)), {}, [[9] * 3], id="grey, opaque"),
        pytest.param(Image.new("LA", (1, 1), (9, 0)), {}, [WHITE], id="grey, transparent"),
        pytest.param(Image.new("RGBA", (1, 1), (10, 20, 30, 0)), {}, [WHITE], id="hidden colour"),
        pytest.param(Image.new("RGBA", (1, 1), (10, 20, 30, 255)), {}, [[10, 20, 30]], id="opaque"),
        pytest.param(Image.new("RGBA", (1, 1), (0, 100, 255, 51)), {}, [[204, 224, 255]], id="a fifth opaque"),
        pytest.param(
            Image.new("RGB", (1, 1), (1, 2, 3)), {"transparency": (1, 2, 3)}, [WHITE], id="transparent colour"
        ),
        pytest.param(Image.new("L", (1, 1), 7), {"transparency": 7}, [WHITE], id="transparent grey"),
        pytest.param(palette_picture(), {}, [RED, [0, 255, 0], [0, 0, 255], RED], id="palette"),
        pytest.param(palette_picture(), {"transparency": 1}, [RED, WHITE, [0, 0, 255], RED], id="palette, transparent"),
        pytest.param(
            palette_picture(),
            {"transparency": bytes([255, 255, 0])},
            [RED, [0, 255, 0], WHITE, RED],
            id="palette, alpha",
        ),
        pytest.param(Image.new("1", (1, 1), 1), {}, [WHITE], id="one bit"),
        pytest.param(Image.fromarray(RAMP.astype(np.uint16)), {}, [[v] * 3 for v in IN_EIGHT_BITS], id="sixteen bits"),
        pytest.param(
            Image.fromarray((RAMP // 257).astype(np.uint16)),
            {},
            [[0] * 3, [0] * 3, [1] * 3, [1] * 3],
            id="sixteen dark bits",
        ),
    ],
)
def test_modes_of_png(image: Image.Image, options: dict[str, Any], expected: list[list[int]], tmp_path: Path) -> None:
    """Grey, palettes, deep grey (not white) and transparency, which shows white."""
    assert loaded(image, tmp_path / "a.png", **options) == expected


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(RAMP.astype(np.uint16), id="uint16"),
        pytest.param(RAMP.astype(np.int32), id="int32"),
        pytest.param((RAMP // 257).astype(np.int32), id="int32 up to 255"),
        pytest.param((RAMP / 65535).astype(np.float32), id="floats up to 1"),
        pytest.param((RAMP / 257).astype(np.float32), id="floats up to 255"),
        pytest.param(RAMP.astype(np.float32), id="floats up to 65535"),
    ],
)
def test_deep_grey_of_tiff(values: NDArray[Any], tmp_path: Path) -> None:
    """Scaled to eight bits, neither white nor black."""
    assert loaded(Image.fromarray(values), tmp_path / "a.tif") == [[value] * 3 for value in IN_EIGHT_BITS]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(lambda: tiff(2, 1, b"\xff\xf0\x00", (258, 3, 1, 12)), [255, 0], id="twelve bits"),
        pytest.param(
            lambda: tiff(2, 1, struct.pack("<2H", 0, 21845), (258, 3, 1, 16), (262, 3, 1, 0)),
            [255, 170],
            id="white is 0",
        ),
        pytest.param(
            lambda: png(
                2, 1, zlib.compress(b"\0" + struct.pack(">2H", 0, 21845)), (b"tRNS", b"\0\0"), bits=16, colour=0
            ),
            [255, 85],
            id="deep, transparent",
        ),
        pytest.param(
            lambda: png(2, 1, zlib.compress(b"\0\x60"), (b"tRNS", b"\0\1"), bits=2, colour=0),
            [255, 170],
            id="two bits, transparent",
        ),
        pytest.param(
            lambda: png(2, 1, zlib.compress(b"\0\x57"), (b"tRNS", b"\0\5"), bits=4, colour=0),
            [255, 119],
            id="four bits, transparent",
        ),
        pytest.param(
            lambda: tiff(2, 1, bytes([0, 0, 80, 160]), (258, 3, 1, 8), (277, 3, 1, 2), (338, 3, 1, 1)),
            [255, 175],
            id="multiplied by alpha",
        ),
    ],
)
def test_odd_greys(content: Callable[[], bytes], expected: list[int]) -> None:
    """Neither clipped nor inverted, and what is transparent shows white: 80 + 255 - 160 is 175."""
    row = read_picture(io.BytesIO(content()), Preprocessing(2))[0]
    assert row.tolist() == [[value] * 3 for value in expected]


@pytest.mark.parametrize("value", [-1.0, 65536.0, np.nan, np.inf])
def test_deep_grey_out_of_range_is_refused(value: float, tmp_path: Path) -> None:
    """The range that was found is named."""
    Image.fromarray(np.array([[value, 0.5]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif' has grey values from .*; scale them: 0 to 1"):
        load_picture(tmp_path / "a.tif", Preprocessing(2))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_print_colours_become_rgb(suffix: str, tmp_path: Path) -> None:
    """CMYK without cyan is red."""
    pixels = np.array(loaded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / f"a.{suffix}"))
    assert np.abs(pixels - RED).max() <= 3


# How a picture lies in the file whose orientation tag says how to turn it upright (EXIF 2.32, 4.6.5).
STORED: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_stand_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    """All eight orientations of a camera give the same picture."""
    upright = np.asarray(photograph(24, 24)) if suffix == "jpg" else UPRIGHT
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 98, "subsampling": 0}}.get(suffix, {})
    image.save(tmp_path / f"a.{suffix}", exif=exif, **lossless)  # type: ignore[arg-type]
    pixels = load_picture(tmp_path / f"a.{suffix}", Preprocessing(len(upright))).astype(int)
    assert np.abs(pixels - upright).max() <= (24 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(suffix: str, tmp_path: Path) -> None:
    """Red, then blue: red."""
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)  # type: ignore[arg-type]
    assert load_picture(tmp_path / f"a.{suffix}", Preprocessing(3)).reshape(-1, 3).tolist() == [RED] * 9


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_a_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    """What a folder's listing takes for a picture can be a picture."""
    Image.new("RGB", (16, 16), "white").save(tmp_path / f"a{suffix}")
    assert (load_picture(tmp_path / f"a{suffix}", Preprocessing(2)) >= 250).all()


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.JPEG", "a b.c", "-rf", "猫.png", "caf\udce9.png"])
def test_the_content_decides_not_the_name(name: str, tmp_path: Path) -> None:
    """Any name goes, bytes that are no UTF-8 too."""
    with (tmp_path / name).open("wb") as stream:
        Image.fromarray(UPRIGHT).save(stream, format="PNG")
    assert (load_picture(tmp_path / name, Preprocessing(4)) == UPRIGHT).all()


@pytest.mark.parametrize("size", [(64, 64), (200, 100), (30, 77), (1, 1), (1, 300)])
@pytest.mark.parametrize("num_px", [1, 64])
def test_resizing_is_pillow_s_bicubic(size: tuple[int, int], num_px: int, tmp_path: Path) -> None:
    """Stretched to a square, as the course did; the same through a file, an image and pixels."""
    image = photograph(*size)
    expected = np.asarray(image.resize((num_px, num_px), Image.Resampling.BICUBIC))
    image.save(tmp_path / "a.png")
    for pixels in (
        load_picture(tmp_path / "a.png", Preprocessing(num_px)),
        resize_picture(image, Preprocessing(num_px)),
        resize_pixels(np.asarray(image), Preprocessing(num_px)),
    ):
        assert pixels.shape == (num_px, num_px, 3)
        assert pixels.dtype == np.uint8
        assert (pixels == expected).all()


def test_every_pixel_counts_when_shrinking() -> None:
    """A chessboard becomes even grey, where taking every tenth pixel would leave black or white."""
    board = np.kron((np.indices((40, 40)).sum(axis=0) % 2) * 255, np.ones((5, 5))).astype(np.uint8)
    pixels = resize_pixels(np.stack([board] * 3, axis=-1), Preprocessing(10))
    assert np.abs(pixels.astype(int) - 127).max() <= 10


def test_flattening_keeps_row_column_channel() -> None:
    """The order that w is shown in; no copy is made."""
    pictures = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    flat = flatten_pictures(pictures)
    assert flat.shape == (2, 48)
    assert flat[1, (2 * 4 + 3) * 3 + 1] == pictures[1, 2, 3, 1]
    assert np.shares_memory(flat, pictures)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_picture_is_refused_by_name(suffix: str, part: float, tmp_path: Path) -> None:
    """Half a picture is no picture."""
    path = tmp_path / f"a b.{suffix}"
    photograph(60, 60).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"a b.{suffix}' is (damaged|not a picture)") as caught:
        load_picture(path, Preprocessing(8))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def make_pipe(path: Path) -> None:
    """Make a named pipe that nobody writes to."""
    os.mkfifo(path)


def make_vast(path: Path) -> None:
    """Make a file that claims more bytes than are read, and takes none on the disk."""
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


def make_socket(path: Path) -> None:
    """Make a socket, by a name that is short enough for one."""
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)


KNOWN = "is not a picture that can be read; known are BMP, GIF, JPEG, PNG, TIFF, WEBP"
BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda path: None, "does not exist; name a picture"),
    "no bytes": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\); replace or remove it"),
    "text": (lambda path: path.write_bytes(b"hello " * 100), KNOWN),
    "web page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>Not found</html>"), KNOWN),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), KNOWN),
    "PostScript": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), KNOWN),
    "old format": (lambda path: Image.new("RGB", (4, 4)).save(path, "PPM"), KNOWN),
    "beginning of a PNG": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "is damaged"),
    "beginning of a JPEG": (lambda path: path.write_bytes(b"\xff\xd8\xff"), "is damaged"),
    "beginning of a GIF": (lambda path: path.write_bytes(b"GIF89a"), "is damaged"),
    "beginning of a TIFF": (lambda path: path.write_bytes(b"II*\0"), "is damaged"),
    "TIFF without tags": (lambda path: path.write_bytes(b"II*\0\x08\0\0\0" + bytes(6)), "is damaged"),
    "beginning of a BMP": (lambda path: path.write_bytes(b"BM"), "is damaged"),
    "beginning of a WebP": (lambda path: path.write_bytes(b"RIFF\0\0\0\0WEBPVP8 "), "is damaged"),
    "folder": (Path.mkdir, "is a folder, not a file; replace or remove it"),
    "named pipe": (make_pipe, "is a named pipe, not a file; replace or remove it"),
    "socket": (make_socket, "is a socket, not a file; replace or remove it"),
    "device": (lambda path: path.symlink_to("/dev/null"), "is a device, not a file; replace or remove it"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "is a link to nothing; replace or remove it"),
    "link to itself": (lambda path: path.symlink_to(path), r"cannot be read \(Too many levels of symbolic links\)"),
    "too large": (lambda path: path.write_bytes(png_header(9000, 10_000)), "has 9000 x 10000 pixels; at most 64,000"),
    "too long": (lambda path: path.write_bytes(png_header(MAX_SIDE + 1, 1)), "has 1000001 x 1 pixels; .* 1,000,000 a"),
    "too many bytes": (make_vast, "has 576,000,001 bytes; at most"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """At once, in one line that begins with the path; nothing is waited for."""
    make, message = BAD_FILES[kind]
    path = tmp_path / "a b.jpg"
    make(path)
    started = time.process_time()
    with pytest.raises(DataError, match=rf"^'{path}' {message}") as caught:
        load_picture(path, Preprocessing(8))
    assert time.process_time() - started < 0.5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.png"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    """Too long for the system, or with a NUL character."""
    with pytest.raises(DataError, match=r"(cannot be read \(File name too long\)|null byte.*replace or remove it)"):
        load_picture(Path(name), Preprocessing(8))


@pytest.mark.parametrize("kind", ["named pipe", "device", "socket"])
def test_what_is_no_file_is_not_even_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a pipe wakes whoever waits at its other end; to open some devices acts."""
    BAD_FILES[kind][0](tmp_path / "a.jpg")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(DataError, match=f"is a {kind}, not a file"), open_picture(tmp_path / "a.jpg"):
        pass


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    (tmp_path / "file").write_bytes(b"something")
    before = (tmp_path / "file").stat()
    make_pipe(tmp_path / "a.jpg")
    monkeypatch.setattr(Path, "stat", lambda _: before)
    with pytest.raises(DataError, match=r"a.jpg' was exchanged while it was opened"), open_picture(tmp_path / "a.jpg"):
        pass


def test_an_open_picture_is_closed_in_the_end(tmp_path: Path) -> None:
    """It is handed out at its beginning."""
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png") as stream:
        assert stream.read(4) == b"\x89PNG"
        stream.read()
        assert (read_picture(stream, Preprocessing(4)) == UPRIGHT).all()  # wherever it stands
    assert stream.closed


def test_without_a_path_the_name_is_left_to_the_caller() -> None:
    """The message goes on where the name ends."""
    for content, message in ((b"", "is empty"), (b"text", "is not a picture"), (b"GIF89a", "is damaged")):
        with pytest.raises(DataError, match=f"^{message}"):
            read_picture(io.BytesIO(content), Preprocessing(4))


def png(width: int, height: int, rows: bytes, *chunks: tuple[bytes, bytes], bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG whose compressed rows need not fit its header, RGB by default."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of so many pixels in its header and hardly any in its data."""
    return png(width, height, zlib.compress(bytes(100)))


def tiff(width: int, height: int, data: bytes, *tags: tuple[int, int, int, int]) -> bytes:
    """Return a TIFF in one strip of grey, eight bits by default, with more or other tags (tag, type, count, value)."""
    found = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 262: (3, 1, 1), 278: (4, 1, height)}
    found |= {277: (3, 1, 1), 279: (4, 1, len(data)), 273: (4, 1, 0)}
    found |= {tag: (kind, count, value) for tag, kind, count, value in tags}
    if found[273][2] == 0:
        found[273] = (4, 1, 8 + 2 + 12 * len(found) + 4)
    entries = b"".join(struct.pack("<HHII", tag, *found[tag]) for tag in sorted(found))
    return b"II*\0" + struct.pack("<IH", 8, len(found)) + entries + bytes(4) + data


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
    """A WebP or progressive JPEG at the limit of the others took up to a gigabyte; the gate is told of it, too."""
    told: list[int] = []

    def reserve(pixels: int) -> AbstractContextManager[None]:
        told.append(pixels)
        return nullcontext()

    for size in ((10, 10), (20, 10)):
        Image.new("RGB", size).save(tmp_path / f"{size[0]}.{suffix}", **options)
    monkeypatch.setattr(reader, "MAX_PIXELS", 200)
    with (tmp_path / f"10.{suffix}").open("rb") as stream:
        read_picture(stream, Preprocessing(4), reserve=reserve)
    assert told == [100 if fits else 200]
    if fits:
        load_picture(tmp_path / f"20.{suffix}", Preprocessing(4))
    else:
        with pytest.raises(DataError, match=r"has 20 x 10 pixels; at most 200 are read \(half of them in WebP, pro"):
            load_picture(tmp_path / f"20.{suffix}", Preprocessing(4))


@pytest.mark.parametrize("place", ["stat", "open"])
def test_an_unreadable_file_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is told apart from damage (tests may run as root, so the refusal is played)."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path if place == "stat" else os, place, deny)
    with pytest.raises(DataError, match=r"a.png' may not be read \(permission denied\)"):
        load_picture(path, Preprocessing(8))


def test_memory_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory has an exit code of its own."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImageFile, "load", run_out)
    with pytest.raises(MemoryError):
        load_picture(path, Preprocessing(8))


def test_a_disk_that_fails_is_not_called_damage() -> None:
    """The system's reason is passed on."""

    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"^cannot be read \(Input/output error\)"):
        read_picture(Failing(b"BM"), Preprocessing(4))


# --- small files that would be dear to read -----------------------------------------


def many_scans() -> bytes:
    """Return a progressive JPEG of 4 megapixels whose last scan comes 3,000 times."""
    stream = io.BytesIO()
    Image.new("L", (2000, 2000)).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 3000 + data[-2:]


def giant_frame() -> bytes:
    """Return a GIF with a screen of one pixel and a frame of 81 megapixels."""
    return b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0" + struct.pack("<HH", 9000, 9000) + b"\0\2\2\x4c\1\0;"


def many_runs() -> bytes:
    """Return a BMP in runs of 9 megapixels that are filled with zeros, one by one."""
    header = struct.pack("<IHHI", 1078, 0, 0, 1078) + struct.pack(
        "<IiiHHIIiiII", 40, 900_000, 10, 1, 8, 1, 0, 0, 0, 256, 0
    )
    return b"BM" + header + bytes(1024) + b"\1\0\0\0" * 10


def many_tags() -> bytes:
    """Return tags by the thousand, all of which name the same bytes: as Pillow reads them, 400 megabytes."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 70_000, 8) for tag in range(1000, 7000))
    return b"II*\0" + struct.pack("<IH", 8, 6000) + entries + bytes(4)


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def frame(marker: int, width: int, height: int) -> bytes:
    """Return the header of a JPEG in three colours, none of them smaller, with one table for all."""
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + b"\1\x11\0\2\x11\0\3\x11\0")


def scan(colour: int, data: bytes = b"\0") -> bytes:
    """Return a scan of one colour of a baseline JPEG."""
    return segment(0xDA, bytes((1, colour, 0, 0, 63, 0))) + data


def jpeg(mode: str = "RGB", size: tuple[int, int] = (64, 64), **options: Any) -> bytes:
    """Return an even JPEG of Pillow's."""
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, "JPEG", **options)
    return stream.getvalue()


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """Return a JPEG with more segments at its beginning."""
    return b"".join((content[:2], *segments, content[2:]))


def tables_of(content: bytes) -> bytes:
    """Return the tables of a grey baseline JPEG."""
    start, frame, codes, end = (content.index(mark) for mark in (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"))
    return content[start:frame] + content[codes:end]


def baseline_scans(width: int, scans: int, marker: int = 0xC0, between: bytes = b"") -> bytes:
    """Return a JPEG with a scan for each colour, in turn, of a few bytes each."""
    some = b"".join(scan(1 + number % 3) + between for number in range(scans))
    return b"\xff\xd8" + tables_of(jpeg("L")) + frame(marker, width, width) + some + b"\xff\xd9"


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


def with_tail(suffix: str, size: int, **options: Any) -> bytes:
    """Return a picture of 64 x 64 pixels, and zeros to so many bytes."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, suffix, **options)
    return stream.getvalue().ljust(size, b"\0")


def webp_chunks(count: int) -> bytes:
    """Return a WebP with so many empty chunks."""
    content = with_tail("WEBP", 0, exif=b"Exif\0\0x")
    body = content[8:] + (b"none" + bytes(4)) * count
    return b"RIFF" + struct.pack("<I", len(body)) + body


def idle_runs() -> bytes:
    """Return a BMP in runs that go nowhere for a megabyte and more."""
    header = struct.pack("<IHHI", 1078, 0, 0, 1078) + struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + header + bytes(1024) + b"\0\2\0\0" * 270_000 + b"\x04\0" * 4 + b"\0\1"


PARTS = "has more than [0-9,]* parts in its [0-9,]* bytes; save the picture again without them, or remove it"
APART = "has more than 64 tables and pieces of EXIF data"
METADATA = "has more than 64,000,000 bytes of metadata"
DEAR: dict[str, tuple[Callable[[], bytes], str]] = {
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
        "is damaged .its header claims 1,048,576 bytes, of 124 at most",
    ),
    "idle runs": (idle_runs, "has 1,081,088 bytes for 4 x 4 pixels; at most 1,048,624 are read"),
    "entries that lead back": (
        lambda: b"II*\0" + struct.pack("<IH", 8, 60_000) + struct.pack("<HHII", 0x8769, 4, 1, 8) * 60_000,
        "is damaged .its list of tags cannot be read: it has 120,000 entries",
    ),
    "strips of JPEG": (
        lambda: tiff(
            *(500, 500, struct.pack("<I", 1_000_000) * 1_000),
            *((259, 3, 1, 7), (273, 4, 100, 202), (279, 4, 100, 1002), (278, 4, 1, 5)),
        ),
        "has 100,000,000 bytes for 500 x 500 pixels; at most 33,250,000 are read",
    ),
    "entries": (
        lambda: b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 70_000) + struct.pack("<HHQQ", 60_000, 3, 1, 1) * 70_000,
        "is damaged .its list of tags cannot be read: it has 70,000 entries; at most 65,535 are read",
    ),
    "scans": (many_scans, "is damaged .it has more than 160 scans of 2000 x 2000 pixels"),
    "first frame": (giant_frame, "has 9000 x 9000 pixels"),
    "runs": (many_runs, "is a BMP in runs of more than 8,000,000 pixels; save it in another format"),
    "tags": (many_tags, "is damaged .its tags claim [0-9,]* bytes, with up to 0 numbers"),
    "tags of EXIF": (
        lambda: tiff(1, 1, many_tags()[8:] + b"\0", (0x8769, 4, 1, 122)),
        "is damaged .its tags claim [0-9,]* bytes, with up to 1 numbers",
    ),
    "offsets": (
        lambda: tiff(2, 2, bytes(1_300_000), (273, 4, 300_001, 200)),
        "is damaged .*with up to 300,001 numbers",
    ),
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


@pytest.mark.parametrize("kind", DEAR)
def test_what_is_dear_to_read_is_refused(kind: str) -> None:
    """Before time or memory is spent on it."""
    make, message = DEAR[kind]
    content = make()
    started = time.process_time()
    with pytest.raises(DataError, match=f"^{message}"):
        read_picture(io.BytesIO(content), Preprocessing(8))
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("order", ["classic first", "big first"])
def test_a_tiff_of_two_minds_is_refused(order: str) -> None:
    """MM, 0, 43 is a BigTIFF to libtiff and a TIFF to Pillow: what is checked must be what is read."""
    content = tiff(8, 8, bytes(64))
    assert read_picture(io.BytesIO(content), Preprocessing(8)).shape == (8, 8, 3)
    beginning = struct.pack(">IQ", 8, 16) if order == "classic first" else struct.pack(">HHQ", 8, 0, 16)
    with pytest.raises(DataError, match="is not a picture that can be read"):
        read_picture(io.BytesIO(b"MM\0+" + beginning + content), Preprocessing(8))
    classic = b"MM\0+" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 6, 0)
    assert find_orientation({"exif": classic}) == 6  # as Pillow reads it


@pytest.mark.parametrize("block", [2, 3, 19, 20, 2048])
def test_scans_are_counted_in_blocks_of_any_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A marker may lie across two of them; 25 scans of 25 megapixels are the most."""
    monkeypatch.setattr(jpeg_limits, "BLOCK", block)
    content = baseline_scans(5000, 26)
    stream = io.BytesIO(content)
    assert jpeg_limits._count_upwards(stream, b"\xff\xda") == 26
    for name in ("LOOK", "BLOCK"):
        monkeypatch.setattr(jpeg_limits, name, max(18, block))
    kinds = [marker for marker, _, _ in jpeg_limits._walk_segments(stream, 2, len(content))]
    assert kinds.count(0xDA) == 26
    assert kinds[-1] == 0xD9
    with pytest.raises(DataError, match="it has more than 25 scans"):
        read_picture(io.BytesIO(content), Preprocessing(8))


# --- sound files that look like those ------------------------------------------------


def read(content: bytes, num_px: int = 64) -> NDArray[np.uint8]:
    """Return the pixels of a picture in memory."""
    return read_picture(io.BytesIO(content), Preprocessing(num_px))


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
    """A few chunks that nobody knows, or zeros up to the next block of a disk."""
    for content in (webp_chunks(1_000), with_tail("WEBP", 1_000_000), with_tail("WEBP", 1_000_000, lossless=True)):
        assert not read(content).any()


def test_a_gif_with_extensions_is_read() -> None:
    """Comments, a loop, and XMP, whose text serves as lengths of blocks."""
    xmp = b"!\xff\x0bXMP DataXMP" + b"<x:xmpmeta/>" * 10_000 + bytes([1, *range(255, -1, -1), 0])
    parts = b"!\xfe\5hello\0", b"!\xff\x0bNETSCAPE2.0\3\1\0\0\0", b"!\xf9\4\0\0\0\0\0", xmp, b"!\xfe\0"
    assert not read(gif(*parts), 1).any()


def test_the_gate_is_told_of_all_scans_in_fast_mode() -> None:
    """The coefficients are those of the whole picture, however small it is decoded."""
    told: list[int] = []

    def reserve(pixels: int) -> AbstractContextManager[None]:
        told.append(pixels)
        return nullcontext()

    for progressive in (False, True):
        read_picture(
            io.BytesIO(jpeg(size=(800, 800), progressive=progressive)), Preprocessing(8, decode="fast"), reserve=reserve
        )
    assert told == [100 * 100, 100 * 100 + 800 * 800]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pillow_does_not_read_the_tags(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It copies what they claim; the picture is turned all the same, and nonsense in them turns nothing."""
    exif = Image.Exif()
    exif[0x0112] = 3
    options = {} if suffix == "png" else {"quality": 98}
    image = photograph(24, 24).resize((240, 240))  # smooth
    image.save(tmp_path / f"a.{suffix}", exif=exif, **options)  # type: ignore[arg-type]
    image.save(tmp_path / f"b.{suffix}", exif=b"Exif\0\0" + many_tags()[:60_000], **options)  # type: ignore[arg-type]
    monkeypatch.setattr(Image.Image, "getexif", lambda _: pytest.fail("the tags were read"))
    monkeypatch.setattr(PngImageFile, "getexif", lambda _: pytest.fail("the tags were read"))
    turned, plain = (load_picture(tmp_path / f"{name}.{suffix}", Preprocessing(240)).astype(int) for name in "ab")
    assert np.abs(turned[::-1, ::-1] - np.asarray(image)).max() <= 24
    assert np.abs(plain - np.asarray(image)).max() <= 24


def oriented(value: int) -> bytes:
    """Return EXIF data with an orientation and nothing else."""
    return b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, value) + bytes(4)


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        ({}, 1),
        ({"exif": b"Exif\0\0" + oriented(6)}, 6),
        ({"exif": oriented(9)}, 1),
        ({"exif": b"MM\0*" + struct.pack(">IHHHIHH", 8, 1, 0x0112, 3, 1, 8, 0)}, 8),
        ({"exif": b"nonsense"}, 1),
        ({"Raw profile type exif": f"\nexif\n 26\n{oriented(5).hex()}\n"}, 5),
        ({"Raw profile type exif": "\nexif\n 26\nno digits"}, 1),
        ({"xmp": b'<rdf tiff:Orientation="3"/>'}, 3),
        ({"XML:com.adobe.xmp": "<tiff:Orientation>7</tiff:Orientation>"}, 7),
    ],
)
def test_all_places_where_an_orientation_stands(information: dict[str, Any], expected: int) -> None:
    """EXIF in both byte orders, ImageMagick's text in PNG, XMP; nonsense turns nothing."""
    assert find_orientation(information) == expected


def test_the_tags_of_a_big_tiff_are_checked_too() -> None:
    """Its numbers have eight bytes."""
    entry = struct.pack("<HHQQ", 270, 7, 10**12, 16)
    content = b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 1) + entry + bytes(8)
    with pytest.raises(DataError, match="its tags claim 1,000,000,000,000 bytes"):
        check_tags(io.BytesIO(content), len(content))


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
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.process_time() - started, int(peak) / 1000)
"""


def read_apart(path: Path) -> tuple[str, float, float]:
    """Read a picture in a process of its own; return what it says, the seconds and the megabytes that it took."""
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    *said, figures = done.stdout.splitlines()
    seconds, megabytes = map(float, figures.split())
    return "".join(said), seconds, megabytes


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


# --- squares ---------------------------------------------------------------------------


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return pixels, none like its neighbour."""
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def squeezed(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Let Pillow resize pixels in one piece."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


@settings(deadline=None, max_examples=50)
@given(height=st.integers(1, 40), width=st.integers(1, 40), num_px=st.integers(1, 40))
def test_the_three_ways_to_a_square(height: int, width: int, num_px: int) -> None:
    """Crop is a slice of the middle, pad a white square around the whole; both then as stretch."""
    pixels = noise(height, width)
    assert (resize_pixels(pixels, Preprocessing(num_px)) == squeezed(pixels, num_px, num_px)).all()
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = pixels[top : top + side, left : left + side]
    assert (resize_pixels(pixels, Preprocessing(num_px, resize="crop")) == squeezed(middle, num_px, num_px)).all()
    rows, columns = (
        max(1, int(Fraction(length * num_px, max(height, width)) + Fraction(1, 2))) for length in (height, width)
    )
    top, left = (num_px - rows) // 2, (num_px - columns) // 2
    padded = np.full((num_px, num_px, 3), 255, dtype=np.uint8)
    padded[top : top + rows, left : left + columns] = squeezed(pixels, rows, columns)
    assert (resize_pixels(pixels, Preprocessing(num_px, resize="pad")) == padded).all()


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)])
@pytest.mark.parametrize("resize", RESIZES)
def test_the_longest_pictures_keep_a_pixel(size: tuple[int, int], resize: str) -> None:
    """A line of red, however it is squeezed."""
    pixels = np.zeros((*size, 3), dtype=np.uint8) + np.array(RED, dtype=np.uint8)
    square = resize_pixels(pixels, Preprocessing(5, resize=resize))
    expected = np.full((5, 5, 3), 255 if resize == "pad" else RED, dtype=np.uint8)
    if resize == "pad":
        expected[(2, slice(None)) if size[0] == 1 else (slice(None), 2)] = RED
    assert (square == expected).all()


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("size", [(9, 20), (20, 9)])
@pytest.mark.parametrize("orientation", STORED)
def test_a_turned_picture_gives_the_same_square(
    orientation: int, size: tuple[int, int], resize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is turned first, odd pixels and all; and it makes no difference in how many strips that is done."""
    upright = noise(*size)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(STORED[orientation](upright))).save(tmp_path / "a.png", exif=exif)
    expected = resize_pixels(upright, Preprocessing(6, resize=resize))
    assert (load_picture(tmp_path / "a.png", Preprocessing(6, resize=resize)) == expected).all()
    monkeypatch.setattr(convert, "_STRIP_PIXELS", 30)
    in_strips = load_picture(tmp_path / "a.png", Preprocessing(6, resize=resize))
    assert (in_strips == resize_pixels(upright, Preprocessing(6, resize=resize))).all()
    assert np.abs(in_strips.astype(int) - expected).max() <= 1  # Pillow may do columns first where we do rows


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16", "F", "CMYK", "LAB", "1"])
def test_strips_are_the_picture(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mode, in one piece and in many, with the deepest and the lightest grey in different ones."""
    if mode in ("I;16", "F"):
        grey = np.arange(600).reshape(30, 20)
        image = Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.float32))
        eight_bits = Image.fromarray(np.rint(grey * (255 / 65535)).astype(np.uint8)).convert("RGB")
    else:
        image = Image.new(mode, (20, 30), "red") if mode == "LAB" else photograph(30, 20).convert(mode)
        eight_bits = image.convert("RGB")
    image.save(tmp_path / "a.tif")
    assert (load_picture(tmp_path / "a.tif", Preprocessing(7)) == resize_picture(eight_bits, Preprocessing(7))).all()
    monkeypatch.setattr(convert, "_STRIP_PIXELS", 41)
    columns_first = eight_bits.resize((20, 7), Image.Resampling.BICUBIC).resize((7, 7), Image.Resampling.BICUBIC)
    assert (load_picture(tmp_path / "a.tif", Preprocessing(7)) == np.asarray(columns_first)).all()


# --- fast -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("resize", RESIZES)
def test_fast_is_nearly_exact(mode: str, resize: str, tmp_path: Path) -> None:
    """A JPEG is read smaller than it is, in its own colours."""
    photograph(300, 400).convert(mode).save(tmp_path / "a.jpg")
    exact = load_picture(tmp_path / "a.jpg", Preprocessing(40, resize=resize)).astype(int)
    fast = load_picture(tmp_path / "a.jpg", Preprocessing(40, resize=resize, decode="fast")).astype(int)
    assert 0 < np.abs(exact - fast).mean() < 3


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "bmp", "tif"])
def test_fast_is_exact_for_other_formats(suffix: str, tmp_path: Path) -> None:
    """There is nothing to gain."""
    photograph(300, 400).save(tmp_path / f"a.{suffix}")
    exact, fast = (
        load_picture(tmp_path / f"a.{suffix}", Preprocessing(40, decode=decode)) for decode in ("exact", "fast")
    )
    assert (exact == fast).all()


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((64, 64), "stretch", (64, 64)),
        ((128, 127), "stretch", (128, 127)),
        ((500, 128), "stretch", (250, 64)),
        ((1000, 250), "crop", (500, 125)),
        ((1000, 250), "pad", (125, 32)),
        ((250, 1000), "pad", (32, 125)),
        ((1000, 3), "pad", (500, 2)),
        ((4000, 3000), "crop", (500, 375)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_fast_is_never_too_small(
    size: tuple[int, int],
    resize: str,
    expected: tuple[int, int],
    orientation: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A half, a quarter or an eighth, at most so that no side has to grow: for pad the longer one decides."""
    read: list[tuple[int, int]] = []
    draft = JpegImageFile.draft

    def note(image: JpegImageFile, *how: Any) -> object:
        done = draft(image, *how)
        read.append(image.size)
        return done

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(tmp_path / "a.jpg", exif=exif)
    monkeypatch.setattr(JpegImageFile, "draft", note)
    load_picture(tmp_path / "a.jpg", Preprocessing(64, resize=resize, decode="fast"))
    assert read == [expected]


# --- one path ------------------------------------------------------------------------------


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    """Each gets its own picture, from files and from bytes."""
    paths = []
    for number, suffix in enumerate(["jpg", "png", "webp", "gif", "bmp", "tif", "tiff"] * 4):
        paths.append(tmp_path / f"{number}.{suffix}")
        how = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
        photograph(40 + number, 60 - number).save(paths[-1], **how)
    alone = [load_picture(path, Preprocessing(16)) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: load_picture(path, Preprocessing(16)), paths * 4))
        bytes_alone = list(pool.map(lambda path: read_picture(io.BytesIO(path.read_bytes()), Preprocessing(16)), paths))
    assert all((one == other).all() for one, other in zip(alone * 5, together + bytes_alone, strict=True))


def test_encoded_pixels_come_back() -> None:
    """Every one of them."""
    assert (read_picture(io.BytesIO(encode_picture(UPRIGHT)), Preprocessing(4)) == UPRIGHT).all()


def test_the_formats_are_few() -> None:
    """What cameras, phones and the web write; every further one is code that foreign files reach."""
    assert FORMATS == ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def test_libtiff_says_nothing_on_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It would write to stderr from C, besides the one line that names the file."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[12:60] = b"\xff" * 48
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.tif' is damaged"):
        load_picture(path, Preprocessing(8))
    assert capfd.readouterr() == ("", "")
