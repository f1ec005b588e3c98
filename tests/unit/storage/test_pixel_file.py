"""Pixels that stay on disk give what an ndarray would give, in bounded memory, from any thread."""

import errno
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from one_neuron import neuron
from one_neuron.errors import DataError, SettingsError
from one_neuron.neuron import Parameters
from one_neuron.plots.pictures import plot_examples, plot_mistakes
from one_neuron.rows import RowsOnDisk
from one_neuron.storage import pixel_file
from one_neuron.storage.names import StoredNames
from one_neuron.storage.pixel_file import PixelFile, memory_bound, row_blocks
from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared
from tests.processes import READ_PEAK

MakePrepared = Callable[..., PreparedSet]
M, N_X, OFFSET = 7, 5, 3


class Rows(RowsOnDisk):
    """Rows that are computed where they are used; they record the bytes of the largest block."""

    def __init__(self, m: int, n_x: int) -> None:
        super().__init__((m, n_x))
        self.largest = 0

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        rows = np.arange(key.start, key.stop)[:, np.newaxis]
        block = ((rows * 7 + np.arange(self.shape[1])) % 251).astype(np.uint8)
        self.largest = max(self.largest, block.nbytes)
        return block


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PixelFile, NDArray[np.uint8]]]:
    """Return the same pixels on disk and in memory."""
    X = np.random.default_rng(0).integers(0, 256, (M, N_X), dtype=np.uint8)
    path = tmp_path_factory.mktemp("pixels") / "X"
    path.write_bytes(b"-" * OFFSET + X.tobytes() + b"behind")
    with closing(PixelFile(path, offset=OFFSET, shape=X.shape)) as on_disk:
        yield on_disk, X


