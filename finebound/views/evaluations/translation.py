"""chrF of each source language, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from finebound.results.evaluation import EvaluationResult
from finebound.views.cells import interval
from finebound.views.tables import Table


def shown(results: Sequence[EvaluationResult]) -> Iterator[Table | str]:
    """One row a language, and all."""
    report = results[0].report
    rows = tuple(
        (name, found["n"], interval(found["chrf"], found["interval"]), found["failed"])
        for name, found in (*report["languages"].items(), ("all", report))
    )
    title = f"Translation into English: {results[0].label}, 95 % intervals"
    yield Table("translation", title, ("from", "n", "chrF", "failed"), rows)
