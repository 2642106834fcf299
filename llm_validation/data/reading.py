"""How data sets were read, as plain values and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_validation.data.cells import listed
from llm_validation.data.dataset import Dataset, LeftOut, Reading

_MOST_ROWS = 20
_MOST_REASONS = 8


def reading_as_json(reading: Reading) -> dict[str, Any]:
    """What became of rows and columns; of the rows left out the first numbers, all are counted."""
    return {
        "left_out": [
            {"reason": part.reason, "count": len(part.rows), "rows": list(part.rows[:_MOST_ROWS])}
            for part in reading.left_out
        ],
        "unread_columns": list(reading.unread_columns),
        "notes": list(reading.notes),
    }


def readings_as_json(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """``reading_as_json`` of every data set by its role."""
    return {role: reading_as_json(dataset.reading) for role, dataset in datasets.items()}


def reading_lines(datasets: Mapping[str, Dataset]) -> list[str]:
    """One line for all rows left out for one reason, for the unread columns and for each note."""
    return [
        f"{role} data: {line}"
        for role, dataset in datasets.items()
        for line in _lines(dataset.reading)
    ]


def _lines(reading: Reading) -> Iterator[str]:
    for part in reading.left_out[:_MOST_REASONS]:
        count = len(part.rows)
        are = "row is" if count == 1 else "rows are"
        yield f"{count} {are} left out: {part.reason} ({_numbers(part)})."
    more = reading.left_out[_MOST_REASONS:]
    if more:
        gone = sum(len(part.rows) for part in more)
        yield f"{gone} more rows are left out for {len(more)} other reasons."
    if reading.unread_columns:
        yield f"Columns not read: {listed(reading.unread_columns, most=30)}."
    yield from reading.notes


def _numbers(part: LeftOut) -> str:
    shown = ", ".join(map(str, part.rows[:_MOST_ROWS]))
    more = len(part.rows) - _MOST_ROWS
    return (
        f"row {shown}"
        if len(part.rows) == 1
        else f"rows {shown}" + (f" and {more} more" if more > 0 else "")
    )
