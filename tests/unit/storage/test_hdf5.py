"""HDF5 files that anyone may have written: what is accepted, and what is refused before the library believes it."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError
from one_neuron.storage.hdf5 import MAX_CHUNK_BYTES, find_dataset, open_hdf5, read_attributes, read_dataset
from tests.processes import READ_PEAK

Write = Callable[[h5py.File], object]
SET = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def read(path: Path, key: str = "x", **options: Any) -> Any:
    """Read a dataset of three dimensions and bytes."""
    with open_hdf5(path, remedy="get it again") as file:
        return read_dataset(file, key, **{"dtype": "uint8", "ndim": 3, **options})


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (4, 4, 3)},
        {"chunks": (3, 2, 1)},
        {"chunks": (1, 4, 3), "maxshape": (None, 4, 3)},
        {"chunks": (1, 4, 3), "maxshape": (None, None, 3)},
        {"compression": "gzip"},
        {"compression": "lzf", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": (3, 3, 2)},
        {"fletcher32": True},
    ],
)
def test_the_values_count_and_not_how_they_are_stored(libver: str, options: dict[str, Any], tmp_path: Path) -> None:
    """In one piece or in chunks of any kind, packed by what HDF5 brings along, in groups, behind a user block."""
    with h5py.File(tmp_path / "file.h5", "w", libver=libver, userblock_size=512) as file:
        file.create_dataset("group/sub/x", data=SET, **options)
    for key in ("group/sub/x", "/group//sub/x"):
        assert (read(tmp_path / "file.h5", key) == SET).all()


def test_values_come_in_the_machine_s_byte_order(tmp_path: Path) -> None:
    """In any byte order; text of fixed length and booleans as well."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["big"] = np.array([1.5, -2.0], dtype=">f8")
        file["text"] = np.array([b"non-cat", b"cat"])
        file["truth"] = np.array([True, False])
        file.create_dataset("compact", data=SET, dcpl=compact())
    big = read(tmp_path / "file.h5", "big", dtype=["float32", "float64"], ndim=[1, 2])
    assert (big.tolist(), big.dtype) == ([1.5, -2.0], np.dtype("float64"))
    assert read(tmp_path / "file.h5", "text", dtype="bytes", ndim=1).tolist() == [b"non-cat", b"cat"]
    assert read(tmp_path / "file.h5", "truth", dtype="bool", ndim=1).tolist() == [True, False]
    assert (read(tmp_path / "file.h5", "compact") == SET).all()


def compact() -> Any:
    """Return the plan of a dataset that lies within the file's own notes."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    return plan


def packed_with(code: int) -> Any:
    """Return the plan of a dataset that is packed with a filter that may be missing."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4, 4, 3))
    plan.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (1,))
    return plan


