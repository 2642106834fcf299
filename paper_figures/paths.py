"""Every path of the figures, in one place."""

from __future__ import annotations

from pathlib import Path

RECORDS = Path(__file__).resolve().parent / "records"
CAPTIONS = "captions.md"


def record_file(figure: str) -> Path:
    """The committed record that ``figure`` is drawn from."""
    return RECORDS / f"{figure}.json"
