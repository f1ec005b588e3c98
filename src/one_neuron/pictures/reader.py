"""A picture file in any format becomes num_px x num_px RGB pixels, the same way for training and prediction (Pillow).

Inside: the formats (FORMATS) and suffixes (SUFFIXES), opening files, and decoding. The limits are in `limits`, resizing
in `convert`. Files are untrusted: a header is checked before memory or time is spent on the file, and metadata are read
by this project as far as they matter (`tags`), because Pillow believes them.
"""

import ctypes
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image, ImageFile, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from one_neuron.errors import DataError, EnvironmentProblem, OneNeuronError, one_line, quote_path
from one_neuron.file_kind import HEAD_BYTES, RAW, find_kind
from one_neuron.pictures.convert import Pixels, resize_picture
from one_neuron.pictures.geometry import fit
from one_neuron.pictures.jpeg_end import SMALL_PIXELS, ContinuedJpeg, checksum_pixels, ends_well, find_end
from one_neuron.pictures.limits import BYTES_PER_PIXEL, MAX_BYTES, MAX_PIXELS, check_file, check_image, count_beside
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.refusals import REMEDY_REPLACE, damaged_message
from one_neuron.pictures.tags import find_orientation
from one_neuron.system.memory import check_free

SUFFIXES = frozenset(".bmp .gif .jpg .jpeg .jpe .jfif .mpo .png .tif .tiff .webp".split())


class _Png(PngImageFile):
    """A PNG of which Pillow does not read the chunks after the image data: they may be millions, or gigabytes."""

    def load_end(self) -> None:
        """Skip the chunks after the image data."""


class _Jpeg(JpegImageFile):
    """A JPEG of which Pillow does not read the EXIF data: one megabyte of them can claim gigabytes."""

    def _read_dpi_from_exif(self) -> None:
        """Skip the resolution in dots per inch."""


# Each format by the bytes that its files begin with. The classes are named here because Pillow's own search knows many
# more formats, and registering those on first use is not thread-safe.
_BEGINNINGS: tuple[tuple[re.Pattern[bytes], type[ImageFile.ImageFile]], ...] = (
    (re.compile(rb"BM"), BmpImageFile),
    (re.compile(rb"GIF8[79]a"), GifImageFile),
    (re.compile(rb"\xff\xd8\xff"), _Jpeg),  # and MPO, a JPEG followed by more pictures
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _Png),
    (re.compile(rb"II[*+]\0|MM\0\*"), TiffImageFile),  # Pillow misreads MM\0+, a BigTIFF, as a TIFF
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
)
FORMATS = tuple(str(reader.format) for _, reader in _BEGINNINGS)
# Tags of a TIFF: the version of DNG, and whether the first picture is a smaller copy of another, as in NEF and ARW.
_DNG_VERSION, _SUBFILE = 50706, 254
_NEGLIGIBLE_PIXELS = 2**22  # take less memory than the least that is left when a command starts
_GREY_STEPS = {"L;2": 85, "L;4": 17}  # the value in eight bits of one step of a PNG's 2-bit and 4-bit greys


def load_picture(path: Path | str, preprocessing: Preprocessing) -> Pixels:
    """Read a picture file, upright, as RGB pixels of the size that the neuron expects.

    Parameters
    ----------
    path : Path or str
        A picture of any size and mode in one of FORMATS; only the first frame of an animation is read.
    preprocessing : Preprocessing
        Size of the result and how it is made; for a prediction, that of the model.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If the file is missing, not a picture, damaged or too large; the message begins with its path.
    EnvironmentProblem
        If there is too little memory for the picture.
    """
    path = Path(path)
    with open_picture(path) as stream:
        try:
            return read_picture(stream, preprocessing)
        except DataError as error:
            raise DataError(f"{quote_path(path)} {error}") from error
        except EnvironmentProblem as error:
            raise EnvironmentProblem(f"{quote_path(path)}: {error}") from error


@contextmanager
def open_picture(path: Path) -> Iterator[BinaryIO]:
    """Open a file that may be a picture, without waiting for a named pipe or touching a device.

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
        If the file does not exist, is not a regular file, is empty or may not be read; the message begins with the
        path.
    """
    name = quote_path(path)
    try:
        _check_kind(path.stat())  # before opening it: that wakes a process at the other end of a pipe, or a device
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        reason = f"is a link to nothing; {REMEDY_REPLACE}" if path.is_symlink() else "does not exist; name a picture"
        raise DataError(f"{name} {reason}") from error
    except PermissionError as error:
        raise DataError(f"{name} may not be read (permission denied); allow it, or {REMEDY_REPLACE}") from error
    except OSError as error:
        raise DataError(f"{name} cannot be read ({error.strerror}); {REMEDY_REPLACE}") from error
    except (DataError, ValueError) as error:  # ValueError: a NUL character in the name
        raise DataError(f"{name} {error}; {REMEDY_REPLACE}") from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DataError(f"{name} was replaced while it was being opened; {REMEDY_REPLACE}")
        yield stream


