"""The choice of an engine: its names, what is refused, and that it reaches no file and no key."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from one_neuron.errors import EnvironmentProblem, SettingsError
from one_neuron.gradient_descent import optimize as gradient_descent
from one_neuron.gradient_descent.engines import choice, on_ray, on_torch
from one_neuron.gradient_descent.engines.choice import find_engine
from one_neuron.gradient_descent.optimize import optimize
from one_neuron.gradient_descent.passes import LocalPasses
from one_neuron.layout import find_code
from one_neuron.storage.checkpoint import CheckpointFile
from one_neuron.sweep import configuration

X = np.random.default_rng(0).integers(0, 256, (40, 6), np.uint8)
Y = (np.arange(40) % 3 == 0).astype(np.uint8)
OPTIONS: dict[str, Any] = {"learning_rate": 0.5, "num_iterations": 3}


@pytest.fixture(autouse=True)
def only_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the variables, and with all libraries: no test starts one."""
    monkeypatch.setattr(choice, "find_spec", lambda name: sys.modules.get(name, name))
    for name in ("ONE_NEURON_ENGINE", "ONE_NEURON_SHARDS", "ONE_NEURON_PIXELS_URL"):
        monkeypatch.delenv(name, raising=False)


class Started(Exception):  # noqa: N818 - not an error
    """Raised by an engine that would start."""


def start(*_: object, **options: object) -> None:
    """Raise what an engine was started with."""
    raise Started(options)


@pytest.mark.parametrize(
    ("engine", "options"),
    [
        ("ray", {"address": "", "shards": None, "url": None}),
        ("ray://10.0.0.7:10001", {"address": "ray://10.0.0.7:10001", "shards": None, "url": None}),
        ("cuda", {"device": "cuda"}),
        ("cuda:1", {"device": "cuda:1"}),
    ],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_the_engine_that_starts(
    engine: str, options: dict[str, object], by_variable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the argument, or by the variable where there is no argument."""
    monkeypatch.setattr(gradient_descent, "_GRAM_ALWAYS", 0)
    monkeypatch.setattr(on_ray, "RayPasses", start)
    monkeypatch.setattr(on_torch, "TorchPasses", start)
    monkeypatch.setenv("ONE_NEURON_ENGINE", engine if by_variable else "local")
    with pytest.raises(Started) as started:
        optimize(X, Y, engine=None if by_variable else engine, **OPTIONS)
    assert started.value.args == (options,)


def test_the_number_of_shards_and_the_copy_of_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their variables."""
    monkeypatch.setattr(on_ray, "RayPasses", start)
    monkeypatch.setenv("ONE_NEURON_SHARDS", "12")
    monkeypatch.setenv("ONE_NEURON_PIXELS_URL", "s3://bucket/a/train.h5")
    _, make_passes = find_engine("ray")
    with pytest.raises(Started) as started:
        make_passes(X, Y)
    assert started.value.args == ({"address": "", "shards": 12, "url": "s3://bucket/a/train.h5"},)


@pytest.mark.parametrize("engine", [None, "local"])
def test_the_local_engine(engine: str | None) -> None:
    """It is the default."""
    name, make_passes = find_engine(engine)
    with make_passes(X, Y) as passes:
        assert (name, type(passes)) == ("local", LocalPasses)


@pytest.mark.parametrize(
    "name", ["Ray", "ray://", "ray://host", "cuda:x", "cuda:٣", "cuda:999", "ray://host:٣", "gpu", "local ray", "cpu"]
)
def test_another_name_is_refused_before_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the names that there are; for few examples as well."""
    with pytest.raises(ValueError, match=f"engine is '{name}'; expected local, ray, ray://host:port, cuda"):
        optimize(X, Y, engine=name, **OPTIONS)
    monkeypatch.setenv("ONE_NEURON_ENGINE", name)
    with pytest.raises(SettingsError, match=f"ONE_NEURON_ENGINE = '{name}'; expected local, ray"):
        optimize(X, Y, **OPTIONS)


@pytest.mark.parametrize("text", ["0", "-1", "2.5", "two", "²"])
def test_a_wrong_number_of_shards_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable."""
    monkeypatch.setenv("ONE_NEURON_SHARDS", text)
    with pytest.raises(SettingsError, match=f"ONE_NEURON_SHARDS = '{text}'; expected a whole number from 1"):
        find_engine("ray")


@pytest.mark.parametrize("text", ["data/prepared/train.h5", "/mnt/train.h5", "s3:bucket", "s3://", "s3://a b"])
def test_a_wrong_url_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable."""
    monkeypatch.setenv("ONE_NEURON_PIXELS_URL", text)
    with pytest.raises(SettingsError, match=f"ONE_NEURON_PIXELS_URL = '{text}'; expected the URL of a file without"):
        find_engine("ray")


@pytest.mark.parametrize("url", ["https://u:hunter2@h.org/train.h5", "s3://hunter2@bucket/train.h5", "//hunter2@x"])
def test_a_password_in_a_url_is_not_printed(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each store has variables for it."""
    monkeypatch.setenv("ONE_NEURON_PIXELS_URL", url)
    with pytest.raises(SettingsError, match=r"^ONE_NEURON_PIXELS_URL contains a name or password, and programs"):
        find_engine("ray")


@pytest.mark.parametrize(
    ("engine", "library", "packages"), [("ray", "ray", "-r requirements-extras.txt"), ("cuda:1", "torch", "torch")]
)
def test_an_engine_that_is_not_installed(
    engine: str, library: str, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few examples need none, but the user wants it. The message has the line that installs it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EnvironmentProblem, match=rf"{library} is not installed .* `pip install {packages}`") as told:
        optimize(X, Y, engine=engine, **OPTIONS)
    assert told.value.exit_code == 4


@pytest.mark.parametrize("features", [False, True])
def test_few_examples_are_trained_here_and_a_line_says_so(features: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the gram form nor features start an engine."""
    rows = X / 255 if features else X
    expected = optimize(rows, Y, **OPTIONS)
    assert capsys.readouterr().err == ""
    result = optimize(rows, Y, engine="ray", **OPTIONS)
    assert result.parameters.w.tobytes() == expected.parameters.w.tobytes()
    assert capsys.readouterr().err == (
        "one-neuron: 40 examples are trained on this machine; the engine 'ray' is for more\n"
    )


def test_checkpoints_and_content_keys_do_not_depend_on_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on the variable nor on the code of the engines; the passes themselves count."""
    monkeypatch.chdir(tmp_path)
    names, keys = set(), set()
    for engine in ("", "ray", "cuda:1"):
        monkeypatch.setenv("ONE_NEURON_ENGINE", engine)
        names.add(CheckpointFile({"learning_rate": 0.5}).path)
        configuration._hash_own_code.cache_clear()
        keys.add(configuration._hash_own_code())
    assert (len(names), len(keys)) == (1, 1)
    counted = find_code("one_neuron/gradient_descent/blocks.py", aside=["one_neuron.system"])
    also = find_code(*configuration._CODE, aside=configuration._WITHOUT_EFFECT)
    for code in (counted, also):
        assert Path("one_neuron/gradient_descent/passes.py") in code
        assert not [path for path in code if "engines" in path.parts]
