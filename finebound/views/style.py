"""One look for all figures, and files that are the same bytes on every run."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

# Inches: the text width of a two-column page, so that 8 pt in a figure are 8 pt in print.
FULL_WIDTH = 7.0

# Okabe and Ito's palette: told apart with any colour vision, and by lightness in grey.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, MUTED = "#222222", "#767676"

_STYLE: dict[Any, Any] = {
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
def paper_style() -> Generator[None]:
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


def hollow_handle(runs: Iterable[dict[str, Any]]) -> list[Line2D]:
    """What hollow means, as a legend's last entry; none where every run passed its gates."""
    if not any(run["failed"] for run in runs):
        return []
    return [mark("hollow: behind a failed gate", "o", color=INK, mfc="white")]


def key(label: str, **look: Any) -> Line2D:
    """A legend's entry that looks like this."""
    return Line2D([], [], label=label, **look)


def mark(label: str, marker: str, *, ms: float = 5, **look: Any) -> Line2D:
    """A legend's entry of a mark alone."""
    return key(label, ls="none", marker=marker, ms=ms, **look)


def bars(values: ArrayLike) -> NDArray[np.float64]:
    """Lengths of error bars, ``[2, n]``, of estimates with lower and upper ends, ``[3, n]``.

    An end that is unknown, without limit or on the other side of the estimate has no bar.
    """
    middle, low, high = np.asarray(values, dtype=float).reshape(3, -1)
    lengths = np.stack([middle - low, high - middle])
    return np.where(np.isfinite(lengths), np.maximum(lengths, 0.0), 0.0)


def zero_lines(axes: Axes, *, cross: bool = False) -> None:
    """Both zeros as thin lines; ``cross``: with a cross where they meet, the aligned model."""
    axes.axhline(0.0, color=MUTED, lw=0.5, zorder=0)
    axes.axvline(0.0, color=MUTED, lw=0.5, zorder=0)
    if cross:
        axes.plot(0.0, 0.0, "+", ms=9, mew=1.6, color=INK)


def with_room(corners: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lower left and the upper right corner of a box around ``corners [n, 2]``, with room."""
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    room = 0.06 * np.maximum(high - low, 1e-3)
    return low - room, high + room


def fixed_ticks(axes: Axes) -> None:
    """Ticks within the limits as they are now; the layout then has none to add or drop."""
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    few_ticks(axes.xaxis, axes.get_xlim())
    few_ticks(axes.yaxis, axes.get_ylim())


def few_ticks(axis: Axis, limits: tuple[float, float]) -> None:
    """Ticks of one axis within ``limits``."""
    low, high = sorted(limits)
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    kept = [float(tick) for tick in ticks if low <= tick <= high]
    axis.set_ticks(kept, [f"{tick + 0.0:.6g}".replace("-", "\N{MINUS SIGN}") for tick in kept])
