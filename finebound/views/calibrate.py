"""A calibrated strategy: the terms of the bound that keeps the budget, as a table and a figure."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from finebound.results.calibrate import CalibrateResult
from finebound.views.style import BLUE, INK, new_figure, paper_style
from finebound.views.tables import Table


def table(result: CalibrateResult) -> Table:
    """The terms of the bound, their sum, and the budget beside it."""
    rows = (*_parts(result).items(), ("budget", result.budget))
    return Table("calibrate", result.summary(), ("term", result.unit), rows)


def plot(result: CalibrateResult) -> Figure:
    """The terms of the bound as bars, the budget as a line."""
    parts = {name: value for name, value in _parts(result).items() if math.isfinite(value)}
    with paper_style():
        figure = new_figure(height=1.0 + 0.24 * len(parts))
        axes = figure.subplots()
        axes.barh(range(len(parts)), list(parts.values()), color=BLUE)
        axes.set_yticks(range(len(parts)), list(parts))
        axes.invert_yaxis()
        axes.axvline(result.budget, color=INK, lw=1.0)
        axes.set_xlabel(f"{result.unit} (line: the budget)")
    return figure


def _parts(result: CalibrateResult) -> dict[str, float]:
    terms = {} if result.bound is None else result.bound.terms
    return {**terms, "bound": result.reached}