def packed_twice(file: h5py.File) -> None:
    """Write a dataset that has to be unpacked twice."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4, 4, 3))
    plan.set_deflate(9)
    plan.set_deflate(9)
    file.create_dataset("x", data=SET, dcpl=plan)


def some_chunks(file: h5py.File) -> None:
    """Write one of four chunks; HDF5 makes up the others."""
    file.create_dataset("x", (4, 4, 3), np.uint8, chunks=(1, 4, 3))[0] = 1


def named_type(file: h5py.File) -> None:
    """Write a dataset whose type lies elsewhere."""
    file["type"] = np.dtype(np.uint8)
    file.create_dataset("x", data=SET, dtype=file["type"])


def virtual(file: h5py.File, outside: str = "other.h5") -> None:
    """Write a dataset that is put together from another file."""
    layout = h5py.VirtualLayout((4, 4, 3), np.uint8)
    layout[:] = h5py.VirtualSource(outside, "x", (4, 4, 3))
    file.create_virtual_dataset("x", layout)


def external(file: h5py.File, outside: str = "other.raw") -> None:
    """Write a dataset whose values lie in another file."""
    file.create_dataset("x", (4, 4, 3), np.uint8, external=[(outside, 0, 48)])


def external_link(file: h5py.File, outside: str = "other.h5") -> None:
    """Write a link into another file."""
    file["x"] = h5py.ExternalLink(outside, "/x")


def soft_link(file: h5py.File) -> None:
    """Write a link by name."""
    file["real"] = SET
    file["x"] = h5py.SoftLink("/real")


def create(shape: tuple[int, ...], dtype: Any = np.uint8, **options: Any) -> Write:
    """Return a function that declares a dataset and stores nothing."""
    return lambda file: file.create_dataset("x", shape, dtype, **options)


def put(data: object, **options: Any) -> Write:
    """Return a function that writes a dataset."""
    return lambda file: file.create_dataset("x", data=data, **options)


BAD: list[tuple[Write, str]] = [
    (lambda _: None, "the key 'x' is missing; present: none"),
    (lambda file: [file.create_group(name) for name in "cab"], "the key 'x' is missing; present: a, b, c;"),
    (
        lambda file: [file.create_group(f"{i:03}") for i in range(30)],
        r"the key 'x' is missing; present: 000, .*, 019, \.\.\.;",
    ),
    (lambda file: file.create_group("x"), "'x' is a group, not a dataset"),
    (lambda file: file.__setitem__("x", np.dtype(np.uint8)), "'x' is a named type, not a dataset"),
    (soft_link, r"'x' is a link \('x'\), which is not followed"),
    (external_link, r"'x' is a link \('x'\), which is not followed"),
    (external, "'x' lies in other files, which are not opened"),
    (virtual, "'x' lies in other files, which are not opened"),
    (named_type, "'x' has a named type"),
    (put(SET.astype(np.float32)), "'x' has type float32; expected uint8"),
    (put(SET.astype(">i8")), "'x' has type >i8; expected uint8"),
    (put(SET.astype(complex)), "'x' has type compound; expected uint8"),
    (put(SET.astype(bool)), "'x' has type bool; expected uint8"),
    (put(np.zeros(3, dtype="u1,f4")), "'x' has type compound; expected uint8"),
    (put(np.array([b"a", b"b"])), r"'x' has type \|S1; expected uint8"),
    (put(["a", "b"]), r"'x' is text of variable length, .* numpy.array\(\[...\], dtype=\"S\"\)"),
    (create((2,), h5py.vlen_dtype(np.uint8)), "'x' has type sequences of variable length"),
    (create((2,), h5py.ref_dtype), "'x' has type reference"),
    (create((2,), np.dtype(("u1", (3,)))), "'x' has type array"),
    (create((2,), h5py.enum_dtype({"no": 0, "yes": 1})), "'x' has type enum"),
    (put(np.void(b"abc")), "'x' has type opaque"),
    (put(h5py.Empty("u1")), "'x' is empty"),
    (put(SET[0]), "'x' has 2 dimensions; expected 3"),
    (put(np.uint8(1)), "'x' has 0 dimensions; expected 3"),
    (create((4, 4, 3)), "'x' claims 48 bytes and stores 0"),
    (create((2**40, 4, 3)), "'x' claims 13194139533312 bytes and stores 0"),
    (create((2**40, 4, 3), chunks=(2**20, 4, 3)), r"'x' claims 13194139533312 bytes in 1048576 chunks and stores 0"),
    (create((2**40, 4, 3), chunks=(1, 1, 1)), "'x' claims 13194139533312 bytes in 13194139533312 chunks and stores 0"),
    (create((2**62, 64, 3), chunks=(1, 64, 3)), f"'x' claims {2**62 * 192} bytes in {2**62} chunks and stores 0"),
    (create((2**62, 2**62, 3), chunks=(1, 64, 3)), f"'x' claims {2**124 * 3} bytes"),
    (some_chunks, "'x' claims 48 bytes in 4 chunks and stores 1 of them"),
    (
        create((2**20, 64, 3), chunks=(2**20, 64, 3)),
        rf"chunks of 201326592 bytes; at most {MAX_CHUNK_BYTES} .*h5repack",
    ),
    (create((4, 4, 3), dcpl=packed_with(32001)), r"'x' is packed with the filter 32001 \(.*h5repack"),
    (create((4, 4, 3), scaleoffset=0), r"the filter 6 \(scaleoffset\); known are gzip, shuffle, fletcher32, lzf"),
    (create((4, 4, 3), dcpl=packed_with(h5py.h5z.FILTER_NBIT)), "the filter 5"),
    (packed_twice, "'x' is packed with the same filter twice"),
]


@pytest.mark.parametrize(("write", "message"), BAD)
def test_what_cannot_be_trusted_is_refused(write: Write, message: str, tmp_path: Path) -> None:
    """File, key, what was found and the remedy, on one line."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        write(file)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / "file.h5")
    assert str(caught.value).startswith(f"'{tmp_path / 'file.h5'}': ")
    assert str(caught.value).endswith("; get it again")
    assert "\n" not in str(caught.value)


