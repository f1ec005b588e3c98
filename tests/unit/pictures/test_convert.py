"""Pictures of every mode become RGB pixels of the right size, whichever way they lie in the file."""

import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.pictures import convert
from one_neuron.pictures.convert import encode_picture, flatten_pictures, resize_picture, resize_pixels
from one_neuron.pictures.preprocessing import RESIZES, Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture
from tests.unit.pictures.files import (
    RED,
    STORED,
    UPRIGHT,
    WHITE,
    noise,
    photograph,
    png,
    tiff,
)

RAMP = np.array([[0, 21845], [43690, 65535]])  # in sixteen bits; 0, 85, 170, 255 in eight

IN_EIGHT_BITS = [0, 85, 170, 255]


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


def test_encoded_pixels_come_back() -> None:
    """Every one of them."""
    assert (read_picture(io.BytesIO(encode_picture(UPRIGHT)), Preprocessing(4)) == UPRIGHT).all()


def squeezed(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize pixels with Pillow, in one piece."""
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
