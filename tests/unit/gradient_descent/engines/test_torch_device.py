"""Devices of PyTorch, with its CPU build."""

import os

import pytest

from one_neuron.errors import EnvironmentProblem
from one_neuron.gradient_descent.engines.torch_device import check_memory, find_device

if os.environ.get("ONE_NEURON_TEST_TORCH") == "required":
    import torch
else:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)", exc_type=ImportError)


@pytest.mark.parametrize("build", [None, "13.0"])
def test_a_device_that_is_missing(build: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 4; the message says what PyTorch sees, and what helps with this build of it."""
    monkeypatch.setattr(torch.version, "cuda", build)
    remedy = "choose ONE_NEURON_ENGINE=local" if build else "install a build of PyTorch for CUDA: `pip install torch`"
    for name in ("cuda", "cuda:7", "cuda:99"):
        with pytest.raises(EnvironmentProblem, match=f"sees 0 CUDA devices and not '{name}'; {remedy}$") as told:
            find_device(name)
        assert told.value.exit_code == 4
    assert find_device("cpu").type == "cpu"


def test_too_little_memory_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is copied."""
    device = torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 * 2**30, 4 * 2**30))
    check_memory(device, 3 * 2**30)
    with pytest.raises(EnvironmentProblem, match=r"the pixels take 5,120 MB on cuda:0, and 3,072 MB are free; choose"):
        check_memory(device, 5 * 2**30)
    check_memory(torch.device("cpu"), 2**60)
