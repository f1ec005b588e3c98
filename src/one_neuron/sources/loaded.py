"""What a source gives: the two prepared sets, and what became of the files on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from one_neuron.sources.report import ClassCount
from one_neuron.storage.prepared_set import PreparedSet


@dataclass(frozen=True)
class Loaded:
    """What a source gives.

    Parameters
    ----------
    train, test : PreparedSet
    classes : sequence of ClassCount
        Every class, by label and then by name.
    skipped : sequence of (str, str)
        Name of each picture that was left out because it cannot be read, and why.
    ignored : int
        Number of files that are no pictures by their names.
    """

    train: PreparedSet
    test: PreparedSet
    classes: Sequence[ClassCount]
    skipped: Sequence[tuple[str, str]] = ()
    ignored: int = 0


def count_labels(train: PreparedSet, test: PreparedSet) -> list[ClassCount]:
    """Return the two classes of sets whose labels are all that is known.

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
