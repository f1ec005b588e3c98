"""Pictures as files in a folder for each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError, quote_path
from one_neuron.pictures.decode import decode_pictures
from one_neuron.settings.params import DataSettings
from one_neuron.sources.listing import SPLITS, list_folder
from one_neuron.sources.report import ClassCount, Loaded
from one_neuron.sources.split import choose_test
from one_neuron.storage.prepared_set import PreparedSet
from one_neuron.unicode_forms import compose

_REMEDY_ADD = "add some: at least two different ones of each class"


def load(folder: Path, data: DataSettings, *, positive_class: str = "") -> Loaded:
    """Read, decode and label the pictures of a folder.

    Parameters
    ----------
    folder : Path
        Holds `train` and `test`, each with a folder for each class, or the folders of the classes themselves, or
        pictures in another of the arrangements of `layouts`.
    data : DataSettings
    positive_class : str
        The class of label 1; by default `data.positive_class`.

    Returns
    -------
    Loaded
        Rows are sorted by label, class and name: the order of the file system does not matter.

    Raises
    ------
    DataError
        If the folder is missing, has only one class, has a class without pictures, or cannot be read; if a picture
        cannot be read, unless `data.on_error` allows it.
    SettingsError
        If no class has the name of the positive class.
    """
    positive = compose(positive_class or data.positive_class)
    listing = list_folder(folder, positive)
    decoded = decode_pictures(
        listing.names, data.preprocessing, folder=folder, on_error=data.on_error, max_skipped=data.max_skipped
    )
    kept = decoded.kept
    groups, splits = listing.groups[kept], listing.splits[kept]
    names = [listing.names[index] for index in kept]
    if listing.is_split:
        is_test = splits == SPLITS.index("test")
    else:
        digests = [bytes(decoded.digests[index]) for index in kept]
        is_test = choose_test(digests, groups, fraction=data.test_fraction, seed=data.seed)
    labels = np.array([name == positive for name in listing.classes], dtype=np.uint8)
    others = [name for name in listing.classes if name != positive]

    def gather(rows: NDArray[np.intp]) -> PreparedSet:
        return PreparedSet(
            X=decoded.X.take(rows),
            Y=labels[groups[rows]],
            names=tuple(names[row] for row in rows),
            preprocessing=data.preprocessing,
            classes=(others[0] if len(others) == 1 else f"not {positive}", positive),
            source=data.source,
        )

    counts = [
        ClassCount(name, int(labels[group]), *np.bincount(is_test[groups == group], minlength=2).tolist())
        for group, name in sorted(enumerate(listing.classes), key=lambda item: (labels[item[0]], item[1]))
    ]
    for name in SPLITS:
        if not any(getattr(count, name) for count in counts):
            raise DataError(f"{quote_path(folder)} holds no readable picture for the {name} set; {_REMEDY_ADD}")
    return Loaded(
        train=gather(np.flatnonzero(~is_test)),
        test=gather(np.flatnonzero(is_test)),
        classes=counts,
        skipped=[(listing.names[index], reason) for index, reason in decoded.skipped],
        ignored=listing.ignored,
        notes=listing.notes,
    )
