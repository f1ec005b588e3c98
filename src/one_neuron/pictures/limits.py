"""Limits on picture files, checked before a file is decoded: a file of a few bytes can claim hours of work.

================  ===============================================================================================
all formats       bytes (MAX_BYTES), pixels (MAX_PIXELS), pixels a side (MAX_SIDE); parts and bytes of metadata
                  (_MAX_PARTS and _MAX_METADATA in `refusals`)
GIF               blocks before the first frame; only this frame is read, so the number of frames has no limit
PNG               chunks before the end of the image data; compressed texts and colour profiles
WebP              chunks and bytes, for the size in the header
BMP               bytes of the header, pixels and bytes of run-length encoding
TIFF              tags (`tags.check_tags`), strips and tiles
JPEG              bytes for its pixels; segments and scans (`jpeg_limits`)
================  ===============================================================================================

The checks see the parts that Pillow and libjpeg see, in the same order, and read only the first bytes of each.
"""

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.jpeg_limits import HEAD_BYTES, check_scans, check_segments, is_plain
from one_neuron.pictures.refusals import check_counts, damaged_message, limit_error
from one_neuron.pictures.tags import check_tags

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

BYTES_PER_PIXEL = 4  # in Pillow's memory
MAX_PIXELS = 64_000_000  # take 256 MB
MAX_SIDE = 1_000_000  # resizing takes 32 bytes for each pixel of a side
MAX_BYTES = 9 * MAX_PIXELS  # up to eight bytes a pixel, and room for metadata
# Bytes of a file that no pixel accounts for: metadata, and the video of a phone's moving picture.
_EXTRA_BYTES = 64_000_000
_EXTRA_SCAN_BYTES = 32_000_000  # in a JPEG of several scans, where each byte may belong to a scan and take long
_JPEG_BYTES_PER_PIXEL = 5  # noise in four colours takes 4.8 at the highest quality
# The size of uncompressed RGBA; lower than elsewhere because Pillow keeps two copies of the file.
_WEBP_BYTES_PER_PIXEL = 4
_MAX_WEBP_PIXELS = 32_000_000  # the byte limit grows no further above this; such a picture is refused later
_MAX_COMPRESSED_CHUNKS = 500  # of a PNG; each may be unpacked to a megabyte
_MAX_BMP_HEADER = 124  # bytes of the newest kind
_MAX_RUN_PIXELS = 8_000_000  # of a run-length encoded BMP, which Pillow decodes in Python
_EXTRA_RUN_BYTES = 2**20
_MAX_TILE_PIXELS = 16_000_000
_JPEG_IN_TIFF = (6, 7)  # values of the tag Compression


def check_file(stream: BinaryIO, size: int, kind: str) -> int:
    """Refuse a file whose parts would be expensive to read, before Pillow opens it.

    Parameters
    ----------
    stream : BinaryIO
        Begins as a file of its kind does. Its position changes.
    size : int
        Length in bytes.
    kind : str
        Pillow's name of the format.

    Returns
    -------
    int
        The cost of each scan of a JPEG of several scans, for `check_image`; 0 for everything else.

    Raises
    ------
    DataError
        If there are too many parts, or if they are too large.
    """
    if kind == "JPEG":
        stream.seek(0)
        return 0 if is_plain(stream.read(HEAD_BYTES)) else check_segments(stream, size)
    _CHECKS[kind](stream, size)
    return 0


def count_beside(image: "ImageFile") -> int:
    """Return how many pixels the decoder holds in addition to the picture: as many again, or none.

    Parameters
    ----------
    image : ImageFile
        Opened, not yet loaded or drafted; "progressive" in the `info` of a JPEG marks any JPEG of several scans.
    """
    twice = image.format == "WEBP" or (image.format == "JPEG" and "progressive" in image.info)
    return image.width * image.height if twice else 0


