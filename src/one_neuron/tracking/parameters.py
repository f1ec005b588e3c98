"""The parameters of an MLflow run, and where the user's own pictures lie, as texts by their keys in params.yaml."""

import json

from one_neuron.settings.params import Settings, flatten_settings
from one_neuron.system.git import Origin
from one_neuron.tracking.tags import COMMIT, DATA_LOCATION, IS_DIRTY, SOURCE_NAME, SOURCE_TYPE, USER

# Where and how the user's own pictures are read. The SHA-256 of the data covers what came out.
_LOCATION = ("data.path", "data.on_error", "data.max_skipped")
# Used for the user's own pictures only.
_SELECTION = ("data.positive_class", "data.test_fraction", "data.seed")


def run_parameters(settings: Settings) -> dict[str, str]:
    """Return the parameters of a run: those that can change its result.

    Returns
    -------
    dict of str to str
        "train.learning_rate": "0.005" ... Left out are the location of pictures and what another source would use.
    """
    source = settings.data.source
    left_out: tuple[str, ...] = ("hdf5.", *_LOCATION)
    if source != "drawn":
        left_out += ("draw.",)
    if source not in ("folder", "hdf5"):
        left_out += _SELECTION
    values = flatten_settings(settings)
    return {name: to_text(value) for name, value in values.items() if not name.startswith(left_out)}


def data_location(settings: Settings) -> dict[str, str]:
    """Return where the user's own pictures lie and how they are read.

    These are not parameters of a result, which depends on the pictures alone, but without them it cannot be repeated.

    Returns
    -------
    dict of str to str
        "data.path": "pictures" ...; empty for the other sources.
    """
    included = {"folder": _LOCATION, "hdf5": (*_LOCATION, "hdf5.")}.get(settings.data.source, ())
    return {name: to_text(value) for name, value in flatten_settings(settings).items() if name.startswith(included)}


def data_location_tags(settings: Settings) -> dict[str, str]:
    """Return `data_location` as a tag of a run; empty for sources without one."""
    location = data_location(settings)
    return {DATA_LOCATION: json.dumps(location)} if location else {}


def origin_tags(origin: Origin, script: str) -> dict[str, str]:
    """Return MLflow's own tags for the script, the user and the commit that made a run."""
    tags = {SOURCE_NAME: script, SOURCE_TYPE: "LOCAL", USER: origin.user}
    if origin.commit:
        tags |= {COMMIT: origin.commit, IS_DIRTY: str(origin.dirty).lower()}
    return tags


def to_text(value: object) -> str:
    """Return a value as params.yaml writes it."""
    return value if isinstance(value, str) else json.dumps(value)
