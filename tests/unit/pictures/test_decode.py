"""Many pictures on all cores: the same rows whatever happens, the first bad picture, and nothing decoded twice."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from one_neuron.errors import DataError, EnvironmentProblem, SettingsError
from one_neuron.pictures import convert, decode, limits, reader, row_cache
from one_neuron.pictures.decode import Decoded, decode_pictures
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.system.memory_limits import Limit

NUM_PX = 4
N_X = NUM_PX * NUM_PX * 3

Picture = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the rows of each test in a folder of its own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("ONE_NEURON_CACHE_MB", raising=False)
    monkeypatch.setattr(row_cache, "_OPEN", type(row_cache._OPEN)())  # caches of other tests
    return tmp_path


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., list[Path]]:
    """Return a function that writes random pictures; some of them damaged."""

    def make(count: int, *, bad: Sequence[int] = ()) -> list[Path]:
        random = np.random.default_rng(0)
        (tmp_path / "pictures").mkdir()
        paths = [tmp_path / "pictures" / f"{number:03}.png" for number in range(count)]
        for number, path in enumerate(paths):
            pixels = random.integers(0, 256, (6 + number % 3, 8, 3), np.uint8)
            Image.fromarray(pixels).save(path)
            if number in bad:
                path.write_bytes(path.read_bytes()[:60])
        return paths

    return make


@pytest.fixture
def decoded_files(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each picture that is really decoded."""
    read, seen = reader.read_picture, []

    def count(stream: BinaryIO, preprocessing: Preprocessing, **how: Any) -> Picture:
        seen.append(preprocessing.num_px)
        return read(stream, preprocessing, **how)

    monkeypatch.setattr(reader, "read_picture", count)
    return seen


def with_threads(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Pretend that the machine has a number of cores."""
    monkeypatch.setattr(decode, "count_cores", lambda: number)


def one_by_one(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Return the rows as one thread without a cache decodes them."""
    return np.array([reader.load_picture(path, Preprocessing(NUM_PX)).reshape(-1) for path in paths])


def run(paths: Sequence[Path], **options: object) -> Decoded:
    """Decode to the size of these tests."""
    return decode_pictures(paths, Preprocessing(NUM_PX), **options)  # type: ignore[arg-type]


# --- the rows ------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_rows_are_those_of_the_pictures_one_by_one(
    make_pictures: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
    decoded_files: list[int],
    threads: int,
) -> None:
    """In the order of the paths, with one thread or many (more pictures than those), and again without decoding."""
    with_threads(monkeypatch, threads)
    paths = make_pictures(40)[::-1]
    expected = one_by_one(paths)
    decoded_files.clear()
    for _ in range(2):
        decoded = run(paths)
        np.testing.assert_array_equal(decoded.X[:], expected)
        assert decoded.kept.tolist() == list(range(40))
        assert decoded.skipped == []
        assert [bytes(digest) for digest in decoded.digests] == [
            hashlib.sha256(path.read_bytes()).digest() for path in paths
        ]
        assert len(decoded_files) == 40


def test_some_rows_are_taken_without_reading_them(make_pictures: Callable[..., list[Path]]) -> None:
    """The training and the test set, each in its own order."""
    paths = make_pictures(6)
    taken = run(paths).X.take(np.array([5, 0, 3]))
    assert taken.shape == (3, N_X)
    np.testing.assert_array_equal(taken[0:3], one_by_one([paths[5], paths[0], paths[3]]))


