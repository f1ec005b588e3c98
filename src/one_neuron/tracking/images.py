"""Pictures with steps, as MLflow's image grid shows them: with a slider, and several runs side by side."""

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from one_neuron.tracking import tags as tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FOLDER = "images"  # among the artifacts of a run


def log_images(client: "MlflowClient", run: "Run", key: str, pictures: Mapping[int, Path]) -> None:
    """Write PNG files by their steps to a run, as `MlflowClient.log_image` does.

    `log_image` takes 60 ms for each and makes a new name each time. These are written at once, and their names follow
    from run, key and step, so that a second attempt replaces the files of the first.
    """
    with tempfile.TemporaryDirectory() as folder:
        for step, path in pictures.items():
            unique = uuid.uuid5(uuid.UUID(run.info.run_id), f"{key} {step}")
            name = f"{key}+step+{step}+timestamp+{run.info.start_time}+{unique}"
            target = Path(folder, f"{name}.png")
            target.write_bytes(path.read_bytes())
            with Image.open(path) as picture:
                # The grid shows this file; MLflow calls it compressed whatever it is.
                picture.save(target.with_name(f"{name}+compressed.webp"), lossless=True, method=0)
        client.log_artifacts(run.info.run_id, folder, FOLDER)
    client.set_tag(run.info.run_id, tag.HAS_IMAGES, "True")
