"""From a decoded picture to num_px x num_px RGB pixels: upright, eight bits, over white, resized.

Inside: the resize filter (RESAMPLING), the background of transparent pictures (BACKGROUND), how more than eight bits
become eight (_Depth), and strips that bound the memory for large pictures (_shrink).
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from one_neuron.errors import DataError
from one_neuron.pictures.geometry import Box, cut_strips, find_square, find_stored_box, fit, turn_size
from one_neuron.pictures.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]

RESAMPLING = Image.Resampling.BICUBIC  # the resize filter; every pixel of the original counts
BACKGROUND = (255, 255, 255)  # under transparent pixels, and around the picture with resize: pad
_STRIP_PIXELS = 2**21  # the largest part of a picture that is converted at a time
_DEEP_MODES = ("F", "I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of more than eight bits
_TURN_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def resize_picture(image: Image.Image, preprocessing: Preprocessing, *, orientation: int = 1) -> Pixels:
    """Turn a picture upright, convert it to RGB and resize it.

    Parameters
    ----------
    image : Image
        Loaded, of any mode and size.
    preprocessing : Preprocessing
        "crop" drops an odd pixel at the right or bottom. "pad" adds an odd pixel of BACKGROUND at the right or bottom;
        at least one row and one column of the picture stay.
    orientation : int
        How the picture lies in its file, 1 (upright) to 8 (EXIF 2.32, 4.6.5).

    Returns
    -------
    ndarray of shape (num_px, num_px, 3), uint8
    """
    num_px, resize = preprocessing.num_px, preprocessing.resize
    size = turn_size(image.size, orientation)
    box = find_square(size) if resize == "crop" else (0, 0, *size)
    target = fit(size, num_px) if resize == "pad" else (num_px, num_px)
    small = _shrink(image, orientation, box, target)
    if resize == "pad":
        square = Image.new("RGB", (num_px, num_px), BACKGROUND)
        square.paste(small, ((num_px - target[0]) // 2, (num_px - target[1]) // 2))
        small = square
    return np.asarray(small, dtype=np.uint8)


def resize_pixels(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Resize pixels of shape (height, width, 3), uint8, as `resize_picture` does."""
    return resize_picture(Image.fromarray(pixels), preprocessing)


def flatten_pictures(pictures: Pixels) -> Pixels:
    """Unroll pictures of shape (m, num_px, num_px, 3) into rows of shape (m, num_px * num_px * 3), without a copy."""
    return pictures.reshape(len(pictures), -1)


def encode_picture(pixels: Pixels) -> bytes:
    """Return pixels of shape (height, width, 3), uint8, as the bytes of a PNG file, without loss."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _shrink(image: Image.Image, orientation: int, box: Box, target: tuple[int, int]) -> Image.Image:
    """Resize a box of the upright picture to the size `target`; large pictures are processed in strips to bound memory.

    Resizing shrinks one side after the other. For a large picture the longer side comes first, so that the
    intermediate picture is small; otherwise Pillow chooses.
    """
    depth = _Depth(image) if image.mode in _DEEP_MODES else None

    def cut(strip: Box) -> Image.Image:
        stored = find_stored_box(strip, image.size, orientation)
        part = _to_rgb(image if stored == (0, 0, *image.size) else image.crop(stored), depth)
        return part.transpose(_TURN_UPRIGHT[orientation]) if orientation in _TURN_UPRIGHT else part

    width, height = box[2] - box[0], box[3] - box[1]
    if width * height <= _STRIP_PIXELS:
        return cut(box).resize(target, RESAMPLING)
    tall = height > width
    half_done = Image.new("RGB", (width, target[1]) if tall else (target[0], height))
    for strip in cut_strips(box, _STRIP_PIXELS, across=tall):
        part = cut(strip)
        size = (part.width, target[1]) if tall else (target[0], part.height)
        place = (strip[0] - box[0], 0) if tall else (0, strip[1] - box[1])
        half_done.paste(part.resize(size, RESAMPLING), place)
    return half_done.resize(target, RESAMPLING)


class _Depth:
    """Scales grey values of more than eight bits to eight; Pillow's own conversion turns them white.

    Parameters
    ----------
    image : Image
        Loaded, of one of _DEEP_MODES. 16-bit values are scaled by 65535 (12-bit values in a TIFF by 4095). Floats and
        wider integers are scaled by the smallest of 1 (floats only), 255 and 65535 that no value exceeds.

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
        if not (least >= 0 and most <= 65535):  # false for nan
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
    return image if image.mode == "RGB" else image.convert("RGB")  # convert would copy an RGB picture
