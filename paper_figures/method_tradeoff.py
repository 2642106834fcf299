"""Safety against capability of fine-tuning methods at one learning rate, with their starts."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.method_tradeoff import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Every run of the study; ``seed`` is the experiment's own."""
    return data_of(read_studies("peft"))
