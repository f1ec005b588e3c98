"""params.yaml: what is accepted, and the messages about everything else."""

import math
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from one_neuron.errors import SettingsError
from one_neuron.settings.params import KEYS, Settings, check_settings, load_settings
from tests.values import VALUES, alias_bomb

TEXT = yaml.safe_dump(VALUES, sort_keys=False)
RATE = "train.learning_rate is {}; expected a number from 1e-12 to 1,000"
ITERATIONS = "train.num_iterations is {}; expected a whole number from 1 to 10,000,000"
RANGES = [  # key, least, most, one step beyond either end
    ("draw.seed", 0, 2**63 - 1, 1),
    ("draw.num_train", 2, 1_000_000, 1),
    ("draw.num_test", 2, 1_000_000, 1),
    ("data.num_px", 1, 1024, 1),
    ("train.learning_rate", 1e-12, 1000, 1e-13),
    ("train.num_iterations", 1, 10_000_000, 1),
    ("train.record_every", 1, 10_000_000, 1),
    ("train.tolerance", 0, 1, 1e-9),
    ("evaluate.num_mistakes", 1, 100, 1),
]
Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a params.yaml."""

    def write_params(content: str | bytes) -> Path:
        path = tmp_path / "params.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_params


def change(key: str, value: object) -> dict[str, dict[str, Any]]:
    """Return the values with one of them changed."""
    section, name = key.split(".")
    return {**VALUES, section: {**VALUES[section], name: value}}


def replace_value(key: str, text: str) -> str:
    """Return the YAML text with the value of `key` (a unique name) replaced."""
    lines = [f"  {key}: {text}" if line.startswith(f"  {key}:") else line for line in TEXT.splitlines()]
    return "\n".join(lines) + "\n"


def test_the_committed_file_is_valid(repository: Path) -> None:
    """params.yaml has the course's parameters, and the oracle is another YAML reader."""
    settings = load_settings(repository / "params.yaml")
    assert asdict(settings) == yaml.safe_load((repository / "params.yaml").read_text())
    assert (settings.train.learning_rate, settings.train.num_iterations) == (0.005, 2000)


def test_values_and_types(write: Write) -> None:
    """Every key arrives with its declared type."""
    settings = load_settings(write(TEXT))
    assert asdict(settings) == VALUES
    assert all(type(value) in (int, float, str) for section in asdict(settings).values() for value in section.values())


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("learning_rate", "1e-3", 0.001),
        ("learning_rate", "1.0e-3", 0.001),
        ("learning_rate", "1", 1.0),
        ("num_iterations", "2e3", 2000),
        ("num_iterations", "2000.0", 2000),
        ("seed", "9223372036854775807", 2**63 - 1),
        ("threshold", "1e-300", 1e-300),
    ],
)
def test_ways_to_write_a_number(write: Write, key: str, text: str, value: float) -> None:
    """1e-3 is a number (PyYAML calls it text), 2e3 iterations are 2,000 and an integer."""
    settings = load_settings(write(replace_value(key, text)))
    found = next(values[key] for values in asdict(settings).values() if key in values)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("key", "least", "most", "step"), RANGES)
def test_the_ends_of_a_range(key: str, least: float, most: float, step: float) -> None:
    """Both ends are allowed, one step beyond is not, and the message names the range."""
    for value in (least, most):
        check_settings(change(key, value), origin="here")
    for value in (least - step, most + step, most * 10, -most, 10**400):
        with pytest.raises(SettingsError) as caught:
            check_settings(change(key, value), origin="here")
        shown = f"1{'0' * 199}..." if value == 10**400 else repr(value)
        assert str(caught.value).startswith(f"here: {key} is {shown}; expected a ")
        assert f"from {least:,} to {most:,}" in str(caught.value)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5])
def test_the_threshold_excludes_its_ends(value: float) -> None:
    """At 0 or 1 every picture would get the same label."""
    with pytest.raises(SettingsError, match=r"train.threshold is .*; expected a number between 0 and 1, ends excluded"):
        check_settings(change("train.threshold", value), origin="here")


