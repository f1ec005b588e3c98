"""The HTML page: what it says, that it is well-formed, and that no name can break it."""

import hashlib
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from one_neuron import layout
from one_neuron.commands import report_page
from one_neuron.commands.report_page import write_page
from one_neuron.system.files import write_json
from one_neuron.system.outputs import read_json
from one_neuron.tracking.result import read_result
from tests.results import seal, write_result

VOID = {"br", "img", "meta"}
CELLS = {"td", "th", "br", "caption"}
BLOCKS = {"div", "figure", "figcaption", "table", "p", "pre", "ul", "section", "h1", "h2", "h3", "details", "header"}


class Page(HTMLParser):
    """A strict reader: it raises an error where a browser would guess."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        assert text.startswith("<!doctype html>\n")
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a start tag."""
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        assert not (tag in BLOCKS and "p" in self.open), f"<{tag}> inside <p>"
        self.tags.append((tag, dict(attrs)))
        self.texts.append(" " * (tag in BLOCKS or tag in CELLS))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Record text that is shown."""
        if "style" not in self.open:
            self.texts.append(data)

    def attributes(self, *names: str) -> list[str]:
        """Return the values of attributes, in any element."""
        return [str(attrs[name]) for _, attrs in self.tags for name in names if name in attrs]

    @property
    def text(self) -> str:
        """All text, with single spaces."""
        return " ".join("".join(self.texts).split())


def page_of(folder: Path) -> Page:
    """Return the page about the result in a folder."""
    return Page(write_page(read_result(folder), None))


def test_the_page_holds_the_result(tmp_path: Path) -> None:
    """Accuracy with its interval, baseline, classes, parameters, measures, mistakes, hashes and commands."""
    folder = write_result(tmp_path)
    page = page_of(folder)
    result = read_result(folder)
    # 17 of 20 are right. Wilson's interval by hand: (17 + 1.92) / 23.84 -+ 1.96 sqrt(17 * 3 / 20 + 0.96) / 23.84.
    assert "Test accuracy 85.0 % 95 % interval 64.0 % to 94.8 %" in page.text
    assert "Better than the baseline by 25.0 percentage points. The baseline (dashed line) is 60.0 %: " in page.text
    assert "always answering non-cat, the most frequent class of the test set." in page.text
    assert "Class Label Training Test cat 1 20 8 non-cat 0 20 12 All 40 20" in page.text
    assert "train.learning_rate 0.005" in page.text
    assert "data.path pictures" in page.text
    assert "True class predicted cat predicted non-cat cat 8 0 non-cat 3 9" in page.text
    assert "Accuracy 85.0 % 85.0 % 60.0 %" in page.text  # of the neuron, scikit-learn and the baseline
    assert "L2 penalty with C = 1, solver lbfgs, here with at most 1,000 iterations. It converged after" in page.text
    assert "3 of 20 test pictures were predicted wrongly. P(cat)" in page.text
    assert len(re.findall(r"true: non-cat, predicted: cat P\(cat\) = 0\.\d{3} 0\.png", page.text)) == 3
    for text in (result.content_key, result.model.sha256, result.train.sha256, result.test.sha256, "make repro"):
        assert text in page.text
    assert "none found when this page was written" in page.text
    pictures = page.attributes("src")
    assert len(pictures) == 3 + 3  # plots and mistakes
    assert page.attributes("alt")[:3] == [report_page.PLOTS["curves"], "The weights w as a picture", "Roc curve"]


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    """All pictures are in it, there is no script, and a policy forbids the rest."""
    text = write_page(read_result(write_result(tmp_path)), None)
    page = Page(text)
    assert all(address.startswith("data:image/png;base64,") for address in page.attributes("src"))
    assert page.attributes("href", "srcset", "data", "action", "poster") == []
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    assert "url(" not in text
    assert "@import" not in text
    policy = {attrs.get("content") for tag, attrs in page.tags if "http-equiv" in attrs}
    assert policy == {"default-src 'none'; img-src data:; style-src 'unsafe-inline'"}


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    """Of classes and of pictures, which come from files and folders; a file's name may even hold bytes."""
    classes = ('" onload="x', "<script>alert(1)</script>")
    names = [
        "{{ 7 * 7 }}",
        "a&amp;b",
        "\N{ARABIC LETTER ALEF}\N{RIGHT-TO-LEFT OVERRIDE}b",
        "\u732b",
        "caf\udce9",
        "a\nb",
    ]
    page = page_of(write_result(tmp_path, classes=classes, names=names, wrong=6))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if any(key.startswith("on") for key in attrs)]
    assert f"One neuron: {classes[1]} or {classes[0]}?" in page.text
    assert f"true: {classes[0]}, predicted: {classes[1]}" in page.text
    for name in ("{{ 7 * 7 }}", "a&amp;b", "\N{ARABIC LETTER ALEF}\\u202eb", "\u732b", "caf\\xe9", "a\\nb"):
        assert re.search(rf"\) = 0\.\d{{3}} {re.escape(name)} ", page.text)
        assert name in page.attributes("alt")


