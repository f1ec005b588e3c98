"""Limits on the segments and scans of a JPEG, checked before it is decoded.

A JPEG is a list of segments (a marker, a length, the content) followed by scans, each of which is one pass over all
pixels. Markers: ITU-T T.81, table B.1.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.refusals import check_counts, damaged_message, limit_error

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

HEAD_BYTES = 2_048  # read at first, and after each segment
_BLOCK_BYTES = 2**20  # read at a time where no marker is found
_BODY_BYTES = 16  # of a segment, its length included: enough for "Photoshop 3.0"
# Segments that Pillow parses, which takes up to 10 ms and 2 MB for each; a picture needs a table or two and EXIF data.
_MAX_PARSED = 64
_MAX_JUNK = 65_536  # bytes between segments, which Pillow reads one by one
_MAX_SCAN_PIXELS = 640_000_000  # 20 scans of the largest picture; libjpeg writes 10 in three colours, 18 in four
_MIN_SCAN_PIXELS = 640_000  # the least that a scan counts: never more than 1,000 scans
_ARITHMETIC_COST = 4  # a scan in arithmetic coding takes as long as four in Huffman coding

_MARKER = re.compile(rb"\xff([^\0\1\xd0-\xd7\xff])")  # the others are padding, or belong to the data of a scan
_SCAN, _END = 0xDA, 0xD9
_BASELINE, _HUFFMAN, _QUANTIZATION = 0xC0, 0xC4, 0xDB
_WITHOUT_LENGTH = frozenset({0xC8, 0xD8, _END, *range(0xF0, 0xFE)})  # as Pillow reads them
_PLAIN = frozenset({_HUFFMAN, _QUANTIZATION, 0xDD, *range(0xE0, 0xF0), 0xFE})  # tables and metadata
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_ARITHMETIC = frozenset({0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_FRAMES = _PROGRESSIVE | _ARITHMETIC | {_BASELINE, 0xC1, 0xC3, 0xC5, 0xC7, 0xDE}


def is_plain(head: bytes) -> bool:
    """Return whether the first HEAD_BYTES of a JPEG show few segments and one scan: true for most, and fast to see."""
    at, colours = 2, 0
    while at + _BODY_BYTES <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], head[at + 2] << 8 | head[at + 3]
        if marker == _SCAN:
            return head[at + 4] >= colours > 0
        if marker == _BASELINE:
            colours = head[at + 9]
        elif marker not in _PLAIN or length < 2:
            return False
        at += 2 + length
    return False


def check_segments(stream: BinaryIO, size: int) -> int:
    """Check the segments of a JPEG of `size` bytes up to its first scan.

    Returns
    -------
    int
        The cost of each scan, where a scan in Huffman coding costs 1; 0 if there is only one scan.
    """
    metadata = junk = parsed = kind = colours = 0
    for parts, (marker, body, skipped) in enumerate(_walk_segments(stream, 2, _MAX_JUNK), start=1):
        junk += skipped
        if junk > _MAX_JUNK:
            break
        if marker == _SCAN:
            # libjpeg also keeps all coefficients in memory if the first scan lacks a colour.
            several = kind in _PROGRESSIVE or body[2:3] < bytes([colours])
            return (_ARITHMETIC_COST if kind in _ARITHMETIC else 1) if several else 0
        if marker in _FRAMES:
            kind, colours = marker, int.from_bytes(body[7:8], "big")
        table = marker == _QUANTIZATION or marker in _FRAMES
        parsed += table or body[2:].startswith((b"Exif\0\0", b"Photoshop 3.0\0"))
        metadata += 0 if marker in _WITHOUT_LENGTH else int.from_bytes(body[:2], "big")
        check_counts(parts, size, metadata)
        if parsed > _MAX_PARSED:
            raise limit_error(_MAX_PARSED, "tables and pieces of EXIF data")
    raise DataError(damaged_message("no pixels are found behind its header"))


def check_scans(image: "ImageFile", stream: BinaryIO, size: int, scan_cost: int) -> None:
    """Refuse a JPEG of too many scans for its pixels, as `limits.check_image`; `scan_cost` is from `check_segments`."""
    most = _MAX_SCAN_PIXELS // (scan_cost * max(_MIN_SCAN_PIXELS, image.width * image.height))
    place = stream.tell()  # after the header of the first scan
    # The two bytes may also occur in a thumbnail, or in a video after the picture; counting them is a fast first test.
    if 1 + _count_from_here(stream, b"\xff\xda") > most:
        scans = 1
        for parts, (marker, _, _) in enumerate(_walk_segments(stream, place, size), start=1):
            check_counts(parts, size, 0)
            if marker == _END:
                break
            scans += marker == _SCAN
            if scans > most:
                pixels = f"{image.width} x {image.height} pixels"
                raise DataError(damaged_message(f"it has more than {most:,} scans of {pixels}"))
    stream.seek(place)


def _walk_segments(stream: BinaryIO, at: int, max_skipped: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield the marker of each segment, its first _BODY_BYTES, and the number of bytes skipped before it."""
    ahead, skipped, start, block = HEAD_BYTES, 0, at, b""
    while skipped <= max_skipped:
        if at + _BODY_BYTES > start + len(block):
            stream.seek(at)
            start, block = at, stream.read(ahead)
        found = _MARKER.search(block, at - start)
        at_end = len(block) < ahead  # of the file
        if found and (at_end or found.end() + _BODY_BYTES <= len(block)):
            marker, body = found[1][0], block[found.end() : found.end() + _BODY_BYTES]
            yield marker, body, skipped + found.start() - (at - start)
            length = 0 if marker in _WITHOUT_LENGTH else max(2, int.from_bytes(body[:2], "big"))
            at, ahead, skipped = start + found.end() + length, HEAD_BYTES, 0
            continue
        if at_end:
            return
        beyond = start + (found.start() if found else len(block) - 1)  # the last byte may begin a marker
        at, skipped, block = beyond, skipped + beyond - at, b""
        ahead = min(2 * ahead, _BLOCK_BYTES)


def _count_from_here(stream: BinaryIO, pair: bytes) -> int:
    """Return how often two bytes occur between the position of a file and its end."""
    times, last = 0, b""
    while block := stream.read(_BLOCK_BYTES):
        times += block.count(pair) + (last + block[:1] == pair)
        last = block[-1:]
    return times
