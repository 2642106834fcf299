"""A calibrated strategy: the terms of the bound that keeps the budget, as a table and a figure."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from finebound.results.calibrate import CalibrateResult
from finebound.views.style import BLUE, INK, new_figure, paper_style
from finebound.views.tables import Table


def table(result: CalibrateResult) -> Table:
    """The terms of the bound, their sum, and the budget beside it."""
    terms = {} if result.bound is None else result.bound.terms
    rows = (*terms.items(), ("bound", result.reached), ("budget", result.budget))
    return Table("calibrate", result.summary(), ("term", result.unit), rows)


def plot(result: CalibrateResult) -> Figure:
    """The terms of the bound as bars, the budget as a line."""
    rows = [(name, value) for name, value in table(result).rows[:-1] if math.isfinite(value)]
    with paper_style():
        figure = new_figure(height=1.0 + 0.24 * len(rows))
        axes = figure.subplots()
        axes.barh(range(len(rows)), [value for _, value in rows], color=BLUE)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.axvline(result.budget, color=INK, lw=1.0)
        axes.set_xlabel(f"{result.unit} (line: the budget)")
    return figure


def first_screen(result: CalibrateResult) -> str:
    """The table as HTML, the result in words as its caption."""
    return table(result).html()
