"""Formulas as MathML, which browsers show without a script or a font from elsewhere. docutils translates them."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
# What TeX does by itself: `:=` is one sign, and a thin space stands before log, and after it unless a bracket follows.
_CORRECTIONS = ((":=", r"\\coloneqq "), (r"\\log\b", r"\\,\\log"), (r"\\log (?!\()", r"\\log\\,"))


def translate(node: nodes.math | nodes.math_block, *, block: bool) -> str:
    """Return a formula as MathML. GitHub's backticks within the dollars are not part of it."""
    formula = node.astext().strip().strip("`")
    corrected = formula
    for pattern, replacement in _CORRECTIONS:
        corrected = re.sub(pattern, replacement, corrected)
    try:
        return str(tex2mathml(corrected, as_block=block))
    except MathError as error:
        logger.warning("the formula '%s' cannot be translated to MathML: %s", formula, error, location=node)
        return ""


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a sentence."""
    self.body.append(translate(node, block=False))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that is a paragraph of its own."""
    self.body.append(f'<div class="math">{translate(node, block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
