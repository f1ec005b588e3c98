"""Whether the data of a JPEG reach its last pixel: libjpeg fills what is missing with grey, and Pillow does not say so.

A decoder needs all bits of a scan to know that it is complete. So a picture whose end looks as if data were missing is
decoded again with other bytes between its data and the marker of its end: if the data are complete, they are skipped,
and otherwise they are taken for pixels.
"""

import io
import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.refusals import damaged_message

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BLOCK_BYTES = 2**20
_END = b"\xff\xd9"  # cannot occur in the data of a scan, where 0 follows each 255
# Begins with ones: libjpeg takes missing bits for zeros. The markers (FFD0 to FFD7) are where it goes on after damage.
_OTHER = b"".join(bytes((211 + 37 * k) % 255 for k in range(60)) + bytes([255, 0xD0 + n]) for n in range(8)) * 16
_GREY = frozenset({127, 128})  # what libjpeg leaves where data are missing; Pillow inverts CMYK
SMALL_PIXELS = 2**14  # up to this size, the last block of pixels is a part of the picture that counts
_STRIP_ROWS = 256


def find_end(stream: BinaryIO) -> int:
    """Return where the marker of the end is, from the position of the file on, which stays.

    Raises
    ------
    DataError
        If there is none.
    """
    place = at = stream.tell()
    last = b""
    while block := stream.read(_BLOCK_BYTES):
        found = (last + block).find(_END)
        if found >= 0:
            stream.seek(place)
            return at - len(last) + found
        at += len(block)
        last = block[-1:]
    raise DataError(damaged_message("its data stop early"))


def ends_well(image: "ImageFile") -> bool:
    """Return whether the last pixel of a decoded JPEG shows that its data are complete, because it is not grey.

    Two kinds of pictures need the other test: in a small one the last block of pixels matters, which may be cut without
    being grey; and missing data of a later one of several scans leave no grey.
    """
    corner = image.getpixel((image.width - 1, image.height - 1))
    return not _GREY.issuperset(corner if isinstance(corner, tuple) else (corner,))


def checksum_pixels(image: "ImageFile") -> int:
    """Return a checksum of a decoded picture, in strips: a copy of it would take as much memory again."""
    checksum = 0
    for top in range(0, image.height, _STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height)))
        checksum = zlib.crc32(strip.tobytes(), checksum)
    return checksum


class ContinuedJpeg(io.RawIOBase):
    """A JPEG with other bytes after its data.

    Parameters
    ----------
    stream : BinaryIO
        The file.
    end : int
        From `find_end`.
    """

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end, self._at = stream, end, 0
        stream.seek(end - 1)
        stuffing = b"\0" if stream.read(1) == b"\xff" else b""
        self._tail = stuffing + _OTHER + _END

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end + len(self._tail)}[whence]
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        stop = self._end + len(self._tail)
        stop = stop if size < 0 else min(stop, self._at + size)
        content = b""
        if self._at < self._end:
            self._stream.seek(self._at)
            content = self._stream.read(min(stop, self._end) - self._at)
        content += self._tail[max(0, self._at - self._end) : max(0, stop - self._end)]
        self._at += len(content)
        return content
