"""The model as MLflow keeps it: this code and the arrays in model.h5, no pickle.

MLflow copies this file beside the model and runs it whenever the model is loaded ("models from code"), which is why the
last line acts at import. The rest of the project never imports it.

References
----------
https://mlflow.org/docs/latest/ml/model/models-from-code/
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from one_neuron.neuron import predict, predict_probability
from one_neuron.storage import load_model


class OneNeuronModel(PythonModel):
    """Pictures in, probability and class out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the artifact `model`.

        Parameters
        ----------
        context : PythonModelContext
            Knows where the artifact lies.
        """
        self._model = load_model(Path(context.artifacts["model"]))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002  (MLflow fixes the signature)
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return the probability of label 1 and the class that it means.

        Parameters
        ----------
        context : PythonModelContext
            Not used.
        model_input : ndarray of shape (m, num_px, num_px, 3), uint8
            RGB pictures.
        params : dict, optional
            Not used.

        Returns
        -------
        DataFrame with m rows
            `probability` (float64, in [0, 1]) and `class` (str).
        """
        pixels = model_input.reshape(len(model_input), -1)
        probability = predict_probability(pixels, self._model.parameters)
        labels = predict(pixels, self._model.parameters, threshold=self._model.threshold)
        return pd.DataFrame({"probability": probability, "class": [self._model.classes[label] for label in labels]})


set_model(OneNeuronModel())
