"""How data sets were read, as plain values and as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from finebound.results.reading import DataReading, LeftOutRows
from llm_validation.data.cells import listed
from llm_validation.data.dataset import Dataset, Reading

_MOST_ROWS = 20
_MOST_REASONS = 8


def data_reading(reading: Reading, *, most: int = _MOST_ROWS) -> DataReading:
    """What became of rows and columns; of the rows left out ``most`` numbers, all are counted."""
    return DataReading(
        left_out=[
            LeftOutRows(reason=part.reason, count=len(part.rows), rows=list(part.rows[:most]))
            for part in reading.left_out
        ],
        unread_columns=list(reading.unread_columns),
        notes=list(reading.notes),
    )


def data_readings(datasets: Mapping[str, Dataset]) -> dict[str, DataReading]:
    """``data_reading`` of every data set by its role."""
    return {role: data_reading(dataset.reading) for role, dataset in datasets.items()}


def reading_as_json(reading: Reading) -> dict[str, Any]:
    """``data_reading`` as plain values."""
    return data_reading(reading).to_dict()


def readings_as_json(datasets: Mapping[str, Dataset]) -> dict[str, Any]:
    """``data_readings`` as plain values."""
    return {role: reading.to_dict() for role, reading in data_readings(datasets).items()}


def reading_lines(readings: Mapping[str, Dataset | DataReading]) -> list[str]:
    """One line for all rows left out for one reason, for the unread columns and for each note."""
    found = {
        role: one if isinstance(one, DataReading) else data_reading(one.reading)
        for role, one in readings.items()
    }
    return [f"{role} data: {line}" for role, reading in found.items() for line in _lines(reading)]


def _lines(reading: DataReading) -> Iterator[str]:
    for part in reading.left_out[:_MOST_REASONS]:
        are = "row is" if part.count == 1 else "rows are"
        yield f"{part.count} {are} left out: {part.reason} ({_numbers(part)})."
    more = reading.left_out[_MOST_REASONS:]
    if more:
        gone = sum(part.count for part in more)
        yield f"{gone} more rows are left out for {len(more)} other reasons."
    if reading.unread_columns:
        yield f"Columns not read: {listed(reading.unread_columns, most=30)}."
    yield from reading.notes


def _numbers(part: LeftOutRows) -> str:
    shown = ", ".join(map(str, part.rows))
    more = part.count - len(part.rows)
    return (
        f"row {shown}"
        if part.count == 1
        else f"rows {shown}" + (f" and {more} more" if more > 0 else "")
    )
