"""What people have in place of a picture or an HDF5 file is named for what it is, with what to do."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError
from one_neuron.file_kind import find_kind, read_kind
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.sources import catvnoncat
from one_neuron.storage.hdf5 import open_hdf5


def make_zip(name: str = "cat.jpg") -> bytes:
    """Return an archive of one file."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, b"content")
    return stream.getvalue()


def make_tar() -> bytes:
    """Return an archive of one file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("cat.jpg"))
    return stream.getvalue()


def make(save: Callable[[io.BytesIO], object]) -> bytes:
    """Return what a library writes into a file."""
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def picture(kind: str) -> bytes:
    """Return a small picture."""
    return make(lambda stream: Image.new("RGB", (8, 8)).save(stream, format=kind))


def box(brand: bytes) -> bytes:
    """Return the first box of an ISO media file."""
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(600)


ARRAY = np.arange(6)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 2572022\n"
# name: content, what it is, and a part of the remedy
KINDS: dict[str, tuple[bytes, str, str]] = {
    "page": (b"\n<!DOCTYPE HTML>\n<html><head></head></html>\n", "a web page", "download the file itself"),
    "page with a byte order mark": (b"\xef\xbb\xbf<html>", "a web page", "download the file itself"),
    "page with a comment": (b"<!-- saved from -->\n<html lang=en>", "a web page", "download the file itself"),
    "Google Drive's warning": (b"<!DOCTYPE html><html><head><title>Virus scan warning", "a web page", "download"),
    "error of S3": (
        b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code>",
        "an XML text, as servers",
        "get the file",
    ),
    "error of GitHub": (b"404: Not Found", "a text that begins with '404: Not Found'", "get the file again"),
    "error as JSON": (json.dumps({"error": "quota"}).encode(), "a JSON text that begins", "get the file again"),
    "table": (b"id,label\n1,cat\n", "a text that begins with 'id,label 1,cat'", "get the file again"),
    "YAML": ("train: données\n".encode(), "a text that begins with 'train: données'", "get the file again"),
    "Git LFS": (LFS, "a Git LFS pointer", "git lfs pull"),
    "git-annex": (b"/annex/objects/SHA256E-s1--ab.h5\n", "a git-annex pointer", "git annex get"),
    ".dvc file": (b"outs:\n- md5: 0a1b\n  path: mine.h5\n", "a .dvc file", "dvc pull"),
    "zeros": (bytes(4096), "nothing but zeros", "did not finish"),
    "empty": (b"", "empty (0 bytes)", "get it again"),
    "gzip": (gzip.compress(b"a"), "packed with gzip", "gunzip"),
    "bzip2": (bz2.compress(b"a"), "packed with bzip2", "bunzip2"),
    "xz": (lzma.compress(b"a"), "packed with xz", "unxz"),
    "zip": (make_zip(), "a zip archive", "unzip"),
    "empty zip": (make(lambda stream: zipfile.ZipFile(stream, "w").close()), "a zip archive", "unzip"),
    "tar": (make_tar(), "a tar archive", "tar xf"),
    "npy": (make(lambda stream: np.save(stream, ARRAY)), "a NumPy array (.npy)", "with h5py"),
    "npz": (make(lambda stream: np.savez(stream, x=ARRAY)), "NumPy arrays (.npz)", "with h5py"),
    "npz, compressed": (make(lambda stream: np.savez_compressed(stream, x=ARRAY)), "NumPy arrays (.npz)", "with h5py"),
    "MATLAB 5": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(600), "an old MATLAB file", "-v7.3"),
    "HDF4": (b"\x0e\x03\x13\x01" + bytes(50), "an HDF4 file", "h4toh5"),
    "NetCDF": (b"CDF\x01" + bytes(50), "a classic NetCDF file", "nccopy -k nc4"),
    "NetCDF, 64 bits": (b"CDF\x02" + bytes(50), "a classic NetCDF file", "nccopy -k nc4"),
    "pickle": (pickle.dumps({"x": [1]}), "a Python pickle, which can run code", "with h5py"),
    "pickle of an array": (pickle.dumps(ARRAY, protocol=2), "a Python pickle", "with h5py"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "a PDF document", "convert it to JPEG"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "an SVG drawing", "convert it to JPEG"),
    "SVG with a prolog": (b"<?xml version='1.0'?>\n<svg></svg>", "an SVG drawing", "convert it to JPEG"),
    "HEIC": (box(b"heic"), "a HEIC picture", "convert it to JPEG"),
    "AVIF": (box(b"avif"), "an AVIF picture", "convert it to JPEG"),
    "CR3": (box(b"crx "), "a RAW picture of a camera", "convert it to JPEG"),
    "live photo": (box(b"qt  "), "a video", "single pictures"),
    "CR2": (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "a RAW picture of a camera", "convert it to JPEG"),
    "RAF": (b"FUJIFILMCCD-RAW 0201", "a RAW picture of a camera", "convert it to JPEG"),
    "Photoshop": (b"8BPS\0\x01", "a Photoshop file", "convert it to JPEG"),
    "JPEG XL": (b"\xff\x0a\xfa\x1f", "a JPEG XL picture", "convert it to JPEG"),
    "JPEG 2000": (picture("JPEG2000"), "a JPEG 2000 picture", "convert it to JPEG"),
    "icon": (picture("ICO"), "an icon (ICO)", "convert it to JPEG"),
    "PPM": (picture("PPM"), "a Netpbm picture", "convert it to JPEG"),
    "AppleDouble": (b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ", "what macOS keeps beside a file", "remove it"),
    "Thumbs.db": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(9), "an old Office file or a Thumbs.db", "remove it"),
}
PICTURES = {
    kind: (picture(kind), f"a {kind.replace('WEBP', 'WebP')} picture", "data.source: folder")
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_in_place_of_a_picture_is_named(name: str, tmp_path: Path) -> None:
    """One line: what it is, and what to do."""
    content, what, remedy = KINDS[name]
    path = tmp_path / "cat.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_picture(path, Preprocessing(4, "stretch", "exact"))
    message = str(caught.value)
    assert message.startswith(
        f"'{path}' is not a picture that can be read: it is {what}" if content else f"'{path}' is empty"
    )
    assert ("remove it" if name == "empty" else remedy) in message
    assert "\n" not in message


@pytest.mark.parametrize("name", [*KINDS, *PICTURES])
def test_a_file_in_place_of_hdf5_is_named(name: str, tmp_path: Path) -> None:
    """Also the user's remedy at the end."""
    content, what, remedy = (KINDS | PICTURES)[name]
    path = tmp_path / "mine.h5"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught, open_hdf5(path, remedy="see params.yaml"):
        pass
    message = str(caught.value)
    assert message.startswith(f"'{path}' is not a readable HDF5 file: it is {what}")
    assert remedy in message
    assert message.endswith("; see params.yaml")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["page", "Git LFS", "gzip", "empty"])
