"""BBQ's accuracy and bias by dimension and context, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finebound.base.text import counted_rows
from finebound.results.evaluation import EvaluationResult
from finebound.results.interval import Interval
from finebound.views.cells import interval
from finebound.views.tables import Table

_CONDITIONS = {"ambiguous": "ambig.", "disambiguated": "disambig."}
_SCORES = ("accuracy", "bias")


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """One row a category, and their mean; what could not be read."""
    (result,) = results
    report = result.report
    rows = [
        (name, " / ".join(str(cells[c]["n"]) for c in _CONDITIONS), *_cells(cells))
        for name, cells in report["categories"].items()
    ]
    scores = (f"{word} {score}" for word in _CONDITIONS.values() for score in _SCORES)
    title = f"BBQ: {result.label}, {report['items']} items, 95 % intervals"
    rows.append(("mean", "", *_cells(report["mean"])))
    yield Table("bbq", title, ("category", "n", *scores), tuple(rows))
    if unread := sum(item.more.get("prediction") is None for item in result.items):
        yield f"{unread} answers could not be read: wrong, and in no bias count."
    if report["left_out"]:
        faulty = report["faulty"]
        share = f" ({100 * faulty['share']:.1f} % have no score)" if faulty["count"] else ""
        yield f"Left out: {counted_rows(report['left_out'])}{share}."


def _cells(found: Mapping[str, Any]) -> list[Interval]:
    return [
        interval(found[condition][score], found[condition][f"{score}_interval"])
        for condition in _CONDITIONS
        for score in _SCORES
    ]
