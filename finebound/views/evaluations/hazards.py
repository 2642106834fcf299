"""Outcomes of every hazard category, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finebound.results.compare import ComparedCell, MethodComparison
from finebound.results.evaluation import EvaluationResult
from finebound.results.interval import Value
from finebound.views.cells import interval, percent
from finebound.views.tables import Table

_OUTCOMES = {"unsafe": "unsafe", "echo": "echo", "degenerate": "degenerate", "error": "error"}
_RARE = {"thought_cut": "cut", "language_not_covered": "no lang."}


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """One row a category, and all; what was refused of the harmless requests."""
    report = results[0].report
    safe, harmless = report["safe"], report["over_refusal"]
    if safe is not None:
        yield _table(safe, results[0].label, report.get("difference"))
    if harmless is not None:
        share = percent(interval(harmless["refused"], harmless["interval"]))
        errors = harmless["outcomes"]["error"]
        yield f"Over-refusal: {share} of {harmless['n']} harmless requests, {errors} errors."
    for reason, count in report["left_out"].items():
        yield f"Left out: {count} rows {reason}."


def _table(safe: Mapping[str, Any], label: str, difference: Any) -> Table:
    told = _OUTCOMES | {name: word for name, word in _RARE.items() if safe["outcomes"][name]}
    columns = ["category", "n", "safe", *told.values()]
    to_base = None
    if difference is not None:
        to_base = MethodComparison.model_validate(difference).methods[1]
        columns.append("to base")

    def row(name: str, found: Mapping[str, Any], cell: ComparedCell | None) -> tuple[Value, ...]:
        share = interval(found["safe"], found["interval"])
        own = (name, found["n"], share, *(found["outcomes"][outcome] for outcome in told))
        return own if to_base is None else (*own, "-" if cell is None else cell.change or "-")

    cells = {} if to_base is None else to_base.categories
    rows = [row(name, found, cells.get(name)) for name, found in safe["categories"].items()]
    title = f"Hazards: {label}, {safe['n']} harmful requests, share of safe answers (95 %)"
    return Table("hazards", title, tuple(columns), (*rows, row("all", safe, to_base)))
