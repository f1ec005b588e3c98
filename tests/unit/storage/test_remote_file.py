"""A file in an object store: the bytes of a range, and what is said when they cannot be read."""

from collections.abc import Iterator

import fsspec
import pytest

from one_neuron.errors import DataError, EnvironmentProblem
from one_neuron.storage import remote_file
from one_neuron.storage.remote_file import RemoteFile

URL = "memory://bucket/train.h5"
CONTENT = bytes(range(200))


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the file into a store in memory; read seven bytes at a time."""
    monkeypatch.setattr(remote_file, "_PART_BYTES", 7)
    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/train.h5", CONTENT)
    yield
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize(("start", "stop"), [(0, 200), (0, 7), (13, 14), (5, 180), (9, 9)])
def test_a_range(start: int, stop: int) -> None:
    """Exactly its bytes, in parts."""
    file = RemoteFile(URL)
    parts = list(file.read(start, stop))
    assert file.size == 200
    assert b"".join(parts) == CONTENT[start:stop]
    assert all(len(part) <= 7 for part in parts)


def test_a_range_behind_the_end() -> None:
    """The file is shorter than it should be."""
    with pytest.raises(DataError, match=f"'{URL}' ends after 200 bytes; upload the prepared set again"):
        list(RemoteFile(URL).read(190, 210))


def test_a_file_that_does_not_exist() -> None:
    """The message names it."""
    with pytest.raises(DataError, match=r"'memory://bucket/other' does not exist; upload the prepared set"):
        RemoteFile("memory://bucket/other")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ModuleNotFoundError("Install s3fs to access S3"), r"\(Install s3fs to access S3\); .*`pip install '.\[s3\]'`"),
        (PermissionError("Access\nDenied"), r"\(Access Denied\); check the URL, and in the environment of Ray's"),
        (RuntimeError("no credentials"), r"\(no credentials\); check the URL"),  # a store's own kind
    ],
)
def test_a_store_that_cannot_be_read(error: Exception, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the file is opened, or later."""

    def fail(*_: object, **__: object) -> None:
        raise error

    file = RemoteFile(URL)
    monkeypatch.setattr(file, "_file", type("Failing", (), {"seek": fail})())
    with pytest.raises(EnvironmentProblem, match=f"'{URL}' cannot be read .*{told}"):
        list(file.read(0, 1))
    monkeypatch.setattr(fsspec.core, "url_to_fs", fail)
    with pytest.raises(EnvironmentProblem, match=f"'{URL}' cannot be read .*{told}"):
        RemoteFile(URL)


def test_a_protocol_that_is_unknown() -> None:
    """It is a problem with the store as well."""
    with pytest.raises(EnvironmentProblem, match=r"'abc://x' cannot be read on .* \(Protocol not known: abc\); check"):
        RemoteFile("abc://x")
