"""docs/make-it-yours.md: each diff applies to the project as it is, and does what the page says."""

import json
import re
import sys

import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestCentroid

from one_neuron.storage.prepared_set import load_prepared
from tests.e2e.conftest import ROOT, Project, make_project

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAMES = ("parameter", "metric", "plot", "stage", "source of pictures")


def read_diffs() -> dict[str, str]:
    """Return the diff of each section of the page."""
    page = (ROOT / "docs/make-it-yours.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## An? ([\w ]+)\n.*?^```diff\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return dict(sections)


def apply(project: Project, *names: str) -> None:
    """Apply diffs to the committed project, as the page says, and nothing else.

    If one does not apply, its lines were edited since: change the diff in the page as well.
    """
    project.run("git", "reset", "--quiet", "--hard")
    project.run("git", "clean", "--quiet", "--force")
    for name in names:
        (project.folder / "change.diff").write_text(read_diffs()[name], encoding="utf-8")
        project.run("git", "apply", "change.diff")
        (project.folder / "change.diff").unlink()
    project.run(sys.executable, "scripts/update_deps.py", PYTHONPATH="src")


def metrics(project: Project, name: str) -> dict[str, float]:
    """Return a file of metrics."""
    found = json.loads((project.folder / "metrics" / name).read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a small copy of the project with a trained model."""
    copy = make_project(tmp_path_factory.mktemp("yours") / "one neuron")
    copy.run("dvc", "repro", "--quiet", "--no-commit", "train")
    return copy


def test_the_page_has_five_diffs() -> None:
    """The tests below use all of them."""
    assert tuple(read_diffs()) == NAMES


def test_a_parameter(project: Project) -> None:
    """The plot of 40 pictures of a class is higher than that of 8, and the range is checked."""
    apply(project, "parameter")
    project.stage("evaluate")
    image = project.folder / "plots/examples.png"
    before = image.read_bytes()
    project.edit("params.yaml", "num_examples: 8 ", "num_examples: 40 ")
    project.stage("evaluate")
    height, old_height = (int.from_bytes(png[20:24], "big") for png in (image.read_bytes(), before))
    assert height > 2 * old_height
    project.edit("params.yaml", "num_examples: 40 ", "num_examples: 0 ")
    assert "evaluate.num_examples is 0" in project.stage("evaluate", code=2)


def test_a_metric(project: Project) -> None:
    """The oracle is the definition, from the counts."""
    apply(project, "metric")
    project.stage("evaluate")
    for split in ("train", "test"):
        found: dict[str, float] = metrics(project, "evaluate.json")[split]  # type: ignore[assignment]
        assert found["specificity"] == found["true_negatives"] / (found["true_negatives"] + found["false_positives"])


def test_a_plot(project: Project) -> None:
    """DVC draws it because it is an output of the stage, and knows it as a plot."""
    apply(project, "plot")
    project.run("dvc", "repro", "--quiet", "--no-commit", "--single-item", "evaluate")
    assert (project.folder / "plots/histogram.png").read_bytes().startswith(b"\x89PNG")
    assert "plots/histogram.png" in project.run("dvc", "plots", "show", "--json", "plots/histogram.png")


def test_a_stage(project: Project) -> None:
    """The oracle is scikit-learn. The tests that come with the change, and those of the structure, pass."""
    apply(project, "stage")
    project.run("dvc", "repro", "--quiet", "--no-commit", "--single-item", "nearest_mean")
    train, test = (load_prepared(project.folder / f"data/prepared/{split}.h5") for split in ("train", "test"))
    expected = NearestCentroid().fit(train.X[:].astype(float), train.Y).score(test.X[:].astype(float), test.Y)
    assert metrics(project, "nearest_mean.json") == {"m": 20, "nearest_mean_accuracy": expected}
    tests = ["tests/unit/test_nearest_mean.py", "tests/unit/test_architecture.py"]
    command = [sys.executable, *"-m pytest -q -p no:cacheprovider -k".split(), "nearest or layers or script", *tests]
    assert " passed" in project.run(*command, PYTHONPATH="src")


def test_a_source(project: Project) -> None:
    """All digits are there, the eights are the positive class, and the neuron beats "never an 8"."""
    apply(project, "source of pictures")
    for old, new in (("source: drawn", "source: digits"), ("learning_rate: 0.005", "learning_rate: 0.02")):
        project.edit("params.yaml", old, new)
    for stage in ("prepare", "train", "evaluate"):
        project.stage(stage)
    train, test = (load_prepared(project.folder / f"data/prepared/{split}.h5") for split in ("train", "test"))
    assert train.m + test.m == 1797
    assert train.Y.sum() + test.Y.sum() == (load_digits().target == 8).sum()
    assert test.classes == ("other", "8")
    found = metrics(project, "evaluate.json")
    assert found["test_accuracy"] > found["baseline_accuracy"]


def test_all_five_together(project: Project) -> None:
    """They do not depend on each other, and the linter accepts them."""
    apply(project, *NAMES)
    project.run("ruff", "check", "--quiet", ".")
    project.run("ruff", "format", "--check", "--quiet", ".")
    project.stage("evaluate")