@pytest.mark.parametrize("key", [key for key, *_ in RANGES])
@pytest.mark.parametrize("value", ["5", "", None, True, False, [1], {"a": 1}, math.nan, math.inf, -math.inf, 1j])
def test_a_value_that_is_not_a_number_is_refused(key: str, value: object) -> None:
    """Text, nothing, truth values, lists, nan and infinity; key, value and range are named."""
    with pytest.raises(SettingsError) as caught:
        check_settings(change(key, value), origin="here")
    note = " (text)" if isinstance(value, str) else ""
    assert str(caught.value).startswith(f"here: {key} is {value!r}{note}; expected a ")


@pytest.mark.parametrize("value", ["Drawn", "", None, 1, ["drawn"], True])
def test_the_source_is_one_of_some_words(value: object) -> None:
    """The message names the options."""
    with pytest.raises(SettingsError) as caught:
        check_settings(change("data.source", value), origin="here")
    assert str(caught.value) == f"here: data.source is {value!r}; expected drawn or catvnoncat or folder or hdf5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(replace_value("learning_rate", "abc"), RATE.format("'abc' (text)"), id="word"),
        pytest.param(replace_value("learning_rate", '"0.1"'), RATE.format("'0.1' (text)"), id="quoted"),
        pytest.param(replace_value("learning_rate", ".nan"), RATE.format("nan"), id="nan"),
        pytest.param(replace_value("learning_rate", "-.inf"), RATE.format("-inf"), id="infinity"),
        pytest.param(replace_value("learning_rate", "true"), RATE.format("True"), id="truth"),
        pytest.param(replace_value("learning_rate", "[0.1]"), RATE.format("[0.1]"), id="list"),
        pytest.param(replace_value("learning_rate", ""), RATE.format("None"), id="nothing"),
        pytest.param(replace_value("num_iterations", "1.5"), ITERATIONS.format("1.5"), id="half an iteration"),
        pytest.param(replace_value("num_iterations", "1e400"), ITERATIONS.format("inf"), id="overflow"),
        pytest.param(
            replace_value("num_iterations", "1" + "0" * 400), ITERATIONS.format(f"1{'0' * 199}..."), id="400 digits"
        ),
        pytest.param(replace_value("num_iterations", "9" * 5000), "is not readable as YAML", id="5,000 digits"),
        pytest.param(replace_value("learning_rate", '!!float "x"'), "is not readable as YAML", id="wrong tag"),
        pytest.param(replace_value("learning_rate", "!!float"), "is not readable as YAML", id="bare tag"),
        pytest.param(replace_value("num_iterations", "!!int"), "is not readable as YAML", id="bare tag of an integer"),
        pytest.param(replace_value("learning_rate", "!!bool x"), "is not readable as YAML", id="odd truth"),
        pytest.param(
            replace_value("learning_rate", "${nowhere}"), "is '${nowhere}' (text); expected", id="interpolation"
        ),
        pytest.param(
            TEXT.replace("learning_rate", "learning_rat"),
            "unknown key 'train.learning_rat' with the value 0.005; did you mean 'train.learning_rate'?",
            id="typo",
        ),
        pytest.param(TEXT.replace("train:", "trian:"), "unknown key 'trian' with the value {", id="typo in a section"),
        pytest.param(TEXT + "  quality: 5\n", "unknown key 'evaluate.quality' with the value 5", id="unknown"),
        pytest.param(
            TEXT + "optimizer: 5\n", "unknown key 'optimizer' with the value 5; known are draw, data", id="section"
        ),
        pytest.param(TEXT + "1: 2\n", "unknown key '1' with the value 2", id="number as key"),
        pytest.param(TEXT.replace("  num_px: 2\n", ""), "the key 'data.num_px' is missing", id="missing"),
        pytest.param(TEXT.split("evaluate")[0], "the key 'evaluate' is missing", id="missing section"),
        pytest.param(
            TEXT.split("evaluate")[0] + "evaluate: 5\n", "'evaluate' is 5; expected the keys num_mistakes", id="flat"
        ),
        pytest.param(
            TEXT.split("evaluate")[0] + "evaluate:\n", "'evaluate' is None; expected the keys", id="empty section"
        ),
        pytest.param("", "the key 'draw' is missing", id="empty file"),
        pytest.param("# nothing\n", "the key 'draw' is missing", id="comment"),
        pytest.param("- draw\n", "'the file' is ['draw']; expected the keys draw, data, hdf5, train", id="list file"),
        pytest.param("word\n", "unknown key 'word'", id="word file"),
        pytest.param("42\n", "holds no sections", id="number file"),
        pytest.param("draw: [1\n", "is not readable as YAML", id="broken"),
        pytest.param("draw:\n\tseed: 1\n", "is not readable as YAML", id="tab"),
        pytest.param(TEXT + "data:\n  num_px: 1\n", "duplicate key data", id="duplicate"),
        pytest.param(TEXT + "---\na: 1\n", "is not readable as YAML", id="two documents"),
        pytest.param(TEXT.encode() + "# café".encode("latin-1"), "is not readable as YAML", id="not UTF-8"),
        pytest.param(TEXT + "\0", "is not readable as YAML", id="NUL"),
        pytest.param("a: " + "[" * 2000, "line 1: lists or sections are nested more than 20 deep", id="deep"),
        pytest.param("a: &a [*a]\n", "line 1: the alias '*a' is not read; write the value out", id="endless"),
        pytest.param(TEXT + "x: !!python/object/apply:os.getcwd []\n", "is not readable as YAML", id="code"),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(write: Write, content: str | bytes, message: str) -> None:
    """The message names the file, then the key, the value and what is allowed."""
    path = write(content)
    with pytest.raises(SettingsError) as caught:
        load_settings(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_file_says_where_to_go(tmp_path: Path) -> None:
    """The usual reason is the wrong folder."""
    with pytest.raises(SettingsError, match=r"params.yaml' is missing; run from the root of the project"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize("content", [TEXT.replace("\n", "\r\n"), "\N{BYTE ORDER MARK}" + TEXT])
def test_files_of_other_editors_are_read(write: Write, content: str) -> None:
    """Windows line ends and a byte order mark change nothing."""
    assert asdict(load_settings(write(content))) == VALUES


def test_settings_are_frozen() -> None:
    """A value that was checked stays as it is."""
    settings = check_settings(VALUES, origin="here")
    assert isinstance(settings, Settings)
    with pytest.raises(AttributeError):
        settings.train.learning_rate = 5.0  # type: ignore[misc]


def test_all_keys_with_their_types() -> None:
    """One for each value of params.yaml."""
    flat = {f"{section}.{key}": type(value) for section, keys in VALUES.items() for key, value in keys.items()}
    assert flat == KEYS


TEXTS = ["data.path", "data.positive_class", "hdf5.train_x"]
MAY_BE_EMPTY = ["hdf5.classes"]


@pytest.mark.parametrize("key", [*TEXTS, *MAY_BE_EMPTY])
@pytest.mark.parametrize("value", ["a b", "/x/y", "../mine", "caf\u00e9 \U0001f408", "a" * 300, "no", "1.5"])
def test_names_are_taken_as_they_are(key: str, value: str) -> None:
    """Spaces, accents and emoji are allowed."""
    section, name = key.split(".")
    assert getattr(getattr(check_settings(change(key, value), origin="here"), section), name) == value


@pytest.mark.parametrize("key", [*TEXTS, *MAY_BE_EMPTY])
def test_a_class_may_be_called_7(key: str) -> None:
    """YAML takes it for a number."""
    section, name = key.split(".")
    assert getattr(getattr(check_settings(change(key, 7), origin="here"), section), name) == "7"


@pytest.mark.parametrize("key", [*TEXTS, *MAY_BE_EMPTY])
@pytest.mark.parametrize("value", [None, True, 1.5, ["a"], {"a": 1}])
def test_a_value_that_is_not_a_text_is_refused(key: str, value: object) -> None:
    """The message names key, value and quotation marks."""
    with pytest.raises(SettingsError) as caught:
        check_settings(change(key, value), origin="here")
    assert str(caught.value).startswith(f"here: {key} is {value!r}; expected the name of ")
    assert str(caught.value).endswith(": put it in quotation marks")


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize("value", ["", " a", "a\n", "a\nb", "a\0b", "\t"])
def test_a_text_is_on_one_line(key: str, value: str) -> None:
    """Nor empty, if it names something that must exist."""
    with pytest.raises(
        SettingsError, match=rf"here: {key} is .*; expected the name of .*, on one line, without spaces"
    ):
        check_settings(change(key, value), origin="here")


def test_some_texts_may_be_empty() -> None:
    """A file may have no class names or no test set; the names of an absent test set are both empty."""
    assert check_settings(change("hdf5.classes", ""), origin="here").hdf5.classes == ""
    values = {**VALUES, "hdf5": {**VALUES["hdf5"], "test_x": "", "test_y": ""}}
    assert check_settings(values, origin="here").hdf5.test_x == ""
    for key in ("test_x", "test_y"):
        with pytest.raises(
            SettingsError, match=r"here: hdf5.test_x is '.*' and hdf5.test_y is '.*'; name both or none"
        ):
            check_settings(change(f"hdf5.{key}", ""), origin="here")


@pytest.mark.parametrize("key", ["hdf5.train_file", "hdf5.test_file"])
@pytest.mark.parametrize(("value", "fits"), [("a.h5", True), ("a/b c.h5", True), ("/a.h5", False), ("../a.h5", False)])
def test_files_lie_in_the_path_that_dvc_looks_at(key: str, value: str, fits: bool) -> None:
    """DVC would not see a change elsewhere."""
    if fits:
        check_settings(change(key, value), origin="here")
    else:
        with pytest.raises(SettingsError, match=f"here: {key} is '{value}'; expected a file inside data.path"):
            check_settings(change(key, value), origin="here")


@pytest.mark.parametrize("value", ["~", "~/pictures", "~me/pictures"])
def test_a_tilde_is_refused(value: str) -> None:
    """DVC does not read it as the shell does."""
    with pytest.raises(SettingsError, match=r"here: data.path is '~.*'~' is not expanded; use an absolute path"):
        check_settings(change("data.path", value), origin="here")


def test_an_alias_bomb_is_refused_at_once(write: Write) -> None:
    """In a process with limited memory: OmegaConf would copy the value of every alias."""
    path = write(alias_bomb())
    program = (
        "import resource, sys; from pathlib import Path; from one_neuron.settings.params import load_settings\n"
        "if sys.platform == 'linux': resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))\n"
        "load_settings(Path(sys.argv[1]))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False, timeout=20
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 2
    assert f"SettingsError: '{path}', line 2: the alias '*a0' is not read; write the value out" in done.stderr


@pytest.mark.parametrize("text", ["0x" + "f" * 20_000, "0b1" + "0" * 20_000, "1" + ":1" * 3_000, "1" * 4_000])
@pytest.mark.parametrize(
    ("key", "name"), [("learning_rate", "train.learning_rate"), ("path", "data.path"), ("num_train", "draw.num_train")]
)
def test_numbers_of_thousands_of_digits_are_refused(write: Write, key: str, name: str, text: str) -> None:
    """On one short line; Python itself refuses to print most of them."""
    with pytest.raises(SettingsError) as caught:
        load_settings(write(replace_value(key, text)))
    assert f"params.yaml: {name} is " in str(caught.value)
    assert re.search("; (expected|write|put it in) ", str(caught.value))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_a_nest_of_lists_is_refused_at_once(write: Write, opening: str) -> None:
    """Libyaml takes seconds for some kilobytes of brackets, and OmegaConf uses up the stack."""
    path = write(opening * 16_000)
    started = time.process_time()
    with pytest.raises(SettingsError, match=r"params.yaml', line 1: lists or sections are nested more than 20 deep"):
        load_settings(path)
    assert time.process_time() - started < 0.5


def test_a_file_too_large_for_parameters_is_refused(write: Write) -> None:
    """YAML is slow to parse: a megabyte takes minutes."""
    path = write(TEXT + "# " + "x" * 70_000)
    with pytest.raises(SettingsError, match=r"params.yaml' has 70,\d{3} bytes; at most 65,536 are read"):
        load_settings(path)
