"""What a picture file would cost beyond its pixels, found before it is decoded: its parts, its bytes, its passes.

A file of a few bytes can claim work without end. The walks here see the parts that Pillow and libjpeg see, in the same
order, and read no more than the first bytes of each.
"""

import re
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.tags import check_tags, damaged

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_MOST_PARTS = 20_000  # and one for each kilobyte of the file: libpng makes one of 8 KB, some encoders one of each row
_MOST_METADATA = 64_000_000  # bytes; extended XMP can hold a second picture, or a sound
_BEHIND = 64_000_000  # bytes that no pixel explains: metadata, and the video of a phone's moving picture
_BEHIND_SCANS = 32_000_000  # where there are several scans, each byte may be one of theirs, and is dear
_JPEG_BYTES = 5  # a pixel; noise in four colours takes 4.8 at the highest quality
_WEBP_BYTES = 4  # a pixel, as if nothing was compressed; Pillow holds the file twice
_MOST_WEBP_PIXELS = 32_000_000  # more are refused later; until then, what a header claims allows no more bytes

_LOOK, _BLOCK = 2_048, 2**20  # bytes that are read ahead, at first and at most
_BODY = 16  # bytes of a segment, with the two of its length: enough for "Photoshop 3.0"
_MARKER = re.compile(rb"\xff([^\0\1\xd0-\xd7\xff])")  # the others fill up, or belong to the data of a scan
_SCAN, _END = 0xDA, 0xD9
_BASELINE, _HUFFMAN, _QUANTIZATION = 0xC0, 0xC4, 0xDB
_BARE = frozenset({0xC8, 0xD8, _END, *range(0xF0, 0xFE)})  # no length follows, as Pillow sees it
_PLAIN = frozenset({_HUFFMAN, _QUANTIZATION, 0xDD, *range(0xE0, 0xF0), 0xFE})  # tables and metadata
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_FRAMES = _PROGRESSIVE | _ARITHMETIC | {_BASELINE, 0xC1, 0xC3, 0xC5, 0xC7, 0xDE}
_MOST_TAKEN_APART = 64  # segments of 64 KB that Pillow takes up to 10 ms and 2 MB for; beside a table or two, EXIF data
_MOST_JUNK = 65_536  # bytes between segments, which Pillow reads one by one
_MOST_COMPRESSED = 500  # chunks of compressed text or colours, each of which may become a megabyte

_SCAN_PIXELS = 640_000_000  # 20 scans of the largest picture; libjpeg makes 10 in three colours, 18 in four
_LEAST_PIXELS = 640_000  # a scan costs so much at least: never more than 1,000
_ARITHMETIC_SCANS = 4  # Huffman's that one of them costs
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
        return 0 if _is_plain(stream.read(_LOOK)) else _check_segments(stream, size)
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
            _check_scans(image, stream, size, scan_cost)
    if image.format == "BMP" and image.tile[0].codec_name == "bmp_rle":
        if area > _MOST_RUN_PIXELS:
            raise DataError(f"is a BMP in runs of more than {_MOST_RUN_PIXELS:,} pixels; save it in another format")
        _check_bytes(size, 3 * area + _BLOCK, image.size)  # a run takes two bytes, and may be empty
    if image.format == "TIFF":
        _check_strips(image, area)


def _too_many(most: int, what: str) -> DataError:
    """Say that a file has more of something than is read; how many there are is not waited for."""
    return DataError(f"has more than {most:,} {what}; save the picture again without them, or remove it")


def _check_bytes(size: int, most: int, pixels: tuple[int, int]) -> None:
    """Refuse a file that is far longer than its pixels explain."""
    if size > most:
        width, height = pixels
        raise DataError(
            f"has {size:,} bytes for {width} x {height} pixels; at most {most:,} are read: save the picture again, "
            "or remove it"
        )


def _check_counts(parts: int, size: int, metadata: int) -> None:
    """Refuse a file of too many parts, or one that says too much of itself."""
    if parts > _MOST_PARTS + size // 1_000:
        raise _too_many(_MOST_PARTS + size // 1_000, f"parts in its {size:,} bytes")
    if metadata > _MOST_METADATA:
        raise _too_many(_MOST_METADATA, "bytes of metadata")


def _is_plain(head: bytes) -> bool:
    """Tell most JPEGs by their first bytes, in a fifth of the time: few segments, one scan."""
    at, colours = 2, 0
    while at + _BODY <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], head[at + 2] << 8 | head[at + 3]
        if marker == _SCAN:
            return head[at + 4] >= colours > 0
        if marker == _BASELINE:
            colours = head[at + 9]
        elif marker not in _PLAIN or length < 2:
            return False
        at += 2 + length
    return False


