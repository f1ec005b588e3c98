"""A picture in any format becomes num_px x num_px RGB pixels, by one path for training and prediction (Pillow).

Files come from anywhere. What a header claims is checked before memory or time is spent on it, and metadata are read
here as far as they count (how to turn the picture upright), because Pillow takes them at their word.
"""

import ctypes
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import BinaryIO

import PIL
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from one_neuron.errors import DataError, one_line, quote_path
from one_neuron.pictures.convert import Pixels, resize_picture
from one_neuron.pictures.geometry import fit
from one_neuron.pictures.limits import check_parts, check_passes, count_beside
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.refusals import damaged_message
from one_neuron.pictures.tags import find_orientation

MAX_PIXELS = 64_000_000  # checked in the header, before anything is decoded: 256 MB in Pillow's memory
MAX_SIDE = 1_000_000  # resizing takes 32 bytes for each pixel of a side
MAX_BYTES = 9 * MAX_PIXELS  # eight bytes a pixel at most, and room for metadata
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
_SHALLOW_GREYS = {"L;2": 85, "L;4": 17}  # what one step becomes in eight bits


def load_picture(path: Path | str, preprocessing: Preprocessing) -> Pixels:
    """Read a picture file, upright, as RGB pixels of the size that the neuron sees.

    Parameters
    ----------
    path : Path or str
        A picture of any size and mode in one of FORMATS; of an animation the first frame counts.
    preprocessing : Preprocessing
        Size of the result, and how it is made: that of the model which is to see the picture.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If the file is missing, no picture, damaged or larger than MAX_PIXELS; the message begins with its path.
    """
    path = Path(path)
    with open_picture(path) as stream:
        try:
            return read_picture(stream, preprocessing)
        except DataError as error:
            raise DataError(f"{quote_path(path)} {error}") from error


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
    name = quote_path(path)
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
    preprocessing: Preprocessing,
    *,
    reserve: Callable[[int], AbstractContextManager[None]] | None = None,
) -> Pixels:
    """Read an open picture; as `load_picture`, for files and bytes alike. Many threads may do so at once.

    Parameters
    ----------
    stream : BinaryIO
        A whole picture file, seekable; where it stands does not matter.
    preprocessing : Preprocessing
        Size of the result, and how it is made.
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
            if preprocessing.decode == "fast":
                num_px = preprocessing.num_px
                # The mode stays as it is; the size is that before the picture is turned, as is that of the target.
                image.draft(None, fit(image.size, num_px) if preprocessing.resize == "pad" else (num_px, num_px))
            with nullcontext() if reserve is None else reserve(image.width * image.height + beside):
                image.load()
                return resize_picture(image, preprocessing, orientation=orientation)
    except (DataError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"has far more than {MAX_PIXELS:,} pixels; make the picture smaller") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot be read ({error.strerror}); {_GO}") from error
        # Pillow's decoders raise nearly anything on a damaged file.
        raise DataError(damaged_message(one_line(error) or type(error).__name__)) from error


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
