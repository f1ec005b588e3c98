"""The state of a long training on disk, so that a kill loses seconds and not hours."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from one_neuron.errors import one_line
from one_neuron.gradient_descent.recorder import TrainingState
from one_neuron.layout import WORK_FOLDER, find_repository, hash_code
from one_neuron.neuron import Parameters
from one_neuron.system.files import atomic_write

FOLDER = WORK_FOLDER / "checkpoints"
EVERY_SECONDS = 10.0


class CheckpointFile:
    """The file with the newest state of one training.

    It lies in the repository (`layout.find_repository`), not in the folder of a queued experiment or in an output of a
    stage, which DVC deletes.

    Parameters
    ----------
    content : mapping
        Everything that the trajectory depends on: parameters and the SHA-256 of the data. The name of the file is a
        hash of it and of the code that trains, so no other training uses the state.
    """

    def __init__(self, content: Mapping[str, str | int | float]) -> None:
        code = hash_code("one_neuron/gradient_descent/blocks.py", aside=["one_neuron.system"])
        digest = hashlib.sha256(json.dumps({**content, "code": code}, sort_keys=True).encode("ascii"))
        self.path = find_repository() / FOLDER / f"{digest.hexdigest()[:32]}.npz"
        self._last_write, self._warned = time.monotonic(), False

    def load(self) -> TrainingState | None:
        """Return the state; None if there is none or it is damaged."""
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                state = _read_state(arrays)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report(f"cannot be read ({error.strerror or one_line(error)}); training starts from the beginning")
            return None
        except Exception as error:  # noqa: BLE001 - a damaged zip file raises any exception, and training can do without
            self._report(f"is damaged ({one_line(error)}); training starts from the beginning")
            return None
        print(f"one-neuron: resuming after iteration {state.iteration:,} ('{self.path}')", file=sys.stderr)
        return state

    def offer(self, state: Callable[[], TrainingState]) -> None:
        """Write the state if the last one is older than EVERY_SECONDS. A full disk does not stop the training."""
        if time.monotonic() - self._last_write < EVERY_SECONDS:
            return
        try:
            newest = state()
            kept = newest.snapshots
            with atomic_write(self.path) as temporary, temporary.open("wb") as stream:
                np.savez(
                    stream,
                    iteration=newest.iteration,
                    w=newest.parameters.w,
                    b=newest.parameters.b,
                    iterations=np.array(newest.iterations, np.int64),
                    costs=np.array(newest.costs, np.float64),
                    snapshot_iterations=np.array(list(kept), np.int64),
                    snapshot_w=np.array([parameters.w for parameters in kept.values()]),
                    snapshot_b=np.array([parameters.b for parameters in kept.values()]),
                )
        except OSError as error:
            if not self._warned:
                self._report(f"could not be written ({error.strerror or one_line(error)}); training continues")
            self._warned = True
        self._last_write = time.monotonic()

    def remove(self) -> None:
        """Delete the checkpoint of a finished training; `pruning` deletes abandoned ones."""
        with suppress(OSError):  # a file that cannot be deleted must not fail a finished training
            self.path.unlink(missing_ok=True)

    def _report(self, text: str) -> None:
        """Print a message about the file on stderr."""
        print(f"one-neuron: '{self.path}' {text}", file=sys.stderr)


def _read_state(arrays: Mapping[str, Any]) -> TrainingState:
    """Return the state that the arrays hold."""
    iterations, costs = arrays["iterations"].tolist(), arrays["costs"].tolist()
    w, kept = arrays["w"], arrays["snapshot_iterations"].tolist()
    weights, biases = arrays["snapshot_w"], arrays["snapshot_b"].tolist()
    if w.dtype != np.float64 or w.ndim != 1 or not iterations or len(iterations) != len(costs):
        raise ValueError("its arrays do not fit each other")
    if weights.dtype != np.float64 or weights.shape != (len(kept), len(w)) or not set(kept) <= set(iterations):
        raise ValueError("its snapshots do not fit the rest")
    snapshots = {iteration: Parameters(w=row, b=b) for iteration, row, b in zip(kept, weights, biases, strict=True)}
    parameters = Parameters(w=w, b=float(arrays["b"]))
    return TrainingState(int(arrays["iteration"]), parameters, iterations, costs, snapshots)
