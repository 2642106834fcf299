"""The site of these pages: ``python -m sphinx -W docs build/docs``."""

from __future__ import annotations

import re
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.util.logging import getLogger

project = "finebound"
author = copyright = "The finebound developers"
extensions = ["myst_parser"]
exclude_patterns = ["Thumbs.db"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
html_math_renderer = "mathml"
html_theme = "alabaster"
html_theme_options = {
    "description": "How much safety must, may and will a fine-tune cost, and what buys it back?",
    "fixed_sidebar": True,
    "page_width": "64rem",
    "show_powered_by": False,
    "font_family": "system-ui, sans-serif",
    "head_font_family": "system-ui, sans-serif",
}
html_copy_source = False
html_show_sphinx = False


def _mathml(node: Any, *, display: str) -> str:
    source = node.astext()
    known = source.replace(r"\arg", r"\mathrm{arg}").replace("{aligned}", "{align*}")
    found = convert(known, display=display)
    if unread := re.findall(r"\\[a-zA-Z]+|<mi>&</mi>", found):
        getLogger(__name__).warning("no MathML for %s in %s", unread[0], source, location=node)
    return found


def _inline(translator: Any, node: Any) -> None:
    translator.body.append(_mathml(node, display="inline"))
    raise SkipNode


def _display(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, display="block")}</div>')
    raise SkipNode


def setup(app: Any) -> None:
    """Formulas become MathML, which browsers draw without a script or a network."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
