"""A picture in any format becomes num_px x num_px RGB pixels, by one path for training and prediction (Pillow).

Files come from anywhere. What a header claims is checked before memory or time is spent on it, and metadata are read
here as far as they count (how to turn the picture upright), because Pillow takes them at their word.
"""

import ctypes
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from one_neuron.errors import DataError, one_line, quote
from one_neuron.pictures.geometry import Box, cut_strips, find_square, find_stored_box, fit, turn_size
from one_neuron.pictures.limits import check_parts, check_passes, count_beside
from one_neuron.pictures.tags import damaged, find_orientation

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000  # checked in the header, before anything is decoded: 256 MB in Pillow's memory
MAX_SIDE = 1_000_000  # resizing takes 32 bytes for each pixel of a side
MAX_BYTES = 9 * MAX_PIXELS  # eight bytes a pixel at most, and room for metadata
BACKGROUND = (255, 255, 255)  # shows through where a picture is transparent, and around it with resize: pad
SUFFIXES = frozenset(".bmp .gif .jpg .jpeg .jpe .jfif .mpo .png .tif .tiff .webp".split())


class _Png(PngImageFile):
    """A PNG whose chunks behind the pixels Pillow leaves alone: there may be millions, or one of half a gigabyte."""

    def load_end(self) -> None:
        """Nothing counts that comes so late."""


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF data Pillow leaves alone: a megabyte of them can claim gigabytes."""

    def _read_dpi_from_exif(self) -> None:
        """Dots per inch do not count."""


# The formats that are read, by how their files begin. Opened by name: Pillow's own search knows many more, and its
# registration on first use is not safe with several threads.
_BEGINNINGS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"\xff\xd8\xff"), _Jpeg),  # and MPO, which is a JPEG with more pictures behind it
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _Png),
    (re.compile(rb"II[*+]\0|MM\0\*"), TiffImageFile),  # Pillow misreads MM\0+, a BigTIFF, as a TIFF
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
)
FORMATS = tuple(str(reader.format) for _, reader in _BEGINNINGS)

_GO = "replace or remove it"
_STRIP_PIXELS = 2**21  # a picture is converted in strips of so many pixels, which bounds the memory beside it
_DEEP_MODES = ("F", "I", "I;16", "I;16L", "I;16B", "I;16N")
_SHALLOW_GREYS = {"L;2": 85, "L;4": 17}  # what one step becomes in eight bits
_TURN_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_picture(path: Path, num_px: int, *, resize: str = "stretch", decode: str = "exact") -> Pixels:
    """Read a picture file, upright, as RGB pixels of the size that the neuron sees.

    Parameters
    ----------
    path : Path
        A picture of any size and mode in one of FORMATS; of an animation the first frame counts.
    num_px : int
        Height and width of the result, at least 1.
    resize, decode : str
        As for `read_picture`.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If the file is missing, no picture, damaged or larger than MAX_PIXELS; the message begins with its path.
    """
    with open_picture(path) as stream:
        try:
            return read_picture(stream, num_px, resize=resize, decode=decode)
        except DataError as error:
            raise DataError(f"{quote(path)} {error}") from error


@contextmanager
def open_picture(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be a picture; named pipes and devices are neither waited for nor touched.

    Parameters
    ----------
    path : Path
        Links are followed.

    Yields
    ------
    BinaryIO
        Seekable.

    Raises
    ------
    DataError
        If there is no such file, it is not a regular one, is empty or may not be read; the message begins with the
        path.
    """
    name = quote(path)
    try:
        _check_kind(path.stat())  # opening a pipe wakes whoever waits at its other end; opening some devices acts
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        reason = f"is a link to nothing; {_GO}" if path.is_symlink() else "does not exist; name a picture"
        raise DataError(f"{name} {reason}") from error
    except PermissionError as error:
        raise DataError(f"{name} may not be read (permission denied); allow it, or {_GO}") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); {_GO}") from error
    except (DataError, ValueError) as error:  # ValueError: a NUL character in the name
        raise DataError(f"{name} {error}; {_GO}") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DataError(f"{name} was exchanged while it was opened; {_GO}")
        yield stream


