"""Intervals of refusals beside what a person's own fine-tunes did."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from finebound.results.calibration_check import CalibrationCheckResult
from finebound.results.interval import Interval
from finebound.views.style import BLUE, INK, bars, fixed_ticks, new_figure, paper_style
from finebound.views.tables import Table


def table(result: CalibrationCheckResult) -> Table:
    """One row a fine-tune, in percent of harmful probes refused."""
    rows = tuple(
        (
            run.id,
            100.0 * run.before,
            Interval(100.0 * run.said, *(100.0 * end for end in run.interval)),
            100.0 * run.measured,
            "yes" if run.held else "no",
        )
        for run in result.runs
    )
    columns = ("fine-tune", "before (%)", "forecast (%)", "measured (%)", "held")
    return Table("calibration_check", "harmful probes refused", columns, rows)


def plot(result: CalibrationCheckResult) -> Figure:
    """Forecast against measured refusals, with the intervals."""
    said = 100.0 * np.transpose([[run.said, *run.interval] for run in result.runs])
    with paper_style():
        figure = new_figure(height=3.2, width=3.6)
        axes = figure.subplots()
        measured = [100.0 * run.measured for run in result.runs]
        axes.errorbar(measured, said[0], yerr=bars(said), fmt="o", ms=4, lw=0.8, color=BLUE)
        axes.plot([0, 100], [0, 100], color=INK, lw=0.8, zorder=0)
        axes.set(xlim=(-4, 104), ylim=(-4, 104))
        fixed_ticks(axes)
        axes.set_xlabel("measured: harmful probes refused (%)")
        axes.set_ylabel("forecast (%)")
    return figure
