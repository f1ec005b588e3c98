"""The tags of TIFF files and EXIF data, which share a format: lists of type, count and value. Nothing is trusted."""

import io
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from one_neuron.errors import DataError, one_line
from one_neuron.pictures.refusals import damaged_message

_ORIENTATION = 0x0112
_DIRECTORIES = (0x8769, 0x8825, 0xA005)  # tags that point to EXIF, GPS and interoperability data
_NUMBER_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # TIFF 6.0; others: 1
_MAX_NUMBERS = 300_000  # in one tag: strips of one row each for 75,000 rows of four colours
_MAX_ENTRIES = 65_535  # the most in a TIFF; a BigTIFF can claim more, and Pillow reads them all
_NOT_A_LIST = (struct.error, KeyError, ValueError, OverflowError)  # raised by `_read_directory` on anything else


def check_tags(stream: BinaryIO, size: int) -> None:
    """Refuse a TIFF whose tags claim more bytes than the file has.

    Many tags may point to the same bytes, and Pillow would copy them for each tag.

    Parameters
    ----------
    stream : BinaryIO
        A TIFF or BigTIFF file.
    size : int
        Length in bytes.

    Raises
    ------
    DataError
        If the list of tags is missing, or claims too much.
    """
    try:
        entries = list(_read_directory(stream))
        for tag, _, _, at in entries.copy():
            if tag in _DIRECTORIES:
                entries += _read_directory(stream, at)
                _check_entries(len(entries))  # all of them may point to the same list
    except _NOT_A_LIST as error:
        raise DataError(damaged_message(f"its list of tags cannot be read: {one_line(error)}")) from error
    claimed = sum(_NUMBER_BYTES.get(kind, 1) * count for _, kind, count, _ in entries)
    numbers = max((count for _, kind, count, _ in entries if kind in _NUMBER_BYTES), default=0)
    if claimed > size or numbers > _MAX_NUMBERS:
        claim = f"its tags claim {claimed:,} bytes, with up to {numbers:,} numbers in one"
        raise DataError(damaged_message(f"{claim}, and the file has {size:,} bytes"))


def find_orientation(information: Mapping[Any, Any]) -> int:
    """Return how a picture lies in its file, from EXIF data or else from XMP.

    Parameters
    ----------
    information : mapping
        Pillow's `info` of a JPEG, PNG, WebP, GIF or BMP.

    Returns
    -------
    int
        1 (upright) to 8 (EXIF 2.32, 4.6.5); 1 where the orientation is missing or invalid.
    """
    try:
        exif = information.get("exif", b"")
        if raw := information.get("Raw profile type exif"):  # how ImageMagick writes it in PNG
            exif = bytes.fromhex("".join(str(raw).split("\n")[3:]))
        for tag, _, _, value in _read_directory(io.BytesIO(exif.removeprefix(b"Exif\0\0"))):
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except _NOT_A_LIST:
        pass
    xmp = information.get("xmp") or information.get("XML:com.adobe.xmp") or b""
    found = re.search(rb'tiff:Orientation(?:="|>)([1-8])\b', xmp.encode() if isinstance(xmp, str) else xmp)
    return int(found[1]) if found else 1


def _read_directory(stream: BinaryIO, at: int | None = None) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, type, count and value (or their position) of each entry in a list, by default the first."""
    stream.seek(0)
    header = stream.read(16)
    order = {b"II": "<", b"MM": ">"}[header[:2]]
    big = header[2:3] == b"+"  # as Pillow decides it: MM\0+ is not a BigTIFF for it
    if at is None:
        (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", header, 8 if big else 4)
    stream.seek(at or 0)
    (entries,) = struct.unpack(f"{order}{'Q' if big else 'H'}", stream.read(8 if big else 2))
    form = struct.Struct(f"{order}HH{'Q8s' if big else 'I4s'}")
    _check_entries(entries)
    for _ in range(entries):
        tag, kind, count, value = form.unpack(stream.read(form.size))
        first = value[:2] if kind == 3 and count == 1 else value  # a short number fills the first two bytes
        yield tag, kind, count, int.from_bytes(first, "little" if order == "<" else "big")


def _check_entries(entries: int) -> None:
    """Refuse a list that is much too long."""
    if entries > _MAX_ENTRIES:
        raise ValueError(f"it has {entries:,} entries; at most {_MAX_ENTRIES:,} are read")
