"""The command `one-neuron settings`, and the checks that `one-neuron repro` makes before DVC runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from one_neuron.settings.params import Settings, flatten_settings, load_settings


def add_settings(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    settings = commands.add_parser("settings", help="check params.yaml and overrides, and print all values")
    settings.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for example train.learning_rate=0.01")
    settings.set_defaults(run=run_settings)


def run_settings(options: argparse.Namespace) -> None:
    """Check params.yaml and overrides, and the data that they name, and print all values."""
    for name, value in flatten_settings(check_settings(options.overrides)).items():
        print(f"{name} = {value}")


def check_settings(overrides: Sequence[str] = ()) -> Settings:
    """Return the settings of params.yaml with some overrides, after checking them and the data that they name.

    DVC deletes the outputs of a stage before the stage can refuse a value.

    Raises
    ------
    SettingsError
        If a value, or an environment variable, is wrong.
    DataError
        If `data.path` cannot be used. No picture is opened.
    """
    from one_neuron.dvc_guard import check_data_path
    from one_neuron.pictures.cache_limit import cache_bound
    from one_neuron.storage.pixel_file import memory_bound
    from one_neuron.sweep.compose import compose_settings

    memory_bound()
    cache_bound()
    settings = compose_settings(overrides) if overrides else load_settings()
    check_data_path(settings.data)
    if settings.data.source == "folder":
        from one_neuron.sources.listing import list_folder

        list_folder(Path(settings.data.path), settings.data.positive_class)
    return settings
