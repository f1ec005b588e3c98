"""Logistic regression as a network of one neuron, with the same bits on every machine.

>>> import one_neuron as on
>>> result = on.optimize([[0.0, 1.0], [1.0, 0.0], [0.2, 0.9]], [0, 1, 0], learning_rate=0.5, num_iterations=100)
>>> on.predict([[0.9, 0.1], [0.1, 0.8]], result.parameters).tolist()
[1, 0]

A name is imported when it is first used, so `import one_neuron` loads no library. docs/api.md lists the names.
"""

# Type checkers take this name for True. Importing it from typing would take longer than all the rest.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from one_neuron.estimator import OneNeuronClassifier, PictureRows
    from one_neuron.gradient_descent.many import BatchResult, optimize_many
    from one_neuron.gradient_descent.optimize import TrainingResult, optimize
    from one_neuron.neuron import Parameters, cost, gradient, predict, predict_probability, sigmoid
    from one_neuron.pictures.preprocessing import Preprocessing
    from one_neuron.pictures.reader import load_picture
    from one_neuron.storage.model import Model, load_model
    from one_neuron.storage.prepared_set import PreparedSet, load_prepared
else:

    def __getattr__(name: str) -> object:
        """Import a public name from its module (PEP 562)."""
        for module, names in _MODULES.items():
            if name in names:
                import importlib

                value = getattr(importlib.import_module(f"one_neuron.{module}"), name)
                globals()[name] = value  # the next use does not come here
                return value
        raise AttributeError(f"module 'one_neuron' has no attribute {name!r}")


__version__ = "0.1.0"

__all__ = [
    "BatchResult",
    "Model",
    "OneNeuronClassifier",
    "Parameters",
    "PictureRows",
    "PreparedSet",
    "Preprocessing",
    "TrainingResult",
    "__version__",
    "cost",
    "gradient",
    "load_model",
    "load_picture",
    "load_prepared",
    "optimize",
    "optimize_many",
    "predict",
    "predict_probability",
    "sigmoid",
]

_MODULES = {
    "estimator": ("OneNeuronClassifier", "PictureRows"),
    "gradient_descent.many": ("BatchResult", "optimize_many"),
    "gradient_descent.optimize": ("TrainingResult", "optimize"),
    "neuron": ("Parameters", "cost", "gradient", "predict", "predict_probability", "sigmoid"),
    "pictures.preprocessing": ("Preprocessing",),
    "pictures.reader": ("load_picture",),
    "storage.model": ("Model", "load_model"),
    "storage.prepared_set": ("PreparedSet", "load_prepared"),
}


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