@pytest.fixture
def on_disk(tmp_path: Path, make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> PreparedSet:
    """Return a prepared set of 300 pictures that lies in `set.h5`."""
    save_prepared(tmp_path / "set.h5", make_prepared(m=300, num_px=8))
    monkeypatch.setattr("one_neuron.storage.prepared_set.memory_bound", lambda: 0)
    prepared = load_prepared(tmp_path / "set.h5")
    assert isinstance(prepared.X, PixelFile)
    return prepared


def open_files() -> int:
    """Return how many files this process holds open."""
    return len(list(Path("/dev/fd").iterdir()))


def test_short_reads_are_completed(both: tuple[PixelFile, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give less than it was asked for."""
    on_disk, X = both
    real = os.preadv
    monkeypatch.setattr("os.preadv", lambda file, buffers, position: real(file, [buffers[0][:3]], position))
    assert (on_disk[:] == X).all()
    assert (on_disk[:, 1:] == X[:, 1:]).all()


def test_no_read_asks_for_two_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MacOS refuses a call for more than INT_MAX bytes (EINVAL) instead of reading less. Nothing is read here."""
    path, asked, expected = tmp_path / "X", list[tuple[int, int]](), 0
    path.touch()

    def preadv(_: int, buffers: list[memoryview], position: int) -> int:
        count = sum(buffer.nbytes for buffer in buffers)
        if count > 2**31 - 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        asked.append((position, count))
        return count

    monkeypatch.setattr("os.preadv", preadv)
    with closing(PixelFile(path, offset=7, shape=(3, 2**30 - 5))) as pixels:
        pixels[:]
    for position, count in asked:
        assert position - 7 == expected
        expected += count
    assert expected == 3 * (2**30 - 5)


def test_a_file_that_becomes_shorter_is_data_gone_bad(on_disk: PreparedSet, tmp_path: Path) -> None:
    """One line that names it; what is still there can be read."""
    path = tmp_path / "set.h5"
    first = on_disk.X[0]
    os.truncate(path, path.stat().st_size - 1)
    assert (on_disk.X[0] == first).all()
    for key in (slice(None), -1, (slice(None), slice(-1, None))):
        with pytest.raises(DataError, match=r"set\.h5' was cut off while it was being read; run `dvc repro`"):
            on_disk.X[key]


def test_an_unreadable_disk_names_the_file(
    both: tuple[PixelFile, NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the one line on stderr can name it."""

    def fail(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.preadv", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        both[0][0]
    assert caught.value.filename == str(both[0].path)


def test_a_replaced_file_is_read_to_its_end(on_disk: PreparedSet, tmp_path: Path, make_prepared: MakePrepared) -> None:
    """As an ndarray would stay as it is."""
    before = on_disk.X[:]
    save_prepared(tmp_path / "set.h5", make_prepared(m=300, num_px=8, seed=1))
    assert (on_disk.X[:] == before).all()
    assert (load_prepared(tmp_path / "set.h5").X[:] != before).any()


def test_threads_read_at_the_same_time(on_disk: PreparedSet) -> None:
    """Each gets its own rows."""
    X = on_disk.X[:]

    def read(seed: int) -> bool:
        dice = random.Random(seed)
        right = True
        for _ in range(300):
            start, count = dice.randrange(250), dice.randrange(50)
            out = np.zeros((count, X.shape[1]), dtype=np.uint8)
            on_disk.X.read_into(start, out)
            right &= bool((out == X[start : start + count]).all())
            right &= bool((on_disk.X[:start, 5:9] == X[:start, 5:9]).all())
        return right

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))


def test_the_file_is_closed(both: tuple[PixelFile, NDArray[np.uint8]]) -> None:
    """By close, by `with`, and when the object is deleted; a closed one reads nothing, not even another file."""
    path, before = both[0].path, open_files()
    for _ in range(3):
        PixelFile(path, offset=0, shape=(1, 1))
    assert open_files() == before
    with closing(PixelFile(path, offset=0, shape=(1, 1))) as on_disk:
        assert open_files() == before + 1
    assert open_files() == before
    on_disk.close()
    with path.open("rb"), pytest.raises(ValueError, match="is closed"):
        on_disk[0]


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7])
def test_blocks_are_all_rows_in_their_order(m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any memory layout, with a last block that is smaller or not."""
    monkeypatch.setattr(pixel_file, "BLOCK_BYTES", 30)
    X = Rows(m, 10)[0:m]
    for source in (X, np.asfortranarray(X), Rows(m, 10)):
        blocks = list(row_blocks(source))
        assert (np.concatenate(blocks) == X).all()
        assert all(block.flags.c_contiguous and 1 <= len(block) <= 3 for block in blocks)


def test_a_block_that_does_not_fit_is_refused(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """Rows of another shape than declared write no file."""

    class Fewer(Rows):
        def __getitem__(self, key: Any) -> NDArray[np.uint8]:
            return super().__getitem__(key)[1:]

    with pytest.raises(DataError, match=r"X\[0:6\] has shape \(5, 12\) and type uint8; expected \(6, 12\) uint8"):
        save_prepared(tmp_path / "set.h5", make_prepared(X=Fewer(6, 12)))
    assert list(tmp_path.iterdir()) == []


def test_the_same_file_wherever_the_pixels_come_from(
    on_disk: PreparedSet, tmp_path: Path, make_prepared: MakePrepared
) -> None:
    """An ndarray, a file, or rows made on the way: the same bytes and the same SHA-256."""
    save_prepared(tmp_path / "again.h5", on_disk)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "set.h5").read_bytes()
    save_prepared(tmp_path / "set.h5", on_disk)  # over the file that it is read from
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "set.h5").read_bytes()

    rows = Rows(300, 192)
    made = [make_prepared(m=300, num_px=8, X=X) for X in (rows, rows[0:300])]
    for path, prepared in zip(("rows.h5", "array.h5"), made, strict=True):
        save_prepared(tmp_path / path, prepared)
    assert (tmp_path / "rows.h5").read_bytes() == (tmp_path / "array.h5").read_bytes()
    assert made[0].sha256 == made[1].sha256 == load_prepared(tmp_path / "rows.h5").sha256
    with h5py.File(tmp_path / "rows.h5") as file:
        assert (file["X"][:] == rows[0:300]).all()
        assert file["names"][0] == b"train/000.png"


@pytest.mark.slow
def test_no_memory_that_happens_to_lie_there_is_written(tmp_path: Path) -> None:
    """Whatever freed memory holds, the file is the same."""
    program = (
        "import sys; from pathlib import Path; import numpy as np; from one_neuron.storage.prepared_set import *\n"
        "save_prepared(Path(sys.argv[1]), PreparedSet(np.ones((5, 12), 'u1'), np.ones(5, 'u1'), tuple('abcde'), "
        "Preprocessing(2), ('a', 'b'), ''))\n"
    )
    digests = set()
    for filling in ("", "85", "170"):
        environment = {**os.environ, "MALLOC_PERTURB_": filling} if filling else dict(os.environ)
        command = [sys.executable, "-c", program, str(tmp_path / "set.h5")]
        subprocess.run(command, check=True, timeout=60, env=environment)
        digests.add(hashlib.sha256((tmp_path / "set.h5").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_the_digest_is_worked_out_once(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not taken over by a set with other content."""
    prepared = make_prepared()
    first = prepared.sha256
    assert replace(prepared, source="other").sha256 != first
    monkeypatch.setattr("one_neuron.storage.prepared_set.row_blocks", lambda X: pytest.fail("read again"))
    assert prepared.sha256 == first


def rewrite(path: Path, create: Callable[[h5py.File, NDArray[np.uint8]], None]) -> None:
    """Store X of a file in another way; the content stays the same."""
    with h5py.File(path, "r+") as file:
        X = file["X"][:]
        del file["X"]
        create(file, X)


def make_chunked(file: h5py.File, X: NDArray[np.uint8]) -> None:
    """Store X in chunks."""
    file.create_dataset("X", data=X, chunks=(10, X.shape[1]))


def make_packed(file: h5py.File, X: NDArray[np.uint8]) -> None:
    """Store X compressed."""
    file.create_dataset("X", data=X, compression="gzip")


def make_compact(file: h5py.File, X: NDArray[np.uint8]) -> None:
    """Store X in the header of its dataset."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    file.create_dataset("X", data=X, dcpl=plan)


def make_external(file: h5py.File, X: NDArray[np.uint8]) -> None:
    """Store X in a file beside."""
    file.create_dataset("X", data=X, external=[(f"{file.filename}.raw", 0, X.nbytes)])


def make_virtual(file: h5py.File, X: NDArray[np.uint8]) -> None:
    """Make X a link to a dataset of another file."""
    with h5py.File(f"{file.filename}.other", "w") as other:
        other["X"] = X
    layout = h5py.VirtualLayout(shape=X.shape, dtype=X.dtype)
    layout[:] = h5py.VirtualSource(f"{file.filename}.other", "X", shape=X.shape)
    file.create_virtual_dataset("X", layout)


@pytest.mark.parametrize("create", [make_chunked, make_packed, make_compact, make_external, make_virtual])
def test_pixels_that_do_not_lie_in_one_piece_are_refused(
    create: Callable[[h5py.File, NDArray[np.uint8]], None], on_disk: PreparedSet, tmp_path: Path
) -> None:
    """HDF5 itself would read such a file, which this project never writes."""
    rewrite(tmp_path / "set.h5", create)
    with pytest.raises(DataError, match=r"set\.h5': 'X' (is not stored in one|lies in other files).*dvc repro"):
        load_prepared(tmp_path / "set.h5")


def test_a_file_with_a_block_of_the_user_s_before_it_is_read(on_disk: PreparedSet, tmp_path: Path) -> None:
    """HDF5 counts from behind that block, the system from the beginning."""
    moved = tmp_path / "moved.h5"
    with h5py.File(tmp_path / "set.h5") as old, h5py.File(moved, "w", userblock_size=1024) as new:
        for key in old:
            new[key] = old[key][:]
        for key, value in old.attrs.items():
            new.attrs[key] = np.bytes_(value) if isinstance(value, bytes) else value
    loaded = load_prepared(moved)
    assert isinstance(loaded.X, PixelFile)
    assert (loaded.X[:] == on_disk.X[:]).all()


@pytest.mark.parametrize(
    ("text", "megabytes"), [(None, 500), ("", 500), ("64", 64), (" 1000 ", 1000), ("9" * 5000, 10**18 - 1)]
)
def test_the_bound_comes_from_the_environment(
    text: str | None, megabytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing said means the default; any amount is allowed."""
    monkeypatch.delenv("ONE_NEURON_MEMORY_MB", raising=False)
    if text is not None:
        monkeypatch.setenv("ONE_NEURON_MEMORY_MB", text)
    monkeypatch.setattr("one_neuron.storage.pixel_file.memory_left", lambda: 2**100)
    assert memory_bound() == megabytes * 2**20


@pytest.mark.parametrize(("left", "bound"), [(2**40, 500 * 2**20), (400 * 2**20, 100 * 2**20), (0, 4 * 2**20)])
def test_the_bound_is_lower_where_memory_is_short(left: int, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of what is left, and at least one block."""
    monkeypatch.delenv("ONE_NEURON_MEMORY_MB", raising=False)
    monkeypatch.setattr("one_neuron.storage.pixel_file.memory_left", lambda: left)
    assert memory_bound() == bound


@pytest.mark.parametrize("text", ["63", "0", "-100", "1e3", "500.0", "500 MB", "much", "²", "\u0665", "1_000", "nan"])
def test_a_wrong_bound_is_refused(
    text: str, tmp_path: Path, make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable, the value and what is allowed; also where the set is small."""
    save_prepared(tmp_path / "set.h5", make_prepared())
    monkeypatch.setenv("ONE_NEURON_MEMORY_MB", text)
    message = f"ONE_NEURON_MEMORY_MB = '{text}'; expected a whole number of at least 64"
    with pytest.raises(SettingsError, match=message) as caught:
        load_prepared(tmp_path / "set.h5")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("bound", "stays"), [(72, False), (71, True)])
def test_the_bound_decides(
    bound: int, stays: bool, make_prepared: MakePrepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six pictures of 12 bytes fit into 72."""
    save_prepared(tmp_path / "set.h5", make_prepared())
    monkeypatch.setattr("one_neuron.storage.prepared_set.memory_bound", lambda: bound)
    loaded = load_prepared(tmp_path / "set.h5")
    assert isinstance(loaded.X, PixelFile) == stays
    assert isinstance(loaded.names, StoredNames) == stays


def test_a_caller_can_leave_a_small_set_on_disk(make_prepared: MakePrepared, tmp_path: Path) -> None:
    """Pixels and names, with the same digest; they can be saved again."""
    prepared = make_prepared(m=9, names=tuple(f"{i}.png" * i for i in range(9)))
    save_prepared(tmp_path / "set.h5", prepared)
    loaded = load_prepared(tmp_path / "set.h5", on_disk=True)
    assert isinstance(loaded.X, PixelFile)
    assert isinstance(loaded.names, StoredNames)
    assert not isinstance(loaded.names.stored, np.ndarray)
    assert (tuple(loaded.names), loaded.sha256) == (prepared.names, prepared.sha256)
    assert loaded.X[:].tobytes() == prepared.X.tobytes()
    save_prepared(tmp_path / "again.h5", loaded)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "set.h5").read_bytes()


MEMORY = """if True:
    import sys
    from pathlib import Path
    import numpy as np
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.storage.pixel_file import PixelFile
    from one_neuron.storage.prepared_set import PreparedSet, load_prepared, save_prepared

    class Rows:
        shape, dtype = (25_000, 12_288), np.dtype(np.uint8)
        def __getitem__(self, key):
            return np.full((key.stop - key.start, 12_288), key.start % 251, np.uint8)

    path, before = Path(sys.argv[1]), read_peak()
    names = tuple(f"train/{i:07}.png" for i in range(25_000))
    save_prepared(path, PreparedSet(Rows(), np.zeros(25_000, np.uint8), names, Preprocessing(64), ("a", "b"), ""))
    prepared = load_prepared(path)
    assert isinstance(prepared.X, PixelFile)
    assert prepared.X.nbytes == 307_200_000
    print((read_peak() - before) // 2**20)
"""


@pytest.mark.slow
def test_a_large_set_takes_little_memory(tmp_path: Path) -> None:
    """307 MB are written and read; what is in memory at a time is far less than the bound of 64 MB."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READ_PEAK + MEMORY, str(tmp_path / "set.h5")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "ONE_NEURON_MEMORY_MB": "64"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 64
    (tmp_path / "set.h5").unlink()


@pytest.mark.slow
def test_the_neuron_and_the_plots_take_pixels_on_disk(on_disk: PreparedSet, tmp_path: Path) -> None:
    """The same bits and bytes as from memory."""
    in_memory = replace(on_disk, X=on_disk.X[:], names=tuple(on_disk.names))
    parameters = Parameters(w=np.random.default_rng(0).normal(size=192), b=0.5)
    z = neuron.compute_z(in_memory.X, parameters)
    assert neuron.compute_z(on_disk.X, parameters).tobytes() == z.tobytes()
    dw, db = neuron.gradient(in_memory.X, in_memory.Y, z)
    assert neuron.gradient(on_disk.X, on_disk.Y, z)[0].tobytes() == dw.tobytes()
    assert neuron.gradient(on_disk.X, on_disk.Y, z)[1] == db
    for name, prepared in (("memory", in_memory), ("disk", on_disk)):
        plot_examples(tmp_path / f"{name}-examples.png", prepared, neuron.sigmoid(z), threshold=0.5)
        plot_mistakes(tmp_path / f"{name}-mistakes.png", prepared, neuron.sigmoid(z), np.array([299, 7]), threshold=0.5)
    for plot in ("examples", "mistakes"):
        found = [(tmp_path / f"{name}-{plot}.png").read_bytes() for name in ("memory", "disk")]
        assert found[0] == found[1]
