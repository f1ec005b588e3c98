"""Names that look the same are found, in each part of a path and in HDF5 files."""

import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import yaml

from one_neuron.dvc_guard import check_data_path
from one_neuron.errors import DataError
from one_neuron.settings.params import DataSettings
from one_neuron.storage.hdf5 import open_hdf5, read_dataset
from one_neuron.unicode_forms import encode_forms, find_same
from tests.values import DATA

NFC, NFD = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("stored", [NFC, NFD])
@pytest.mark.parametrize("typed", [NFC, NFD])
def test_a_path_in_another_form_is_found(stored: str, typed: str, tmp_path: Path) -> None:
    """In a folder and in a file; what is there exactly is taken first."""
    path = tmp_path / stored / f"{stored}.h5"
    path.parent.mkdir()
    path.touch()
    found = find_same(tmp_path / typed / f"{typed}.h5")
    assert found is not None
    assert found.samefile(path)
    assert find_same(path) == path
    assert find_same(tmp_path / typed / "tea.h5") is None
    assert find_same(Path("nowhere")) is None


@pytest.mark.parametrize("stored", [NFC, NFD])
@pytest.mark.parametrize("typed", [NFC, NFD])
def test_a_key_of_hdf5_in_another_form_is_found(stored: str, typed: str, tmp_path: Path) -> None:
    """In each group of its path; other keys are still missing."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[f"{stored}/x {stored}"] = [1, 2]
    with open_hdf5(tmp_path / "a.h5", remedy="") as file:
        assert read_dataset(file, f"{typed}/x {typed}", dtype="int64", ndim=1).tolist() == [1, 2]
    with pytest.raises(DataError, match="is missing; present: "), open_hdf5(tmp_path / "a.h5", remedy="") as file:
        read_dataset(file, f"{typed}/y", dtype="int64", ndim=1)
    assert encode_forms("") == []


def test_the_path_that_dvc_reads_is_spelled_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC takes it as it is typed; the line in the message, in params.yaml, names the folder that is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / NFD).mkdir(parents=True)
    data = DataSettings(**{**DATA, "path": f"mine/{NFC}"})
    if Path(data.path).exists():
        pytest.skip("this file system takes the two forms for one")
    with pytest.raises(DataError, match="there is one that looks the same") as caught:
        check_data_path(data)
    line = str(caught.value).partition("in params.yaml write ")[2]
    assert line == f"path: {json.dumps(f'mine/{NFD}')}"
    assert line.isascii()
    check_data_path(replace(data, **yaml.safe_load(line)))