@pytest.mark.parametrize(
    ("positives", "wrong", "said"),
    [
        (8, 8, "NOT BETTER THAN THE BASELINE: accuracy 60.0 %, always the most frequent class 60.0 %."),
        (8, 9, "NOT BETTER THAN THE BASELINE: accuracy 55.0 %, always the most frequent class 60.0 %."),
        (8, 6, "Above the baseline, but the interval includes it: with 20 test pictures"),
        (10, 0, "both classes are equally frequent in the test set"),
    ],
)
def test_the_headline_is_plain(tmp_path: Path, positives: int, wrong: int, said: str) -> None:
    """A model that is not better than one class for all is called that."""
    page = page_of(write_result(tmp_path, test_positives=positives, wrong=wrong))
    assert said in page.text
    assert ("Better than the baseline by" in page.text) is (wrong == 0)
    if wrong == 0:
        assert "All test pictures were predicted correctly." in page.text


def test_warnings_are_shown(tmp_path: Path) -> None:
    """Diverged, copies, skipped and contradicting pictures."""
    folder = write_result(tmp_path)
    report = read_json(layout.PREPARE_METRICS, folder)
    report |= {"num_copies": 1, "copies": [["a<b", "c"]], "num_skipped": 1, "num_contradictions": 2}
    report |= {"num_ignored": 15, "ignored": {".heic": 12, ".mov": 3}}
    write_json(folder / layout.PREPARE_METRICS, report)
    train = read_json(layout.TRAIN_METRICS, folder)
    write_json(folder / layout.TRAIN_METRICS, train | {"diverged": True})
    seal(folder)
    text = page_of(folder).text
    assert "Warning: TRAINING DIVERGED: the last costs lie above the first; up to a learning rate of 0.0036" in text
    assert "Warning: 1 test picture is a copy of a training picture, 'a<b' of 'c': the test accuracy is too" in text
    assert "Warning: 1 unreadable picture was left out." in text
    assert "Warning: files that are not read, or belong to no class, were left out: 12 .heic, 3 .mov." in text
    assert "Warning: 2 pictures have the same pixels as another one and the other label." in text


def test_plots_that_are_too_large_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page stays below 2 MB; smaller plots after a large one are still shown."""
    folder = write_result(tmp_path)
    large = (folder / "plots" / "curves.png").stat().st_size
    (folder / "plots" / "weights.png").write_bytes(b"x" * 10 * large)
    seal(folder)
    monkeypatch.setattr(report_page, "MOST_PLOT_BYTES", 3 * large)
    page = page_of(folder)
    assert page.attributes("alt")[:2] == [report_page.PLOTS["curves"], "Roc curve"]
    assert "Too large for this page, and with the MLflow run: weights.png." in page.text


def test_many_mistakes_are_not_all_shown(tmp_path: Path) -> None:
    """As many as params.yaml says."""
    folder = write_result(tmp_path, wrong=5)
    path = folder / layout.PARAMS_FILE
    path.write_text(path.read_text().replace("num_mistakes: 12", "num_mistakes: 2"))
    page = page_of(folder)
    assert "5 of 20 test pictures were predicted wrongly, the 2 most confident mistakes first." in page.text
    assert page.text.count("true: non-cat, predicted: cat") == 2


def git(folder: Path, *arguments: str) -> str:
    """Run Git with a name and an address."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commands_check_out_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With params.yaml written by hand only if it differs; and without a commit outside Git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = write_result(tmp_path)
    assert "Git commit none: the folder is not in Git" in page_of(folder).text
    git(folder, "init")
    (folder / "code.py").touch()
    git(folder, "add", "params.yaml", "code.py")
    git(folder, "commit", "-m", "first")
    commit = git(folder, "rev-parse", "HEAD")
    assert f": git checkout {commit} make repro one-neuron report" in page_of(folder).text
    (folder / layout.PARAMS_FILE).write_text((folder / layout.PARAMS_FILE).read_text() + "# an edit\n")
    text = page_of(folder).text
    assert f"git checkout {commit} # write the params.yaml below into the file params.yaml make repro" in text
    assert "# an edit" in text
    assert "had uncommitted changes" not in text
    (folder / "code.py").write_text("x = 1")
    assert "But other files than params.yaml had uncommitted changes" in page_of(folder).text


def test_the_hashes_are_those_of_this_model(tmp_path: Path) -> None:
    """A dvc.lock of another model is not shown."""
    folder = write_result(tmp_path)
    digest = hashlib.md5((folder / layout.MODEL_FILE).read_bytes()).hexdigest()
    lock = (
        "stages:\n  train:\n    outs:\n    - path: models/model.h5\n      md5: {}\n    - path: a<b\n      md5: c0ffee\n"
    )
    (folder / layout.DVC_LOCK).write_text(lock.format(digest))
    assert f"models/model.h5 {digest} a<b c0ffee" in page_of(folder).text
    for text in (lock.format("0" * 32), "stages: [", "- 1", ""):
        (folder / layout.DVC_LOCK).write_text(text)
        assert "dvc.lock was not written for this model; run dvc repro" in page_of(folder).text
