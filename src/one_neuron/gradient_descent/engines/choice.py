"""Choose where the passes of the form "blocks" run: by an argument or by the environment variable ONE_NEURON_ENGINE.

It is not a parameter: it changes no result and reaches no file.
"""

import os
import re
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from one_neuron.errors import EnvironmentProblem, SettingsError

if TYPE_CHECKING:
    from one_neuron.gradient_descent.passes import Passes

MakePasses = Callable[[Any, NDArray[Any]], "Passes"]

VARIABLE = "ONE_NEURON_ENGINE"
SHARDS_VARIABLE = "ONE_NEURON_SHARDS"
URL_VARIABLE = "ONE_NEURON_PIXELS_URL"
_NAMES = re.compile(r"local|ray(://[^/\s]+:[0-9]{1,5})?|cuda(:[0-9]{1,2})?")
_EXPECTED = "expected local, ray, ray://host:port, cuda or the number of a device, such as cuda:1"


def find_engine(engine: str | MakePasses | None) -> tuple[str, MakePasses]:
    """Return the name of an engine and the function that starts it: make_passes(X, Y).

    Parameters
    ----------
    engine : str or callable, optional
        A name; or make_passes itself. By default ONE_NEURON_ENGINE, and "local" if that is unset or empty.

    Raises
    ------
    ValueError
        If the argument is not an engine.
    SettingsError
        If an environment variable is wrong.
    EnvironmentProblem
        If the library of the engine is not installed.
    """
    if callable(engine):
        return getattr(engine, "__name__", type(engine).__name__), engine
    name = os.environ.get(VARIABLE, "").strip() or "local" if engine is None else engine
    if not _NAMES.fullmatch(str(name)):
        if engine is None:
            raise SettingsError(f"{VARIABLE} = {name!r}; {_EXPECTED}")
        raise ValueError(f"engine is {name!r}; {_EXPECTED}")
    if name == "local":
        return name, _make_local
    if name.startswith("cuda"):
        _check_installed("torch", "torch")
        return name, partial(_make_cuda, name)
    _check_installed("ray", "-r requirements-extras.txt")
    return name, partial(_make_ray, name.removeprefix("ray"), _read_shards(), _read_url())


def report_unused(name: str, m: int) -> None:
    """Print on stderr that an engine has nothing to do for a training set of m examples in another form."""
    if name != "local":
        print(
            f"one-neuron: {m:,} examples are trained on this machine; the engine '{name}' is for more", file=sys.stderr
        )


def _make_local(X: Any, Y: NDArray[Any]) -> "Passes":
    """Return passes on the threads of this process."""
    from one_neuron.gradient_descent.passes import LocalPasses

    return LocalPasses(X, Y)


def _make_ray(address: str, shards: int | None, url: str | None, X: Any, Y: NDArray[Any]) -> "Passes":
    """Return passes on the workers of a Ray cluster; without an address, see `on_ray.connect`."""
    from one_neuron.gradient_descent.engines.on_ray import RayPasses

    return RayPasses(X, Y, address=f"ray{address}" if address else "", shards=shards, url=url)


def _make_cuda(device: str, X: Any, Y: NDArray[Any]) -> "Passes":
    """Return passes on a CUDA device."""
    from one_neuron.gradient_descent.engines.on_torch import TorchPasses

    return TorchPasses(X, Y, device=device)


def _check_installed(library: str, packages: str) -> None:
    """Raise EnvironmentProblem, with the line that installs it, if a library is missing."""
    if find_spec(library) is None:
        raise EnvironmentProblem(
            f"{library} is not installed for {sys.executable}; in the project's folder, run `pip install {packages}`"
        )


def _read_shards() -> int | None:
    """Return ONE_NEURON_SHARDS, or None if it is unset or empty."""
    text = os.environ.get(SHARDS_VARIABLE, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:18]) <= 10**6):
        raise SettingsError(f"{SHARDS_VARIABLE} = {text!r}; expected a whole number from 1 to 1,000,000 (parts)")
    return int(text)


def _read_url() -> str | None:
    """Return ONE_NEURON_PIXELS_URL, or None if it is unset or empty."""
    url = os.environ.get(URL_VARIABLE, "").strip()
    if re.match(r"[^/]*//[^/]*@", url):
        raise SettingsError(
            f"{URL_VARIABLE} contains a name or password, and programs print it; set the store's own variables instead"
        )
    if url and not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", url):
        raise SettingsError(
            f"{URL_VARIABLE} = {url!r}; expected the URL of a file without spaces, such as s3://bucket/train.h5"
        )
    return url or None
