"""Every path of the figures, in one place."""

from __future__ import annotations

from pathlib import Path

RECORDS = Path(__file__).resolve().parent / "records"
DEFENDED = Path("defences-out")
"""``finebound defend --compare validate-out --out defences-out`` makes it."""
FINETUNED = {
    "small": Path("validate-out"),
    "forecasts": Path("forecasts-out"),
    "defence_regimes": Path("regimes-out"),
    "peft_safety_fairness": Path("peft-out"),
    "translation_degradation": Path("translation-out"),
}
"""Of each configuration the folder that ``finebound validate CONFIGURATION --out FOLDER`` makes."""


def record_file(figure: str) -> Path:
    """The committed record that ``figure`` is drawn from."""
    return RECORDS / f"{figure}.json"
