"""Each spelling of a value is read alike by OmegaConf, DVC and Hydra, or it is refused with the spelling to use."""

import itertools
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml, parse_yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from one_neuron.errors import SettingsError
from one_neuron.settings.params import KEYS, check_settings, flatten_settings, load_settings
from one_neuron.settings.spelling import check_override, check_spelling
from one_neuron.settings.yaml_file import check_yaml
from one_neuron.sweep.compose import compose_settings
from one_neuron.sweep.overrides import list_values, parse_overrides
from tests.values import VALUES

WORDS = """
010 0010 08 0x10 0X10 0o17 0b11 1_000 1_ _1 1:30 190:20:30.15 1_0.5_0 .5 5. 1e3 1E-3 +7 -7 1.e+3 .5e3 +.5 -.5 yes no On
OFF y n TRUE true tRue ~ null Null .inf -.INF .nan nan inf -0 00 00.5 01e3 1e 1e+ e3 1.2.3 2024-01-01 2024-1-1 12:30:45
2001-12-14t21:59:43.10-05:00 1e400 0x 0x_1 -010 1__0 1.5_ ._5 0_8 0.0050 5e-3 2000.0 2e3 1e+3 1e-03 123456789 3.14 7
cats 2024_cats 1.jpg a:b a.b Infinity 0.1.0 1-2 1+2 --1 +-1 .e1 1.e 1..2 10e 0.e0 1e0_1 1e1_0 1_e3 0b 0B1 09.5 0777
""".split()
NUMBERS = {"train.num_iterations": int, "train.learning_rate": float}
REFUSED = ("refused", None)
TEXT = "data.positive_class"


def corpus() -> list[str]:
    """Return 1,600 spellings: all short ones of the characters of numbers, and longer ones at random."""
    sizes = {1: "0189_.xobe+-:", 2: "0189_.xobe+-:", 3: "01_.e:-"}
    short = ["".join(each) for size, letters in sizes.items() for each in itertools.product(letters, repeat=size)]
    chooser = random.Random(6)
    long = ["".join(chooser.choices("0012789_.xobe+-:", k=chooser.randint(3, 8))) for _ in range(1000)]
    return list(dict.fromkeys([*WORDS, *short, *long]))


def outcome(read: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """Return what a reader makes of a text: the type and the value, or that it refuses."""
    try:
        value = read(*arguments)
    except Exception:  # noqa: BLE001 - each library has errors of its own
        return REFUSED
    return type(value).__name__, "nan" if isinstance(value, float) and math.isnan(value) else value


def with_value(key: str, value: Any) -> Any:
    """Return the value of a key after the checks of all settings."""
    section, name = key.split(".")
    settings = check_settings({**VALUES, section: {**VALUES[section], name: value}}, origin="here")
    return getattr(getattr(settings, section), name)


def read_omegaconf(text: str) -> Any:
    """Return the value that OmegaConf reads."""
    return OmegaConf.to_container(OmegaConf.create(f"a: {text}"))["a"]  # type: ignore[call-overload, index]


def read_dvc(text: str) -> Any:
    """Return the value that DVC reads."""
    return parse_yaml(f"a: {text}", "params.yaml")["a"]


def read_hydra(text: str) -> Any:
    """Return the value that Hydra's grammar reads."""
    return OverridesParser.create().parse_override(f"a={text}").value()


def read_checked(path: Path, key: str) -> Any:
    """Return the value of a key in a params.yaml that this project accepts."""
    return flatten_settings(load_settings(path))[key]


def test_readers_of_yaml_agree_on_what_is_accepted() -> None:
    """OmegaConf's value is DVC's, in type as well, for every spelling that is not refused."""
    accepted = [text for text in corpus() if outcome(check_spelling, text, "a", "here") != REFUSED]
    differing = [
        (text, ours, dvcs)
        for text in accepted
        if (dvcs := outcome(read_dvc, text)) not in (REFUSED, ours := outcome(read_omegaconf, text))
    ]
    assert differing == []
    # The test can fail: these are numbers for both, and texts for both.
    assert {"1e+3", "5.", "+7", "cats", "1.2.3"} <= {*accepted}
    assert 1000 < len(accepted) < len(corpus()) - 100


def test_a_number_is_refused_only_for_a_reason() -> None:
    """What all three readers take for the same number, without underscores, is accepted."""
    for text in corpus():
        ours = outcome(read_omegaconf, text)
        if ours[0] not in ("int", "float") or "_" in text or ours != outcome(read_dvc, text):
            continue
        if ours == outcome(read_hydra, text):
            check_spelling(text, "a", "here")


@pytest.mark.parametrize("key", NUMBERS)
def test_numbers_in_overrides_are_those_of_yaml(key: str) -> None:
    """For the command line and sweeps: the value is what DVC would read from params.yaml, or it is refused."""
    taken = 0
    for text in corpus():
        ours = outcome(read_override, key, text)
        if ours != REFUSED:
            taken += 1
            assert ours[1] == read_dvc(text), text
    assert taken > 20


def read_override(key: str, text: str) -> Any:
    """Return the value of an override that a sweep accepts."""
    (override,) = parse_overrides([f"{key}={text}"]).values()
    (value,) = list_values(override) if override.is_sweep_override() else [override.value()]
    return with_value(key, value)


def test_every_value_of_a_sweep_is_checked() -> None:
    """In lists, ranges, functions and geomspace; not in quotation marks."""
    for text in (
        "train.num_iterations=010,020",
        "train.num_iterations=100,0x10",
        "train.num_iterations=choice(5, 1_000)",
        "train.num_iterations=range(1,010)",
        "train.num_iterations=range(start=0010, stop=20)",
        "train.learning_rate=tag(log, interval(0.001, 00.5))",
        "train.learning_rate=geomspace(1_0,100,3)",
        "train.num_iterations=[010]",
    ):
        with pytest.raises(SettingsError, match=r"the command line: train\.\w+ is \w[\w.]*, which .*; write "):
            parse_overrides([text])
    check_override("data.positive_class='010',\"0x1\",a,'it\\'s 010'", "here", kind=str)


@pytest.mark.parametrize("text", [word for word in WORDS if word not in ("~", "--1")])
def test_what_dvc_writes_is_read_as_dvc_reads_it(text: str, tmp_path: Path) -> None:
    """`dvc exp run -S` writes params.yaml: its values are the same for this project, or are refused."""
    for key in (*NUMBERS, TEXT):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(VALUES))
        try:
            apply_overrides(path, [f"{key}={text}"])
        except Exception:  # noqa: BLE001 - DVC refuses it
            continue
        section, name = key.split(".")
        dvcs = load_yaml(path)[section][name]
        ours = outcome(read_checked, path, key)
        assert ours == REFUSED or ours[1] == (str(dvcs) if key == TEXT else dvcs)


