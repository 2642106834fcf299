"""How a data file was read, as records hold it."""

from __future__ import annotations

from finebound.results.result import Part


class LeftOutRows(Part):
    """Rows that became no example: why, how many, and the first row numbers (from 1)."""

    reason: str
    count: int
    rows: list[int]


class DataReading(Part):
    """What became of a file's rows and columns; ``notes`` are whole sentences on anything else."""

    left_out: list[LeftOutRows]
    unread_columns: list[str]
    notes: list[str]
