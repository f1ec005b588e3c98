"""Pictures with steps, as MLflow's image grid shows them: with a slider, and several runs side by side."""

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from one_neuron.layout import WEIGHTS_FOLDER
from one_neuron.tracking import tags as tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDER = "images"  # among the artifacts of a run


def find_weights(folder: Path) -> dict[int, Path]:
    """Return the pictures of w that the stage `evaluate` wrote in `folder`, by their iterations."""
    return {int(path.stem): path for path in sorted((folder / WEIGHTS_FOLDER).glob("*.png"))}


def log_images(client: "MlflowClient", run: "Run", key: str, pictures: Mapping[int, Path]) -> None:
    """Write PNG files by their steps to a run, as `MlflowClient.log_image` does, but all at once."""
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), run.info.run_id, run.info.start_time, key, pictures)
        client.log_artifacts(run.info.run_id, folder, FOLDER)
    client.set_tag(run.info.run_id, tag.HAS_IMAGES, "True")


def write_images(folder: Path, run_id: str, start_time: int, key: str, pictures: Mapping[int, Path]) -> list[Path]:
    """Write the files that MLflow's image grid needs for PNG files by their steps, and return their paths.

    `log_image` takes 60 ms for each and makes a new name each time. The names of these files follow from run, key and
    step, so that a second attempt replaces the files of the first.
    """
    written = []
    for step, path in pictures.items():
        name = _name_image(run_id, start_time, key, step)
        target, small = folder / f"{name}.png", folder / f"{name}+compressed.webp"
        target.write_bytes(path.read_bytes())
        with Image.open(path) as picture:
            # The grid shows this file; MLflow calls it compressed whatever it is.
            picture.save(small, lossless=True, method=0)
        written += [target, small]
    return written


def _name_image(run_id: str, start_time: int, key: str, step: int | str) -> str:
    """Return the name that MLflow's image grid reads."""
    unique = uuid.uuid5(uuid.UUID(run_id), f"{key} {step}")
    return f"{key}+step+{step}+timestamp+{start_time}+{unique}"


def rename_image(name: str, run_id: str, start_time: int) -> str:
    """Return the name that a file of `write_images` has in another run."""
    key, _, step, *_ = name.split("+")
    rest = "+compressed.webp" if name.endswith("+compressed.webp") else Path(name).suffix
    return _name_image(run_id, start_time, key, step) + rest
