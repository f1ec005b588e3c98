"""The tags of MLflow runs by which this project finds them again. Changing one makes earlier runs unknown."""

CONTENT_KEY = "one_neuron.content_key"  # SHA-256 over all that a result follows from: one run for each
DATA_LOCATION = "one_neuron.read_from"  # JSON: where the user's own pictures lie, and how they are read
MODEL_SHA256 = "one_neuron.model_sha256"
HAS_DIVERGED = "one_neuron.diverged"  # "true", or not there
WARNING = "one_neuron.warning"
ALSO_COMMITS = "one_neuron.also_commits"  # later ones that gave the same result
ALSO_EXP_NAMES = "one_neuron.also_dvc_exp_names"

# Of sweeps and their configurations
KIND = "one_neuron.kind"  # "sweep" or "configuration"
CONTEXT = "one_neuron.context"  # what configurations have in common that can be compared
STATUS = "one_neuron.status"
REASON = "one_neuron.reason"
DIVERGED_AT = "one_neuron.diverged_at"  # the iteration
SWEEP_KEY = "one_neuron.sweep_key"  # SHA-256 over the keys of the configurations
TOTAL = "one_neuron.num_configurations"
COMMAND = "one_neuron.command"
COMMITTED = "one_neuron.committed_sweep"  # "sweep=NAME" where the grid is a file of conf/sweep
BEST = "one_neuron.best_run"
PARENT = "mlflow.parentRunId"  # MLflow's own

MAX_TAG = 5000  # characters: MLflow cuts what is longer
