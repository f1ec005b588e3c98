"""Where pictures come from: folders, and the course's files from a folder, the cache or a (local) server."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.images import load_picture
from one_neuron.settings import DataSettings
from one_neuron.sources import catvnoncat, folder, load_source

CLASSES = ("non-cat", "cat")
TRAIN, TEST = "train_catvnoncat.h5", "test_catvnoncat.h5"
MakeFolder = Callable[[dict[str, int]], Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that makes plain pictures: their paths and their grey values."""

    def make(pictures: dict[str, int]) -> Path:
        for name, grey in pictures.items():
            path = tmp_path / "drawn" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (5, 3), grey).save(path, format="PNG")
        return tmp_path / "drawn"

    return make


FULL = {
    "train/cat/b.png": 10,
    "train/cat/a.PNG": 20,
    "train/cat/10.jpg": 30,
    "train/cat/9.jpg": 40,
    "train/non-cat/z.bmp": 50,
    "train/non-cat/A.webp": 60,
    "test/cat/1.png": 70,
    "test/non-cat/1.png": 80,
}


def test_a_folder_is_read_in_order(make_folder: MakeFolder) -> None:
    """Label 0 first, then by name (capital letters and digits by their code), whatever the file system's order."""
    train, test = folder.load(make_folder(FULL), classes=CLASSES, num_px=2)
    assert train.names == (
        *("train/non-cat/A.webp", "train/non-cat/z.bmp"),
        *("train/cat/10.jpg", "train/cat/9.jpg", "train/cat/a.PNG", "train/cat/b.png"),
    )
    assert train.X[:, 0].tolist() == [60, 50, 30, 40, 20, 10]
    assert train.Y.tolist() == [0, 0, 1, 1, 1, 1]
    assert (test.names, test.Y.tolist()) == (("test/non-cat/1.png", "test/cat/1.png"), [0, 1])
    assert train.X.shape == (6, 12)
    assert (train.num_px, train.classes) == (2, CLASSES)


def test_the_class_order_is_the_label(make_folder: MakeFolder) -> None:
    """The second class is label 1."""
    train, _ = folder.load(make_folder(FULL), classes=("cat", "non-cat"), num_px=1)
    assert train.Y.tolist() == [0, 0, 0, 0, 1, 1]
    assert train.names[-1] == "train/non-cat/z.bmp"


def test_rows_are_the_pictures(make_folder: MakeFolder, tmp_path: Path) -> None:
    """Many pictures, read by many threads, each in its own row; training and prediction see the same pixels."""
    root = make_folder(FULL)
    rng = np.random.default_rng(0)
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(root / f"train/cat/{i:03}.png")
    train, _ = folder.load(root, classes=CLASSES, num_px=4)
    assert train.m == 46
    for name, row in zip(train.names, train.X, strict=True):
        assert (row == load_picture(root / name, 4).reshape(-1)).all()


def test_other_files_are_left_out(make_folder: MakeFolder) -> None:
    """Hidden files, notes, folders without a picture's suffix."""
    root = make_folder({**FULL, "train/cat/.hidden.png": 1, "train/cat/._b.png": 1})
    (root / "train/cat/notes.txt").write_text("no picture")
    (root / "train/cat/Thumbs.db").write_bytes(b"\0")
    (root / "train/cat/more").mkdir()
    assert [path.name for path in folder.list_pictures(root / "train/cat")] == ["10.jpg", "9.jpg", "a.PNG", "b.png"]


def test_an_empty_class_is_refused(make_folder: MakeFolder) -> None:
    """The folder and the suffixes that would do are named."""
    root = make_folder({name: grey for name, grey in FULL.items() if not name.startswith("test/cat")})
    with pytest.raises(DataError, match=r"test/cat' is not a folder; expected one with pictures"):
        folder.load(root, classes=CLASSES, num_px=2)
    (root / "test/cat").mkdir()
    (root / "test/cat/.hidden.png").touch()
    with pytest.raises(DataError, match=r"test/cat' holds no picture; put some there \(.*\.png"):
        folder.load(root, classes=CLASSES, num_px=2)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The first missing one is named."""
    with pytest.raises(DataError, match=r"nowhere/train/non-cat' is not a folder"):
        folder.load(tmp_path / "nowhere", classes=CLASSES, num_px=2)


def test_a_damaged_picture_is_named(make_folder: MakeFolder) -> None:
    """Among all the others."""
    root = make_folder(FULL)
    (root / "train/cat/broken one.jpg").write_text("text")
    with pytest.raises(DataError, match=r"broken one.jpg' is not a picture"):
        folder.load(root, classes=CLASSES, num_px=2)


def test_names_of_any_bytes(make_folder: MakeFolder) -> None:
    """A file name may hold bytes that are no UTF-8, spaces and line ends."""
    root = make_folder({**FULL, "train/cat/caf\udce9.png": 1, "train/cat/a b\n.png": 2})
    train, _ = folder.load(root, classes=CLASSES, num_px=2)
    assert {"train/cat/caf\udce9.png", "train/cat/a b\n.png"} <= set(train.names)


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
    train, test = load_source(DataSettings(source="catvnoncat", num_px=64), Path("unused"))
    assert (train.X.shape, test.X.shape) == ((209, 12288), (50, 12288))
    assert (int(train.Y.sum()), int(test.Y.sum())) == (72, 33)
    assert train.classes == CLASSES
    assert train.names[208] == "train_set_x[208]"
    with h5py.File(course_folder / TRAIN) as file:
        assert (train.X == file["train_set_x"][:].reshape(209, -1)).all()
        assert (train.Y == file["train_set_y"][:]).all()


def test_the_course_s_format(course_like: Path) -> None:
    """At their own size the pixels are not touched, at another they are resized."""
    train, test = catvnoncat.load(4)
    assert train.X.tolist() == [[value] * 48 for value in range(3)]
    assert (train.Y.tolist(), test.Y.tolist()) == ([0, 1, 1], [1, 0])
    assert (test.names, test.classes) == (("test_set_x[0]", "test_set_x[1]"), CLASSES)
    resized, _ = catvnoncat.load(2)
    assert resized.X.tolist() == [[value] * 12 for value in range(3)]
    assert resized.num_px == 2


def test_a_file_with_another_digest_is_refused(course_like: Path) -> None:
    """Both digests are named."""
    path = course_like / TEST
    path.write_bytes(path.read_bytes() + b"\0")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match=rf"{TEST}' has the SHA-256 {found}; expected {catvnoncat.SHA256[TEST]}"):
        catvnoncat.load(4)


def test_a_missing_file_is_named_with_the_variable(course_like: Path) -> None:
    """And no download is tried."""
    (course_like / TRAIN).unlink()
    with pytest.raises(DataError, match=rf"{TRAIN}' does not exist; ONE_NEURON_CATVNONCAT_DIR must name the folder"):
        catvnoncat.load(4)


def test_a_tilde_means_the_home_folder(course_like: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable may be written as in a shell."""
    monkeypatch.setenv("HOME", str(course_like.parent))
    monkeypatch.setenv(catvnoncat.FOLDER_VARIABLE, "~/course like")
    assert catvnoncat.load(4)[0].m == 3


