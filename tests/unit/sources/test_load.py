"""Where pictures come from: folders, and the course's files from a folder, the cache or a (local) server."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.pictures.preprocessing import Preprocessing
from one_neuron.settings.params import Settings, check_settings
from one_neuron.sources import catvnoncat
from one_neuron.sources.load import load_source
from one_neuron.sources.report import Loaded
from one_neuron.storage.prepared_set import PreparedSet
from tests.values import DATA, HDF5

CLASSES = ("non-cat", "cat")
TRAIN, TEST = "train_catvnoncat.h5", "test_catvnoncat.h5"


def make_settings(**data: Any) -> Settings:
    """Return settings with other values in the section data."""
    values = {
        "draw": {"seed": 1, "num_train": 8, "num_test": 4},
        "data": {**DATA, **data},
        "hdf5": HDF5,
        "train": {"learning_rate": 0.1, "num_iterations": 1, "record_every": 1, "tolerance": 0, "threshold": 0.5},
        "evaluate": {"num_mistakes": 1},
    }
    return check_settings(values, origin="the test")


def load_course(num_px: int) -> tuple[PreparedSet, PreparedSet]:
    """Load the files that the environment variable names."""
    return catvnoncat.load(make_settings(source="catvnoncat", num_px=num_px).data)


def load(settings: Settings) -> Loaded:
    """Load the pictures that these settings name; none are drawn."""
    return load_source(settings.data, settings.hdf5, drawn=Path("drawn"))


def write_course_file(path: Path, split: str, labels: list[int], num_px: int = 4) -> None:
    """Write a small file in the course's format: picture i is all of value i."""
    with h5py.File(path, "w") as file:
        values = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
        file[f"{split}_set_x"] = np.broadcast_to(values, (len(labels), num_px, num_px, 3))
        file[f"{split}_set_y"] = np.array(labels, dtype=np.int64)
        file["list_classes"] = np.array([b"non-cat", b"cat"])


@pytest.fixture
def course_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two small files that are taken for the course's, named by the environment variable."""
    root = tmp_path / "course like"
    root.mkdir()
    write_course_file(root / TRAIN, "train", [0, 1, 1])
    write_course_file(root / TEST, "test", [1, 0])
    digests = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in (TRAIN, TEST)}
    monkeypatch.setattr(catvnoncat, "SHA256", digests)
    monkeypatch.setenv(catvnoncat.FOLDER_VARIABLE, str(root))
    return root


def test_the_course_s_files(course_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """209 and 50 photographs, 72 and 33 of them cats, the pixels as they lie in the file."""
    monkeypatch.setenv(catvnoncat.FOLDER_VARIABLE, str(course_folder))
    loaded = load(make_settings(source="catvnoncat", num_px=64))
    train, test = loaded.train, loaded.test
    assert (train.X.shape, test.X.shape) == ((209, 12288), (50, 12288))
    assert (int(train.Y.sum()), int(test.Y.sum())) == (72, 33)
    assert train.classes == CLASSES
    assert train.names[208] == "train_set_x[208]"
    with h5py.File(course_folder / TRAIN) as file:
        assert (train.X == file["train_set_x"][:].reshape(209, -1)).all()
        assert (train.Y == file["train_set_y"][:]).all()


def test_the_course_s_format(course_like: Path) -> None:
    """At their own size the pixels are not touched, at another they are resized."""
    train, test = load_course(4)
    assert train.X.tolist() == [[value] * 48 for value in range(3)]
    assert (train.Y.tolist(), test.Y.tolist()) == ([0, 1, 1], [1, 0])
    assert (test.names, test.classes) == (("test_set_x[0]", "test_set_x[1]"), CLASSES)
    resized, _ = load_course(2)
    assert resized.X.tolist() == [[value] * 12 for value in range(3)]
    assert resized.preprocessing.num_px == 2


def test_a_file_with_another_digest_is_refused(course_like: Path) -> None:
    """Both digests are named."""
    path = course_like / TEST
    path.write_bytes(path.read_bytes() + b"\0")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=rf"{TEST}' has the SHA-256 {found}; expected {catvnoncat.SHA256[TEST]}"):
        load_course(4)


def test_a_missing_file_is_named_with_the_variable(course_like: Path) -> None:
    """And no download is tried."""
    (course_like / TRAIN).unlink()
    with pytest.raises(DataError, match=rf"{TRAIN}' does not exist; ONE_NEURON_CATVNONCAT_DIR must name the folder"):
        load_course(4)


