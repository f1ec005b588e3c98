"""The pages: every relative link leads to a file, and every source file they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("pictures/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
CODE = re.compile(r"```.*?```|`([^`\n]+)`", re.DOTALL)
FOLDERS = {".ci", ".github", "benchmarks", "conf", "docs", "pipeline", "scripts", "src", "tests"}
# Where a path in a page may start: `docs/design.md`, `drawn_pictures/`, `system/command.py`.
STARTS = (ROOT, ROOT / "src", ROOT / "src/one_neuron")
FILES = {path.name for folder in ("src", "tests") for path in (ROOT / folder).rglob("*.py")}


def find_paths(text: str) -> list[str]:
    """Return what stands in backticks and looks like a path of this repository."""
    named = [found[1] for found in CODE.finditer(text) if found[1] and re.fullmatch(r"[\w.-]+(/[\w.-]*)*", found[1])]
    return [name for name in named if name.endswith(".py") or (name.split("/")[0] in FOLDERS and "/" in name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_paths_lead_to_files(page: Path) -> None:
    """Links are relative to the page, paths in backticks to the repository or the package; a name may lie anywhere."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]
    paths = [path for path in find_paths(text) if path not in FILES]
    assert not [path for path in paths if not any((start / path).exists() for start in STARTS)]


def test_paths_are_told_from_other_code() -> None:
    """Commands, keys, outputs of the stages and code blocks are not paths of the repository."""
    text = (
        "`make test` `data.path` `plots/costs.csv` `a/b`\n```\n`src/none.py`\n```\n`docs/design.md` `neuron.py` `src/`"
    )
    assert find_paths(text) == ["docs/design.md", "neuron.py", "src/"]
