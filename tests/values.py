"""Sections of params.yaml that most tests take as they are."""

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
TREATMENT: dict[str, Any] = {"resize": "stretch", "decode": "exact"}  # of pictures, as most sets and models have it
HDF5: dict[str, Any] = {
    "train_file": "train_catvnoncat.h5",
    "test_file": "test_catvnoncat.h5",
    "train_x": "train_set_x",
    "train_y": "train_set_y",
    "test_x": "test_set_x",
    "test_y": "test_set_y",
    "classes": "list_classes",
}