def test_a_link_on_the_way_is_not_followed(tmp_path: Path) -> None:
    """Each part of the key counts; behind a dataset there is nothing."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["real/x"] = SET
        file["soft"] = h5py.SoftLink("/real")
        file["hard"] = file["real"]
    assert (read(tmp_path / "file.h5", "hard/x") == SET).all()
    with pytest.raises(DataError, match=r"'soft/x' is a link \('soft'\)"):
        read(tmp_path / "file.h5", "soft/x")
    with pytest.raises(DataError, match="'real/x/y' cannot be reached: what lies before 'y' is a dataset, not a group"):
        read(tmp_path / "file.h5", "real/x/y")
    for key in ("", "/"):
        with pytest.raises(DataError, match=f"the key '{key}' is missing; present: hard, real, soft"):
            read(tmp_path / "file.h5", key)


def test_our_own_files_are_in_one_piece(tmp_path: Path) -> None:
    """Chunks are refused where they are not expected."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["x"] = SET
        file.create_dataset("chunked", data=SET, chunks=SET.shape)
    assert (read(tmp_path / "file.h5", contiguous=True) == SET).all()
    with pytest.raises(DataError, match="'chunked' is not stored in one piece"):
        read(tmp_path / "file.h5", "chunked", contiguous=True)


def test_what_is_read_whole_has_a_limit(tmp_path: Path) -> None:
    """A megabyte of zeros takes a kilobyte of file."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((4, 4, 3), dtype=np.uint8), compression="gzip")
    assert read(tmp_path / "file.h5", most_bytes=48).sum() == 0
    with pytest.raises(DataError, match="'x' takes 48 bytes; at most 47 are read"):
        read(tmp_path / "file.h5", most_bytes=47)


def test_values_behind_the_end_of_the_file_are_not_believed(tmp_path: Path) -> None:
    """The place of the values, which stands in the file before their size; HDF5 itself sees it."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["x"] = SET
        place = file["x"].id.get_offset()
    raw = path.read_bytes()
    here, there = (struct.pack("<QQ", offset, SET.size) for offset in (place, len(raw) - 10))
    assert raw.count(here) == 1
    path.write_bytes(raw.replace(here, there))
    with pytest.raises(DataError, match=r"file\.h5' is not a readable HDF5 file \(.*invalid dataset size"):
        read(path)


def test_a_chunk_larger_than_the_file_is_not_believed(tmp_path: Path) -> None:
    """HDF5 would take the memory first. The size of a chunk stands in the file before four zeros."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=SET, chunks=SET.shape, compression="gzip")
        size = file["x"].id.get_chunk_info(0).size
    raw = path.read_bytes()
    assert raw.count(struct.pack("<II", size, 0)) == 1
    path.write_bytes(raw.replace(struct.pack("<II", size, 0), struct.pack("<II", 2**31, 0)))
    with pytest.raises(DataError, match=f"'x' stores {2**31} bytes in a file of {len(raw)}"):
        read(path)


@pytest.mark.parametrize("kind", ["nothing", "folder", "fifo", "dangling", "loop", "long", "below a file", "device"])
def test_only_regular_files_are_opened(kind: str, tmp_path: Path) -> None:
    """A FIFO without a writer would wait for ever."""
    path, message = tmp_path / "thing", "is missing"
    if kind == "folder":
        path.mkdir()
        message = "is not a file"
    elif kind == "fifo":
        os.mkfifo(path)
        message = "is not a file"
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path)
        message = r"cannot be read \(Too many levels of symbolic links\)"
    elif kind == "long":
        path, message = tmp_path / ("x" * 300), r"cannot be read \(File name too long\)"
    elif kind == "below a file":
        path.touch()
        path = path / "file.h5"
    elif kind == "device":
        path, message = Path("/dev/null"), "is not a file"
    with pytest.raises(DataError, match=f"'{path}' {message}; get it again"):
        read(path)


def test_attributes_are_read_only_where_that_is_safe(tmp_path: Path) -> None:
    """Single numbers and text of a fixed length; the tests of `storage` hold the rest."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.attrs["number"] = 7
        file.attrs["text"] = np.bytes_("seven")
    with open_hdf5(tmp_path / "file.h5", remedy="-") as file:
        assert read_attributes(file) == {"number": 7, "text": b"seven"}
    for value in (np.zeros(2), "variable", h5py.Empty("u1"), np.void(b"abc")):
        with h5py.File(tmp_path / "file.h5", "r+") as file:
            file.attrs["wrong"] = value
        with (
            pytest.raises(DataError, match="the attribute 'wrong' is n"),
            open_hdf5(tmp_path / "file.h5", remedy="-") as file,
        ):
            read_attributes(file)


