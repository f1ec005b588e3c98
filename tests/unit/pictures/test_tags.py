"""The tags of TIFF and EXIF are read without trust, wherever they stand."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from one_neuron.errors import DataError
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture
from one_neuron.pictures.tags import check_tags, find_orientation
from tests.unit.pictures.files import (
    check_is_refused,
    many_tags,
    oriented,
    photograph,
    tiff,
)

EXPENSIVE: dict[str, tuple[Callable[[], bytes], str]] = {
    "entries that lead back": (
        lambda: b"II*\0" + struct.pack("<IH", 8, 60_000) + struct.pack("<HHII", 0x8769, 4, 1, 8) * 60_000,
        "is damaged .its list of tags cannot be read: it has 120,000 entries",
    ),
    "entries": (
        lambda: b"II+\0" + struct.pack("<HHQQ", 8, 0, 16, 70_000) + struct.pack("<HHQQ", 60_000, 3, 1, 1) * 70_000,
        "is damaged .its list of tags cannot be read: it has 70,000 entries; at most 65,535 are read",
    ),
    "tags": (many_tags, "is damaged .its tags claim [0-9,]* bytes, with up to 0 numbers"),
    "tags of EXIF": (
        lambda: tiff(1, 1, many_tags()[8:] + b"\0", (0x8769, 4, 1, 122)),
        "is damaged .its tags claim [0-9,]* bytes, with up to 1 numbers",
    ),
    "offsets": (
        lambda: tiff(2, 2, bytes(1_300_000), (273, 4, 300_001, 200)),
        "is damaged .*with up to 300,001 numbers",
    ),
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_what_is_expensive_to_read_is_refused(kind: str) -> None:
    """Before time or memory is spent on it."""
    make, message = EXPENSIVE[kind]
    check_is_refused(make(), message)


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pillow_does_not_read_the_tags(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow copies what they claim; the picture is still turned upright, and invalid tags turn nothing."""
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
