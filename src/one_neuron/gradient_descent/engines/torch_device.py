"""A device of PyTorch: whether it is there, and its memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from one_neuron.errors import EnvironmentProblem

_LARGER = "choose a larger device, or ONE_NEURON_ENGINE=local or ray"


def find_device(name: str) -> Any:
    """Return a device, or raise EnvironmentProblem if PyTorch does not see it."""
    import torch

    device = torch.device(name)
    number = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= number:
        build = torch.version.cuda
        remedy = (
            "choose ONE_NEURON_ENGINE=local" if build else "install a build of PyTorch for CUDA: `pip install torch`"
        )
        raise EnvironmentProblem(f"PyTorch {torch.__version__} sees {number} CUDA devices and not '{name}'; {remedy}")
    return device


def check_memory(device: Any, needed: int) -> None:
    """Raise EnvironmentProblem, with both numbers, if the free memory of a CUDA device is less than `needed` bytes."""
    import torch

    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if needed > free:
        raise EnvironmentProblem(
            f"the pixels take {needed / 2**20:,.0f} MB on {device}, and {free / 2**20:,.0f} MB are free; {_LARGER}"
        )


@contextmanager
def report_full() -> Iterator[None]:
    """Raise EnvironmentProblem, with both numbers, if the memory of a CUDA device fills up inside the block."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:  # another program may have taken some since `check_memory`
        numbers = "; ".join(str(error).split(". ")[1:3])  # what was asked for, and what is free
        raise EnvironmentProblem(f"the memory of the device is full ({numbers}); {_LARGER}") from None
