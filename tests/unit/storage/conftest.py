"""Written files of both kinds."""

from pathlib import Path

import pytest

from one_neuron.storage.model import load_model, save_model
from one_neuron.storage.prepared_set import load_prepared, save_prepared
from tests.unit.storage.files import Kind, MakeModel, MakePrepared, leave_on_disk


@pytest.fixture(params=["prepared", "on disk", "model"])
def written(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_prepared: MakePrepared,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> Kind:
    """Return a written file of either kind, a function that loads it, and what was written.

    Prepared sets are loaded in both ways, into memory and with the pixels left on disk.
    """
    path = tmp_path / f"{request.param}.h5"
    if request.param == "on disk":
        leave_on_disk(monkeypatch)
    if request.param != "model":
        prepared = make_prepared(m=3, names=("a b", "\udcff\n", "ü"))
        save_prepared(path, prepared)
        return path, lambda: load_prepared(path), prepared
    model = make_model()
    save_model(path, model)
    return path, lambda: load_model(path), model