@pytest.mark.parametrize("key", [*NUMBERS, TEXT])
@pytest.mark.parametrize("text", WORDS)
def test_params_yaml_is_read_as_dvc_reads_it(text: str, key: str, tmp_path: Path) -> None:
    """The whole path from the file: the value is DVC's, or the file is refused; so dvc.lock tells the truth."""
    section, name = key.split(".")
    path = tmp_path / "params.yaml"
    path.write_text(
        "".join(
            f"{part}:\n"
            + "".join(
                f"  {each}: {text if (part, each) == (section, name) else repr(value)}\n"
                for each, value in values.items()
            )
            for part, values in VALUES.items()
        )
    )
    ours = outcome(read_checked, path, key)
    if ours != REFUSED:
        dvcs = load_yaml(path)[section][name]
        assert ours[1] == (str(dvcs) if key == TEXT else dvcs)


@pytest.mark.parametrize(
    ("key", "text", "rest"),
    [
        ("train.num_iterations", "010", "is 010, which is 8 for one reader and 10 for another; write 8 or 10"),
        ("train.num_iterations", "-010", "is -010, which is -8 for one reader and -10 for another; write -8 or -10"),
        ("train.num_iterations", "09", "is 09, which only some readers take for 9; write 9"),
        ("train.num_iterations", "0x10", "is 0x10, which only some readers take for 16; write 16"),
        ("train.num_iterations", "0o17", "is 0o17, which only some readers take for 15; write 15"),
        ("train.num_iterations", "0b11", "is 0b11, which only some readers take for 3; write 3"),
        ("train.num_iterations", "1_000", "is 1_000, which only some readers take for 1000; write 1000"),
        ("train.learning_rate", "1:30", "is 1:30, which only some readers take for 90; write 90"),
        ("train.learning_rate", "1_0.5_0", "is 1_0.5_0, which only some readers take for 10.5; write 10.5"),
        ("train.learning_rate", "+.5", "is +.5, which only some readers take for 0.5; write 0.5"),
        (
            "data.positive_class",
            "010",
            "is 010, which is 8 for one reader and 10 for another; put it in quotation marks",
        ),
        ("data.positive_class", "yes", "is yes, which readers take differently; put it in quotation marks"),
        ("data.path", "2024-01-01", "is 2024-01-01, which readers take differently; put it in quotation marks"),
    ],
)
def test_the_message_has_the_spelling_to_use(tmp_path: Path, key: str, text: str, rest: str) -> None:
    """And that spelling is accepted."""
    path = tmp_path / "params.yaml"
    section, name = key.split(".")
    path.write_text(f"{section}:\n  {name}: {text}\n")
    with pytest.raises(SettingsError) as caught:
        check_yaml(path, KEYS)
    assert str(caught.value) == f"{path}: {key} {rest}"
    spellings = rest.partition("; write ")[2].split(" or ") if "write" in rest else [f'"{text}"']
    for spelling in spellings:
        path.write_text(f"{section}:\n  {name}: {spelling}\n")
        check_yaml(path, KEYS)
        assert load_yaml(path)[section][name] == (float(spelling) if "write" in rest else text)


