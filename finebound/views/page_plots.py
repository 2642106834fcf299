"""What the page's plots have in common: colours, style, axes, and a plot with its caption."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

# Okabe and Ito's palette: told apart with any colour vision.
SAFETY, TASK, PROXY = "#B4470B", "#0B6BA8", "#0B7A5C"


INK, MUTED, FAINT = "#1E2328", "#6B737B", "#B9BFC5"


LAMBDA = "strength λ of the safety loss (no unit)"


FORECAST_LINE = {"ls": "--", "color": INK, "lw": 1.3, "label": "straight step (ESTIMATED)"}


_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "path",
    "svg.hashsalt": "finebound",
}


@dataclass(frozen=True)
class Plot:
    """A figure and the sentence that says what it shows."""

    figure: Figure
    caption: str

    @property
    def data_uri(self) -> str:
        """The figure as a ``data:`` address of an SVG image, the same on every run."""
        stream = io.BytesIO()
        with styled():
            self.figure.savefig(
                stream, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white"
            )
        return "data:image/svg+xml;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


@contextmanager
def styled() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(*, height: float, width: float = 5.4) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis labelled 0.1, 1, 10 where that is short."""
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if high < 200 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    axes.grid(True, axis=which, color="#E6E9EC", lw=0.6)
    axes.set_axisbelow(True)
