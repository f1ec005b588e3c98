"""What a file is, from its first bytes: for messages about a file that is not what its place or its name promises."""

import re
from pathlib import Path
from typing import NamedTuple

from one_neuron.errors import one_line

HDF5 = "an HDF5 file"
RAW = "a RAW picture of a camera"
HEAD_BYTES = 560  # enough for each signature below
_CUT_OFF = re.compile(r"truncated file: eof = ([0-9]+),.*stored_eof = ([0-9]+)")  # HDF5's own message
_SHOWN = 40  # characters of a text in a message


class FileKind(NamedTuple):
    """What a file is, such as "a web page", and what the user can do about it."""

    what: str
    remedy: str


_CONVERT = "convert it to JPEG or PNG"
_WRITE = "write its arrays into an HDF5 file with h5py"
_UNPACK = "unpack it first"
_PICTURE = "pictures as files are read with data.source: folder"
# (first bytes, what it is, remedy), the first that fits counts. Signatures: the formats' own documents.
_KINDS = (
    (rb"\0{512}", "nothing but zeros", "a copy or a download did not finish: get it again"),
    (rb"version https://git-lfs", "a Git LFS pointer", "get the file behind it: git lfs pull"),
    (rb"(\.\./)*(\.git|/)?/?annex/objects/", "a git-annex pointer", "get the file behind it: git annex get"),
    (rb"(md5|outs|wdir|deps|frozen):\s", "a .dvc file", "get the file behind it: dvc pull"),
    (
        rb"(?i)\s*(\xef\xbb\xbf)?\s*(<!--.*-->\s*)?<(!doctype html|html|head|body)",
        "a web page",
        "download the file itself, not the page about it",
    ),
    (rb"(?i)\s*(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*(<!.*>)?\s*<svg", "an SVG drawing", _CONVERT),
    (rb"(?i)\s*(\xef\xbb\xbf)?<(\?xml|Error)", "an XML text, as servers send for an error", "get the file again"),
    (rb"\x1f\x8b", "packed with gzip", f"{_UNPACK}: gunzip, or tar xzf"),
    (rb"BZh[1-9]", "packed with bzip2", f"{_UNPACK}: bunzip2, or tar xjf"),
    (rb"\xfd7zXZ\0", "packed with xz", f"{_UNPACK}: unxz, or tar xJf"),
    (rb"\x28\xb5\x2f\xfd", "packed with zstd", f"{_UNPACK}: unzstd"),
    (rb"PK\x03\x04.{26}[^\0]{0,200}\.npy", "NumPy arrays (.npz)", _WRITE),
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive", f"{_UNPACK}: unzip"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", f"{_UNPACK}: 7z x"),
    (rb"Rar!\x1a\x07", "a RAR archive", f"{_UNPACK}: unrar x"),
    (rb".{257}ustar", "a tar archive", f"{_UNPACK}: tar xf"),
    (rb"\x93NUMPY", "a NumPy array (.npy)", _WRITE),
    (rb"MATLAB 5\.0 MAT-file", "an old MATLAB file", "save it again in MATLAB: save(name, '-v7.3')"),
    (rb"\x0e\x03\x13\x01", "an HDF4 file", "convert it to HDF5: h4toh5"),
    (rb"\x89HDF\r\n\x1a\n", HDF5, "it is read with data.source: hdf5"),
    (rb"CDF[\x01\x02\x05]", "a classic NetCDF file", "convert it to HDF5: nccopy -k nc4"),
    (rb"\x80[\x02-\x05][\x95c}\]KX(]", "a Python pickle, which can run code", _WRITE),
    (rb"PAR1", "a Parquet file", _WRITE),
    (rb"ARROW1", "an Arrow file", _WRITE),
    (rb"SQLite format 3\0", "an SQLite database", _WRITE),
    (rb"SIMPLE  =", "a FITS file", _WRITE),
    (rb".{128}DICM", "a DICOM file", _CONVERT),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "a HEIC picture", _CONVERT),
    (rb"....ftypavi[fs]", "an AVIF picture", _CONVERT),
    (rb"....ftypcrx", RAW, _CONVERT),
    (rb"....(ftyp|moov|mdat|wide|free)", "a video", "save single pictures of it as JPEG or PNG"),
    (rb"RIFF....AVI ", "a video", "save single pictures of it as JPEG or PNG"),
    (rb"\x1aE\xdf\xa3", "a video", "save single pictures of it as JPEG or PNG"),
    (rb"(II\*\0....CR|IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb)", RAW, _CONVERT),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "a JPEG XL picture", _CONVERT),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (rb"8BP[SB]", "a Photoshop file", _CONVERT),
    (rb"%PDF", "a PDF document", _CONVERT),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "a PostScript drawing", _CONVERT),
    (rb"gimp xcf", "a GIMP file", _CONVERT),
    (rb"\0\0\x01\0[\x01-\x20]\0", "an icon (ICO)", _CONVERT),
    (rb"\x76\x2f\x31\x01|#\?R(ADIANCE|GBE)", "a picture of high dynamic range", _CONVERT),
    (rb"P[1-7]\s", "a Netpbm picture", _CONVERT),
    (rb"qoif", "a QOI picture", _CONVERT),
    (rb"II\+\0|MM\0\+", "a BigTIFF", _CONVERT),
    (rb"\0\x05\x16[\0\x07]", "what macOS keeps beside a file (AppleDouble)", "remove it"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file or a Thumbs.db", "remove it"),
    (rb"\x7fELF|MZ", "a program", "get the file again"),
    (rb"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (rb"\x89PNG\r\n\x1a\n", "a PNG picture", _PICTURE),
    (rb"GIF8[79]a", "a GIF picture", _PICTURE),
    (rb"RIFF....WEBP", "a WebP picture", _PICTURE),
    (rb"II\*\0|MM\0\*", "a TIFF picture", _PICTURE),
    (rb"BM....\0\0\0\0", "a BMP picture", _PICTURE),
)


def find_kind(beginning: bytes) -> FileKind | None:
    """Return what a file is that begins with these bytes, HEAD_BYTES of them or the whole file; None if unknown."""
    if not beginning:
        return FileKind("empty (0 bytes)", "get it again")
    for pattern, what, remedy in _KINDS:
        if re.match(pattern, beginning, re.DOTALL):
            return FileKind(what, remedy)
    # The last character may be cut off.
    text = beginning.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "ignore").strip()
    is_text = b"\0" not in beginning and len(text.encode()) >= len(beginning.strip()) - 8
    if not is_text or not text or not all(one.isprintable() or one.isspace() for one in text):
        return None
    line = " ".join(text.split())
    shown = line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."
    what = "a JSON text" if text[0] in "{[" else "a text"
    return FileKind(f"{what} that begins with {shown!r}", "get the file again")


def read_kind(path: Path) -> FileKind | None:
    """Return what a regular file is; None if that is unknown, or if it cannot be read."""
    try:
        with path.open("rb") as file:
            return find_kind(file.read(HEAD_BYTES))
    except OSError:
        return None


def explain_hdf5(path: Path, error: Exception) -> str:
    """Return why HDF5 cannot open a file, as the end of a sentence, from its first bytes or from HDF5's error."""
    kind = read_kind(path)
    if kind is not None and kind.what != HDF5:
        return f": it is {kind.what}; {kind.remedy}"
    if cut := _CUT_OFF.search(str(error)):
        have, need = (int(number) for number in cut.groups())
        return f": it is cut off at {have:,} of {need:,} bytes; get it again"
    return f" ({one_line(error)})"