def test_the_courses_files_are_named_as_well(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their SHA-256 alone would say little; a real HDF5 file is told by it."""
    content, what, remedy = KINDS[name]
    monkeypatch.setenv(catvnoncat.FOLDER_VARIABLE, str(tmp_path))
    for file in catvnoncat.SHA256:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=r"train_catvnoncat.h5' is ") as caught:
        catvnoncat._find("train_catvnoncat.h5")
    assert f"is not the course's HDF5 file: it is {what}" in str(caught.value)
    assert remedy in str(caught.value)
    with h5py.File(tmp_path / "train_catvnoncat.h5", "w"):
        pass
    with pytest.raises(DataError, match=r"has the SHA-256 .* get it again, or unset ONE_NEURON_CATVNONCAT_DIR"):
        catvnoncat._find("train_catvnoncat.h5")


def test_a_file_that_was_cut_off_says_how_much_is_missing(tmp_path: Path) -> None:
    """As after a download that stopped."""
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(9000)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:5000])
    with (
        pytest.raises(DataError, match=f"it is cut off at 5,000 of {size:,} bytes; get it again"),
        open_hdf5(path, remedy="r"),
    ):
        pass


def test_matlab_7_3_is_hdf5(tmp_path: Path) -> None:
    """It has a block of text before the HDF5 file."""
    path = tmp_path / "mine.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = ARRAY
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 .")
    with open_hdf5(path, remedy="") as file:
        assert file["x"][()].tolist() == ARRAY.tolist()


def test_raw_pictures_are_not_read_as_their_previews(tmp_path: Path) -> None:
    """NEF, ARW and DNG are TIFFs that begin with a small copy of the picture: one that is right about nothing."""
    for tags in ({254: 1}, {50706: b"\1\4\0\0"}):
        path = tmp_path / "cat.nef"
        Image.new("RGB", (8, 8)).save(path, format="TIFF", tiffinfo=tags)
        with pytest.raises(
            DataError, match=r"it is a RAW picture of a camera; convert it to JPEG or PNG, or remove it$"
        ):
            load_picture(path, Preprocessing(4))
    Image.new("RGB", (8, 8)).save(path, format="TIFF", tiffinfo={254: 0})
    assert load_picture(path, Preprocessing(4)).shape == (4, 4, 3)


def test_unknown_bytes_have_no_name() -> None:
    """Nor have damaged pictures, whose reader has a better message, and files that cannot be read."""
    assert find_kind(b"\x13\x37\0\xff" * 99) is None
    assert find_kind(b"a\0b") is None
    assert find_kind(b"\x1b[31mred") is None
    assert read_kind(Path("/nowhere")) is None


@pytest.mark.parametrize("text", ["é" * 300, "a" * 10_000, "🐈" * 200])
def test_long_texts_are_cut(text: str) -> None:
    """Wherever the last character is cut, and on one short line."""
    kind = find_kind(text.encode()[:559])
    assert kind is not None
    assert kind.what == f"a text that begins with '{text[:40]}...'"
