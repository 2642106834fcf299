"""A plot of a page: a figure in the one style, its caption, its axes; always the same bytes."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from finebound.views.style import BLUE, GREEN, RED, paper_style

SAFETY, TASK, PROXY = RED, BLUE, GREEN
FAINT, GRID = "#B9BFC5", "#E6E9EC"
LAMBDA = "strength λ of the safety loss (no unit)"
PAGE_WIDTH = 5.4


@dataclass(frozen=True)
class Plot:
    """A figure and the sentence that says what it shows."""

    figure: Figure
    caption: str

    @property
    def data_uri(self) -> str:
        """The figure as a ``data:`` address of an SVG image, the same on every run."""
        stream = io.BytesIO()
        with paper_style():
            self.figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def log_axis(axes: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis labelled 0.1, 1, 10 where that is short."""
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if high < 200 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis=which, color=GRID, lw=0.6)
    axes.set_axisbelow(True)
