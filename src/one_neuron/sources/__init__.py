"""Where pictures come from: one module for each value of `data.source`."""

from pathlib import Path

import numpy as np

from one_neuron.errors import DataError
from one_neuron.settings import DataSettings
from one_neuron.sources import catvnoncat, folder
from one_neuron.storage import PreparedSet


def load_source(data: DataSettings, drawn: Path) -> tuple[PreparedSet, PreparedSet]:
    """Load and flatten the pictures that `data.source` names.

    Parameters
    ----------
    data : DataSettings
        The source and num_px.
    drawn : Path
        The folder that the stage `draw` wrote.

    Returns
    -------
    train, test : PreparedSet

    Raises
    ------
    DataError
        If a file is missing or damaged, or if a set lacks one of the two classes.
    EnvironmentProblem
        If pictures have to be downloaded and cannot be.
    """
    if data.source == "catvnoncat":
        train, test = catvnoncat.load(data.num_px)
    else:
        train, test = folder.load(drawn, classes=("non-cat", "cat"), num_px=data.num_px)
    for name, prepared in {"training": train, "test": test}.items():
        present = np.unique(prepared.Y)
        if len(present) < 2:
            raise DataError(f"the {name} set holds only the class {prepared.classes[present[0]]!r}; two are needed")
    return train, test