def test_a_tilde_means_the_home_folder(course_like: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable may be written as in a shell."""
    monkeypatch.setenv("HOME", str(course_like.parent))
    monkeypatch.setenv(catvnoncat.FOLDER_VARIABLE, "~/course like")
    assert load_course(4)[0].m == 3


@pytest.mark.parametrize("split", ["training", "test"])
def test_one_class_alone_is_refused(split: str, course_like: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to tell apart."""
    part = {"training": "train", "test": "test"}[split]
    path = course_like / f"{part}_catvnoncat.h5"
    write_course_file(path, part, [1, 1])
    monkeypatch.setitem(catvnoncat.SHA256, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(DataError, match=f"catvnoncat: the {split} set holds only the class 'cat'; add pictures"):
        load(make_settings(source="catvnoncat", num_px=4))


def test_each_source_is_asked_with_its_settings(tmp_path: Path, course_like: Path) -> None:
    """The same small course-like files by their digest and as files of the user's own: the same pixels and labels."""
    known = load(make_settings(source="catvnoncat", num_px=2, resize="crop", decode="fast"))
    own = load(make_settings(source="hdf5", num_px=2, resize="crop", decode="fast", path=str(course_like)))
    for source, loaded in {"catvnoncat": known, "hdf5": own}.items():
        for prepared in (loaded.train, loaded.test):
            assert (prepared.source, prepared.preprocessing) == (source, Preprocessing(2, "crop", "fast"))
    assert (own.train.X == known.train.X).all()
    assert own.train.names == known.train.names
    assert (own.test.Y == known.test.Y).all()
    assert [(one.name, one.label, one.train, one.test) for one in own.classes] == [
        ("non-cat", 0, 1, 1),
        ("cat", 1, 2, 1),
    ]
    assert own.classes == known.classes
    assert (own.train.source, known.train.source, own.train.preprocessing.resize) == ("hdf5", "catvnoncat", "crop")
    with pytest.raises(DataError, match=r"nowhere' is missing|nowhere' does not exist"):
        load(make_settings(source="hdf5", path=str(tmp_path / "nowhere")))


def test_a_single_file_without_a_test_set_is_split(tmp_path: Path) -> None:
    """By content: about a fifth is held out, and a copy goes with its original."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 3, 3, 3), dtype=np.uint8)
    pictures[150:] = pictures[:50]
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["x"], file["y"] = pictures, np.arange(200) % 2
    settings = make_settings(source="hdf5", num_px=3, path=str(tmp_path / "own.h5"))
    names = replace(settings.hdf5, train_x="x", train_y="y", test_x="", test_y="", classes="")
    loaded = load(replace(settings, hdf5=names))
    assert loaded.train.m + loaded.test.m == 200
    assert 20 <= loaded.test.m <= 60
    assert loaded.train.classes == ("0", "1")
    train, test = ({row.tobytes() for row in each.X} for each in (loaded.train, loaded.test))
    assert not train & test


@dataclass
class Server:
    """A server on this machine that knows some paths and counts the requests."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    """Return a running server; it is reached without any proxy."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            content = state.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        state.address = f"http://127.0.0.1:{httpd.server_port}"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        httpd.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> int:
    """Return a port of this machine where nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


@pytest.fixture
def to_download(course_like: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return the two files by name, to be downloaded into an empty cache: the variable is not set."""
    monkeypatch.delenv(catvnoncat.FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    return {name: (course_like / name).read_bytes() for name in (TRAIN, TEST)}


@pytest.mark.slow
def test_addresses_are_tried_in_turn(
    server: Server, closed_port: int, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead, unknown there, other bytes, right: the fourth serves, and the next time the cache does."""
    addresses = (f"http://127.0.0.1:{closed_port}/{{name}}", *(f"{server.address}/{i}/{{name}}" for i in range(4)))
    monkeypatch.setattr(catvnoncat, "ADDRESSES", addresses)
    for name, content in to_download.items():
        server.files[f"/1/{name}"] = b"other bytes"
        server.files[f"/2/{name}"] = content
    train, test = load_course(4)
    assert (train.m, test.m) == (3, 2)
    assert server.asked == [f"/{i}/{name}" for name in (TRAIN, TEST) for i in range(3)]
    cached = tmp_path / "cache" / "one-neuron"
    assert {path.name: path.read_bytes() for path in cached.iterdir()} == to_download
    server.asked.clear()
    assert load_course(4)[0].sha256 == train.sha256
    assert server.asked == []


def test_a_damaged_cache_is_mended(
    server: Server, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the cache is checked each time, and fetched again."""
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (f"{server.address}/{{name}}",))
    server.files = {f"/{name}": content for name, content in to_download.items()}
    cached = tmp_path / "cache" / "one-neuron" / TRAIN
    cached.parent.mkdir(parents=True)
    cached.write_bytes(to_download[TRAIN][:-1])
    assert load_course(4)[0].m == 3
    assert cached.read_bytes() == to_download[TRAIN]


def test_only_wrong_bytes_are_refused(
    server: Server, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing wrong stays in the cache."""
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (f"{server.address}/{{name}}",))
    server.files = {f"/{name}": b"other bytes" for name in to_download}
    with pytest.raises(EnvironmentProblem, match=rf"{TRAIN} could not be downloaded from 1 addresses"):
        load_course(4)
    assert list((tmp_path / "cache" / "one-neuron").iterdir()) == []


def test_offline_fails_at_once_with_one_line(
    closed_port: int, to_download: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within seconds, and the message names both remedies."""
    dead = f"http://127.0.0.1:{closed_port}/{{name}}"
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (dead, dead, dead))
    started = time.perf_counter()
    with pytest.raises(EnvironmentProblem) as caught:
        load_course(4)
    assert time.perf_counter() - started < 5
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{TRAIN} could not be downloaded from 3 addresses (")
    assert "set ONE_NEURON_CATVNONCAT_DIR to its folder, or use data.source: drawn" in message


def test_a_cache_that_cannot_be_written_is_named(
    server: Server, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a file stands where the folder should be."""
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (f"{server.address}/{{name}}",))
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(EnvironmentProblem, match=r"cache/one-neuron' cannot be written"):
        load_course(4)


@pytest.mark.parametrize("address", catvnoncat.ADDRESSES)
def test_the_public_addresses_are_secure_and_name_the_file(address: str) -> None:
    """HTTPS, and a place for the name."""
    assert address.startswith("https://")
    assert address.count("{name}") == 1


def test_the_pinned_digests_are_those_of_the_course(course_folder: Path) -> None:
    """Computed from the files themselves."""
    for name, digest in catvnoncat.SHA256.items():
        assert hashlib.sha256((course_folder / name).read_bytes()).hexdigest() == digest
