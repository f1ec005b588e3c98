"""Hydra composes values from params.yaml, conf/ and the command line; the section `sweep` of conf/config.yaml.

It is separate from `settings` because no stage depends on it: how a sweep is composed changes no result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one_neuron.errors import SettingsError, one_line
from one_neuron.settings.fields import choice_field, format_value, number_field
from one_neuron.settings.params import (
    KEYS,
    SECTIONS,
    Settings,
    check_known,
    check_section,
    check_settings,
    load_settings,
)
from one_neuron.settings.spelling import check_override
from one_neuron.settings.yaml_file import check_yaml

CONF_FOLDER = Path("conf")
COMMAND_LINE = "the command line"


@dataclass(frozen=True)
class SweepSettings:
    """Section `sweep` of conf/config.yaml: how configurations are compared."""

    folds: int = number_field(0, 1000)
    seed: int = number_field(0, 2**63 - 1)
    keep_models: int = number_field(0, 1000)
    search: str = choice_field("grid", "tpe")
    trials: int = number_field(1, 10_000)


def compose_settings(overrides: Sequence[str]) -> Settings:
    """Compose params.yaml with Hydra overrides such as `train.learning_rate=0.01`, and check the result.

    The current folder is the root of the project, with params.yaml and `conf`.

    Raises
    ------
    SettingsError
        If an override is not valid, or the composed value of a key does not fit.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    load_settings()  # an error in params.yaml names the file
    try:
        for override in OverridesParser.create().parse_overrides(list(overrides)):
            key = override.key_or_group
            check_known(key, [*KEYS, *SECTIONS], COMMAND_LINE)
            check_override(str(override.input_line), COMMAND_LINE, kind=KEYS.get(key))
    except (HydraException, ValueError) as error:  # ValueError: a number with too many digits
        raise _does_not_fit(overrides, error) from error
    values = compose_values(overrides)
    del values["sweep"]
    return check_settings(values, origin=COMMAND_LINE)


def compose_values(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/config.yaml with Hydra overrides, and return the sections of params.yaml and `sweep`, unchecked.

    Raises
    ------
    SettingsError
        If Hydra cannot compose it.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    if not (CONF_FOLDER / "config.yaml").is_file():
        raise SettingsError(f"'{CONF_FOLDER / 'config.yaml'}' is missing; restore it: git checkout {CONF_FOLDER}")
    try:
        for path in sorted(CONF_FOLDER.rglob("*.yaml")):
            check_yaml(path, {})
        with initialize_config_dir(config_dir=str(CONF_FOLDER.resolve()), version_base="1.3"):
            values = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise _does_not_fit(overrides, error) from error
    assert isinstance(values, dict)
    return {str(section): keys for section, keys in values.items()}


def _does_not_fit(overrides: Sequence[str], error: Exception) -> SettingsError:
    """Return the error for overrides that Hydra rejects, without its list of search paths."""
    reason = one_line(str(error).partition("Config search path")[0])
    return SettingsError(f"{format_value(' '.join(overrides))} does not fit: {reason}")


def check_sweep_settings(values: Any, *, origin: str) -> SweepSettings:
    """Return the composed section `sweep` as checked settings; errors name its `origin`.

    Raises
    ------
    SettingsError
        If a key is unknown or missing, or its value does not fit.
    """
    sweep = check_section(SweepSettings, "sweep", {"sweep": values}, origin)
    if sweep.folds == 1:
        raise SettingsError(f"{origin}: sweep.folds is 1; expected 0, or a whole number from 2 to 1,000")
    return sweep
