"""A chosen option as a table and as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from finebound.results.choice import ChoiceResult
from finebound.views.outlook import table as table
from finebound.views.outlook_plots import figure_of_options


def plot(result: ChoiceResult) -> Figure:
    """Every option's refusals against its capability gain, and the budget."""
    limit = next((b.limit for b in result.budgets if b.quantity == "refusal"), None)
    return figure_of_options(
        result.options, before=result.refusal_before, level=result.level, limit=limit
    ).figure
