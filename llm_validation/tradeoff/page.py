"""``defences.html``: the plane, the scores, the layers over depth and the notes, in one file."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from finebound.base.output import number
from finebound.views.template import page_template
from llm_validation.tradeoff.plots import depth_plots, plane_plot, scores_plot

if TYPE_CHECKING:
    from jinja2 import Template


def comparison_page(record: dict[str, Any]) -> str:
    """The page of a ``defences.json``; every string is escaped."""
    plots = [plane_plot(record), scores_plot(record)]
    return _template().render(
        record=record,
        plots=[plot for plot in plots if plot is not None],
        layers=depth_plots(record),
    )


def interval_words(found: dict[str, Any] | None) -> str:
    """An interval for people; a dash where there is none."""
    if found is None:
        return "-"
    low, high = (number(float(found[name])) for name in ("lower", "upper"))
    return f"{float(found['estimate']):+.4f} [{low}, {high}]"


def rate_words(found: dict[str, Any] | None) -> str:
    """A share as a count of a number."""
    return "-" if not found or not found["n"] else f"{found['count']}/{found['n']}"


@cache
def _template() -> Template:
    filters = {"interval": interval_words, "rate": rate_words}
    return page_template("llm_validation.tradeoff", "page.html.j2", filters)
