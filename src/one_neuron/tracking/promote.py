"""Writing what an MLflow run was made with into params.yaml. The only room that knows ruamel.yaml."""

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
    """Write the parameters of a run into params.yaml; in its text nothing changes but the values that differ.

    All is checked before the file is replaced, whole. A value that is equal as a number (0.005 and 5e-3) stays as it
    is written.

    Parameters
    ----------
    path : Path
        params.yaml, in the root of the project.
    params : mapping of str to str
        Texts by `section.key`, as MLflow shows them: "train.learning_rate": "0.005". Keys that params.yaml does not
        know are left out; those that the run lacks keep their values.
    force : bool
        Write over uncommitted changes, too.

    Returns
    -------
    str
        The unified diff of the text; "" where params.yaml holds the values already, and nothing was written.

    Raises
    ------
    SettingsError
        If params.yaml is not valid or has uncommitted changes (or Git cannot tell), if the run has none of its
        parameters or one out of range, or if a value is written in a way in which it cannot be changed alone.
    """
    present = load_settings(path)
    meant = _settings_of(params, present)
    before = flatten_settings(present)
    changes = {name: value for name, value in flatten_settings(meant).items() if value != before[name]}
    if not changes:
        return ""
    if not force:
        _check_committed(path)
    old = path.read_bytes().decode("utf-8")  # bytes, because text mode would change the line ends
    new = _replace_values(old, changes, path)
    with atomic_write(path) as temporary:
        temporary.write_bytes(new.encode("utf-8"))
        if not _holds(temporary, meant):
            raise _not_alone(path, changes)
    return _unified_diff(old, new, path.name)


def _settings_of(params: Mapping[str, str], present: Settings) -> Settings:
    """Return the present settings with the values of the run in their place."""
    before = flatten_settings(present)
    if not params.keys() & before.keys():
        raise SettingsError(f"the run has none of the parameters {', '.join(before)}; choose another run")
    values: dict[str, dict[str, Any]] = asdict(present)
    for name in params.keys() & before.keys():
        section, key = name.split(".")
        values[section][key] = params[name] if isinstance(before[name], str) else _number(params[name])
    return check_settings(values, origin="the run")


def _number(text: str) -> Any:
    """Return what a parameter of a run stands for; what is no number stays text, for the check to name it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _check_committed(path: Path) -> None:
    """Refuse a file that Git could not bring back as it is now."""
    # Git's own settings may hide untracked files, and an ignored one is in no commit either.
    changes = ask_git(path.parent, "status", "--porcelain", "--untracked-files=all", "--ignored", "--", path.name)
    if changes is None:
        raise SettingsError(f"Git cannot tell whether '{path}' has uncommitted changes; write over it with --force")
    if changes:
        raise SettingsError(f"'{path}' has uncommitted changes; commit or undo them, or write over them with --force")


def _replace_values(text: str, changes: Mapping[str, Any], path: Path) -> str:
    """Return the text of params.yaml with new values where the old ones stood, between the same quotes.

    ruamel.yaml says where. Writing the whole document is not left to it: it would make its own indents and line ends.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="rt").compose(text)
    # OmegaConf read the file as YAML 1.1; AssertionError: ruamel.yaml's word for `%YAML 1.3`
    except (YAMLError, AssertionError) as error:
        raise SettingsError(f"'{path}' is not readable as YAML 1.2: {one_line(error)}") from error
    places = []
    for name, value in changes.items():
        place = _find_place(document, name)
        if place is None:
            raise _not_alone(path, {name: value})
        places.append((*place, to_text(value)))
    for start, end, new in sorted(places, reverse=True):  # from the end: the places before stay where they are
        text = text[:start] + new + text[end:]
    return text


def _find_place(node: Any, name: str) -> tuple[int, int] | None:
    """Return where a value's letters begin and end, its quotes excluded; None where it comes out of a merge key (<<).

    `node` is the root of ruamel.yaml's tree. Of a value with escapes or in a block the place is wrong; the check of the
    whole new text finds that.
    """
    for key in name.split("."):
        node = next((child for label, child in node.value if label.value == key), None)
        if node is None:
            return None
    end = node.end_mark.index - (1 if node.style in ("'", '"') else 0)
    return end - len(node.value), end  # an anchor or a tag stands before it and stays


def _holds(path: Path, meant: Settings) -> bool:
    """Tell whether a file holds just these settings."""
    try:
        return load_settings(path) == meant
    except SettingsError:
        return False


def _not_alone(path: Path, changes: Mapping[str, Any]) -> SettingsError:
    """Return what to say of values that are part of something else."""
    values = ", ".join(f"{name}: {value}" for name, value in changes.items())
    return SettingsError(
        f"'{path}' has an anchor, a tag, a merge, an escape or a block where a plain value is needed; edit it: {values}"
    )


def _unified_diff(old: str, new: str, name: str) -> str:
    """Return the diff of two texts, as Git writes it."""
    # Lines end with a line feed alone; `splitlines` would split at other letters, too.
    before, after = (list(StringIO(text, newline="\n")) for text in (old, new))
    diff = difflib.unified_diff(before, after, fromfile=f"a/{name}", tofile=f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff)
