"""Checks of a YAML file before OmegaConf reads it: what is expensive to parse, and what DVC would read otherwise."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from one_neuron.errors import SettingsError
from one_neuron.settings.spelling import check_spelling

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 2**16
MAX_DEPTH = 20  # libyaml's time grows with the square of the depth
_TEXT = "tag:yaml.org,2002:str"


def check_yaml(path: Path, kinds: Mapping[str, type]) -> None:
    """Refuse a YAML file that is expensive to parse, or that holds a value which readers take differently.

    Parameters
    ----------
    path : Path
    kinds : mapping of str to type
        The declared type of each key, such as "train.learning_rate"; other keys are allowed.

    Raises
    ------
    SettingsError
        If it is larger than 64 KB, holds an alias (`*name`) or the directive `%YAML 1.1`, is nested too deep, or if
        `check_spelling` refuses a value. Aliases of aliases of aliases would fill any memory.
    OSError, YAMLError
        If it cannot be read, or is not YAML.
    """
    import yaml

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise SettingsError(f"'{path}' has {size:,} bytes; at most {MAX_BYTES:,} are read; keep only parameters in it")
    text = path.read_text(encoding="utf-8")
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            raise SettingsError(f"'{path}', line {line}: lists or sections are nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            raise SettingsError(f"'{path}', line {line}: the alias '*{event.anchor}' is not read; write the value out")
        if isinstance(event, yaml.DocumentStartEvent) and event.version not in (None, (1, 2)):
            raise SettingsError(f"'{path}', line {line}: %YAML changes how DVC reads values; remove the line")
    for name, value in _walk(yaml.compose(text, Loader=yaml.CSafeLoader), ""):
        check_spelling(value, name, str(path), kind=kinds.get(name))


def _walk(node: "yaml.Node | None", name: str) -> Iterator[tuple[str, str]]:
    """Yield the dotted name and the text of each value that is not in quotation marks, or has a tag."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        if not node.style or node.tag != _TEXT:
            yield name, node.value
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _walk(value, f"{name}.{key.value}" if name else str(key.value))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _walk(value, name)
