"""`Loaded`, the result of every source: the two prepared sets, and an account of the files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from one_neuron.sources.report import ClassCount
from one_neuron.storage.prepared_set import PreparedSet


@dataclass(frozen=True)
class Loaded:
    """The result of a source.

    Parameters
    ----------
    train, test : PreparedSet
    classes : sequence of ClassCount
        Every class, by label and then by name.
    skipped : sequence of (str, str)
        Name of each picture that was left out because it cannot be read, and the reason.
    ignored : int
        Number of files whose suffix is not that of a picture.
    """

    train: PreparedSet
    test: PreparedSet
    classes: Sequence[ClassCount]
    skipped: Sequence[tuple[str, str]] = ()
    ignored: int = 0


def count_labels(train: PreparedSet, test: PreparedSet) -> list[ClassCount]:
    """Return the number of pictures of the two classes, for sets without folders of classes.

    Parameters
    ----------
    train, test : PreparedSet
    """
    return [
        ClassCount(
            name=name,
            label=label,
            train=int(np.count_nonzero(train.Y == label)),
            test=int(np.count_nonzero(test.Y == label)),
        )
        for label, name in enumerate(train.classes)
    ]
