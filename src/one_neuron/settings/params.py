"""The schema of params.yaml: types, ranges and messages. The only module of the stages that imports OmegaConf."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from one_neuron.errors import SettingsError, one_line
from one_neuron.layout import PARAMS_FILE
from one_neuron.pictures.preprocessing import DECODES, MAX_NUM_PX, RESIZES, Preprocessing
from one_neuron.settings.fields import check_value, choice_field, format_value, number_field, text_field
from one_neuron.settings.yaml_file import check_yaml

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class DrawSettings:
    """Section `draw`: the default pictures."""

    seed: int = number_field(0, 2**63 - 1)
    num_train: int = number_field(2, 1_000_000)
    num_test: int = number_field(2, 1_000_000)


@dataclass(frozen=True)
class DataSettings:
    """Section `data`: which pictures are used, and how they become pixels."""

    source: str = choice_field("drawn", "catvnoncat", "folder", "hdf5")
    num_px: int = number_field(1, MAX_NUM_PX)
    resize: str = choice_field(*RESIZES)
    decode: str = choice_field(*DECODES)
    path: str = text_field("a folder or a file")
    positive_class: str = text_field("the folder of a class")
    test_fraction: float = number_field(0, 1, open_ends=True)
    seed: int = number_field(0, 2**63 - 1)
    on_error: str = choice_field("stop", "skip")
    max_skipped: int = number_field(0, 1_000_000_000)

    @property
    def preprocessing(self) -> Preprocessing:
        """How each picture becomes num_px x num_px pixels."""
        return Preprocessing(self.num_px, self.resize, self.decode)


@dataclass(frozen=True)
class Hdf5Settings:
    """Section `hdf5`: the names of files and data sets for `data.source: hdf5`."""

    train_file: str = text_field("a file in data.path")
    test_file: str = text_field("a file in data.path")
    train_x: str = text_field("a data set")
    train_y: str = text_field("a data set")
    test_x: str = text_field("a data set", may_be_empty=True)
    test_y: str = text_field("a data set", may_be_empty=True)
    classes: str = text_field("a data set", may_be_empty=True)


@dataclass(frozen=True)
class TrainSettings:
    """Section `train`: gradient descent, and the threshold of the model."""

    learning_rate: float = number_field(1e-12, 1000)
    num_iterations: int = number_field(1, 10_000_000)
    record_every: int = number_field(1, 10_000_000)
    tolerance: float = number_field(0, 1)
    threshold: float = number_field(0, 1, open_ends=True)


@dataclass(frozen=True)
class EvaluateSettings:
    """Section `evaluate`: what the plots show."""

    num_mistakes: int = number_field(1, 100)


@dataclass(frozen=True)
class Settings:
    """All of params.yaml."""

    draw: DrawSettings
    data: DataSettings
    hdf5: Hdf5Settings
    train: TrainSettings
    evaluate: EvaluateSettings


def flatten_settings(settings: Settings) -> dict[str, Any]:
    """Return all values by their keys in params.yaml: "draw.seed": 1, ..."""
    sections = vars(settings).items()  # asdict, which copies, is ten times slower
    return {f"{name}.{key}": value for name, section in sections for key, value in vars(section).items()}


SECTIONS: dict[str, Any] = {section.name: section.type for section in fields(Settings)}
# All keys of params.yaml: "draw.seed", ..., with their declared types.
KEYS: dict[str, Any] = {f"{name}.{key.name}": key.type for name, section in SECTIONS.items() for key in fields(section)}


def load_settings(path: Path = PARAMS_FILE) -> Settings:
    """Read params.yaml and check all of it.

    Raises
    ------
    SettingsError
        If the file is missing or is not YAML, or if a key is unknown, missing, of the wrong type or out of range; the
        message names the file, the key, the value and what is allowed.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        check_yaml(path, KEYS)
        # Not resolved: DVC compares the text of params.yaml, in which an environment variable would stay a name.
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except FileNotFoundError as error:
        raise SettingsError(f"'{path}' is missing; run from the root of the project") from error
    except IsADirectoryError as error:
        raise SettingsError(f"'{path}' is a folder; expected the file with the parameters") from error
    # ValueError: not UTF-8, or an integer of too many digits. KeyError: an unknown word after the tag !!bool.
    # IndexError: nothing after the tag !!float.
    except (YAMLError, OmegaConfBaseException, ValueError, KeyError, IndexError, RecursionError) as error:
        raise SettingsError(f"'{path}' is not readable as YAML: {one_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # OmegaConf raises it for a file that holds only a number.
        raise SettingsError(f"'{path}' holds no sections: {one_line(error)}") from error
    return check_settings(values, origin=str(path))


def check_settings(values: Any, *, origin: str) -> Settings:
    """Check sections of keys, as read from YAML, and return them as settings; messages name their `origin`.

    Raises
    ------
    SettingsError
        As `load_settings`.
    """
    sections = _check_keys(values, list(SECTIONS), origin, where="")
    settings = Settings(**{name: check_section(kind, name, sections, origin) for name, kind in SECTIONS.items()})
    _check_names(settings.hdf5, origin)
    return settings


def _check_names(names: Hdf5Settings, origin: str) -> None:
    """Check that the names in the section `hdf5` fit together and stay inside data.path."""
    if bool(names.test_x) != bool(names.test_y):
        raise SettingsError(
            f"{origin}: hdf5.test_x is {names.test_x!r} and hdf5.test_y is {names.test_y!r}; name both or none"
        )
    for key, name in (("train_file", names.train_file), ("test_file", names.test_file)):
        if Path(name).is_absolute() or ".." in Path(name).parts:  # DVC watches only data.path
            raise SettingsError(f"{origin}: hdf5.{key} is {name!r}; expected a file inside data.path")


SectionT = TypeVar("SectionT", bound="DataclassInstance")


def check_section(kind: type[SectionT], name: str, sections: Mapping[str, Any], origin: str) -> SectionT:
    """Check one of the sections, key by key; messages name the `origin` of the values.

    Parameters
    ----------
    kind : type
        A dataclass whose fields are declared by `number_field`, `choice_field` or `text_field`.
    sections : mapping
        As read from YAML; it has the section `name`.

    Raises
    ------
    SettingsError
        As `load_settings`.
    """
    values = _check_keys(sections[name], [key.name for key in fields(kind)], origin, where=f"{name}.")
    return kind(**{key.name: check_value(key, f"{name}.{key.name}", values[key.name], origin) for key in fields(kind)})


def _check_keys(values: Any, expected: Sequence[str], origin: str, *, where: str) -> Mapping[str, Any]:
    """Check that `values` is a mapping with exactly the expected keys."""
    if not isinstance(values, Mapping):
        raise SettingsError(
            f"{origin}: '{where.rstrip('.') or 'the file'}' is {format_value(values)}; "
            f"expected the keys {', '.join(expected)}"
        )
    for key in values:
        check_known(f"{where}{key}", [f"{where}{name}" for name in expected], origin, value=values[key])
    for key in expected:
        if key not in values:
            raise SettingsError(f"{origin}: the key '{where}{key}' is missing; add it")
    return values


def check_known(key: str, known: Sequence[str], origin: str, **value: Any) -> None:
    """Raise SettingsError if a key, such as "train.learning_rate", is not known; the message suggests a similar one.

    It names the `origin` of the key and, given as `value=...`, its value.
    """
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
        shown = f" with the value {format_value(value['value'])}" if value else ""
        raise SettingsError(f"{origin}: unknown key '{key}'{shown}; {hint}")
