"""The pipeline as users run it: real DVC and MLflow, with a few small pictures."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Project

pytestmark = pytest.mark.integration

OUTPUTS = ("data", "models", "metrics", "plots")


def read_lock(project: Project) -> str:
    """Return dvc.lock."""
    return (project.folder / "dvc.lock").read_text(encoding="utf-8")


def test_a_second_run_does_nothing_and_a_clean_one_gives_the_same_lock(project: Project) -> None:
    """One command makes one run; repeated, nothing; from scratch, the same bytes and still one run."""
    project.run("dvc", "repro")
    lock, runs = read_lock(project), project.runs()
    assert [run["status"] for run in runs] == ["FINISHED"]
    assert "up to date" in project.run("dvc", "repro")
    for name in OUTPUTS:
        shutil.rmtree(project.folder / name)
    shutil.rmtree(project.folder / ".dvc" / "cache")
    project.run("dvc", "repro")
    assert read_lock(project) == lock
    assert project.runs() == runs


def test_a_fresh_clone_gets_its_run_although_the_lock_is_complete(project: Project) -> None:
    """A clone has a complete dvc.lock and an empty store."""
    project.run("dvc", "repro")
    for name in (*OUTPUTS, "mlartifacts", ".one-neuron"):
        shutil.rmtree(project.folder / name)
    (project.folder / "mlflow.db").unlink()
    lock = read_lock(project)
    project.run("dvc", "repro")
    assert len(project.runs()) == 1
    assert read_lock(project) == lock


def test_results_out_of_the_run_cache_have_their_run(project: Project) -> None:
    """Earlier parameters need no training, but a new store gets their run."""
    project.run("dvc", "repro")
    project.edit("params.yaml", "learning_rate: 0.005", "learning_rate: 0.001")
    project.run("dvc", "repro")
    assert sorted(run["learning_rate"] for run in project.runs()) == ["0.001", "0.005"]
    (project.folder / "mlflow.db").unlink()
    project.edit("params.yaml", "learning_rate: 0.001", "learning_rate: 0.005")
    printed = project.run("dvc", "repro")
    assert "Running stage 'train'" not in printed
    assert [run["learning_rate"] for run in project.runs()] == ["0.005"]


def test_a_deleted_store_is_filled_again_by_make_track(project: Project) -> None:
    """`make track` restores the run from the files; twice changes nothing."""
    project.run("dvc", "repro")
    before = read_lock(project)
    (project.folder / "mlflow.db").unlink()
    for _ in range(2):
        project.run("dvc", "repro", "--single-item", "--force", "track")
        assert len(project.runs()) == 1
    assert read_lock(project) == before


def test_changed_parameters_run_only_what_they_reach(project: Project) -> None:
    """The number of mistakes shown changes neither the data nor the model."""
    project.run("dvc", "repro")
    project.edit("params.yaml", "num_mistakes: 12", "num_mistakes: 3")
    printed = project.run("dvc", "repro")
    assert "Running stage 'evaluate'" in printed
    assert "Running stage 'train'" not in printed
    assert "Running stage 'prepare'" not in printed


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("learning_rate: 0.005", "lerning_rate: 0.005", "did you mean 'train.learning_rate'"),
        ("num_iterations: 2000", "num_iterations: 1.5", "train.num_iterations is 1.5; expected a whole number"),
        ("learning_rate: 0.005", "learning_rate: .nan", "train.learning_rate is nan"),
        ("source: drawn", "source: dogs", "data.source is 'dogs'; expected drawn or catvnoncat"),
    ],
)
@pytest.mark.parametrize("stage", ["draw", "prepare", "train", "evaluate", "track"])
def test_wrong_parameters_stop_every_stage_before_it_starts(
    project: Project, stage: str, old: str, new: str, said: str
) -> None:
    """One line, exit code 2, and no output."""
    project.edit("params.yaml", old, new)
    printed = project.stage(stage, code=2)
    assert said in printed
    assert len(printed.splitlines()) == 1
    assert not any((project.folder / name).exists() for name in OUTPUTS)


def test_a_full_disk_leaves_the_old_outputs(project: Project) -> None:
    """A limit on file size simulates a full disk: exit code 4, one line, and the old files stay."""
    for stage in ("draw", "prepare", "train"):
        project.stage(stage)
    model = (project.folder / "models" / "model.h5").read_bytes()
    limited = (
        "import resource, runpy, sys; sys.argv = ['pipeline/train.py'];"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    project.edit("params.yaml", "num_iterations: 2000", "num_iterations: 3")
    printed = project.run(sys.executable, "-B", "-c", limited, code=4, PYTHONPATH="src")
    assert len(printed.splitlines()) == 1, printed
    assert (project.folder / "models" / "model.h5").read_bytes() == model
    assert {path.name for path in (project.folder / "models").glob("*.h5")} == {"model.h5", "snapshots.h5"}
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


def test_a_full_disk_stops_all_processes_that_draw(project: Project) -> None:
    """One line, and no process leaves a half-written file behind; then everything is drawn."""
    for stage in ("draw", "prepare", "train"):
        project.stage(stage)
    limited = (
        "import resource, runpy, sys; sys.argv = ['pipeline/evaluate.py'];"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    printed = project.run(sys.executable, "-B", "-c", limited, code=4, PYTHONPATH="src")
    assert len(printed.splitlines()) == 1, printed
    assert "File too large" in printed
    plots = project.folder / "plots"
    assert not list(plots.rglob(".partial*"))
    project.stage("evaluate")
    shown = {"classes", "curves", "evaluation", "examples", "mistakes", "probabilities", "weights", "weights_over_time"}
    assert {path.stem for path in plots.glob("*.png")} == shown


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupted_training_says_so(project: Project, sent: signal.Signals, code: int, word: str) -> None:
    """One line, the usual exit code, and no model."""
    for stage in ("draw", "prepare"):
        project.stage(stage)
    project.edit("params.yaml", "num_iterations: 2000", "num_iterations: 10000000")
    process = subprocess.Popen(
        [sys.executable, "pipeline/train.py"],
        cwd=project.folder,
        env={"PYTHONPATH": "src"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60  # until HDF5, the last import, is loaded and training has begun
    while "h5py" not in Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(sent)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == code
    assert printed.splitlines() == [f"one-neuron: {word}; nothing half-written is left behind"]
    assert not (project.folder / "models").exists()


def test_make_track_refuses_what_the_files_do_not_show(project: Project) -> None:
    """A run with new parameters and old costs would be wrong."""
    project.run("dvc", "repro")
    project.edit("params.yaml", "learning_rate: 0.005", "learning_rate: 0.02")
    printed = project.stage("track", code=3)
    assert "was made with learning_rate = 0.005, 'params.yaml' says 0.02" in " ".join(printed.split()).replace(
        f"{project.folder}/", ""
    )
    assert [run["learning_rate"] for run in project.runs()] == ["0.005"]


def test_a_killed_repro_can_be_run_again(project: Project) -> None:
    """After a kill -9 in the middle of a stage, the next run completes everything."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=project.folder,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (project.folder / "data" / "prepared").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)
    process.wait()
    project.run("dvc", "repro")
    assert len(project.runs()) == 1
