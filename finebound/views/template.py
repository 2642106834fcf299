"""Self-contained HTML pages: one base template, every string escaped and printable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from finebound.base.text import printable
from finebound.views.page_text import flat, number_text, short, status_words

if TYPE_CHECKING:
    from jinja2 import Template

_FILTERS: Mapping[str, Callable[..., Any]] = {
    "number": number_text,
    "short": short,
    "words": status_words,
    "flat": flat,
}


@cache
def page_template(name: str, **filters: Callable[..., Any]) -> Template:
    """The template ``name`` of this folder; an undefined name is an error, text is escaped.

    A template extends ``base.html.j2`` (blocks ``title``, ``content``, ``footer``; ``manifest`` and
    ``command`` make its last section) and takes macros from ``parts.html.j2``. ``filters`` come on
    top of number, short, words and flat.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from jinja2 import Template as JinjaTemplate

    class Printable(JinjaTemplate):
        def render(self, *arguments: Any, **values: Any) -> str:
            # The whole page: a plot's labels are no strings of the template.
            return printable(super().render(*arguments, **values))

    environment = Environment(
        loader=PackageLoader("finebound.views", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.template_class = Printable
    environment.filters |= {**_FILTERS, **filters}
    return environment.get_template(name)
