"""Refusal against translation quality: methods and learning rates of the translation study."""

from __future__ import annotations

from typing import Any

from finebound.views.behaviour.refusal_chrf import SOURCE, claims, data_of, draw, shows
from paper_figures.behaved import read_studies

__all__ = ["SOURCE", "claims", "data_of", "draw", "record", "shows"]


def record(seed: int) -> dict[str, Any]:
    """Refusal and chrF of every run; ``seed`` is the experiment's own."""
    return data_of(read_studies("translation"))