def _check_kind(status: os.stat_result) -> None:
    """Refuse what is not a regular file with something in it."""
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise DataError(f"is {kinds.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    if status.st_size == 0:
        raise DataError("is empty (0 bytes)")


def read_picture(
    stream: BinaryIO,
    num_px: int,
    *,
    resize: str = "stretch",
    decode: str = "exact",
    reserve: Callable[[int], AbstractContextManager[None]] | None = None,
) -> Pixels:
    """Read an open picture; as `load_picture`, for files and bytes alike. Many threads may do so at once.

    Parameters
    ----------
    stream : BinaryIO
        A whole picture file, seekable; where it stands does not matter.
    num_px : int
        Height and width of the result, at least 1.
    resize : {"stretch", "crop", "pad"}
        What becomes of a picture that is not square; see `resize_picture`.
    decode : {"exact", "fast"}
        "fast" reads a large JPEG at a half, a quarter or an eighth of its size, never below what is needed.
    reserve : callable, optional
        Is told how many pixels the picture has, and gives what is held while they are in memory.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If it is no picture, damaged or too large. The message lacks the name of the picture: put it in front.
    """
    try:
        with _open_image(stream) as image:
            # Pillow itself turns a TIFF.
            orientation = 1 if isinstance(image, TiffImageFile) else find_orientation(image.info)
            beside = count_beside(image)  # at its full size, however small it is decoded
            if decode == "fast":
                # The mode stays as it is; the size is that before the picture is turned, as is that of the target.
                image.draft(None, fit(image.size, num_px) if resize == "pad" else (num_px, num_px))
            with nullcontext() if reserve is None else reserve(image.width * image.height + beside):
                image.load()
                return _to_pixels(image, orientation, num_px, resize)
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"has far more than {MAX_PIXELS:,} pixels; make the picture smaller") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot be read ({error.strerror}); {_GO}") from error
        # Pillow's decoders raise nearly anything on a damaged file.
        raise DataError(damaged(one_line(error) or type(error).__name__)) from error


def resize_picture(image: Image.Image, num_px: int, resize: str = "stretch") -> Pixels:
    """Bring an RGB picture to num_px x num_px; bicubic, every pixel of the original counts.

    Parameters
    ----------
    image : Image
        Mode RGB.
    num_px : int
        Height and width of the result, at least 1.
    resize : {"stretch", "crop", "pad"}
        "stretch" distorts, as the course did. "crop" takes the largest square from the middle (an odd pixel is left
        out at the right or at the bottom) and stretches that. "pad" keeps the whole picture and its aspect, in the
        middle of a BACKGROUND (an odd pixel of which lies at the right or at the bottom); at least one pixel stays.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8
    """
    return _to_pixels(image, 1, num_px, resize)


def resize_pixels(pixels: Pixels, num_px: int, *, resize: str = "stretch") -> Pixels:
    """Resize pixels of shape (height, width, 3), uint8, as `resize_picture`."""
    return resize_picture(Image.fromarray(pixels), num_px, resize)


def flatten_pictures(pictures: Pixels) -> Pixels:
    """Unroll pictures of shape (m, num_px, num_px, 3) into rows of shape (m, num_px * num_px * 3), without a copy."""
    return pictures.reshape(len(pictures), -1)


def encode_picture(pixels: Pixels) -> bytes:
    """Return pixels of shape (height, width, 3), uint8, as the bytes of a PNG file, which keeps every one of them."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _open_image(stream: BinaryIO) -> ImageFile.ImageFile:
    """Read the header of a picture and refuse what it would be too dear to decode."""
    size = stream.seek(0, os.SEEK_END)
    if size > MAX_BYTES:
        raise DataError(f"has {size:,} bytes; at most {MAX_BYTES:,} are read: make the picture smaller")
    stream.seek(0)
    beginning = stream.read(16)
    reader = next((reader for pattern, reader in _BEGINNINGS if pattern.match(beginning)), None)
    if reader is None:
        reason = "is not a picture that can be read" if size else "is empty (0 bytes)"
        raise DataError(f"{reason}; known are {', '.join(FORMATS)}: {_GO}")
    scan_cost = check_parts(stream, size, str(reader.format))
    if reader is TiffImageFile:
        _silence_libtiff()
    stream.seek(0)
    image = reader(stream)
    if scan_cost:
        image.info["progressive"] = 1  # that is how libjpeg treats all with several scans
    if image.width * image.height + count_beside(image) > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise DataError(
            f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read (half of them in WebP, "
            f"progressive JPEG and others in several scans), and {MAX_SIDE:,} a side: make the picture smaller"
        )
    check_passes(image, stream, size, scan_cost)
    if isinstance(image, PngImageFile) and isinstance(image.info.get("transparency"), int):
        # Pillow scales the greys, and not the one that is transparent.
        image.info["transparency"] *= _SHALLOW_GREYS.get(str(image.tile[0].args), 1)
    return image


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from writing to stderr on its own; what is wrong with a file, we say. It is Pillow's own copy."""
    for library in Path(str(PIL.__file__)).parents[1].glob("pillow.libs/libtiff-*"):
        ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)


