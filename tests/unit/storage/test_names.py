"""Names come back as they were stored, whatever bytes they consist of."""

from pathlib import Path

import pytest

from one_neuron.storage import names as names_module
from one_neuron.storage.names import NamesOnDisk, StoredNames, names_as_bytes, store_names
from one_neuron.storage.pixel_file import PixelFile

ODD_NAMES = ("a b.png", "new\nline.png", "Käthe 猫.png", "no-utf8-\udcff\udc80.png", "", "in\0side", "x" * 500)


def leave_on_disk(path: Path) -> StoredNames:
    """Return ODD_NAMES as names that stay in a file, behind other bytes."""
    stored = store_names(ODD_NAMES)
    path.write_bytes(b"before" + stored.tobytes())
    return StoredNames(NamesOnDisk(PixelFile(path, offset=6, shape=(len(stored), stored.dtype.itemsize))))


@pytest.mark.parametrize("on_disk", [False, True])
def test_names_are_a_sequence(on_disk: bool, tmp_path: Path) -> None:
    """Of text, made where it is asked for, whether their bytes are in memory or in a file."""
    names = leave_on_disk(tmp_path / "names") if on_disk else StoredNames(store_names(ODD_NAMES))
    assert len(names) == len(ODD_NAMES)
    assert tuple(names) == ODD_NAMES
    assert tuple(reversed(names)) == ODD_NAMES[::-1]
    assert [names[i] for i in range(-len(ODD_NAMES), len(ODD_NAMES))] == list(ODD_NAMES * 2)
    assert all(type(name) is str for name in names)
    for key in (slice(None), slice(1, 3), slice(None, None, -2), slice(9, 20)):
        assert names[key] == tuple(ODD_NAMES[key])
    assert ODD_NAMES[2] in names
    assert names.index(ODD_NAMES[3]) == 3
    with pytest.raises(IndexError):
        names[len(ODD_NAMES)]
    assert b"".join(names_as_bytes(names)) == b"".join(names_as_bytes(ODD_NAMES))
    assert store_names(names).tobytes() == store_names(ODD_NAMES).tobytes()


def test_many_names_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the length of a part."""
    monkeypatch.setattr(names_module, "NAMES_AT_A_TIME", 2)
    assert tuple(StoredNames(store_names(ODD_NAMES))) == ODD_NAMES
    in_parts = b"".join(names_as_bytes(ODD_NAMES))
    from_disk = b"".join(names_as_bytes(leave_on_disk(tmp_path / "names")))
    monkeypatch.undo()
    assert b"".join(names_as_bytes(ODD_NAMES)) == in_parts == from_disk


def test_the_bytes_for_a_digest_by_hand() -> None:
    """All lengths first, eight bytes each, then all names."""
    expected = b"\2\0\0\0\0\0\0\0" + b"\0" * 8 + b"\3\0\0\0\0\0\0\0" + b"ab" + b"cde"
    assert b"".join(names_as_bytes(("ab", "", "cde"))) == expected
