"""From the bytes of picture files to answers, and to the pictures that the page shows."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from one_neuron.errors import DataError
from one_neuron.metrics import find_mistakes
from one_neuron.neuron import predict_probability
from one_neuron.pictures.convert import Pixels, encode_picture
from one_neuron.pictures.reader import read_picture
from one_neuron.storage.model import Model
from one_neuron.storage.prepared_set import load_prepared

NUM_MISTAKES = 12
# For and against, of equal lightness and different for the colour-blind (Okabe and Ito), around a grey for zero.
_FOR, _AGAINST, _ZERO = (230, 159, 0), (0, 114, 178), (128, 128, 128)
_CLIPPED = 0.99  # of the contributions lie within the range of colours


@dataclass(frozen=True)
class Predictor:
    """A model that answers requests.

    Parameters
    ----------
    model : Model
    origin : mapping of str to str
        Where it comes from, for `GET /model`: "file", or "run_id", with "registry" for a registered model.
    metrics : mapping of str to float
        What is known of its quality.
    test_file : Path or None
        The prepared test set, for the mistakes on the page.
    """

    model: Model
    origin: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    test_file: Path | None = None

    def read(self, content: bytes) -> Pixels:
        """Return the pixels of a picture file as the neuron sees them, of shape (num_px, num_px, 3), uint8.

        Raises
        ------
        DataError
            If it is not a picture, damaged or too large. The message does not name the picture.
        """
        return read_picture(io.BytesIO(content), self.model.preprocessing)

    def predict(self, pixels: Pixels) -> dict[str, Any]:
        """Return the class, the probability of label 1 in [0, 1], and the name of label 1."""
        probability = float(predict_probability(pixels.reshape(1, -1), self.model.parameters)[0])
        name = self.model.classes[probability > self.model.threshold]
        return {"class": name, "probability": probability, "positive_class": self.model.classes[1]}

    def answer(self, name: str, content: bytes) -> dict[str, Any]:
        """Return the prediction for one picture file, or the reason why it cannot be read."""
        try:
            return {"file": name, **self.predict(self.read(content))}
        except DataError as error:
            return {"file": name, "error": str(error)}

    def explain(self, content: bytes) -> dict[str, Any]:
        """Return the prediction, what the neuron sees, and which pixels spoke for and against label 1.

        The contribution of a pixel is the sum of w x over its three channels; all contributions and b add up to z.

        Raises
        ------
        DataError
            If the picture cannot be read.
        """
        pixels = self.read(content)
        products = self.model.parameters.w.reshape(pixels.shape) * (pixels / 255)
        return {**self.predict(pixels), "seen": _as_uri(pixels), "contributions": _as_uri(_colour(products))}

    def describe(self) -> dict[str, Any]:
        """Return what the model is: classes, preprocessing, training, quality and origin."""
        model = self.model
        preprocessing = model.preprocessing
        return {
            "classes": list(model.classes),
            "positive_class": model.classes[1],
            "threshold": model.threshold,
            "num_px": preprocessing.num_px,
            "resize": preprocessing.resize,
            "decode": preprocessing.decode,
            "trained_with": dict(model.trained_with),
            "sha256": model.sha256,
            "metrics": dict(self.metrics),
            "origin": dict(self.origin),
        }

    @cached_property
    def weights(self) -> str:
        """The weights as a picture: the sum over the three channels, in the colours of the contributions."""
        num_px = self.model.preprocessing.num_px
        return _as_uri(_colour(self.model.parameters.w.reshape(num_px, num_px, -1)))

    @cached_property
    def mistakes(self) -> list[dict[str, Any]]:
        """The worst mistakes on the test set, the worst first; empty without a test set for this model."""
        if self.test_file is None:
            return []
        test, model = load_prepared(self.test_file), self.model
        if test.preprocessing != model.preprocessing or test.classes != model.classes:
            return []
        probabilities = predict_probability(test.X, model.parameters)
        worst = find_mistakes(probabilities, test.Y, threshold=model.threshold)[:NUM_MISTAKES]
        num_px = model.preprocessing.num_px
        return [
            {
                "file": test.names[i],
                "actual": test.classes[test.Y[i]],
                "probability": float(probabilities[i]),
                "seen": _as_uri(np.asarray(test.X[i]).reshape(num_px, num_px, -1)),
            }
            for i in worst.tolist()
        ]


def _colour(values: NDArray[np.float64]) -> Pixels:
    """Return the sum over the last axis as colours: orange above 0, grey at 0, blue below."""
    summed = values.sum(axis=2)
    largest = float(np.quantile(np.abs(summed), _CLIPPED)) or float(np.abs(summed).max()) or 1.0
    share = np.clip(summed / largest, -1, 1)[..., np.newaxis]
    zero = np.array(_ZERO, dtype=np.float64)
    end = np.where(share > 0, np.array(_FOR, dtype=np.float64), np.array(_AGAINST, dtype=np.float64))
    colours: Pixels = np.rint(zero + np.abs(share) * (end - zero)).astype(np.uint8)
    return colours


def _as_uri(pixels: Pixels) -> str:
    """Return pixels as the address of a PNG picture that a page can show."""
    return "data:image/png;base64," + base64.b64encode(encode_picture(pixels)).decode("ascii")
