"""Names come back as they were stored, whatever bytes they consist of."""

import pytest

from one_neuron.storage import names as names_module
from one_neuron.storage.names import StoredNames, names_as_bytes, store_names

ODD_NAMES = ("a b.png", "new\nline.png", "Käthe 猫.png", "no-utf8-\udcff\udc80.png", "", "in\0side", "x" * 500)


def test_names_are_a_sequence() -> None:
    """Of text, made where it is asked for."""
    names = StoredNames(store_names(ODD_NAMES))
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


def test_many_names_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the length of a part."""
    monkeypatch.setattr(names_module, "NAMES_AT_A_TIME", 2)
    assert tuple(StoredNames(store_names(ODD_NAMES))) == ODD_NAMES
    in_parts = b"".join(names_as_bytes(ODD_NAMES))
    monkeypatch.undo()
    assert b"".join(names_as_bytes(ODD_NAMES)) == in_parts
