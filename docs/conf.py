"""Settings of Sphinx for the documentation site: `make docs` builds it into docs/_build/html."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "docs" / "extensions")]
os.environ["PYTHONPATH"] = str(ROOT / "src")  # for the notebook

from one_neuron import __version__  # noqa: E402 (this checkout's, not an installed one)

project = "one-neuron"
release = version = __version__
copyright = "the authors of one-neuron"  # noqa: A001 (Sphinx's name)

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "source_pages"]
exclude_patterns = ["_build"]

# The pages are written for GitHub as well: its $`a`$ and ```math are formulas.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3  # [the proof](#the-proof)
html_math_renderer = "mathml"
highlight_language = "text"  # of indented blocks; fenced ones name theirs

# docs/tutorial.md is a notebook. It is run at each build; an error in it is a warning, and -W makes that an error.
nb_execution_mode = "force"
nb_execution_timeout = 120
nb_merge_streams = True
nb_execution_show_tb = True

default_role = "code"  # of `names` in docstrings
autodoc_typehints = "none"  # the docstrings name types and shapes
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_param = False  # Sphinx would turn the m of "shape (m, n_x)" into a link to PreparedSet.m
napoleon_use_rtype = False

html_theme = "furo"
html_title = "one-neuron"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_search_summary = False  # would fetch pages, which browsers refuse for files
