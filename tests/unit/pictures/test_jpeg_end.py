"""Pictures whose data stop early are refused, whatever their size, their coding and the bytes after it."""

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.pictures import jpeg_end
from one_neuron.pictures.jpeg_end import ContinuedJpeg, find_end
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture, read_picture
from tests.unit.pictures.files import photograph

SIZES = [(8, 8), (30, 40), (200, 300), (300, 500)]  # of which the last is above the limit for small pictures
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "RGB": ("RGB", {}),
    "grey": ("L", {}),
    "CMYK": ("CMYK", {}),
    "progressive": ("RGB", {"progressive": True}),
    "restart markers": ("RGB", {"restart_marker_blocks": 1}),
    "full chroma": ("RGB", {"subsampling": 0, "quality": 95}),
}
END = b"\xff\xd9"
EARLY = r"is damaged \((its data stop early|image file is truncated.*|no pixels are found.*|.*)\); replace or remove it"


def encode(form: str, size: tuple[int, int], kind: str = "JPEG") -> bytes:
    """Return a photograph as a file."""
    mode, options = FORMS[form]
    stream = io.BytesIO()
    photograph(*size).convert(mode).save(stream, format=kind, **options)
    return stream.getvalue()


def read(content: bytes, decode: str = "exact") -> Any:
    """Read a picture from bytes."""
    return read_picture(io.BytesIO(content), Preprocessing(16, "stretch", decode))


def data_begin(content: bytes) -> int:
    """Return where the data of the first scan begin."""
    at = content.index(b"\xff\xda")
    return at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")


def inside_scan(content: bytes, place: int) -> bool:
    """Return whether there are data of a scan for some bytes before and after a place: no marker but those of 255."""
    near = content[max(place - 60, 0) : place + 3]
    return not any(near[at] == 255 and near[at + 1] != 0 for at in range(len(near) - 1))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_data_that_stop_early_are_refused(form: str, size: tuple[int, int]) -> None:
    """At each of many places, at the end of the file or with the marker of the end after it."""
    content = encode(form, size)
    begin = data_begin(content)
    last = len(content) - (3 if size[0] * size[1] <= jpeg_end.SMALL_PIXELS else 400)  # in the last block of pixels
    for place in np.linspace(begin + 1, last, 9).astype(int).tolist():
        for tail in (b"", END):
            if form == "progressive" and tail and not inside_scan(content, place):
                continue  # between two scans: a coarser picture, but a whole one
            with pytest.raises(DataError, match=EARLY):
                read(content[:place] + tail)
    for missing in (1, 2):
        with pytest.raises(DataError, match=r"its data stop early"):
            read(content[:-missing])


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("decode", ["exact", "fast"])
def test_whole_files_are_read(form: str, size: tuple[int, int], decode: str) -> None:
    """Bytes after the end, as of a phone's moving picture, change nothing, whatever they are."""
    content = encode(form, size)
    expected = read(content, decode)
    for tail in (bytes(99), END, b"\xff\xd8" + content, b"....ftypmp42" * 50, b"\n"):
        assert (read(content + tail, decode) == expected).all()
    if decode == "exact":
        with Image.open(io.BytesIO(content)) as image:
            assert (np.asarray(image.convert("RGB").resize((16, 16))) == expected).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("grey", [127, 128])
def test_a_picture_that_is_grey_is_not_taken_for_a_damaged_one(mode: str, grey: int) -> None:
    """What libjpeg leaves for missing data is a colour like another."""
    stream = io.BytesIO()
    Image.new("L", (600, 400), grey).convert(mode).save(stream, format="JPEG")
    assert np.ptp(read(stream.getvalue()).astype(int)) == 0


def test_grey_at_the_end_alone_is_not_taken_for_damage() -> None:
    """A picture with a grey corner is decoded twice, and is whole; the same file cut off is not."""
    pixels = np.asarray(photograph(300, 500)).copy()
    pixels[200:] = 128
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG")
    content = stream.getvalue()
    assert read(content).shape == (16, 16, 3)
    with pytest.raises(DataError, match="its data stop early"):
        read(content[: len(content) // 2] + END)


def test_a_file_on_disk_is_refused_by_name(tmp_path: Path) -> None:
    """Large files are not read into memory."""
    content = encode("RGB", (300, 500))
    path = tmp_path / "cat.jpg"
    path.write_bytes(content[: len(content) // 2] + END)
    with pytest.raises(DataError, match=rf"^'{path}' is damaged \(its data stop early\); replace or remove it$"):
        load_picture(path, Preprocessing(16))
    path.write_bytes(content)
    assert (load_picture(path, Preprocessing(16)) == read(content)).all()


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1000])
def test_the_end_is_found_across_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle is bytes.find; the position of the file stays."""
    monkeypatch.setattr(jpeg_end, "_BLOCK_BYTES", block)
    content = b"ab\xff\xd9 \xff\xff\xd8\xff\xff\xd9\xff\xd9"
    for start in (0, 3, 4, 7):
        stream = io.BytesIO(content)
        stream.seek(start)
        assert find_end(stream) == content.find(END, start)
        assert stream.tell() == start
    stream.seek(len(content) - 1)
    with pytest.raises(DataError, match="its data stop early"):
        find_end(stream)


def test_a_continued_file_reads_like_the_bytes_it_stands_for() -> None:
    """In pieces of any size, from any place: like a BytesIO of the whole."""
    content = bytes(range(100))
    for end, stuffing in ((60, b""), (256, b"\0")):  # after 255, a byte that is not 0 would be a marker
        whole = ContinuedJpeg(io.BytesIO(bytes(range(256)) + END), end).read()
        assert whole == bytes(range(end)) + stuffing + jpeg_end._OTHER + END
    one, other = ContinuedJpeg(io.BytesIO(content), 60), io.BytesIO(content[:60] + jpeg_end._OTHER + END)
    assert one.readable()
    assert one.seekable()
    for offset, whence in ((0, 0), (50, 0), (5, 1), (-40, 2), (0, 2)):
        for size in (1, 30, 5000, -1):
            for stream in (cast("BinaryIO", one), other):
                stream.seek(offset, whence)
            assert one.tell() == other.tell()
            assert one.read(size) == other.read(size)
            assert one.tell() == other.tell()


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1", "RGBA", "I;16"])
def test_a_png_without_its_end_is_refused(mode: str) -> None:
    """Pillow does not miss the last 22 bytes; a text after the pixels may be cut as well."""
    stream = io.BytesIO()
    photograph(30, 40).convert("L" if mode == "I;16" else mode).convert(mode).save(stream, format="PNG")
    content = stream.getvalue()
    expected = read(content)
    for missing in (1, 4, 5, 11, 12, 13, 16, 20, 24, len(content) // 2):
        with pytest.raises(DataError, match=r"is damaged \("):
            read(content[:-missing])
    assert (read(content + b"more") == expected).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_formats_are_refused_without_a_part_of_their_pixels(kind: str) -> None:
    """A GIF may lack what follows its first frame, which alone is read."""
    content = encode("RGB", (60, 80), kind)
    for missing in (5, 20, 100, len(content) // 2):
        with pytest.raises(DataError, match=r"is damaged \("):
            read(content[:-missing])
