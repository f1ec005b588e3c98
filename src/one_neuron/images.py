"""A picture in any format becomes num_px x num_px RGB pixels, by one path for training and prediction (Pillow)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PcxImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from one_neuron.errors import DataError, one_line

Pixels = NDArray[np.uint8]

# The formats that are read: what Pillow decodes by itself (EPS, for one, would start Ghostscript). They are imported
# by name because Pillow's own registration on first use is not safe with several threads.
_PLUGINS = (
    AvifImagePlugin.AvifImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    IcoImagePlugin.IcoImageFile,
    JpegImagePlugin.JpegImageFile,
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    PcxImagePlugin.PcxImageFile,
    PngImagePlugin.PngImageFile,
    PpmImagePlugin.PpmImageFile,
    TgaImagePlugin.TgaImageFile,
    TiffImagePlugin.TiffImageFile,
    WebPImagePlugin.WebPImageFile,
)
FORMATS = tuple(plugin.format for plugin in _PLUGINS)
SUFFIXES = frozenset(
    ".avif .bmp .gif .ico .jpg .jpeg .jpe .jfif .jp2 .mpo .pcx .png .pgm .ppm .pbm .tga .tif .tiff .webp".split()
)
MAX_PIXELS = 64_000_000  # checked in the header, before anything is decoded: 192 MB as RGB
BACKGROUND = (255, 255, 255)  # shows through where a picture is transparent
_DEEP_MODES = ("F", "I", "I;16", "I;16L", "I;16B", "I;16N")


def load_picture(path: Path, num_px: int) -> Pixels:
    """Read a picture file, upright, as RGB pixels of the size that the neuron sees.

    Parameters
    ----------
    path : Path
        A picture of any size and mode in one of FORMATS; of an animation the first frame counts.
    num_px : int
        Height and width of the result, at least 1.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8

    Raises
    ------
    DataError
        If the file is missing, no picture, damaged or larger than MAX_PIXELS; the message names it.
    """
    try:
        if not path.is_file():
            reason = "is not a file" if path.exists() else "does not exist"
            raise DataError(f"{reason}; name a picture")
        with Image.open(path, formats=FORMATS) as image:
            _check_size(image)
            return resize_picture(_to_rgb(ImageOps.exif_transpose(image)), num_px)
    except DataError as error:
        raise DataError(f"'{path}' {error}") from error
    except PermissionError as error:
        raise DataError(f"'{path}' may not be read (permission denied)") from error
    except UnidentifiedImageError as error:
        raise DataError(f"'{path}' is not a picture that can be read; known are {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"'{path}' has more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"'{path}' cannot be read ({error.strerror})") from error
        # Pillow's decoders raise nearly anything on a damaged file.
        raise DataError(f"'{path}' is damaged ({one_line(error)}); replace or remove it") from error


def resize_picture(image: Image.Image, num_px: int) -> Pixels:
    """Stretch an RGB picture to num_px x num_px, as the course did; bicubic, every pixel of the original counts.

    Parameters
    ----------
    image : Image
        Mode RGB.
    num_px : int
        Height and width of the result, at least 1.

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8
    """
    if image.size != (num_px, num_px):
        image = image.resize((num_px, num_px), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def resize_pixels(pixels: Pixels, num_px: int) -> Pixels:
    """Resize pixels of shape (height, width, 3), uint8, as `resize_picture`."""
    return resize_picture(Image.fromarray(pixels), num_px)


def flatten_pictures(pictures: Pixels) -> Pixels:
    """Unroll pictures of shape (m, num_px, num_px, 3) into rows of shape (m, num_px * num_px * 3), without a copy."""
    return pictures.reshape(len(pictures), -1)


def _check_size(image: Image.Image) -> None:
    """Refuse a picture whose header claims too many pixels."""
    if image.width * image.height > MAX_PIXELS:
        raise DataError(
            f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read: make the picture smaller"
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB with 8 bits a channel; Pillow's own conversion turns 16-bit pictures white."""
    if image.mode in _DEEP_MODES:
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        below = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(below, image)
    return image.convert("RGB")


def _to_eight_bits(values: NDArray[np.generic]) -> Pixels:
    """Scale deep grey values to [0, 255]: 16-bit integers by 65535, floats in [0, 1] by 1; values up to 255 stay.

    Raises
    ------
    DataError
        If the values fit none of these ranges.
    """
    wide = values.astype(np.float64)
    least, most = float(wide.min()), float(wide.max())
    if not (np.isfinite(wide).all() and least >= 0 and most <= 65535):
        raise DataError(f"has grey values from {least:g} to {most:g}; expected 0 to 1, 0 to 255 or 0 to 65535")
    if values.dtype.newbyteorder("=") == np.uint16 or most > 255:
        scale = 255 / 65535
    elif values.dtype.kind == "f" and most <= 1:
        scale = 255.0
    else:
        scale = 1.0
    return np.rint(wide * scale).astype(np.uint8)
