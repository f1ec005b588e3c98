"""What the MLflow run of the result in the current folder must store, for `one-neuron verify`.

Run as a program, in the temporary copy of a commit: the code of the commit knows best what its runs store.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from one_neuron.layout import MODEL_FILE, SOURCE_ROOT, find_code
from one_neuron.system.command import run_command
from one_neuron.tracking.changes import LOGGED_MODEL
from one_neuron.tracking.images import FOLDER, find_weights, write_images
from one_neuron.tracking.result import read_result


@dataclass(frozen=True)
class Expected:
    """What a run must store.

    Parameters
    ----------
    files, model_files : dict of str to str
        The artifacts of the run and of its logged model, and the file that each is a copy of, as absolute paths.
    params : dict of str to str
        The parameters of the run.
    points : dict of str to list of (int, float)
        Its metrics over the iterations.
    content_key, model_sha256, train_sha256, test_sha256 : str
        The digests in its tags.
    """

    files: dict[str, str]
    model_files: dict[str, str]
    params: dict[str, str]
    points: dict[str, list[tuple[int, float]]]
    content_key: str
    model_sha256: str
    train_sha256: str
    test_sha256: str


def find_expected(folder: Path, *, run_id: str, start_time: int, images: Path) -> Expected:
    """Return what the run of the result in `folder` must store.

    Parameters
    ----------
    run_id, start_time : str and int
        Those of the run: the names of its images hold them.
    images : Path
        A folder, in which the images are written.

    Raises
    ------
    DataError, SettingsError
        If a file of the result is missing or damaged.
    """
    result = read_result(folder.resolve())
    files = {f"{kind}/{path.name}".lstrip("/"): str(path) for path, kind in result.artifacts}
    written = write_images(images, run_id, start_time, "weights", find_weights(result.folder))
    files |= {f"{FOLDER}/{path.name}": str(path) for path in written}
    model_files = {f"code/{path.as_posix()}": str(SOURCE_ROOT / path) for path in find_code(LOGGED_MODEL)}
    model_files |= {
        "artifacts/model.h5": str(result.folder / MODEL_FILE),
        Path(LOGGED_MODEL).name: str(SOURCE_ROOT / LOGGED_MODEL),
    }
    return Expected(
        files=files,
        model_files=model_files,
        params=result.params,
        points={name: list(curve) for name, curve in result.points.items()},
        content_key=result.content_key,
        model_sha256=result.model.sha256,
        train_sha256=result.train.sha256,
        test_sha256=result.test.sha256,
    )


def main() -> None:
    """Print what the run must store, as JSON; the arguments are its id, its start time and a folder for images."""
    run_id, start_time, images = sys.argv[1:]
    expected = find_expected(Path.cwd(), run_id=run_id, start_time=int(start_time), images=Path(images))
    print(json.dumps(asdict(expected)))


if __name__ == "__main__":
    sys.exit(run_command(main))
