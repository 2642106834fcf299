"""How many probes a certificate needs, as a table and as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from finebound.results.certificate import ProbePlanResult, points
from finebound.views.style import BLUE, new_figure, paper_style
from finebound.views.tables import Table


def table(result: ProbePlanResult) -> Table:
    """The number of probes by the loss that is expected."""
    rows = tuple((points(row.expected), row.probes) for row in result.rows)
    title = (
        f"Probes that certify less than {points(result.budget)} points at "
        f"{100 * result.confidence:g} % (chance {result.power:g})"
    )
    return Table("probe_plan", title, ("expected loss (points)", "probes"), rows)


def plot(result: ProbePlanResult) -> Figure:
    """The number of probes over the loss that is expected."""
    with paper_style():
        figure = new_figure(height=2.4)
        axes = figure.subplots()
        expected = [100 * row.expected for row in result.rows]
        axes.plot(expected, [row.probes for row in result.rows], "o-", color=BLUE)
        axes.set_yscale("log")
        axes.set_xlabel("expected loss (points)")
        axes.set_ylabel("probes")
    return figure
