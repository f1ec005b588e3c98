"""Pictures of every mode and format become upright RGB pixels; everything else is refused by name."""

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.images import MAX_PIXELS, SUFFIXES, flatten_pictures, load_picture, resize_picture, resize_pixels

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
    pixels = load_picture(path, image.height)
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
    assert (load_picture(tmp_path / "a.png", 4) == UPRIGHT).all()


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


@pytest.mark.parametrize("value", [-1.0, 65536.0, np.nan, np.inf])
def test_deep_grey_out_of_range_is_refused(value: float, tmp_path: Path) -> None:
    """The range that was found is named."""
    Image.fromarray(np.array([[value, 0.5]], dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif' has grey values from .*; expected 0 to 1"):
        load_picture(tmp_path / "a.tif", 2)


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
    pixels = load_picture(tmp_path / f"a.{suffix}", len(upright)).astype(int)
    assert np.abs(pixels - upright).max() <= (24 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(suffix: str, tmp_path: Path) -> None:
    """Red, then blue: red."""
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)  # type: ignore[arg-type]
    assert load_picture(tmp_path / f"a.{suffix}", 3).reshape(-1, 3).tolist() == [RED] * 9


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_a_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    """What a folder's listing takes for a picture can be a picture."""
    mode = {".pbm": "1", ".pgm": "L"}.get(suffix, "RGB")
    Image.new(mode, (16, 16), "white").save(tmp_path / f"a{suffix}")
    assert (load_picture(tmp_path / f"a{suffix}", 2) >= 250).all()


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.JPEG", "a b.c", "-rf", "猫.png", "caf\udce9.png"])
def test_the_content_decides_not_the_name(name: str, tmp_path: Path) -> None:
    """Any name goes, bytes that are no UTF-8 too."""
    with (tmp_path / name).open("wb") as stream:
        Image.fromarray(UPRIGHT).save(stream, format="PNG")
    assert (load_picture(tmp_path / name, 4) == UPRIGHT).all()


@pytest.mark.parametrize("size", [(64, 64), (200, 100), (30, 77), (1, 1), (1, 300)])
@pytest.mark.parametrize("num_px", [1, 64])
def test_resizing_is_pillow_s_bicubic(size: tuple[int, int], num_px: int, tmp_path: Path) -> None:
    """Stretched to a square, as the course did; the same through a file, an image and pixels."""
    image = photograph(*size)
    expected = np.asarray(image.resize((num_px, num_px), Image.Resampling.BICUBIC))
    image.save(tmp_path / "a.png")
    for pixels in (
        load_picture(tmp_path / "a.png", num_px),
        resize_picture(image, num_px),
        resize_pixels(np.asarray(image), num_px),
    ):
        assert pixels.shape == (num_px, num_px, 3)
        assert pixels.dtype == np.uint8
        assert (pixels == expected).all()


def test_every_pixel_counts_when_shrinking() -> None:
    """A chessboard becomes even grey, where taking every tenth pixel would leave black or white."""
    board = np.kron((np.indices((40, 40)).sum(axis=0) % 2) * 255, np.ones((5, 5))).astype(np.uint8)
    pixels = resize_pixels(np.stack([board] * 3, axis=-1), 10)
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
        load_picture(path, 8)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello " * 100, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\0" * 4096]
)
def test_what_is_no_picture_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    """Text, nothing, a signature alone, PostScript (which would start another program)."""
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.jpg' is (not a picture that can be read; known are AVIF|damaged)"):
        load_picture(path, 8)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of so many pixels in its header and hardly any in its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("width", "height"),
    [(MAX_PIXELS // 8000 + 1, 8000), (9000, 10_000), (13_000, 13_000), (10**5, 10**5), (2**31 - 1, 2**31 - 1)],
)
def test_too_many_pixels_are_refused_by_the_header(width: int, height: int, tmp_path: Path) -> None:
    """At once, before anything is decoded, with the limit."""
    path = tmp_path / "a.png"
    path.write_bytes(png_header(width, height))
    started = time.perf_counter()
    with pytest.raises(DataError, match=r"a.png' has .*64,000,000"):
        load_picture(path, 8)
    assert time.perf_counter() - started < 0.5


def test_the_largest_picture_is_not_refused_by_the_header(tmp_path: Path) -> None:
    """Exactly at the limit it is the missing data that is complained about."""
    path = tmp_path / "a.png"
    path.write_bytes(png_header(8000, MAX_PIXELS // 8000))
    with pytest.raises(DataError, match=r"a.png' is damaged"):
        load_picture(path, 8)


def test_a_path_without_a_file_is_named(tmp_path: Path) -> None:
    """Missing and a folder are told apart."""
    with pytest.raises(DataError, match=r"no such.png' does not exist; name a picture"):
        load_picture(tmp_path / "no such.png", 8)
    with pytest.raises(DataError, match=rf"{tmp_path.name}' is not a file; name a picture"):
        load_picture(tmp_path, 8)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is told apart from damage (tests may run as root, so the refusal is played)."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", deny)
    with pytest.raises(DataError, match=r"a.png' may not be read \(permission denied\)"):
        load_picture(path, 8)


def test_memory_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory has an exit code of its own."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", run_out)
    with pytest.raises(MemoryError):
        load_picture(path, 8)
