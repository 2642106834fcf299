"""What a defence did to an adapter, module by module, as a table and as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from finebound.results.tradeoff import DefendResult, LayerEntry
from finebound.views.page_text import elements
from finebound.views.tables import Table
from finebound.views.tradeoff_plots import depth_plot


def table(result: DefendResult) -> Table:
    """Every module: how far its update is from the alignment, its score, whether it changed."""
    rows = tuple(
        (m.name, m.distance, m.cosine, m.projector_norm, m.score, "yes" if m.changed else "")
        for m in result.modules
    )
    columns = ("module", "distance", "cosine", "projector norm", "score", "changed")
    return Table("modules", result.title, columns, rows)


def plot(result: DefendResult) -> Figure:
    """Distance, cosine, projector norm and score of every module over depth."""
    entry = LayerEntry(id=result.title, method=result.method, strength="", modules=result.modules)
    return depth_plot(entry).figure


def first_screen(result: DefendResult) -> str:
    """The summary and the modules as HTML."""
    return elements(result.summary().splitlines()) + table(result).html()
