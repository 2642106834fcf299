"""Cells of the tables of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finebound.results.interval import Interval


def interval(estimate: float | None, ends: Sequence[Any]) -> Interval:
    """A report's estimate and its ends; without items the estimate is NaN, shown as "-"."""
    lower, upper = (float("nan") if end is None else float(end) for end in ends)
    return Interval(float("nan") if estimate is None else float(estimate), lower, upper)


def span(cell: Interval, digits: int = 2) -> str:
    """An interval in the middle of a sentence: "0.35 (0.10 to 0.60)"."""
    return f"{cell.estimate:.{digits}f} ({cell.lower:.{digits}f} to {cell.upper:.{digits}f})"


def percent(cell: Interval) -> str:
    """A share with its interval in a sentence: "33.3 % (6.1 to 79.2)"; "-" without items."""
    if cell.estimate != cell.estimate:
        return "-"
    low, high = 100 * cell.lower, 100 * cell.upper
    return f"{100 * cell.estimate:.1f} % ({low:.1f} to {high:.1f})"
