"""Write the parameters of an MLflow run into params.yaml. The only module that imports ruamel.yaml."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from one_neuron.errors import SettingsError, one_line
from one_neuron.settings.params import Settings, check_settings, flatten_settings, load_settings
from one_neuron.system.files import atomic_write
from one_neuron.system.git import ask_git
from one_neuron.tracking.parameters import to_text


def promote(path: Path, params: Mapping[str, str], *, force: bool = False) -> str:
    """Write the parameters of a run into params.yaml; only the values that differ change in its text.

    Everything is checked before the file is replaced. A value that is equal as a number (0.005 and 5e-3) stays as it
    is written.

    Parameters
    ----------
    path : Path
        params.yaml, in the root of the project.
    params : mapping of str to str
        As MLflow shows them: "train.learning_rate": "0.005" ... Keys that params.yaml does not know are ignored; keys
        that the run lacks keep their values.
    force : bool
        Overwrite uncommitted changes.

    Returns
    -------
    str
        The unified diff of the text; "" if params.yaml already has the values and nothing was written.

    Raises
    ------
    SettingsError
        If params.yaml is not valid or has uncommitted changes (or Git does not know), if the run has none of its
        parameters or one out of range, or if a value cannot be changed alone as it is written.
    """
    present = load_settings(path)
    wanted = _merge(params, present)
    before = flatten_settings(present)
    changes = {name: value for name, value in flatten_settings(wanted).items() if value != before[name]}
    if not changes:
        return ""
    if not force:
        _check_committed(path)
    old = path.read_bytes().decode("utf-8")  # bytes, because text mode would change the line ends
    new = _replace_values(old, changes, path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(new.encode("utf-8"))
        if not _holds(temporary, wanted):
            raise _cannot_change(path, changes)
    return _unified_diff(old, new, path.name)


def _merge(params: Mapping[str, str], present: Settings) -> Settings:
    """Return the present settings with the values of the run in place of their own."""
    before = flatten_settings(present)
    if not params.keys() & before.keys():
        raise SettingsError(f"the run has none of the parameters {', '.join(before)}; choose another run")
    values: dict[str, dict[str, Any]] = asdict(present)
    for name in params.keys() & before.keys():
        section, key = name.split(".")
        values[section][key] = params[name] if isinstance(before[name], str) else _to_number(params[name])
    return check_settings(values, origin="the run")


def _to_number(text: str) -> Any:
    """Return the number that a text stands for; any other text is returned, for the check to report it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_committed(path: Path) -> None:
    """Refuse a file that Git could not restore as it is now."""
    # Git's own settings may hide untracked files, and an ignored file is not in any commit.
    changes = ask_git(path.parent, "status", "--porcelain", "--untracked-files=all", "--ignored", "--", path.name)
    if changes is None:
        raise SettingsError(f"Git does not know whether '{path}' has uncommitted changes; overwrite it with --force")
    if changes:
        raise SettingsError(f"'{path}' has uncommitted changes; commit or undo them, or overwrite them with --force")


def _replace_values(text: str, changes: Mapping[str, Any], path: Path) -> str:
    """Return the text of params.yaml with new values in place of the old ones, inside the same quotes.

    ruamel.yaml only finds the positions: a document that it writes has other indents and line ends.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="rt").compose(text)
    # OmegaConf has read the file as YAML 1.1. ruamel.yaml raises AssertionError for `%YAML 1.3`.
    except (YAMLError, AssertionError) as error:
        raise SettingsError(f"'{path}' is not readable as YAML 1.2: {one_line(error)}") from error
    spans = []
    for name, value in changes.items():
        span = _find_span(document, name)
        if span is None:
            raise _cannot_change(path, {name: value})
        spans.append((*span, to_text(value)))
    for start, end, new in sorted(spans, reverse=True):  # from the end, so that earlier positions stay valid
        text = text[:start] + new + text[end:]
    return text


def _find_span(node: Any, name: str) -> tuple[int, int] | None:
    """Return where the characters of a value begin and end, without its quotes; None if a merge key (<<) provides it.

    `node` is the root of ruamel.yaml's tree. For a value with escapes or in a block the positions are wrong; the check
    of the whole new text finds that.
    """
    for key in name.split("."):
        node = next((child for label, child in node.value if label.value == key), None)
        if node is None:
            return None
    end = node.end_mark.index - (1 if node.style in ("'", '"') else 0)
    return end - len(node.value), end  # an anchor or a tag before it stays


def _holds(path: Path, wanted: Settings) -> bool:
    """Return whether a file holds exactly these settings."""
    try:
        return load_settings(path) == wanted
    except SettingsError:
        return False


def _cannot_change(path: Path, changes: Mapping[str, Any]) -> SettingsError:
    """Return the error for values that cannot be changed alone."""
    values = ", ".join(f"{name}: {value}" for name, value in changes.items())
    return SettingsError(
        f"'{path}' has an anchor, a tag, a merge, an escape or a block where a plain value is needed; edit it: {values}"
    )


def _unified_diff(old: str, new: str, name: str) -> str:
    """Return the diff of two texts, as Git writes it."""
    # Only a line feed ends a line; `splitlines` would split at other characters as well.
    before, after = (list(StringIO(text, newline="\n")) for text in (old, new))
    diff = difflib.unified_diff(before, after, fromfile=f"a/{name}", tofile=f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff)
