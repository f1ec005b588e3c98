"""A page for each file of the repository that the documentation links to, so that the site is complete without it."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def name_page(path: Path) -> str:
    """Return the name of the page of a file or folder, without .html."""
    return f"source/{path.relative_to(ROOT).as_posix()}"


class SourceLinks(SphinxTransform):
    """Lead links out of docs/ to the pages made below, and remember which ones are needed."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """Change the links of one page."""
        links = [*self.document.findall(addnodes.download_reference), *self.document.findall(addnodes.pending_xref)]
        for link in links:
            path = (DOCS / unquote(link["reftarget"])).resolve()
            if not path.exists():
                path = path.with_name(f"{path.name}.md")  # MyST leaves the ending of pages out
            if not path.exists() or not path.is_relative_to(ROOT) or (path.suffix == ".md" and path.parent == DOCS):
                continue
            needed(self.env).setdefault(self.env.docname, set()).add(path)
            target = relative_uri(f"{self.env.docname}.html", f"{name_page(path)}.html")
            link.replace_self(nodes.reference("", "", *link.children, internal=True, refuri=target))


def needed(env: Any) -> dict[str, set[Path]]:
    """Return the linked files of each page."""
    if not hasattr(env, "one_neuron_sources"):
        env.one_neuron_sources = {}
    found: dict[str, set[Path]] = env.one_neuron_sources
    return found


def forget_page(_: Sphinx, env: Any, docname: str) -> None:
    """Forget the links of a page that is read again."""
    needed(env).pop(docname, None)


def make_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the page of each linked file; the page of a folder lists its files, which get pages as well."""
    waiting = sorted(set().union(*needed(app.env).values()))
    done = set()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        title = path.relative_to(ROOT).as_posix()
        if path.is_dir():
            inside = sorted(child for child in path.iterdir() if child.suffix == ".py")
            waiting += inside
            items = (
                f'<li><a href="{escape(f"{path.name}/{child.name}")}.html"><code>{escape(child.name)}</code></a></li>'
                for child in inside
            )
            body = f"<ul>{''.join(items)}</ul>"
        else:
            text = path.read_text(encoding="utf-8")
            try:
                language = get_lexer_for_filename(path.name).aliases[0]
            except ClassNotFound:
                language = "text"
            body = app.builder.highlighter.highlight_block(text, language, linenos="inline")  # type: ignore[attr-defined]
        yield name_page(path), {"title": title, "body": f"<h1><code>{escape(title)}</code></h1>{body}"}, "page.html"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the links and the pages."""
    app.add_transform(SourceLinks)
    app.connect("env-purge-doc", forget_page)
    app.connect("html-collect-pages", make_pages)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