@pytest.mark.parametrize(
    ("source", "split"), [("drawn", "training"), ("catvnoncat", "training"), ("catvnoncat", "test")]
)
def test_one_class_alone_is_refused(
    source: str, split: str, course_like: Path, make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to tell apart."""
    if source == "drawn":
        root = make_folder(FULL)
        train, test = folder.load(root, classes=CLASSES, num_px=4)
        only_cats = type(train)(X=train.X[2:], Y=train.Y[2:], names=train.names[2:], num_px=4, classes=CLASSES)
        monkeypatch.setattr(folder, "load", lambda *_, **__: (only_cats, test))
    else:
        part = {"training": "train", "test": "test"}[split]
        path = course_like / f"{part}_catvnoncat.h5"
        write_course_file(path, part, [1, 1])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(catvnoncat.SHA256, path.name, digest)
    with pytest.raises(DataError, match=f"the {split} set holds only the class 'cat'; two are needed"):
        load_source(DataSettings(source=source, num_px=4), Path("drawn"))


def test_drawn_pictures_are_a_folder(make_folder: MakeFolder) -> None:
    """The stage `draw` writes what the stage `prepare` reads."""
    root = make_folder(FULL)
    train, test = load_source(DataSettings(source="drawn", num_px=2), root)
    assert (train.m, test.m, train.classes) == (6, 2, CLASSES)


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
            """Say nothing."""

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


def test_addresses_are_tried_in_turn(
    server: Server, closed_port: int, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead, unknown there, other bytes, right: the fourth serves, and the next time the cache does."""
    addresses = (f"http://127.0.0.1:{closed_port}/{{name}}", *(f"{server.address}/{i}/{{name}}" for i in range(4)))
    monkeypatch.setattr(catvnoncat, "ADDRESSES", addresses)
    for name, content in to_download.items():
        server.files[f"/1/{name}"] = b"other bytes"
        server.files[f"/2/{name}"] = content
    train, test = catvnoncat.load(4)
    assert (train.m, test.m) == (3, 2)
    assert server.asked == [f"/{i}/{name}" for name in (TRAIN, TEST) for i in range(3)]
    cached = tmp_path / "cache" / "one-neuron"
    assert {path.name: path.read_bytes() for path in cached.iterdir()} == to_download
    server.asked.clear()
    assert catvnoncat.load(4)[0].sha256 == train.sha256
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
    assert catvnoncat.load(4)[0].m == 3
    assert cached.read_bytes() == to_download[TRAIN]


def test_only_wrong_bytes_are_refused(
    server: Server, to_download: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing wrong stays in the cache."""
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (f"{server.address}/{{name}}",))
    server.files = {f"/{name}": b"other bytes" for name in to_download}
    with pytest.raises(EnvironmentProblem, match=rf"{TRAIN} could not be downloaded from 1 addresses"):
        catvnoncat.load(4)
    assert list((tmp_path / "cache" / "one-neuron").iterdir()) == []


def test_offline_fails_at_once_with_one_line(
    closed_port: int, to_download: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within seconds, and the message names both ways out."""
    dead = f"http://127.0.0.1:{closed_port}/{{name}}"
    monkeypatch.setattr(catvnoncat, "ADDRESSES", (dead, dead, dead))
    started = time.perf_counter()
    with pytest.raises(EnvironmentProblem) as caught:
        catvnoncat.load(4)
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
        catvnoncat.load(4)


@pytest.mark.parametrize("address", catvnoncat.ADDRESSES)
def test_the_public_addresses_are_secure_and_name_the_file(address: str) -> None:
    """HTTPS, and a place for the name."""
    assert address.startswith("https://")
    assert address.count("{name}") == 1


def test_the_pinned_digests_are_those_of_the_course(course_folder: Path) -> None:
    """Computed from the files themselves."""
    for name, digest in catvnoncat.SHA256.items():
        assert hashlib.sha256((course_folder / name).read_bytes()).hexdigest() == digest
