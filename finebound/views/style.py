"""One look for all figures, and files that are the same bytes on every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Inches: the text width of a two-column page, so that 8 pt in a figure are 8 pt in print.
FULL_WIDTH = 7.0

# Okabe and Ito's palette: told apart with any colour vision, and by lightness in grey.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, MUTED = "#222222", "#767676"

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.formatter.use_mathtext": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,
    "svg.hashsalt": "finebound",
}
# No date, no program and no version: they would change bytes and not the figure.
_NO_METADATA = {
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib's own defaults and this style on top, whatever the user's matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(*, height: float, width: float = FULL_WIDTH) -> Figure:
    """An empty figure of ``width x height`` inches on the Agg canvas, with constrained layout."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panel_letter(axes: Axes, letter: str, title: str) -> None:
    """The panel's letter in bold, then what it shows."""
    axes.set_title(rf"$\bf{{{letter}}}$  {title}", pad=7)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """``name.png`` (200 dpi) and ``name.pdf`` in ``folder``; the same figure, the same bytes."""
    files = []
    for kind, metadata in _NO_METADATA.items():
        file = folder / f"{name}.{kind}"
        figure.savefig(file, metadata=metadata)
        files.append(file)
    return files
