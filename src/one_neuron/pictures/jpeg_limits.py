"""Limits on the segments and scans of a JPEG file, checked before it is decoded."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from one_neuron.errors import DataError
from one_neuron.pictures.refusals import BLOCK, LOOK, check_counts, damaged_message, limit_error

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


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


_SCAN_PIXELS = 640_000_000  # 20 scans of the largest picture; libjpeg makes 10 in three colours, 18 in four


_LEAST_PIXELS = 640_000  # a scan costs so much at least: never more than 1,000


_ARITHMETIC_SCANS = 4  # Huffman's that one of them costs


def is_plain(head: bytes) -> bool:
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


def check_segments(stream: BinaryIO, size: int) -> int:
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
        check_counts(parts, size, held)
        if taken_apart > _MOST_TAKEN_APART:
            raise limit_error(_MOST_TAKEN_APART, "tables and pieces of EXIF data")
    raise DataError(damaged_message("no pixels are found behind its header"))


def _walk_segments(stream: BinaryIO, at: int, most_skipped: int) -> Iterator[tuple[int, bytes, int]]:
    """Give the marker of each segment of a JPEG, the first bytes behind it, and how many before it belong to none."""
    ahead, skipped, start, block = LOOK, 0, at, b""
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
            at, ahead, skipped = start + found.end() + length, LOOK, 0
            continue
        if whole:
            return
        beyond = start + (found.start() if found else len(block) - 1)  # the last byte may be the first of a marker
        at, skipped, block = beyond, skipped + beyond - at, b""
        ahead = min(2 * ahead, BLOCK)


def check_scans(image: "ImageFile", stream: BinaryIO, size: int, scan_cost: int) -> None:
    """Refuse a JPEG of too many scans for its pixels; each is a pass over all of them."""
    most = _SCAN_PIXELS // (scan_cost * max(_LEAST_PIXELS, image.width * image.height))
    place = stream.tell()  # behind the beginning of the first scan
    # What looks like a scan may be part of a thumbnail or a video behind the picture: only then is it worth a walk.
    if 1 + _count_upwards(stream, b"\xff\xda") > most:
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


def _count_upwards(stream: BinaryIO, found: bytes) -> int:
    """Return how often two bytes stand between here and the end of a file."""
    times, last = 0, b""
    while block := stream.read(BLOCK):
        times += block.count(found) + (last + block[:1] == found)
        last = block[-1:]
    return times
