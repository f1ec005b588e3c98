"""The values of params.yaml that most tests use."""

from typing import Any

DATA: dict[str, Any] = {
    "source": "drawn",
    "num_px": 2,
    "resize": "stretch",
    "decode": "exact",
    "path": "pictures",
    "positive_class": "cat",
    "test_fraction": 0.2,
    "seed": 1,
    "on_error": "stop",
    "max_skipped": 10,
}
HDF5: dict[str, Any] = {
    "train_file": "train_catvnoncat.h5",
    "test_file": "test_catvnoncat.h5",
    "train_x": "train_set_x",
    "train_y": "train_set_y",
    "test_x": "test_set_x",
    "test_y": "test_set_y",
    "classes": "list_classes",
}
VALUES: dict[str, dict[str, Any]] = {
    "draw": {"seed": 1, "num_train": 8, "num_test": 4},
    "data": DATA,
    "hdf5": HDF5,
    "train": {"learning_rate": 0.005, "num_iterations": 200, "record_every": 100, "tolerance": 0.0, "threshold": 0.5},
    "evaluate": {"num_mistakes": 12},
}


def alias_bomb() -> str:
    """Return a few hundred bytes of YAML whose aliases expand to 10 ** 12 words."""
    lines = ["a0: &a0 [word, word, word, word, word, word, word, word, word, word]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines)
