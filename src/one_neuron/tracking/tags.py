"""The names of the tags of MLflow runs. The project finds its runs by them: after a change, earlier ones are lost."""

KIND = "one_neuron.kind"  # "result", "sweep" or "configuration"
# What a run is found by, in one tag, because MLflow shows every tag. The first word is the one to search for:
# of a result, its content key (SHA-256 over everything that it depends on: one run for each);
# of a configuration, its context (SHA-256 over pictures, folds and code: those that share it can be compared), then
# its content key;
# of a sweep, the SHA-256 over the keys of its configurations, their number, and "sweep=NAME" for a file of conf/sweep.
KEYS = "one_neuron.keys"
STATUS = "one_neuron.status"  # "finished", "diverged" or "failed"
REASON = "one_neuron.reason"  # why it diverged or failed
MODEL_SHA256 = "one_neuron.model_sha256"
DATA_LOCATION = "one_neuron.read_from"  # JSON: where the user's own pictures lie, and how they are read
WARNING = "one_neuron.warning"
ALSO_COMMITS = "one_neuron.also_commits"  # later ones that gave the same result
ALSO_EXP_NAMES = "one_neuron.also_dvc_exp_names"
RECORDER = "one_neuron.recorder"  # on a server: which repository began to write a run
BEST = "one_neuron.best_run"  # of a sweep

# Promotion
PROMOTED = "one_neuron.promoted"  # of a run whose parameters went into params.yaml: JSON, when and by which sweep
PROMOTED_TO = "one_neuron.promoted_to"  # the run of the result that these parameters gave
PROMOTED_FROM = "one_neuron.promoted_from"  # of that result: the promoted run, and its sweep

# Tags that MLflow and DVC define
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"  # the description, in Markdown
SOURCE_NAME = "mlflow.source.name"
SOURCE_TYPE = "mlflow.source.type"
USER = "mlflow.user"
COMMIT = "mlflow.source.git.commit"
IS_DIRTY = "git.dirty"  # "true" or "false": whether files differed from the commit
EXP_NAME = "dvc.exp_name"
HAS_IMAGES = "mlflow.loggedImages"  # if it is there, the UI looks for pictures with steps
DATA_CONTEXT = "mlflow.data.context"  # of a data set: "training" or "testing"
DATA_SHA256 = "sha256"  # of a data set

MAX_TAG = 5000  # characters: MLflow cuts longer values
