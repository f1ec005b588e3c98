"""The state of a long training on disk, so that a kill costs seconds and not hours."""

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
_ABANDONED_DAYS = 30


class CheckpointFile:
    """Keeps the newest state of one training in a file of its own.

    It lies in the repository that DVC_ROOT names, not in the folder of a queued experiment, which DVC deletes, and in
    none of DVC's outputs, which DVC deletes before a stage starts.

    Parameters
    ----------
    content : mapping
        All that the trajectory follows from: parameters and the SHA-256 of the data. Together with the code of the
        maths it makes the name of the file, so a state never serves another training.
    """

    def __init__(self, content: Mapping[str, str | int | float]) -> None:
        # After an edit of this code the rest of the trajectory would be another one.
        code = hash_code("one_neuron/gradient_descent/blocks.py", aside=["one_neuron.system"])
        digest = hashlib.sha256(json.dumps({**content, "code": code}, sort_keys=True).encode("ascii"))
        self.path = find_repository() / FOLDER / f"{digest.hexdigest()[:32]}.npz"
        self._kept, self._warned = time.monotonic(), False

    def load(self) -> TrainingState | None:
        """Return the state, or None where there is none or it is damaged."""
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                state = _read_state(arrays)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"cannot be read ({error.strerror or one_line(error)}); training starts from the beginning")
            return None
        except Exception as error:  # noqa: BLE001 - a damaged zip file raises anything, and nothing depends on it
            self._say(f"is damaged ({one_line(error)}); training starts from the beginning")
            return None
        print(f"one-neuron: going on after iteration {state.iteration:,} ('{self.path}')", file=sys.stderr)
        return state

    def offer(self, state: Callable[[], TrainingState]) -> None:
        """Keep the state if the last one was kept more than EVERY_SECONDS ago. A full disk does not stop training."""
        if time.monotonic() - self._kept < EVERY_SECONDS:
            return
        try:
            self._write(state())
        except OSError as error:
            if not self._warned:
                self._say(f"could not be written ({error.strerror or one_line(error)}); training goes on")
            self._warned = True
        self._kept = time.monotonic()

    def _write(self, state: TrainingState) -> None:
        """Put the state on disk, whole or not at all."""
        with atomic_write(self.path) as temporary, temporary.open("wb") as stream:
            np.savez(
                stream,
                iteration=state.iteration,
                w=state.parameters.w,
                b=state.parameters.b,
                iterations=np.array(state.iterations, np.int64),
                costs=np.array(state.costs, np.float64),
            )

    def remove(self) -> None:
        """Sweep up: the training is done. Files that nobody came back to for a month go, too."""
        month_ago = time.time() - _ABANDONED_DAYS * 24 * 3600
        for path in (self.path, *self.path.parent.glob("*.npz")):
            with suppress(OSError):  # what cannot be swept, or is gone already, is no reason to fail now
                if path == self.path or path.stat().st_mtime < month_ago:
                    path.unlink()

    def _say(self, text: str) -> None:
        """Tell the user something about the file."""
        print(f"one-neuron: '{self.path}' {text}", file=sys.stderr)


def _read_state(arrays: Mapping[str, Any]) -> TrainingState:
    """Turn arrays back into a state."""
    iterations, costs = arrays["iterations"].tolist(), arrays["costs"].tolist()
    w = arrays["w"]
    if w.dtype != np.float64 or w.ndim != 1 or not iterations or len(iterations) != len(costs):
        raise ValueError("its arrays do not fit each other")
    return TrainingState(int(arrays["iteration"]), Parameters(w=w, b=float(arrays["b"])), iterations, costs)