OUTSIDE = """if True:
    import sys
    from pathlib import Path
    opened = []
    sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
    from one_neuron.errors import DataError
    from one_neuron.storage.hdf5 import open_hdf5, read_dataset
    for name in sys.argv[2:]:
        try:
            with open_hdf5(Path(name), remedy="-") as file:
                read_dataset(file, "x", dtype="uint8", ndim=3)
        except DataError as error:
            print(error)
    assert not [name for name in opened if "outside" in name], opened
"""


@pytest.fixture
def leading_outside(tmp_path: Path) -> list[str]:
    """Return files that lead to another one, which is a FIFO: to open it is to wait for ever."""
    os.mkfifo(tmp_path / "outside")
    for write in (virtual, external, external_link):
        with h5py.File(tmp_path / f"{write.__name__}.h5", "w", libver="latest") as file:
            write(file, str(tmp_path / "outside"))
    return [str(path) for path in sorted(tmp_path.glob("*.h5"))]


def run_outside(files: list[str], *before: str) -> None:
    """Read the files in a fresh process, which has to end with a refusal of each."""
    command = [*before, sys.executable, "-W", "error", "-c", OUTSIDE, "-", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("not opened") == 2
    assert done.stdout.count("not followed") == 1


def test_the_outside_file_is_never_opened(leading_outside: list[str]) -> None:
    """Neither by Python nor by HDF5, which would not come back."""
    run_outside(leading_outside)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_system_sees_no_outside_file_opened(leading_outside: list[str], tmp_path: Path) -> None:
    """The calls of HDF5 itself, which Python does not see: it opens the files, and never the outside one."""
    log = tmp_path / "calls"
    run_outside(leading_outside, "strace", "-f", "-e", "trace=file", "-o", str(log))
    calls = log.read_text()
    assert all(f'"{name}"' in calls for name in leading_outside)
    assert str(tmp_path / "outside") not in "\n".join(line for line in calls.splitlines() if "execve" not in line)


CLAIM = """if True:
    import sys, time
    from pathlib import Path
    from one_neuron.errors import DataError
    from one_neuron.storage.hdf5 import open_hdf5, read_dataset
    started = time.process_time()
    for name in sys.argv[1:]:
        try:
            with open_hdf5(Path(name), remedy="-") as file:
                read_dataset(file, "x", dtype="uint8", ndim=3)
        except DataError:
            print("refused")
    print(time.process_time() - started)
    print(read_peak() // 1024)
"""


def test_a_terabyte_in_two_kilobytes_costs_nothing(tmp_path: Path) -> None:
    """Refused within two seconds and 300 MB, in each way of claiming."""
    claims = {
        "contiguous": create((2**40, 4, 3)),
        "chunked": create((2**40, 4, 3), chunks=(2**20, 4, 3)),
        "tiny": create((2**40, 4, 3), chunks=(1, 1, 1)),
        "beyond": create((2**62, 2**62, 3), chunks=(1, 64, 3)),
        "one": create((2**20, 2**20, 1), chunks=(2**15, 2**11, 1), compression="gzip"),
    }
    for name, write in claims.items():
        with h5py.File(tmp_path / name, "w") as file:
            write(file)
        assert (tmp_path / name).stat().st_size < 10_000
    done = subprocess.run(
        [sys.executable, "-c", READ_PEAK + CLAIM, *(str(tmp_path / name) for name in claims)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    *refused, seconds, kilobytes = done.stdout.split()
    assert refused == ["refused"] * len(claims)
    assert float(seconds) < 2
    assert int(kilobytes) < 300_000


def test_found_datasets_are_not_read(tmp_path: Path) -> None:
    """What is found gives blocks of rows."""
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["x"] = SET
    with open_hdf5(tmp_path / "file.h5", remedy="-") as file:
        found = find_dataset(file, "x", "uint8", 3)
        assert (found.shape, found.chunks, found.dtype) == ((4, 4, 3), None, np.dtype(np.uint8))
        assert (found[1:3] == SET[1:3]).all()
