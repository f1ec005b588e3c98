"""The examples in docstrings and in the documentation are run and give what they show."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src"
MODULES = [path for path in sorted(SOURCES.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PAGES = [
    path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if ">>> " in path.read_text("utf-8")
]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def relative(path: Path) -> str:
    """Return a path as it is written in the repository."""
    return path.relative_to(ROOT).as_posix()


def run(test: doctest.DocTest) -> int:
    """Run the examples of one docstring or page, which share their variables; return how many there are."""
    lines: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=lines.append)
    assert not result.failed, "".join(lines)
    return result.attempted


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_examples_in_docstrings(path: Path) -> None:
    """Each docstring with the names of its module."""
    parts = path.relative_to(SOURCES).with_suffix("").parts
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    assert sum(run(test) for test in doctest.DocTestFinder(exclude_empty=True).find(module)) > 0


@pytest.mark.parametrize("path", PAGES, ids=relative)
def test_examples_in_pages(path: Path) -> None:
    """A page from top to bottom; the fences of its code blocks become empty lines, which end an expected output."""
    text = re.sub(r"^```.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert run(doctest.DocTestParser().get_doctest(text, {}, relative(path), str(path), 0)) > 0


def test_examples_are_found() -> None:
    """The public module and the page of the course have some."""
    assert {relative(path) for path in (*MODULES, *PAGES)} >= {"src/one_neuron/__init__.py", "docs/course.md"}


def test_a_wrong_example_is_seen() -> None:
    """Otherwise the tests above would prove nothing."""
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    with pytest.raises(AssertionError, match="Expected"):
        run(test)
