"""Self-contained HTML pages: one way to load a template, every string escaped and printable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from finebound.base.text import printable

if TYPE_CHECKING:
    from jinja2 import Template


def page_template(package: str, name: str, filters: Mapping[str, Callable[..., Any]]) -> Template:
    """The template ``name`` beside ``package``; an undefined name is an error, text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from jinja2 import Template as JinjaTemplate

    class Printable(JinjaTemplate):
        def render(self, *arguments: Any, **values: Any) -> str:
            # The whole page: a plot's labels are no strings of the template.
            return printable(super().render(*arguments, **values))

    environment = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.template_class = Printable
    environment.filters |= filters
    return environment.get_template(name)
