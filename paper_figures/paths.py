"""Every path of the figures, in one place."""

from __future__ import annotations

from pathlib import Path

RECORDS = Path(__file__).resolve().parent / "records"
# Records of real fine-tunes are made from these folders of the working directory.
VALIDATED = Path("validate-out")  # `make validate` makes it
DEFENDED = Path("defences-out")  # `finebound defend --compare validate-out --out defences-out`
# `finebound validate CONFIGURATION --out FOLDER` makes the others.
FORECAST = Path("forecasts-out")
PEFT = Path("peft-out")
TRANSLATED = Path("translation-out")
REGIMES = Path("regimes-out")


def record_file(figure: str) -> Path:
    """The committed record that ``figure`` is drawn from."""
    return RECORDS / f"{figure}.json"