def check_image(image: "ImageFile", stream: BinaryIO, size: int, scan_cost: int) -> None:
    """Refuse a picture of too many pixels, or a small file that would be decoded for minutes.

    Parameters
    ----------
    image : ImageFile
        Opened, not yet loaded or drafted.
    stream : BinaryIO
        The file that it was opened from. Its position stays.
    size : int
        Length of the file in bytes.
    scan_cost : int
        From `check_file`.

    Raises
    ------
    DataError
        If the picture would be expensive to decode.
    """
    area = image.width * image.height
    if area + count_beside(image) > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise DataError(
            f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read (half of them in WebP, "
            f"progressive JPEG and others in several scans), and {MAX_SIDE:,} a side: make the picture smaller"
        )
    if image.format == "JPEG":
        extra = _EXTRA_SCAN_BYTES if scan_cost else _EXTRA_BYTES
        _check_bytes(size, _JPEG_BYTES_PER_PIXEL * area + extra, image.size)
        if scan_cost:
            check_scans(image, stream, size, scan_cost)
    if image.format == "BMP" and image.tile[0].codec_name == "bmp_rle":
        if area > _MAX_RUN_PIXELS:
            raise DataError(
                f"is a run-length encoded BMP of more than {_MAX_RUN_PIXELS:,} pixels; save it in another format"
            )
        _check_bytes(size, 3 * area + _EXTRA_RUN_BYTES, image.size)  # a run takes two bytes, and may be empty
    if image.format == "TIFF":
        _check_strips(image, area)


def _check_bytes(size: int, most: int, pixels: tuple[int, int]) -> None:
    """Refuse a file that is much longer than its pixels account for."""
    if size > most:
        width, height = pixels
        raise DataError(
            f"has {size:,} bytes for {width} x {height} pixels; at most {most:,} are read: save the picture again, "
            "or remove it"
        )


def _check_png_chunks(stream: BinaryIO, size: int) -> None:
    """Refuse a PNG of too many chunks or too much metadata, or without a whole chunk after the image data.

    Chunks after the image data are not read; Pillow itself would not miss the last bytes of the data.
    """
    at, parts, metadata, compressed, begun = 8, 0, 0, 0, False
    stream.seek(at)
    while len(head := stream.read(8)) == 8:
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in (b"IDAT", b"fdAT", b"DDAT"):
            begun = True
        elif begun and at + 12 + length <= size:
            return
        else:
            metadata += length
            compressed += kind in (b"iCCP", b"zTXt", b"iTXt")
        parts += 1
        check_counts(parts, size, metadata)
        if compressed > _MAX_COMPRESSED_CHUNKS:
            raise limit_error(_MAX_COMPRESSED_CHUNKS, "compressed texts and profiles")
        at += 12 + length
        stream.seek(at)
    if begun:
        raise DataError(damaged_message("its data stop early"))


def _check_gif_blocks(stream: BinaryIO, size: int) -> None:
    """Refuse a GIF of too many blocks before its first frame; frames after the first are never read."""
    stream.seek(10)
    flags = int.from_bytes(stream.read(1), "big")
    stream.seek(13 + (3 << (flags & 7) + 1 if flags & 128 else 0))
    metadata = 0
    for parts, length in enumerate(_walk_gif_blocks(stream), start=1):
        metadata += length
        check_counts(parts, size, metadata)


def _walk_gif_blocks(stream: BinaryIO) -> Iterator[int]:
    """Yield the length of each block in a GIF's extensions, as Pillow reads them; 0 for a byte outside of them."""
    while (kind := stream.read(1)) not in (b"", b",", b";"):
        if kind != b"!":
            yield 0
            continue
        label = stream.read(1)
        length, block = _read_gif_block(stream)
        yield length
        again = label != b"\xfe"  # Pillow reads on after an empty first block, except in a comment
        if label == b"\xff" and block.startswith(b"NETSCAPE2.0"):
            yield _read_gif_block(stream)[0]
        while length or again:
            length, again = _read_gif_block(stream)[0], False
            yield length


def _read_gif_block(stream: BinaryIO) -> tuple[int, bytes]:
    """Read a block of a GIF; return its length and content."""
    content = stream.read((stream.read(1) or b"\0")[0])
    return len(content), content


def _check_webp_chunks(stream: BinaryIO, size: int) -> None:
    """Refuse a WebP of too many chunks, or of too many bytes for its pixels: Pillow reads the whole file first."""
    stream.seek(0)
    head = stream.read(30)
    width, height = _read_webp_size(head)
    _check_bytes(size, _WEBP_BYTES_PER_PIXEL * min(width * height, _MAX_WEBP_PIXELS) + _EXTRA_BYTES, (width, height))
    at, end = 12, min(size, 8 + int.from_bytes(head[4:8], "little"))  # libwebp reads no further either
    for parts in count(1):
        if at + 8 > end:
            return
        check_counts(parts, size, 0)
        stream.seek(at + 4)
        at += 8 + int.from_bytes(stream.read(4), "little")
        at += at & 1  # chunks begin at even positions


def _read_webp_size(head: bytes) -> tuple[int, int]:
    """Return width and height from the first bytes of a WebP; without a valid header, any small numbers."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(head[at : at + length], "little")

    if head[12:16] == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if head[12:16] == b"VP8L":
        return (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF


def _check_bmp_header(stream: BinaryIO, _: int) -> None:
    """Refuse a BMP whose header claims to be long: Pillow reads it before checking its length."""
    stream.seek(14)
    length = int.from_bytes(stream.read(4), "little")
    if length > _MAX_BMP_HEADER:
        raise DataError(damaged_message(f"its header claims {length:,} bytes; at most {_MAX_BMP_HEADER} are read"))


def _check_strips(image: Any, area: int) -> None:
    """Refuse a TIFF whose strips or tiles cover the picture many times over."""
    # Strips do not overlap, but each of up to six colours may have strips of its own.
    covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (tile.extents for tile in image.tile) if box)
    tile = int(image.tag_v2.get(322, 1)) * int(image.tag_v2.get(323, 1))
    if covered > 8 * area or tile > _MAX_TILE_PIXELS:
        raise DataError(damaged_message("its strips or tiles are far larger than the picture"))
    if image.tag_v2.get(259) in _JPEG_IN_TIFF:  # up to 100 scans each; all strips may name the same bytes
        for lengths in (image.tag_v2.get(tag, 0) for tag in (279, 325)):
            total = sum(lengths) if isinstance(lengths, tuple) else lengths
            _check_bytes(total, _JPEG_BYTES_PER_PIXEL * area + _EXTRA_SCAN_BYTES, image.size)


_CHECKS = {
    "BMP": _check_bmp_header,
    "GIF": _check_gif_blocks,
    "PNG": _check_png_chunks,
    "TIFF": check_tags,
    "WEBP": _check_webp_chunks,
}
