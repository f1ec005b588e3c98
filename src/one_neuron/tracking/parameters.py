"""The parameters of a result, as MLflow shows them."""

import json
from dataclasses import asdict

from one_neuron.settings.params import Settings

# Keys of `data` that say where and how pictures are read; what came of it is in the SHA-256 of the data.
_WAYS = ("path", "on_error", "max_skipped")


_OWN_PICTURES = ("positive_class", "test_fraction", "seed")  # keys of `data` that other sources do not ask for


def run_parameters(settings: Settings) -> dict[str, str]:
    """Return the parameters of a run: "train.learning_rate" ..., as params.yaml writes them.

    Only those that can change the result: neither where pictures lie, nor what another source would ask for.

    Parameters
    ----------
    settings : Settings
    """
    sections = asdict(settings)
    source = settings.data.source
    del sections["hdf5"]  # names of files and data sets
    if source != "drawn":
        del sections["draw"]  # drawn pictures are always there, but none of them reached this result
    left_out = _WAYS if source in ("folder", "hdf5") else (*_WAYS, *_OWN_PICTURES)
    sections["data"] = {key: value for key, value in sections["data"].items() if key not in left_out}
    return {f"{section}.{key}": to_text(value) for section, keys in sections.items() for key, value in keys.items()}


def data_location(settings: Settings) -> dict[str, str]:
    """Return where the user's own pictures lie and how they are read: "data.path" ..., as params.yaml writes it.

    No parameters of a result: the SHA-256 of the data says what came of them. But without them it cannot be repeated.

    Parameters
    ----------
    settings : Settings
    """
    sections = asdict(settings)
    ways = {f"data.{key}": sections["data"][key] for key in _WAYS}
    hdf5 = {f"hdf5.{key}": value for key, value in sections["hdf5"].items()}
    of_source = {"folder": ways, "hdf5": ways | hdf5}.get(settings.data.source, {})
    return {key: to_text(value) for key, value in of_source.items()}


def to_text(value: object) -> str:
    """Return a value as params.yaml writes it."""
    return value if isinstance(value, str) else json.dumps(value)
