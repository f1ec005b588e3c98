"""Makers of small picture files, sound and hostile, for the tests of this package."""

import io
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import read_picture

UPRIGHT = np.random.default_rng(0).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)

RED, WHITE = [255, 0, 0], [255, 255, 255]


def photograph(height: int, width: int) -> Image.Image:
    """Return a smooth picture with a little noise."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[0:height, 0:width]
    smooth = np.stack([255 * rows / height, 255 * columns / width, 127 + 0 * rows], axis=-1)
    return Image.fromarray(np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))


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


def noise(height: int, width: int) -> NDArray[np.uint8]:
    """Return pixels, none like its neighbour."""
    return np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(width: int, height: int, rows: bytes, *chunks: tuple[bytes, bytes], bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG whose compressed rows need not fit its header, RGB by default."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG with this size in its header and hardly any data."""
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


def many_tags() -> bytes:
    """Return tags by the thousand, all of which name the same bytes: as Pillow reads them, 400 megabytes."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 70_000, 8) for tag in range(1000, 7000))
    return b"II*\0" + struct.pack("<IH", 8, 6000) + entries + bytes(4)


def oriented(value: int) -> bytes:
    """Return EXIF data with an orientation and nothing else."""
    return b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 3, 1, value) + bytes(4)


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


def read(content: bytes, num_px: int = 64) -> NDArray[np.uint8]:
    """Return the pixels of a picture in memory."""
    return read_picture(io.BytesIO(content), Preprocessing(num_px))


def with_tail(suffix: str, size: int, **options: Any) -> bytes:
    """Return a picture of 64 x 64 pixels, padded with zeros to a length."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, suffix, **options)
    return stream.getvalue().ljust(size, b"\0")


PARTS = "has more than [0-9,]* parts in its [0-9,]* bytes; save the picture again without them, or remove it"

METADATA = "has more than 64,000,000 bytes of metadata"


def check_is_refused(content: bytes, message: str) -> None:
    """Assert that a picture is refused before time or memory is spent on it."""
    started = time.process_time()
    with pytest.raises(DataError, match=f"^{message}"):
        read(content, 8)
    assert time.process_time() - started < 0.5