def _check_segments(stream: BinaryIO, size: int) -> int:
    """Look at the segments of a JPEG down to its first scan; return what each scan costs, 0 for a single one."""
    held = junk = taken_apart = kind = colours = 0
    for parts, (marker, body, skipped) in enumerate(_walk_segments(stream, 2, _MOST_JUNK), start=1):
        junk += skipped
        if junk > _MOST_JUNK:
            break
        if marker == _SCAN:
            # libjpeg keeps all coefficients where the first scan lacks a colour, too.
            several = kind in _PROGRESSIVE or body[2:3] < bytes([colours])
            return (_ARITHMETIC_SCANS if kind in _ARITHMETIC else 1) if several else 0
        if marker in _FRAMES:
            kind, colours = marker, int.from_bytes(body[7:8], "big")
        table = marker == _QUANTIZATION or marker in _FRAMES
        taken_apart += table or body[2:].startswith((b"Exif\0\0", b"Photoshop 3.0\0"))
        held += 0 if marker in _BARE else int.from_bytes(body[:2], "big")
        _check_counts(parts, size, held)
        if taken_apart > _MOST_TAKEN_APART:
            raise _too_many(_MOST_TAKEN_APART, "tables and pieces of EXIF data")
    raise DataError(damaged("no pixels are found behind its header"))


def _walk_segments(stream: BinaryIO, at: int, most_skipped: int) -> Iterator[tuple[int, bytes, int]]:
    """Give the marker of each segment of a JPEG, the first bytes behind it, and how many before it belong to none."""
    ahead, skipped, start, block = _LOOK, 0, at, b""
    while skipped <= most_skipped:
        if at + _BODY > start + len(block):
            stream.seek(at)
            start, block = at, stream.read(ahead)
        found = _MARKER.search(block, at - start)
        whole = len(block) < ahead  # nothing follows in the file
        if found and (whole or found.end() + _BODY <= len(block)):
            marker, body = found[1][0], block[found.end() : found.end() + _BODY]
            yield marker, body, skipped + found.start() - (at - start)
            length = 0 if marker in _BARE else max(2, int.from_bytes(body[:2], "big"))
            at, ahead, skipped = start + found.end() + length, _LOOK, 0
            continue
        if whole:
            return
        beyond = start + (found.start() if found else len(block) - 1)  # the last byte may be the first of a marker
        at, skipped, block = beyond, skipped + beyond - at, b""
        ahead = min(2 * ahead, _BLOCK)


def _check_scans(image: "ImageFile", stream: BinaryIO, size: int, scan_cost: int) -> None:
    """Refuse a JPEG of too many scans for its pixels; each is a pass over all of them."""
    most = _SCAN_PIXELS // (scan_cost * max(_LEAST_PIXELS, image.width * image.height))
    place = stream.tell()  # behind the beginning of the first scan
    # What looks like a scan may be part of a thumbnail or a video behind the picture: only then is it worth a walk.
    if 1 + _count_upwards(stream, b"\xff\xda") > most:
        scans = 1
        for parts, (marker, _, _) in enumerate(_walk_segments(stream, place, size), start=1):
            _check_counts(parts, size, 0)
            if marker == _END:
                break
            scans += marker == _SCAN
            if scans > most:
                pixels = f"{image.width} x {image.height} pixels"
                raise DataError(damaged(f"it has more than {most:,} scans of {pixels}"))
    stream.seek(place)


def _count_upwards(stream: BinaryIO, found: bytes) -> int:
    """Return how often two bytes stand between here and the end of a file."""
    times, last = 0, b""
    while block := stream.read(_BLOCK):
        times += block.count(found) + (last + block[:1] == found)
        last = block[-1:]
    return times


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
        _check_counts(parts, size, held)
        if compressed > _MOST_COMPRESSED:
            raise _too_many(_MOST_COMPRESSED, "compressed texts and profiles")
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
        _check_counts(parts, size, held)


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
        _check_counts(parts, size, 0)
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
        raise DataError(damaged(f"its header claims {length:,} bytes, of {_MOST_BMP_HEADER} at most"))


def _check_strips(image: Any, area: int) -> None:
    """Refuse a TIFF whose strips or tiles cover more than the picture, again and again."""
    # Strips do not overlap, but each of up to six colours may have its own.
    covered = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (tile.extents for tile in image.tile) if box)
    tile = int(image.tag_v2.get(322, 1)) * int(image.tag_v2.get(323, 1))
    if covered > 8 * area or tile > _MOST_TILE_PIXELS:
        raise DataError(damaged("its strips or tiles are far larger than the picture"))
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
