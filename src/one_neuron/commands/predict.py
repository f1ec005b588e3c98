"""The command `one-neuron predict`: the class of each picture, for people and for programs."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from one_neuron.errors import REMEDY, DataError, escape_control_characters, quote_path, report_error
from one_neuron.layout import MODEL_FILE

if TYPE_CHECKING:
    from one_neuron.pictures.convert import Pixels
    from one_neuron.storage.model import Model

STANDARD_INPUT = Path("-")


def add_predict(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `one-neuron`."""
    what = "print the class of each picture and its probability"
    predict = commands.add_parser("predict", help=what, allow_abbrev=False)
    what = "a picture file, or a folder of pictures, or - for a picture from standard input"
    predict.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help=what)
    what = "a trained model (default: %(default)s in the current folder)"
    predict.add_argument("--model", type=Path, default=MODEL_FILE, help=what)
    forms = predict.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="print one JSON object per line")
    forms.add_argument("--csv", action="store_true", help="print a CSV table with a header")
    predict.set_defaults(run=run_predict)


def load_chosen_model(path: Path) -> "Model":
    """Read the model file that the user named, or the one of the pipeline.

    Raises
    ------
    DataError
        If it is missing or damaged; `dvc repro` is the remedy for the pipeline's own model alone.
    """
    from one_neuron.storage.model import load_model

    if path != MODEL_FILE:
        problem = "does not exist" if not path.exists() else "is a folder" if path.is_dir() else ""
        if problem:
            raise DataError(f"{quote_path(path)} {problem}; name a model file: --model FILE")
    try:
        return load_model(path)
    except DataError as error:
        if path == MODEL_FILE:
            raise
        raise DataError(str(error).replace(REMEDY, "name another model file: --model FILE")) from error


def run_predict(options: argparse.Namespace) -> int:
    """Print file, class and probability of each picture; an unreadable one is reported and sets the exit code."""
    import numpy as np

    from one_neuron.neuron import predict_probability
    from one_neuron.pictures.convert import flatten_pictures

    model = load_chosen_model(options.model)
    positive = model.classes[1]
    show = _printer(as_json=options.json, as_csv=options.csv)
    code = 0
    for path, read in _list_named(options.pictures, model):
        try:
            picture = read()
        except DataError as error:
            code = report_error(error)
            continue
        probability = float(predict_probability(flatten_pictures(picture[np.newaxis]), model.parameters)[0])
        predicted = model.classes[probability > model.threshold]
        show({"file": path, "class": predicted, "probability": probability, "positive_class": positive})
    return code


def _list_named(named: list[Path], model: "Model") -> Iterator[tuple[Path, Callable[[], "Pixels"]]]:
    """Yield each picture that was named, those of a folder one by one, with the function that reads it."""
    from one_neuron.pictures.reader import load_picture
    from one_neuron.sources.listing import list_pictures

    def fail(error: DataError) -> Callable[[], "Pixels"]:
        def read() -> "Pixels":
            raise error

        return read

    for place in named:
        if place == STANDARD_INPUT:
            yield place, lambda: _read_standard_input(model)
            continue
        try:
            paths, problems, note = list_pictures(place) if place.is_dir() else ([place], [], "")
        except OSError as error:
            reason = f"cannot be read ({error.strerror}); allow reading, or name another folder"
            paths, problems, note = [], [DataError(f"{quote_path(place)} {reason}")], ""
        if note:
            print(f"one-neuron: note: {escape_control_characters(note)}", file=sys.stderr)
        for problem in problems:
            yield place, fail(problem)
        for path in paths:
            yield path, lambda path=path: load_picture(path, model.preprocessing)  # type: ignore[misc]


def _read_standard_input(model: "Model") -> "Pixels":
    """Read a picture file from standard input."""
    from one_neuron.pictures.limits import MAX_BYTES
    from one_neuron.pictures.reader import read_picture

    content = sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin is not None else b""  # None: it was closed
    try:
        return read_picture(io.BytesIO(content), model.preprocessing)
    except DataError as error:
        raise DataError(f"standard input {error}") from error


def _printer(*, as_json: bool, as_csv: bool) -> Callable[[dict[str, Any]], None]:
    """Return the function that prints the prediction for one picture."""
    if as_json:
        return lambda result: print(json.dumps(result | {"file": _readable(result["file"])}))
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(["file", "class", "probability", "positive_class"])
        return lambda result: table.writerow([*(result | {"file": _readable(result["file"])}).values()])
    return lambda result: print(
        escape_control_characters(str(result["file"])),
        result["class"],
        f"P({result['positive_class']}) = {result['probability']:.4f}",
        sep="\t",
    )


def _readable(path: Path) -> str:
    """Return a path for programs: bytes that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