def test_a_file_of_several_blocks_has_the_digest_of_all_of_it(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its end is that of a block or not."""
    (path,) = make_pictures(1)
    content, size = path.read_bytes(), path.stat().st_size
    for length in (size, 7, size - 1, size + 1):
        monkeypatch.setattr(decode, "_BLOCK_BYTES", length)
        with path.open("rb") as stream:
            assert decode._read_digest(stream) == hashlib.sha256(content).digest()


def test_copies_are_decoded_once(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, decoded_files: list[int]
) -> None:
    """By content, not by name; only a picture that is added later is decoded."""
    with_threads(monkeypatch, 1)
    paths = make_pictures(5)
    for path in paths[1:3]:
        path.write_bytes(paths[0].read_bytes())
    decoded = run(paths[:4])
    np.testing.assert_array_equal(decoded.X[:], one_by_one(paths[:4]))
    assert len(decoded_files) == 2 + 4  # with those of one_by_one
    run([*paths[::-1]])
    assert len(decoded_files) == 2 + 4 + 1


def test_no_pictures_are_no_rows() -> None:
    """The caller decides what that means."""
    decoded = run([])
    assert decoded.X.shape == (0, N_X)
    assert decoded.digests.shape == (0, 32)


def test_each_way_to_decode_has_rows_of_its_own(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, resize, decode, Pillow and the code of the reader: none serves another."""
    path = tmp_path / "large.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    ways = [Preprocessing(5, *options) for options in ((), ("crop",), ("pad",), ("stretch", "fast"))]
    for way in [*ways, *ways]:
        rows = decode_pictures([path], way).X[:]
        np.testing.assert_array_equal(rows[0], reader.load_picture(path, way).reshape(-1))
    assert len(list((root / ".one-neuron" / "rows").iterdir())) == 4
    run([path])
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.1")
    run([path])
    monkeypatch.setattr(decode, "hash_code", lambda *_, **__: "edited")
    run([path])
    assert len(list((root / ".one-neuron" / "rows").iterdir())) == 7


def test_a_damaged_row_is_decoded_again(
    make_pictures: Callable[..., list[Path]], root: Path, decoded_files: list[int]
) -> None:
    """After one flipped bit, only its picture is decoded again."""
    paths = make_pictures(5)
    expected = one_by_one(paths)
    run(paths)
    decoded_files.clear()
    (path,) = root.rglob("*.rows")
    content = bytearray(path.read_bytes())
    content[2 * (36 + N_X) + 40] ^= 1
    path.write_bytes(content)
    np.testing.assert_array_equal(run(paths).X[:], expected)
    assert len(decoded_files) == 1


# --- pictures that cannot be read ----------------------------------------------------


@pytest.mark.parametrize("threads", [1, 8])
def test_the_first_bad_picture_is_named(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """In the order of the paths, even if a later one fails earlier."""
    with_threads(monkeypatch, threads)
    paths = make_pictures(24, bad=[5, 6, 7, 20])
    read = reader.read_picture
    slow = paths[5].read_bytes()

    def read_slowly(stream: BinaryIO, preprocessing: Preprocessing, **how: Any) -> Picture:
        stream.seek(0)
        if stream.read() == slow:
            time.sleep(0.05)
        return read(stream, preprocessing, **how)

    monkeypatch.setattr(reader, "read_picture", read_slowly)
    with pytest.raises(DataError) as caught:
        run(paths)
    assert str(caught.value).startswith(f"'{paths[5]}' ")
    with pytest.raises(DataError) as alone:
        reader.load_picture(paths[5], Preprocessing(NUM_PX))
    assert str(caught.value) == str(alone.value)


def test_bad_pictures_are_skipped_and_told(make_pictures: Callable[..., list[Path]]) -> None:
    """As many as are allowed: damaged, missing and no files. The rows of the others stay in their order."""
    paths = make_pictures(12, bad=[3, 9])
    paths[0].unlink()
    paths[5].unlink()
    paths[5].mkdir()
    decoded = run(paths, on_error="skip", max_skipped=4)
    good = [1, 2, 4, 6, 7, 8, 10, 11]
    assert decoded.kept.tolist() == good
    np.testing.assert_array_equal(decoded.X[:], one_by_one([paths[number] for number in good]))
    assert [number for number, _ in decoded.skipped] == [0, 3, 5, 9]
    for number, reason in decoded.skipped:
        with pytest.raises(DataError) as alone:
            reader.load_picture(paths[number], Preprocessing(NUM_PX))
        assert str(alone.value) == f"'{paths[number]}' {reason}"


@pytest.mark.parametrize("threads", [1, 8])
def test_too_many_bad_pictures_stop_it(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, decoded_files: list[int], threads: int
) -> None:
    """The message has the limit, the number of pictures, the first one and the parameter; no more are begun."""
    with_threads(monkeypatch, threads)
    paths = make_pictures(20, bad=[4, 5, 6])
    expected = r"^more than 2 of 20 pictures cannot be read, the first: '.*004.png' is .*; .* raise data.max_skipped$"
    with pytest.raises(DataError, match=expected):
        run(paths, on_error="skip", max_skipped=2)
    assert threads > 1 or len(decoded_files) == 7
    assert len(run(paths, on_error="skip", max_skipped=3).kept) == 17


@pytest.mark.parametrize("grows", [True, False])
def test_a_picture_that_changes_meanwhile_is_not_kept(
    grows: bool, make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is still being copied, or overwritten: its pixels would be stored under the digest of other bytes."""
    paths = make_pictures(3)
    read = reader.read_picture
    os.utime(paths[1], (1, 1))

    def change(stream: BinaryIO, preprocessing: Preprocessing, **how: Any) -> Picture:
        pixels = read(stream, preprocessing, **how)
        with paths[1].open("r+b") as other:
            other.seek(0, os.SEEK_END if grows else os.SEEK_SET)
            other.write(b"more")
        return pixels

    monkeypatch.setattr(reader, "read_picture", change)
    with pytest.raises(DataError, match=r"001.png' was changed while it was being read; wait until it is complete"):
        run(paths[1:2])


def test_a_disk_that_cannot_be_read_is_the_pictures_problem(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector: that picture can be skipped."""

    class Broken:
        def read(self, count: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(DataError, match=r"^cannot be read \(Input/output error\); replace or remove it$"):
        decode._read_digest(Broken())  # type: ignore[arg-type]


@pytest.mark.parametrize(("soon", "most"), [(2**18, 1), (0, 8)])
def test_where_all_is_found_one_thread_at_a_time_looks(
    soon: int,
    most: int,
    make_pictures: Callable[..., list[Path]],
    monkeypatch: pytest.MonkeyPatch,
    decoded_files: list[int],
) -> None:
    """Eight threads would mostly wait for each other, unless reading a file takes long."""
    with_threads(monkeypatch, 8)
    monkeypatch.setattr(decode, "_SMALL_BYTES", soon)
    paths = make_pictures(200)
    expected = run(paths).X[:]
    decoded_files.clear()
    inside, seen, read = [0], [], decode._read_digest

    def read_slowly(stream: BinaryIO) -> bytes:
        inside[0] += 1
        seen.append(inside[0])
        time.sleep(0.002)
        inside[0] -= 1
        return read(stream)

    monkeypatch.setattr(decode, "_read_digest", read_slowly)
    np.testing.assert_array_equal(run(paths).X[:], expected)
    assert (len(seen), decoded_files) == (200, [])
    assert (max(seen[150:]) == 1) == (most == 1)


# --- errors that are not a picture's ------------------------------------------------------


def test_no_memory_is_no_bad_picture(make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipping would change the training set. The other thread stops as well."""
    with_threads(monkeypatch, 2)
    begun: list[int] = []

    def fail(stream: BinaryIO, preprocessing: Preprocessing, **how: Any) -> Picture:
        begun.append(preprocessing.num_px)
        if len(begun) == 1:
            raise MemoryError
        time.sleep(0.02)
        return np.zeros((preprocessing.num_px, preprocessing.num_px, 3), np.uint8)

    monkeypatch.setattr(reader, "read_picture", fail)
    with pytest.raises(MemoryError):
        run(make_pictures(20), on_error="skip", max_skipped=20)
    assert len(begun) < 10


def test_a_full_disk_ends_it_and_keeps_what_is_there(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, decoded_files: list[int]
) -> None:
    """With free space again, the rest is decoded."""
    with_threads(monkeypatch, 2)
    paths, written, write = make_pictures(30), [0], os.pwrite

    def fill_up(descriptor: int, data: bytes, position: int) -> int:
        written[0] += len(data)
        if written[0] > 10 * (36 + N_X + 8):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, position)

    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", fill_up)
        with pytest.raises(EnvironmentProblem, match=r"cannot be written \(No space left on device\)"):
            run(paths, on_error="skip", max_skipped=30)
    assert len(decoded_files) <= 13  # one was begun by the other thread
    decoded_files.clear()
    np.testing.assert_array_equal(run(paths).X[:], one_by_one(paths))
    assert len(decoded_files) == 20 + 30  # those of one_by_one


def test_a_wrong_bound_is_found_out_before_anything_is_done(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch, decoded_files: list[int]
) -> None:
    """Before the first picture, and not after an hour."""
    monkeypatch.setenv("ONE_NEURON_CACHE_MB", "some")
    with pytest.raises(SettingsError, match="ONE_NEURON_CACHE_MB"):
        run(make_pictures(2))
    assert decoded_files == []


# --- memory --------------------------------------------------------------------------


def test_large_pictures_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more pixels at once than allowed; one that has more than that goes alone."""
    gate, held, most = decode._PixelBudget(10), [0], [0]
    lock = threading.Lock()

    def hold(pixels: int) -> None:
        with gate.reserve(pixels):
            with lock:
                held[0] += min(pixels, 10)
                most[0] = max(most[0], held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= min(pixels, 10)

    threads = [threading.Thread(target=hold, args=(pixels,)) for pixels in (4, 4, 4, 10, 3, 99, 3, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 8 <= most[0] <= 10
    assert held == [0]


def test_a_large_picture_has_its_turn() -> None:
    """Small ones that come later wait behind it; otherwise it might wait until the end."""
    gate, order = decode._PixelBudget(10), []

    def hold(pixels: int) -> None:
        with gate.reserve(pixels):
            order.append(pixels)

    threads = [threading.Thread(target=hold, args=(pixels,)) for pixels in (10, 1)]
    with gate.reserve(1):
        threads[0].start()
        while not gate._turn.locked():  # until it waits
            time.sleep(0.001)
        threads[1].start()
        time.sleep(0.02)  # in which it could pass
        assert order == []
    for thread in threads:
        thread.join(10)
    assert order == [10, 1]


def test_pixels_are_counted_before_they_are_decoded(
    make_pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for one picture alone, eight threads decode one at a time."""
    with_threads(monkeypatch, 8)
    monkeypatch.setattr(limits, "MAX_PIXELS", 8 * 8)
    paths, resize_picture, inside, most = make_pictures(16), convert.resize_picture, [0], [0]

    def convert_alone(image: Image.Image, preprocessing: Preprocessing, *, orientation: int) -> Picture:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1
        return resize_picture(image, preprocessing, orientation=orientation)

    monkeypatch.setattr(reader, "resize_picture", convert_alone)
    run(paths)
    assert most == [1]


# --- ends ----------------------------------------------------------------------------

_SLOW_RUN = """
import signal, sys, time
from pathlib import Path
from one_neuron.pictures import decode, reader
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.pictures.reader import load_picture
from one_neuron.system.memory_limits import Limit
from one_neuron.system import command
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell would ignore it
read = reader.read_picture
def read_slowly(*args, **how):
    time.sleep(0.02)
    return read(*args, **how)
reader.read_picture = read_slowly
print("ready", flush=True)
sys.stdin.read()
def run():
    decode.decode_pictures(sorted(Path(sys.argv[1]).iterdir()), Preprocessing(4))
sys.exit(command.run_command(run))
"""


def end_after(pictures: Path, root: Path, records: int, how: signal.Signals) -> tuple[int, float]:
    """Decode in another process and end it after some records; return its exit code and the seconds until its end."""

    def count() -> int:
        return sum(path.stat().st_size // 8 for path in root.rglob("*.keys"))

    command, quiet = [sys.executable, "-c", _SLOW_RUN, str(pictures)], subprocess.DEVNULL
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        give_up = time.monotonic() + 20
        while count() < records and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.002)
        process.send_signal(how)
        start = time.monotonic()
        code = process.wait(20)
    return code, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["kill", "ctrl-c", "terminate"],
)
def test_after_an_end_at_any_moment_the_rest_is_decoded(
    make_pictures: Callable[..., list[Path]],
    root: Path,
    decoded_files: list[int],
    how: signal.Signals,
    code: int,
) -> None:
    """It ends soon each time, and the rows are the same in the end. Each thread loses at most one record."""
    paths = make_pictures(60)
    expected = one_by_one(paths)
    decoded_files.clear()
    for records in (7, 31):
        ended, seconds = end_after(paths[0].parent, root, records, how)
        assert ended == code
        assert seconds < 10
    there = sum(path.stat().st_size // 8 for path in root.rglob("*.keys"))
    assert 31 <= there < 60
    np.testing.assert_array_equal(run(paths).X[:], expected)
    assert len(decoded_files) == 60 - there


@pytest.mark.slow
@pytest.mark.integration
def test_two_processes_at_once_have_the_same_rows(
    make_pictures: Callable[..., list[Path]], root: Path, decoded_files: list[int]
) -> None:
    """Neither waits for the other; what each has decoded serves the next."""
    paths = make_pictures(40)
    expected = one_by_one(paths)
    decoded_files.clear()
    command = [sys.executable, "-c", _SLOW_RUN, str(paths[0].parent)]
    start = partial(subprocess.Popen, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with start() as first, start() as second:
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in (first, second):
            assert process.stdin is not None
            process.stdin.close()
        assert (first.wait(20), second.wait(20)) == (0, 0)
    assert len(list(root.rglob("*.rows"))) == 2
    np.testing.assert_array_equal(run(paths).X[:], expected)
    assert decoded_files == []


def test_a_picture_for_which_memory_is_too_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,100 x 2,000 pixels of four bytes and an eighth are 18.03 MB; a smaller one is read without a check."""
    for name, size in (("large.png", (2100, 2000)), ("small.png", (2000, 2000))):
        Image.new("RGB", size).save(tmp_path / name)
    limit = Limit("resident", 18 * 2**20, 0, "this machine", "end other programs")
    monkeypatch.setattr("one_neuron.system.memory.find_limits", lambda _: [limit])
    preprocessing = Preprocessing(2, "stretch", "exact")
    path = tmp_path / "large.png"
    message = (
        f"'{path}': the picture needs 19 MB of memory; this machine allows 18 MB: make the picture smaller, or end"
    )
    for read in (lambda: load_picture(path, preprocessing), lambda: decode_pictures([path], preprocessing)):
        with pytest.raises(EnvironmentProblem) as caught:
            read()
        assert str(caught.value).startswith(message)
    assert load_picture(tmp_path / "small.png", preprocessing).shape == (2, 2, 3)
