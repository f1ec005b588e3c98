"""The documentation is built without a warning, and read in a browser without a network, from files."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jupytext
import pytest

import one_neuron
from tests.browser import open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run Sphinx as `make docs` does, and return what it printed."""
    command = [sys.executable, *"-m sphinx -q -W --keep-going -b html -c".split(), str(DOCS), str(source), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    done = build(DOCS, folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def page(site: Path) -> Iterator["Page"]:
    """Yield a page of a browser that has no network; a request elsewhere or a message of the console is an error."""
    problems: list[str] = []
    with open_browser() as browser:
        page = browser.new_context(offline=True).new_page()
        page.on("request", lambda request: problems.append(request.url))
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
    assert [problem for problem in problems if not problem.startswith((site.as_uri(), "data:"))] == []


def test_formulas_are_shown(site: Path, page: "Page") -> None:
    """As MathML: a fraction is drawn with one number above the other, and no TeX is left."""
    page.goto((site / "course.html").as_uri())
    fraction = page.locator("div.math mfrac").first
    above, below = (fraction.locator(":scope > *").nth(i).bounding_box() for i in (0, 1))
    assert above
    assert below
    assert above["y"] + above["height"] <= below["y"] + 1
    source = (DOCS / "course.md").read_text(encoding="utf-8")
    assert page.locator("math").count() == source.count("$`") + source.count("```math") > 50
    shown = page.locator("article").inner_text()
    assert "\\frac" not in shown
    assert "\N{COLON EQUALS}" in shown
    assert "$" not in shown


def test_the_search_finds_gradient(site: Path, page: "Page") -> None:
    """Typed into the field, as a reader would."""
    page.goto((site / "index.html").as_uri())
    page.get_by_placeholder("Search").fill("gradient")
    page.keyboard.press("Enter")
    page.locator("#search-results li").first.wait_for()
    found = page.locator("#search-results li").all_inner_texts()
    assert any(text.startswith("one_neuron.gradient") for text in found)
    assert any("Tutorial" in text for text in found)


def test_every_link_leads_to_a_page(site: Path, page: "Page") -> None:
    """Files of the repository have pages as well."""
    targets = set()
    for path in site.glob("*.html"):
        page.goto(path.as_uri())
        targets |= set(page.evaluate("[...document.links].map(link => link.href)"))
    inside = {target.split("#")[0] for target in targets if target.startswith("file:")}
    assert f"{site.as_uri()}/source/src/one_neuron/neuron.py.html" in inside
    assert [target for target in inside if not (site / target.removeprefix(f"{site.as_uri()}/")).is_file()] == []
    page.goto((site / "source/src/one_neuron/neuron.py.html").as_uri())
    assert "def compute_z" in page.locator("article").inner_text()


def test_the_notebook_shows_its_output(site: Path, page: "Page") -> None:
    """All of its cells were run, and its plots are there."""
    page.goto((site / "tutorial.html").as_uri())
    cells = [cell for cell in jupytext.read(DOCS / "tutorial.md").cells if cell.cell_type == "code"]
    assert page.locator("div.cell_input").count() == len(cells) > 10
    assert page.locator("div.cell_output img").count() == 4
    assert "on.optimize finds the same w: True" in page.locator("article").inner_text()


def test_the_reference_has_all_public_names(site: Path) -> None:
    """Those of one_neuron.__all__, each with its docstring."""
    text = (site / "reference.html").read_text(encoding="utf-8")
    assert [
        name for name in one_neuron.__all__ if name != "__version__" and f'id="one_neuron.{name}"' not in text
    ] == []
    assert "starting at zero" in text


def test_a_mistake_in_a_page_stops_the_build(tmp_path: Path) -> None:
    """Otherwise the site could be built without formulas, with dead links, or from a notebook that fails."""
    header = (DOCS / "tutorial.md").read_text(encoding="utf-8").split("\n---\n")[0]
    parts = (header + "\n---", "# Title", "$`\\nonsense{1}`$", "[a page](none.md)", "```{code-cell}\n1 / 0\n```")
    (tmp_path / "index.md").write_text("\n\n".join(parts))
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for message in ("formula '\\nonsense{1}' cannot be translated to MathML", "'none.md'", "ZeroDivisionError"):
        assert message in done.stderr
