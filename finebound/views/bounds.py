"""Bounds as a table and as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from finebound.base.output import number
from finebound.results.bounds import QUANTITY_WORDS, SIGN, BoundsResult
from finebound.views.style import BLUE, INK, MUTED, new_figure, paper_style
from finebound.views.tables import Table

_MARK = {"upper": "<", "lower": ">", "equality": "o"}


def table(result: BoundsResult, *, title: str = "bounds") -> Table:
    """The bounds that apply, tightest first within quantity and direction."""
    rows = []
    for entry in result.applying:
        made_of = " + ".join(f"{number(v)} {name}" for name, v in entry.terms.items() if v)
        rows.append(
            (
                QUANTITY_WORDS[entry.quantity],
                SIGN[entry.direction],
                entry.shown,
                entry.unit,
                entry.name,
                entry.status,
                made_of if len(entry.terms) > 1 else "",
            )
        )
    columns = ("quantity", "", "value", "unit", "statement", "status", "made of")
    return Table("bounds", title, columns, tuple(rows))


def plot(result: BoundsResult) -> Figure:
    """Each finite bound as a mark that points to where the truth lies, the exact gaps as lines."""
    drawn = [b for b in result.applying if abs(b.value) != float("inf")]
    with paper_style():
        figure = new_figure(height=1.0 + 0.24 * max(len(drawn), 1))
        axes = figure.subplots()
        for place, entry in enumerate(drawn):
            colour = MUTED if entry.status == "VACUOUS" else BLUE
            axes.plot(entry.value, place, _MARK[entry.direction], color=colour, ms=6)
            known = (result.exact or {}).get(entry.quantity)
            if known is not None:
                axes.plot([known, known], [place - 0.4, place + 0.4], color=INK, lw=1.4)
        names = [f"{QUANTITY_WORDS[b.quantity]}, {b.name}" for b in drawn]
        axes.set_yticks(range(len(drawn)), names)
        axes.invert_yaxis()
        axes.set_xscale("symlog", linthresh=1e-3)
        axes.set_xlabel("nats (mark: the side of the truth; line: the exact gap)")
    return figure
