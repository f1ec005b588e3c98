"""The names of the tags of MLflow runs. The project finds its runs by them: after a change, earlier ones are lost."""

CONTENT_KEY = "one_neuron.content_key"  # SHA-256 over everything that a result depends on: one run for each
DATA_LOCATION = "one_neuron.read_from"  # JSON: where the user's own pictures lie, and how they are read
MODEL_SHA256 = "one_neuron.model_sha256"
TRAIN_SHA256 = "one_neuron.train_sha256"
TEST_SHA256 = "one_neuron.test_sha256"
HAS_DIVERGED = "one_neuron.diverged"  # "true" or missing
WARNING = "one_neuron.warning"
ALSO_COMMITS = "one_neuron.also_commits"  # later ones that gave the same result
ALSO_EXP_NAMES = "one_neuron.also_dvc_exp_names"

# Promotion
PROMOTED = (
    "one_neuron.promoted"  # of a run whose parameters were written into params.yaml: JSON, when and by which sweep
)
PROMOTED_TO = "one_neuron.promoted_to"  # the run of the result that these parameters gave
PROMOTED_FROM = "one_neuron.promoted_from"  # of that result: the promoted run, and its sweep

# Sweeps and their configurations
KIND = "one_neuron.kind"  # "sweep" or "configuration"
CONTEXT = "one_neuron.context"  # SHA-256 over pictures, folds and code: configurations that share it can be compared
STATUS = "one_neuron.status"
REASON = "one_neuron.reason"
DIVERGED_AT = "one_neuron.diverged_at"  # the iteration
SWEEP_KEY = "one_neuron.sweep_key"  # SHA-256 over the keys of the configurations
TOTAL = "one_neuron.num_configurations"
COMMAND = "one_neuron.command"
COMMITTED = "one_neuron.committed_sweep"  # "sweep=NAME" if the grid is a file of conf/sweep
BEST = "one_neuron.best_run"

# Tags that MLflow and DVC define
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"  # the description, in Markdown
SOURCE_NAME = "mlflow.source.name"
SOURCE_TYPE = "mlflow.source.type"
USER = "mlflow.user"
COMMIT = "mlflow.source.git.commit"
IS_DIRTY = "git.dirty"  # "true" or "false": whether files differed from the commit
EXP_NAME = "dvc.exp_name"
DATA_CONTEXT = "mlflow.data.context"  # of a data set: "training" or "testing"
DATA_SHA256 = "sha256"  # of a data set

MAX_TAG = 5000  # characters: MLflow cuts longer values