def read_picture(
    stream: BinaryIO,
    preprocessing: Preprocessing,
    *,
    reserve: Callable[[int], AbstractContextManager[None]] | None = None,
) -> Pixels:
    """Read an open picture as `load_picture` does, from a file or from bytes. Several threads may call it at once.

    Parameters
    ----------
    stream : BinaryIO
        A whole picture file, seekable, at any position.
    preprocessing : Preprocessing
        Size of the result, and how it is made.
    reserve : callable, optional
        Receives the number of pixels that will be in memory, and returns a context manager that is held meanwhile.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If it is not a picture, damaged or too large. The message does not name the picture; callers prepend the name.
    EnvironmentProblem
        If there is too little memory for it.
    """
    try:
        with _load_image(stream, preprocessing, reserve) as (image, end, is_sure):
            # Pillow itself turns a TIFF upright.
            orientation = 1 if isinstance(image, TiffImageFile) else find_orientation(image.info)
            checksum = checksum_pixels(image) if end and not (is_sure and ends_well(image)) else None
            pixels = resize_picture(image, preprocessing, orientation=orientation)
        del image  # its pixels, before those of the next
        if checksum is not None:
            continued = cast("BinaryIO", ContinuedJpeg(stream, end))
            with _load_image(continued, preprocessing, reserve) as (image, _, _):
                if checksum_pixels(image) != checksum:
                    raise DataError(damaged_message("its data stop early"))
        return pixels
    except (OneNeuronError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"has far more than {MAX_PIXELS:,} pixels; make the picture smaller") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot be read ({error.strerror}); {REMEDY_REPLACE}") from error
        # Pillow's decoders raise almost any exception on a damaged file.
        raise DataError(damaged_message(one_line(error) or type(error).__name__)) from error


@contextmanager
def _load_image(
    stream: BinaryIO, preprocessing: Preprocessing, reserve: Callable[[int], AbstractContextManager[None]] | None
) -> Iterator[tuple[ImageFile.ImageFile, int, bool]]:
    """Yield a decoded picture; for a JPEG, where its data end, and whether its last pixel would show if they do not."""
    with _open_image(stream) as image:
        end = find_end(stream) if image.format == "JPEG" else 0
        # At full size, before `draft` makes the picture smaller.
        beside, area = count_beside(image), image.width * image.height
        if preprocessing.decode == "fast":
            num_px = preprocessing.num_px
            # The mode stays; both sizes are those before the picture is turned upright.
            image.draft(None, fit(image.size, num_px) if preprocessing.resize == "pad" else (num_px, num_px))
        pixels = image.width * image.height + beside
        with nullcontext() if reserve is None else reserve(pixels):
            if pixels > _NEGLIGIBLE_PIXELS:
                check_free(BYTES_PER_PIXEL * pixels * 9 // 8, "the picture", "make the picture smaller")
            image.load()
            yield image, end, beside == 0 and area > SMALL_PIXELS


def _check_kind(status: os.stat_result) -> None:
    """Refuse a file that is empty or not a regular file."""
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        raise DataError(f"is {kinds.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
    if status.st_size == 0:
        raise DataError("is empty (0 bytes)")


def _open_image(stream: BinaryIO) -> ImageFile.ImageFile:
    """Read the header of a picture, and refuse a file that would be too expensive to decode."""
    size = stream.seek(0, os.SEEK_END)
    if size > MAX_BYTES:
        raise DataError(f"has {size:,} bytes; at most {MAX_BYTES:,} are read: make the picture smaller")
    stream.seek(0)
    beginning = stream.read(HEAD_BYTES)
    kind = find_kind(beginning)
    reader = next((reader for pattern, reader in _BEGINNINGS if pattern.match(beginning)), None)
    if size and kind is not None and (reader is None or kind.what == RAW):
        raise DataError(f"is not a picture that can be read: it is {kind.what}; {kind.remedy}, or remove it")
    if reader is None:
        reason = "is not a picture that can be read" if size else "is empty (0 bytes)"
        raise DataError(f"{reason}; known are {', '.join(FORMATS)}: {REMEDY_REPLACE}")
    scan_cost = check_file(stream, size, str(reader.format))
    if reader is TiffImageFile:
        _silence_libtiff()
    stream.seek(0)
    image = reader(stream)
    if scan_cost:
        image.info["progressive"] = 1  # libjpeg treats every JPEG of several scans like a progressive one
    check_image(image, stream, size, scan_cost)
    if isinstance(image, TiffImageFile) and (_DNG_VERSION in image.tag_v2 or int(image.tag_v2.get(_SUBFILE, 0)) & 1):
        raise DataError(f"is not a picture that can be read: it is {RAW}; convert it to JPEG or PNG, or remove it")
    if isinstance(image, PngImageFile) and isinstance(image.info.get("transparency"), int):
        # Pillow scales the grey values to eight bits, but not the transparent one among them.
        image.info["transparency"] *= _GREY_STEPS.get(str(image.tile[0].args), 1)
    return image


@cache
def _silence_libtiff() -> None:
    """Stop the libtiff of Pillow from writing to stderr; the errors of this project replace its messages.

    The function is looked up in Pillow's extension module, which includes the libraries that it is linked to. So it
    does not matter where a wheel or the system stores them.
    """
    with suppress(AttributeError):  # a Pillow without libtiff, or one that hides its functions
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
