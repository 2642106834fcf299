"""An evaluation as a table and as a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import find_spec

from matplotlib.figure import Figure

from finebound.results.evaluation import EvaluationResult
from finebound.views.style import BLUE, new_figure, paper_style
from finebound.views.tables import Table


def table(result: EvaluationResult) -> Table:
    """The mean score of every category, and of all."""
    rows = tuple((m.category or "all", m.n, m.scored, m.mean) for m in result.means)
    title = f"{result.evaluation} of {result.label}: {result.score_means or 'mean score'}"
    return Table(result.evaluation, title, ("category", "items", "scored", "mean"), rows)


def plot(result: EvaluationResult) -> Figure:
    """The mean score of every category, and of all, as a bar."""
    drawn = [(m.category or "all", m.mean) for m in result.means if m.mean is not None]
    with paper_style():
        figure = new_figure(height=1.0 + 0.24 * max(len(drawn), 1))
        axes = figure.subplots()
        axes.barh(range(len(drawn)), [mean for _, mean in drawn], color=BLUE)
        axes.set_yticks(range(len(drawn)), [name for name, _ in drawn])
        axes.invert_yaxis()
        axes.set_xlabel(result.score_means or "mean score")
    return figure


def shown(results: Sequence[EvaluationResult]) -> Iterable[Table | str]:
    """What a terminal shows of one evaluation's records: tables, and sentences beside them.

    The evaluation's own file in ``views.evaluations`` draws it; without one it is the table of
    means of each record.
    """
    name = f"finebound.views.evaluations.{results[0].evaluation}"
    if find_spec(name) is not None:
        return import_module(name).shown(results)
    return [table(result) for result in results]
