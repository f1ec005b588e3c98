"""Pictures of every format are read, upright; everything else is refused by name."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from one_neuron.errors import DataError
from one_neuron.pictures.limits import MAX_BYTES, MAX_SIDE
from one_neuron.pictures.preprocessing import RESIZES, Preprocessing
from one_neuron.pictures.reader import FORMATS, SUFFIXES, load_picture, open_picture, read_picture
from tests.sockets import make_socket
from tests.unit.pictures.files import (
    RED,
    STORED,
    UPRIGHT,
    photograph,
    png_header,
)


def test_rgb_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    """The pixels of a lossless file are the pixels."""
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    assert (load_picture(tmp_path / "a.png", Preprocessing(4)) == UPRIGHT).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_stand_upright(orientation: int, suffix: str, tmp_path: Path) -> None:
    """All eight orientations of a camera give the same picture."""
    upright = np.asarray(photograph(24, 24)) if suffix == "jpg" else UPRIGHT
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 98, "subsampling": 0}}.get(suffix, {})
    image.save(tmp_path / f"a.{suffix}", exif=exif, **lossless)  # type: ignore[arg-type]
    pixels = load_picture(tmp_path / f"a.{suffix}", Preprocessing(len(upright))).astype(int)
    assert np.abs(pixels - upright).max() <= (24 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(suffix: str, tmp_path: Path) -> None:
    """Red, then blue: red."""
    frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)  # type: ignore[arg-type]
    assert load_picture(tmp_path / f"a.{suffix}", Preprocessing(3)).reshape(-1, 3).tolist() == [RED] * 9


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_suffix_is_a_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    """What a folder's listing takes for a picture can be a picture."""
    Image.new("RGB", (16, 16), "white").save(tmp_path / f"a{suffix}")
    assert (load_picture(tmp_path / f"a{suffix}", Preprocessing(2)) >= 250).all()


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.JPEG", "a b.c", "-rf", "猫.png", "caf\udce9.png"])
def test_the_content_decides_not_the_name(name: str, tmp_path: Path) -> None:
    """Any name is allowed, also one that is not UTF-8."""
    with (tmp_path / name).open("wb") as stream:
        Image.fromarray(UPRIGHT).save(stream, format="PNG")
    assert (load_picture(tmp_path / name, Preprocessing(4)) == UPRIGHT).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("part", [0.3, 0.7])
def test_a_truncated_picture_is_refused_by_name(suffix: str, part: float, tmp_path: Path) -> None:
    """Part of a picture is never accepted."""
    path = tmp_path / f"a b.{suffix}"
    photograph(60, 60).save(path)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"a b.{suffix}' is (damaged|not a picture)") as caught:
        load_picture(path, Preprocessing(8))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def make_pipe(path: Path) -> None:
    """Make a named pipe without a writer."""
    os.mkfifo(path)


def make_vast(path: Path) -> None:
    """Make a file that claims more bytes than are read, and takes none on the disk."""
    path.touch()
    os.truncate(path, MAX_BYTES + 1)


IS = "is not a picture that can be read: it is "
KNOWN = "is not a picture that can be read; known are BMP, GIF, JPEG, PNG, TIFF, WEBP"

BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda path: None, "does not exist; name a picture"),
    "no bytes": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\); replace or remove it"),
    "text": (
        lambda path: path.write_bytes(b"hello " * 100),
        IS + "a text that begins with 'hello hello hello .*'; get the file again, or remove it",
    ),
    "web page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>Not found</html>"), IS + "a web page; "),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), IS + "nothing but zeros; "),
    "PostScript": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), IS + "a PostScript drawing; "),
    "old format": (lambda path: Image.new("RGB", (4, 4)).save(path, "PPM"), IS + "a Netpbm picture; "),
    "noise": (lambda path: path.write_bytes(b"\x13\x37\0\xff" * 99), KNOWN),
    "beginning of a PNG": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "is damaged"),
    "beginning of a JPEG": (lambda path: path.write_bytes(b"\xff\xd8\xff"), "is damaged"),
    "beginning of a GIF": (lambda path: path.write_bytes(b"GIF89a"), "is damaged"),
    "beginning of a TIFF": (lambda path: path.write_bytes(b"II*\0"), "is damaged"),
    "TIFF without tags": (lambda path: path.write_bytes(b"II*\0\x08\0\0\0" + bytes(6)), "is damaged"),
    "beginning of a BMP": (lambda path: path.write_bytes(b"BM"), "is damaged"),
    "beginning of a WebP": (lambda path: path.write_bytes(b"RIFF\0\0\0\0WEBPVP8 "), "is damaged"),
    "folder": (Path.mkdir, "is a folder, not a file; replace or remove it"),
    "named pipe": (make_pipe, "is a named pipe, not a file; replace or remove it"),
    "socket": (make_socket, "is a socket, not a file; replace or remove it"),
    "device": (lambda path: path.symlink_to("/dev/null"), "is a device, not a file; replace or remove it"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "is a link to nothing; replace or remove it"),
    "link to itself": (lambda path: path.symlink_to(path), r"cannot be read \(Too many levels of symbolic links\)"),
    "too large": (lambda path: path.write_bytes(png_header(9000, 10_000)), "has 9000 x 10000 pixels; at most 64,000"),
    "too long": (lambda path: path.write_bytes(png_header(MAX_SIDE + 1, 1)), "has 1000001 x 1 pixels; .* 1,000,000 a"),
    "too many bytes": (make_vast, "has 576,000,001 bytes; at most"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """At once, in one line that begins with the path; nothing is waited for."""
    make, message = BAD_FILES[kind]
    path = tmp_path / "a b.jpg"
    make(path)
    started = time.process_time()
    with pytest.raises(DataError, match=rf"^'{path}' {message}") as caught:
        load_picture(path, Preprocessing(8))
    assert time.process_time() - started < 0.5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.png"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    """Too long for the system, or with a NUL character."""
    with pytest.raises(DataError, match=r"(cannot be read \(File name too long\)|null byte.*replace or remove it)"):
        load_picture(Path(name), Preprocessing(8))


@pytest.mark.parametrize("kind", ["named pipe", "device", "socket"])
def test_what_is_no_file_is_not_even_opened(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe wakes the process at its other end, and opening some devices has an effect."""
    BAD_FILES[kind][0](tmp_path / "a.jpg")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(DataError, match=f"is a {kind}, not a file"), open_picture(tmp_path / "a.jpg"):
        pass


def test_a_file_that_becomes_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    (tmp_path / "file").write_bytes(b"something")
    before = (tmp_path / "file").stat()
    make_pipe(tmp_path / "a.jpg")
    monkeypatch.setattr(Path, "stat", lambda _: before)
    with (
        pytest.raises(DataError, match=r"a.jpg' was replaced while it was being opened"),
        open_picture(tmp_path / "a.jpg"),
    ):
        pass


def test_an_open_picture_is_closed_in_the_end(tmp_path: Path) -> None:
    """It is handed out at its beginning."""
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png") as stream:
        assert stream.read(4) == b"\x89PNG"
        stream.read()
        assert (read_picture(stream, Preprocessing(4)) == UPRIGHT).all()  # wherever it stands
    assert stream.closed


def test_without_a_path_the_name_is_left_to_the_caller() -> None:
    """The message goes on where the name ends."""
    for content, message in ((b"", "is empty"), (b"text", "is not a picture"), (b"GIF89a", "is damaged")):
        with pytest.raises(DataError, match=f"^{message}"):
            read_picture(io.BytesIO(content), Preprocessing(4))


@pytest.mark.parametrize("place", ["stat", "open"])
def test_an_unreadable_file_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is told apart from damage (tests may run as root, so the refusal is simulated)."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path if place == "stat" else os, place, deny)
    with pytest.raises(DataError, match=r"a.png' may not be read \(permission denied\)"):
        load_picture(path, Preprocessing(8))


def test_memory_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory has an exit code of its own."""
    path = tmp_path / "a.png"
    Image.fromarray(UPRIGHT).save(path)

    def run_out(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(PngImageFile, "load", run_out)
    with pytest.raises(MemoryError):
        load_picture(path, Preprocessing(8))


def test_a_disk_that_fails_is_not_called_damage() -> None:
    """The system's reason is passed on."""

    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(DataError, match=r"^cannot be read \(Input/output error\)"):
        read_picture(Failing(b"BM"), Preprocessing(4))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("resize", RESIZES)
def test_fast_is_nearly_exact(mode: str, resize: str, tmp_path: Path) -> None:
    """A JPEG is read smaller than it is, in its own colours."""
    photograph(300, 400).convert(mode).save(tmp_path / "a.jpg")
    exact = load_picture(tmp_path / "a.jpg", Preprocessing(40, resize=resize)).astype(int)
    fast = load_picture(tmp_path / "a.jpg", Preprocessing(40, resize=resize, decode="fast")).astype(int)
    assert 0 < np.abs(exact - fast).mean() < 3


@pytest.mark.parametrize("suffix", ["png", "webp", "gif", "bmp", "tif"])
def test_fast_is_exact_for_other_formats(suffix: str, tmp_path: Path) -> None:
    """There is nothing to gain."""
    photograph(300, 400).save(tmp_path / f"a.{suffix}")
    exact, fast = (
        load_picture(tmp_path / f"a.{suffix}", Preprocessing(40, decode=decode)) for decode in ("exact", "fast")
    )
    assert (exact == fast).all()


@pytest.mark.parametrize(
    ("size", "resize", "expected"),
    [
        ((64, 64), "stretch", (64, 64)),
        ((128, 127), "stretch", (128, 127)),
        ((500, 128), "stretch", (250, 64)),
        ((1000, 250), "crop", (500, 125)),
        ((1000, 250), "pad", (125, 32)),
        ((250, 1000), "pad", (32, 125)),
        ((1000, 3), "pad", (500, 2)),
        ((4000, 3000), "crop", (500, 375)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_fast_is_never_too_small(
    size: tuple[int, int],
    resize: str,
    expected: tuple[int, int],
    orientation: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A half, a quarter or an eighth, at most so that no side has to grow: for pad the longer one decides."""
    read: list[tuple[int, int]] = []
    draft = JpegImageFile.draft

    def note(image: JpegImageFile, *how: Any) -> object:
        done = draft(image, *how)
        read.append(image.size)
        return done

    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(tmp_path / "a.jpg", exif=exif)
    monkeypatch.setattr(JpegImageFile, "draft", note)
    load_picture(tmp_path / "a.jpg", Preprocessing(64, resize=resize, decode="fast"))
    assert set(read) == {expected}  # small pictures are decoded twice


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    """Each gets its own picture, from files and from bytes."""
    paths = []
    for number, suffix in enumerate(["jpg", "png", "webp", "gif", "bmp", "tif", "tiff"] * 4):
        paths.append(tmp_path / f"{number}.{suffix}")
        how = {"compression": "tiff_lzw"} if suffix == "tiff" else {}
        photograph(40 + number, 60 - number).save(paths[-1], **how)
    alone = [load_picture(path, Preprocessing(16)) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: load_picture(path, Preprocessing(16)), paths * 4))
        bytes_alone = list(pool.map(lambda path: read_picture(io.BytesIO(path.read_bytes()), Preprocessing(16)), paths))
    assert all((one == other).all() for one, other in zip(alone * 5, together + bytes_alone, strict=True))


def test_the_formats_are_few() -> None:
    """What cameras, phones and the web write; every further one is code that foreign files reach."""
    assert FORMATS == ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


READ_DAMAGED = """
import sys
from pathlib import Path
from one_neuron.errors import DataError
from one_neuron.pictures.reader import load_picture
from one_neuron.pictures.preprocessing import Preprocessing
try:
    load_picture(Path(sys.argv[1]), Preprocessing(8))
except DataError as error:
    print(error)
"""


def test_libtiff_says_nothing_on_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It would write to stderr from C, besides the one line that names the file."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.arange(768, dtype=np.uint8).reshape(16, 16, 3)).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[12:60] = b"\xff" * 48
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a.tif' is damaged"):
        load_picture(path, Preprocessing(8))
    assert capfd.readouterr() == ("", "")
    # In another process, because only the first call of a process silences it: with a wheel that is laid out in another
    # way, and with a libtiff that hides its functions.
    elsewhere = "import PIL; PIL.__file__ = '/elsewhere/PIL/__init__.py'"
    hidden = "import ctypes; ctypes.CDLL = lambda name: object()"
    for layout, said in ((elsewhere, False), (hidden, True)):
        program = f"{layout}\n{READ_DAMAGED}"
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        assert "a.tif' is damaged" in done.stdout
        assert bool(done.stderr) is said
