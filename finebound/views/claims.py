"""What a figure's data say about a statement; captions are made of these, never typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """One claim of a caption: the statement it tests, whether it holds in the data, the numbers."""

    statement: str
    holds: bool
    evidence: str

    def __str__(self) -> str:
        return (
            f"{self.statement} {'holds' if self.holds else 'DOES NOT HOLD'} here: {self.evidence}."
        )


def compose(shows: str, claims: Sequence[Claim]) -> str:
    """The caption: what the figure shows, then every claim with its evidence."""
    return " ".join([shows, *map(str, claims)])
