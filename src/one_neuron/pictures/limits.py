"""What a picture file would cost beyond its pixels, found before it is decoded: its parts, its bytes, its passes.

A file of a few bytes can claim work without end. The walks here see the parts that Pillow and libjpeg see, in the same
order, and read no more than the first bytes of each.
"""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.jpeg_limits import check_scans, check_segments, is_plain
from one_neuron.pictures.refusals import BLOCK, LOOK, check_counts, damaged_message, limit_error
from one_neuron.pictures.tags import check_tags

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_BEHIND = 64_000_000  # bytes that no pixel explains: metadata, and the video of a phone's moving picture
_BEHIND_SCANS = 32_000_000  # where there are several scans, each byte may be one of theirs, and is dear
_JPEG_BYTES = 5  # a pixel; noise in four colours takes 4.8 at the highest quality
_WEBP_BYTES = 4  # a pixel, as if nothing was compressed; Pillow holds the file twice
_MOST_WEBP_PIXELS = 32_000_000  # more are refused later; until then, what a header claims allows no more bytes

_MOST_COMPRESSED = 500  # chunks of compressed text or colours, each of which may become a megabyte

_MOST_RUN_PIXELS = 8_000_000  # Pillow decodes these in Python
_MOST_TILE_PIXELS = 16_000_000
_JPEG_IN_TIFF = (6, 7)
_MOST_BMP_HEADER = 124  # bytes, of the newest kind


def check_parts(stream: BinaryIO, size: int, kind: str) -> int:
    """Refuse a file whose parts would be dear before Pillow knows the picture's size; it is not opened yet.

    Parameters
    ----------
    stream : BinaryIO
        Begins as a file of its kind does. It is left anywhere.
    size : int
        Its length in bytes.
    kind : str
        Pillow's name of the format.

    Returns
    -------
    int
        What each scan of a JPEG costs; 0 where there is one alone, and for all other formats.

    Raises
    ------
    DataError
        If there are too many parts, or too large ones.
    """
    if kind == "JPEG":
        stream.seek(0)
        return 0 if is_plain(stream.read(LOOK)) else check_segments(stream, size)
    _CHECKS[kind](stream, size)
    return 0


def count_beside(image: "ImageFile") -> int:
    """Return how many pixels the decoder holds beside the picture: all of them, or none.

    Parameters
    ----------
    image : ImageFile
        Opened, not yet loaded or drafted; "progressive" in the `info` of a JPEG means any with several scans.

    Returns
    -------
    int
    """
    twice = image.format == "WEBP" or (image.format == "JPEG" and "progressive" in image.info)
    return image.width * image.height if twice else 0


def check_passes(image: "ImageFile", stream: BinaryIO, size: int, scan_cost: int) -> None:
    """Refuse a small file that would be decoded for minutes: scans of a JPEG, runs of a BMP, strips of a TIFF.

    Parameters
    ----------
    image : ImageFile
        Opened, not yet loaded or drafted. `stream` is left where it stands.
    stream : BinaryIO
        What it was opened from.
    size : int
        Its length in bytes.
    scan_cost : int
        As `check_parts` gave it.

    Raises
    ------
    DataError
        If the file would be dear.
    """
    area = image.width * image.height
    if image.format == "JPEG":
        _check_bytes(size, _JPEG_BYTES * area + (_BEHIND_SCANS if scan_cost else _BEHIND), image.size)
        if scan_cost:
            check_scans(image, stream, size, scan_cost)
    if image.format == "BMP" and image.tile[0].codec_name == "bmp_rle":
        if area > _MOST_RUN_PIXELS:
            raise DataError(f"is a BMP in runs of more than {_MOST_RUN_PIXELS:,} pixels; save it in another format")
        _check_bytes(size, 3 * area + BLOCK, image.size)  # a run takes two bytes, and may be empty
    if image.format == "TIFF":
        _check_strips(image, area)


def _check_bytes(size: int, most: int, pixels: tuple[int, int]) -> None:
    """Refuse a file that is far longer than its pixels explain."""
    if size > most:
        width, height = pixels
        raise DataError(
            f"has {size:,} bytes for {width} x {height} pixels; at most {most:,} are read: save the picture again, "
            "or remove it"
        )


