"""The blocks of commands in the README and in all pages do what the pages say. A block that is not run says why."""

import re
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Project, make_project
from tests.e2e.shell_blocks import Block, copy_project, find_blocks, give_environment, run_block

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCKS = {path.name: find_blocks(path.read_text(encoding="utf-8")) for path in PAGES}
RUN = [name for name, blocks in BLOCKS.items() if any(not block.reason for block in blocks)]
# What the last block of a page prints, beside that all of them succeed.
PRINTS = {
    "README.md": "test accuracy",
    "predict.md": r"\[False False False\]",
    "experiments.md": r"tracked: run [0-9a-f]{8}",
    "serving.md": "champion",
    "share-cache.md": r"Stage 'train' didn't change, skipping\n(.*\n)*tracked: run [0-9a-f]{8} \(new\)",
    "sweeps.md": "validation accuracy",
}
# The store of runs is not copied, because its addresses of files are absolute.
FIRST = {"serving.md": ("make", "track")}


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a small copy of the project with a result, committed."""
    project = make_project(tmp_path_factory.mktemp("blocks") / "one neuron")
    give_environment(project)
    project.run("make", "repro")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "a result")
    return project


@pytest.fixture
def project(computed: Project, tmp_path: Path) -> Project:
    """Return a copy of it, which all blocks of a page share. Its folder is at the same depth."""
    return copy_project(computed, tmp_path / "one neuron")


@pytest.mark.parametrize("name", RUN)
def test_the_blocks_of_a_page_run(name: str, project: Project, tmp_path: Path) -> None:
    """One after the other, in one folder, with the environment activated."""
    project.run(*FIRST.get(name, ("true",)))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text("[user]\nname = test\nemail = test@localhost\n", encoding="utf-8")
    printed = [run_block(project, block, tmp_path / "home") for block in BLOCKS[name] if not block.reason]
    assert re.search(PRINTS.get(name, ""), printed[-1]), printed[-1]


def test_blocks_are_found() -> None:
    """With their reasons; a comment elsewhere is none."""
    page = "<!-- not run: no network -->\n```sh\na\n```\n\n<!-- else -->\n```sh\nb\nc\n```\n"
    page += "\n```python\nd\n```\n\n```python\n>>> e\n```\n\n```yaml\nf\n```\n"
    assert find_blocks(page) == [
        Block("sh", "a\n", "no network"),
        Block("sh", "b\nc\n", ""),
        Block("python", "d\n", ""),
    ]
    assert len(RUN) > 5
    assert PRINTS.keys() <= set(RUN)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.name))
def test_no_command_hides_in_another_block(path: Path) -> None:
    """An indented block, which would not be run, holds no command."""
    commands = r"^    (make|dvc|git|one-neuron|python|pip|\.venv/bin|curl|cp|cd) "
    outside = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(commands, outside, re.MULTILINE) == []