def test_tags_and_directives_do_not_hide_a_spelling(tmp_path: Path) -> None:
    """`!!int "010"` is 8 for one reader and 10 for the other; %YAML 1.1 changes what DVC reads."""
    path = tmp_path / "params.yaml"
    for value in ('!!int "010"', "!!int 010", "&here 010", "!!bool yes"):
        path.write_text(f"draw: {{seed: {value}}}\n")
        with pytest.raises(SettingsError, match=r"draw.seed is (010|yes), which "):
            check_yaml(path, {})
    path.write_text("%YAML 1.1\n---\ndraw: {seed: 1}\n")
    with pytest.raises(SettingsError, match=r"line 1: %YAML changes how DVC reads values; remove the line"):
        check_yaml(path, KEYS)


MERGES = [
    "train: {<<: {learning_rate: 0.25}, num_iterations: 10}",
    "train: {num_iterations: 10, <<: {learning_rate: 0.25, num_iterations: 5}}",
    "train: {num_iterations: 10, learning_rate: &rate 0.25}",
    "train: {num_iterations: 10, num_iterations: 20}",
    "train: {num_iterations: 10, 'num_iterations': 20}",
    "train: {num_iterations: 10}\ntrain: {num_iterations: 20}",
    "train: {<<: {learning_rate: 0.25}, <<: {learning_rate: 0.5}}",
    "train: {learning_rate: !!float 5}",
    "train: {learning_rate: !!float '5e-1'}",
    "train: {learning_rate: !!int '5'}",
    "train: {learning_rate: !!str 5}",
    "train: {learning_rate: ! 5}",
    "train: {learning_rate: '5'}",
    'train: {learning_rate: "\\x35"}',
    "train: {learning_rate: >-\n  5}",
    "train:\n  learning_rate: |\n    5\n",
    "train:\n  learning_rate: >-\n    5\n",
    "train: {learning_rate: 5 # five\n}",
    "train: {learning_rate: 5#five}",
    "? train\n: {learning_rate: 5}",
    "train: {learning_rate: 5,}",
    "train: {learning_rate: a\n  b}",
    "train: {learning_rate: 'a\n\n  b'}",
    "# a\u2028train: {learning_rate: 5}\ntrain: {learning_rate: 6}",
    "# a\x85train: {learning_rate: 5}",
    "train: {learning_rate: a\u2028b}",
]


@pytest.mark.parametrize("text", MERGES)
def test_merges_duplicates_quotes_and_tags_are_read_alike(text: str, tmp_path: Path) -> None:
    """Or one of the two readers refuses, or the check does."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    ours = outcome(check_yaml, path, KEYS)
    if ours != REFUSED:
        ours = outcome(lambda: OmegaConf.to_container(OmegaConf.load(path)))
    dvcs = outcome(load_yaml, path)
    assert REFUSED in (ours, dvcs) or ours == dvcs


def test_composed_overrides_are_checked_too(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`one-neuron settings train.num_iterations=010`; a class may be called yes, which is text in an override."""
    monkeypatch.chdir(repository)
    with pytest.raises(SettingsError, match=r"^the command line: train.num_iterations is 010, .*; write 8 or 10$"):
        compose_settings(["train.num_iterations=010"])
    with pytest.raises(SettingsError, match=r"data.positive_class is 1_0, .*; put it in quotation marks$"):
        compose_settings(["data.positive_class=1_0"])
    assert compose_settings(['data.positive_class="1_0"']).data.positive_class == "1_0"
    assert compose_settings(["data.positive_class=yes"]).data.positive_class == "yes"
    assert compose_settings(["train.learning_rate=1e-3"]).train.learning_rate == 0.001
