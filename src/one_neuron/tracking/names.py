"""Short names of runs. MLflow shows the first 24 characters of a name, of a nested run the first 16."""

from collections.abc import Iterable, Mapping, Sequence

_SHOWN = 16
# What stands before a value in a name; "" where the value speaks for itself. Other keys keep their own name.
_WORDS = {
    "train.learning_rate": "lr",
    "train.num_iterations": "",
    "train.record_every": "every",
    "train.tolerance": "tol",
    "train.threshold": "thr",
    "data.source": "",
    "data.num_px": "px",
    "data.resize": "",
    "data.decode": "",
    "data.path": "",
    "data.positive_class": "",
    "data.test_fraction": "test",
    "draw.seed": "draw",
    "draw.num_train": "train",
    "draw.num_test": "test",
}
_FIRST = "train.num_iterations"  # a bare number is clear only in front


def join_values(values: Mapping[str, object]) -> str:
    """Return values by their keys in params.yaml as one short text, such as "2000 lr 0.005"."""
    return _join({key: shorten([value])[value] for key, value in values.items()})


def name_runs(runs: Sequence[Mapping[str, object]]) -> list[str]:
    """Return a name for each run of a sweep; no two have the same first 16 characters.

    Numbers have four digits, or as many as distinguish the runs. If the names still begin alike, they get numbers.

    Parameters
    ----------
    runs : sequence of mapping
        For each run the values of what is swept, by their keys in params.yaml. All have the same keys.
    """
    texts = {key: shorten(run[key] for run in runs) for key in (runs[0] if runs else ())}
    names = [_join({key: texts[key][value] for key, value in run.items()}) for run in runs]
    if len({name[:_SHOWN] for name in names}) < len(names):
        width = len(str(len(names)))
        names = [f"{number:0{width}} {name}" for number, name in enumerate(names, start=1)]
    return names


def shorten(values: Iterable[object]) -> dict[object, str]:
    """Return each value as a text: numbers with at least four digits, and with as many as keep them apart."""
    distinct = set(values)
    texts: dict[object, str] = {}
    for digits in range(4, 18):
        texts = {value: f"{value:.{digits}g}" if isinstance(value, float) else str(value) for value in distinct}
        if len(set(texts.values())) == len(distinct):
            break
    return texts


def _join(texts: Mapping[str, str]) -> str:
    """Return the texts with the words of their keys before them, the number of iterations first."""
    keys = sorted(texts, key=lambda key: key != _FIRST)
    return " ".join(f"{_WORDS.get(key, key.partition('.')[2])} {texts[key]}".strip() for key in keys)
