"""Load the data set that `data.source` names."""

from functools import partial
from pathlib import Path

import numpy as np

from one_neuron.errors import DataError, quote_path
from one_neuron.settings.params import DataSettings, Hdf5Settings
from one_neuron.sources import catvnoncat, folder, hdf5
from one_neuron.sources.report import ClassCount, Loaded
from one_neuron.sources.split import choose_test


def load_source(data: DataSettings, keys: Hdf5Settings, *, drawn: Path) -> Loaded:
    """Load the pictures that `data.source` names, as rows of pixels.

    Parameters
    ----------
    data : DataSettings
    keys : Hdf5Settings
        The names of files and datasets of `data.source: hdf5`.
    drawn : Path
        The folder that the stage `draw` writes.

    Raises
    ------
    DataError
        If a file is missing or damaged, or if a set has pictures of only one class.
    SettingsError
        If no class is called `data.positive_class`.
    EnvironmentProblem
        If a download fails, or if the disk is full.
    """
    loaded = _load(data, keys, drawn)
    place = quote_path(data.path) if data.source in ("folder", "hdf5") else data.source
    for name, prepared in {"training": loaded.train, "test": loaded.test}.items():
        present = np.unique(prepared.Y)
        if len(present) < 2:
            only = prepared.classes[present[0]]
            skipped = f" ({len(loaded.skipped):,} pictures were skipped)" if loaded.skipped else ""
            raise DataError(
                f"{place}: the {name} set holds only the class {only!r}{skipped}; add pictures of the other"
            )
    return loaded


def _load(data: DataSettings, keys: Hdf5Settings, drawn: Path) -> Loaded:
    """Load the data set without checking it."""
    if data.source == "folder":
        return folder.load(Path(data.path), data)
    if data.source == "drawn":
        return folder.load(drawn, data, positive_class="cat")
    if data.source == "catvnoncat":
        train, test = catvnoncat.load(data)
    else:
        split = partial(choose_test, fraction=data.test_fraction, seed=data.seed)
        train, test = hdf5.load(Path(data.path), data, keys, split=split)
    classes = [
        ClassCount(name, label, *(int(np.count_nonzero(one.Y == label)) for one in (train, test)))
        for label, name in enumerate(train.classes)
    ]
    return Loaded(train, test, classes)