def _to_pixels(image: Image.Image, orientation: int, num_px: int, resize: str) -> Pixels:
    """Turn upright, convert to RGB and bring to size."""
    size = turn_size(image.size, orientation)
    box = find_square(size) if resize == "crop" else (0, 0, *size)
    target = fit(size, num_px) if resize == "pad" else (num_px, num_px)
    small = _shrink(image, orientation, box, target)
    if resize == "pad":
        square = Image.new("RGB", (num_px, num_px), BACKGROUND)
        square.paste(small, ((num_px - target[0]) // 2, (num_px - target[1]) // 2))
        small = square
    return np.asarray(small, dtype=np.uint8)


def _shrink(image: Image.Image, orientation: int, box: Box, target: tuple[int, int]) -> Image.Image:
    """Bring a box of the upright picture to the size `target`; a large one in strips, beside which little is in memory.

    Resizing makes one side short after the other. Of a large picture the longer one is the first, so that what is half
    done is small; else Pillow chooses.
    """
    depth = _Depth(image) if image.mode in _DEEP_MODES else None

    def cut(strip: Box) -> Image.Image:
        stored = find_stored_box(strip, image.size, orientation)
        part = _to_rgb(image if stored == (0, 0, *image.size) else image.crop(stored), depth)
        return part.transpose(_TURN_UPRIGHT[orientation]) if orientation in _TURN_UPRIGHT else part

    width, height = box[2] - box[0], box[3] - box[1]
    if width * height <= _STRIP_PIXELS:
        return cut(box).resize(target, Image.Resampling.BICUBIC)
    tall = height > width
    half_done = Image.new("RGB", (width, target[1]) if tall else (target[0], height))
    for strip in cut_strips(box, _STRIP_PIXELS, across=tall):
        part = cut(strip)
        size = (part.width, target[1]) if tall else (target[0], part.height)
        place = (strip[0] - box[0], 0) if tall else (0, strip[1] - box[1])
        half_done.paste(part.resize(size, Image.Resampling.BICUBIC), place)
    return half_done.resize(target, Image.Resampling.BICUBIC)


class _Depth:
    """How the grey values of a picture with more than eight bits become eight; Pillow's own way turns them white.

    Parameters
    ----------
    image : Image
        Loaded, of one of _DEEP_MODES. Sixteen bits are scaled by 65535 (twelve in a TIFF by 4095), floats and wider
        numbers by the first of 1 (floats only), 255 and 65535 that none of them exceeds.

    Raises
    ------
    DataError
        If the values fit none of these ranges.
    """

    def __init__(self, image: Image.Image) -> None:
        extremes = []
        for strip in cut_strips((0, 0, *image.size), _STRIP_PIXELS):
            values = np.asarray(image.crop(strip))
            extremes.append((values.min(), values.max()))
        least, most = float(np.min(extremes)), float(np.max(extremes))
        if not (least >= 0 and most <= 65535):  # neither holds for nan
            raise DataError(f"has grey values from {least:g} to {most:g}; scale them: 0 to 1, 0 to 255 or 0 to 65535")
        tags: Any = image.tag_v2 if isinstance(image, TiffImageFile) else {}
        if image.mode.startswith("I;16"):
            self._white = 4095 if tags.get(258) == (12,) else 65535
        else:
            self._white = 1 if image.mode == "F" and most <= 1 else 255 if most <= 255 else 65535
        self._inverted = tags.get(262) == 0  # white is zero
        self._transparent = image.info.get("transparency")

    def to_eight_bits(self, image: Image.Image) -> Image.Image:
        """Return a part of the picture in mode L."""
        values = np.asarray(image)
        scaled = values.astype(np.float64) * (255 / self._white)
        grey = np.rint(255 - scaled if self._inverted else scaled).astype(np.uint8)
        if self._transparent is not None:
            grey[values == self._transparent] = BACKGROUND[0]
        return Image.fromarray(grey)


def _to_rgb(image: Image.Image, depth: _Depth | None) -> Image.Image:
    """Convert any mode to RGB with 8 bits a channel, over BACKGROUND."""
    if depth is not None:
        return depth.to_eight_bits(image).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(below, image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy all of it
