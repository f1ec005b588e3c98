"""The code of the model that MLflow stores; the arrays lie in model.h5, and there is no pickle.

MLflow copies this file beside the model and runs it whenever the model is loaded ("models from code"). That is why the
last line acts at import. No other module imports this one. MLflow also stores a copy of every module that this one
imports, so keep these imports few.

References
----------
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from one_neuron.errors import DataError
from one_neuron.neuron import predict, predict_probability
from one_neuron.pictures.reader import read_picture
from one_neuron.storage.model import load_model


class OneNeuronModel(PythonModel):
    """Picture files in, probability and class out; a bad picture gets an error in its own row."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the artifact `model`, whose path the context provides."""
        self._model = load_model(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  (MLflow fixes the signature)
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the probability of label 1 and the predicted class, or the reason why a picture cannot be read.

        Parameters
        ----------
        model_input : DataFrame with m rows
            `picture` (bytes): whole files of any size, in any format that training reads. They are read and resized
            as the pictures of the training set were.

        Returns
        -------
        DataFrame with m rows
            `probability` (float64, in [0, 1]), `class` (str) and `error` (None). For a picture that cannot be read,
            `probability` and `class` are None and `error` is one line (str); nan would not be JSON.
        """
        model = self._model
        errors: list[str | None] = [None] * len(model_input)
        pixels = np.zeros((len(model_input), model.preprocessing.n_x), dtype=np.uint8)
        for row, content in enumerate(model_input["picture"]):
            try:
                if not isinstance(content, bytes | bytearray):  # MLflow accepts text and None as well
                    raise DataError(f"is {content!r:.40}; expected the bytes of a file")
                pixels[row] = read_picture(io.BytesIO(content), model.preprocessing).reshape(-1)
            except DataError as error:
                errors[row] = str(error)
        probability = predict_probability(pixels, model.parameters)
        names = [model.classes[label] for label in predict(pixels, model.parameters, threshold=model.threshold)]
        answers = pd.DataFrame({"probability": probability, "class": names, "error": pd.Series(errors, dtype=object)})
        failed = answers["error"].notna()
        if failed.any():
            answers = answers.astype(object)
            answers.loc[failed, ["probability", "class"]] = None
        return answers


set_model(OneNeuronModel())