def _check_chunks(stream: BinaryIO, size: int) -> None:
    """Look at the chunks of a PNG down to the end of its pixels; what follows is not read."""
    at, parts, held, compressed, begun = 8, 0, 0, 0, False
    stream.seek(at)
    while len(head := stream.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"IDAT", b"fdAT", b"DDAT"):
            begun = True
        elif begun:
            return
        else:
            held += length
            compressed += kind in (b"iCCP", b"zTXt", b"iTXt")
        parts += 1
        check_counts(parts, size, held)
        if compressed > _MOST_COMPRESSED:
            raise limit_error(_MOST_COMPRESSED, "compressed texts and profiles")
        at += 12 + length
        stream.seek(at)


def _check_blocks(stream: BinaryIO, size: int) -> None:
    """Look at the blocks of a GIF down to its first frame, as Pillow reads them."""
    stream.seek(10)
    flags = int.from_bytes(stream.read(1), "big")
    stream.seek(13 + (3 << (flags & 7) + 1 if flags & 128 else 0))
    held = 0
    for parts, length in enumerate(_walk_blocks(stream), start=1):
        held += length
        check_counts(parts, size, held)


def _walk_blocks(stream: BinaryIO) -> Iterator[int]:
    """Give the length of each block of bytes in a GIF's extensions; 0 for what belongs to none."""
    while (kind := stream.read(1)) not in (b"", b",", b";"):
        if kind != b"!":
            yield 0
            continue
        label = stream.read(1)
        length, block = _read_block(stream)
        yield length
        again = label != b"\xfe"  # Pillow reads on behind a first block that is empty, but not in a comment
        if label == b"\xff" and block.startswith(b"NETSCAPE2.0"):
            yield _read_block(stream)[0]
        while length or again:
            length, again = _read_block(stream)[0], False
            yield length


def _read_block(stream: BinaryIO) -> tuple[int, bytes]:
    """Read a block of a GIF; return its length and content."""
    content = stream.read((stream.read(1) or b"\0")[0])
    return len(content), content


def _check_canvas(stream: BinaryIO, size: int) -> None:
    """Refuse a WebP of too many chunks or bytes for the size in its header: Pillow reads all before it looks there."""
    stream.seek(0)
    head = stream.read(30)
    width, height = _read_canvas(head)
    _check_bytes(size, _WEBP_BYTES * min(width * height, _MOST_WEBP_PIXELS) + _BEHIND, (width, height))
    at, end = 12, min(size, 8 + int.from_bytes(head[4:8], "little"))  # libwebp does not look behind it either
    for parts in count(1):
        if at + 8 > end:
            return
        check_counts(parts, size, 0)
        stream.seek(at + 4)
        at += 8 + int.from_bytes(stream.read(4), "little")
        at += at & 1  # chunks begin at even places


def _read_canvas(head: bytes) -> tuple[int, int]:
    """Return width and height from the first bytes of a WebP; nothing where they are no header."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(head[at : at + length], "little")

    if head[12:16] == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF


def _check_header(stream: BinaryIO, _: int) -> None:
    """Refuse a BMP whose header claims to be long; Pillow reads it before it looks."""
    stream.seek(14)
    length = int.from_bytes(stream.read(4), "little")
    if length > _MOST_BMP_HEADER:
        raise DataError(damaged_message(f"its header claims {length:,} bytes, of {_MOST_BMP_HEADER} at most"))


def _check_strips(image: Any, area: int) -> None:
    """Refuse a TIFF whose strips or tiles cover more than the picture, again and again."""
    # Strips do not overlap, but each of up to six colours may have its own.
    covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (tile.extents for tile in image.tile) if box)
    tile = int(image.tag_v2.get(322, 1)) * int(image.tag_v2.get(323, 1))
    if covered > 8 * area or tile > _MOST_TILE_PIXELS:
        raise DataError(damaged_message("its strips or tiles are far larger than the picture"))
    if image.tag_v2.get(259) in _JPEG_IN_TIFF:  # up to 100 scans each, which may lie at the same place for all strips
        for found in (image.tag_v2.get(tag, 0) for tag in (279, 325)):
            _check_bytes(
                sum(found) if isinstance(found, tuple) else found, _JPEG_BYTES * area + _BEHIND_SCANS, image.size
            )


_CHECKS = {
    "BMP": _check_header,
    "GIF": _check_blocks,
    "PNG": _check_chunks,
    "TIFF": check_tags,
    "WEBP": _check_canvas,
}
